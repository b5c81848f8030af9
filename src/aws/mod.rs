//! The services, as the other modules want them: the only place where requests are sent.

mod http;
mod logs;
mod metrics;
mod s3;

use std::io;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_cloudwatch::config::http::HttpResponse;
use aws_sdk_cloudwatch::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::deliver::{CallError, Failure};
pub use logs::CloudWatchLogs;
pub use metrics::CloudWatch;
pub use s3::S3;

/// One attempt of a call to CloudWatch, whose largest request is 1 MB.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// One attempt of a call to S3, up to the beginning of the answer's body.
const OBJECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the environment says of region, credentials and endpoints.
pub async fn environment() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).http_client(http::client()).load().await
}

/// Calls to CloudWatch are attempted once: [`deliver`](crate::deliver) repeats them, and counts what it repeats.
fn once() -> (RetryConfig, TimeoutConfig) {
    let timeouts =
        TimeoutConfig::builder().operation_attempt_timeout(CALL_TIMEOUT).operation_timeout(CALL_TIMEOUT);
    (RetryConfig::disabled(), timeouts.build())
}

/// Sorts a failed call by what can be done about it.
fn call_error<E>(error: &SdkError<E, HttpResponse>) -> CallError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let failure = match error {
        SdkError::ConstructionFailure(_) => Failure::NotSent,
        SdkError::DispatchFailure(_) if never_sent(error) => Failure::NotSent,
        SdkError::ServiceError(answer) => {
            by_answer(answer.err().code().unwrap_or_default(), answer.raw().status().as_u16())
        }
        // The connection broke, or there was no answer in time, or none that can be read.
        _ => Failure::Unknown,
    };
    let (code, message) = described(error);
    CallError { failure, code, message }
}

/// Whether a request failed before anything of it was sent: no credentials to sign it, nobody to connect to.
fn never_sent(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| {
        let refused = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        cause.is::<CredentialsError>() || refused == Some(io::ErrorKind::ConnectionRefused)
    })
}

fn by_answer(code: &str, status: u16) -> Failure {
    if THROTTLING_ERRORS.contains(&code) || status == 429 {
        Failure::Throttled
    } else if TRANSIENT_ERRORS.contains(&code) {
        Failure::Unknown
    } else if DENIED.contains(&code) {
        Failure::Denied
    } else {
        match status {
            401 | 403 => Failure::Denied,
            // A success whose text cannot be read was carried out; a failure of the service may have been.
            200..=299 | 408 | 500.. => Failure::Unknown,
            _ => Failure::Rejected,
        }
    }
}

/// Answers that mean "not with these credentials", whatever their status. Expired ones are among them: Lambda gives
/// new ones only to a new process, so that repeating within this invocation is of no use.
const DENIED: [&str; 8] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "NotAuthorized",
    "UnrecognizedClientException",
];

/// Name and explanation of a failure: the service's, or what happened on the way.
fn described<E>(error: &SdkError<E, HttpResponse>) -> (String, String)
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let way = match error {
        SdkError::ConstructionFailure(_) => "RequestNotBuilt",
        SdkError::TimeoutError(_) => "Timeout",
        SdkError::DispatchFailure(_) => "ConnectionFailed",
        SdkError::ResponseError(_) => "ResponseUnreadable",
        _ => "ServiceError",
    };
    let code = error.code().unwrap_or(way).to_owned();
    let message = error.message().map_or_else(|| DisplayErrorContext(error).to_string(), str::to_owned);
    (code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        for (code, status, failure) in [
            ("ThrottlingException", 400, Failure::Throttled),
            ("", 429, Failure::Throttled),
            ("InternalServiceFault", 500, Failure::Unknown),
            ("ServiceUnavailable", 503, Failure::Unknown),
            ("AccessDenied", 403, Failure::Denied),
            ("AccessDeniedException", 400, Failure::Denied),
            ("ExpiredToken", 400, Failure::Denied),
            ("RequestTimeout", 400, Failure::Unknown),
            ("", 408, Failure::Unknown),
            ("", 200, Failure::Unknown),
            ("InvalidParameterValue", 400, Failure::Rejected),
            ("ResourceNotFoundException", 400, Failure::Rejected),
        ] {
            assert_eq!(by_answer(code, status), failure, "{code} {status}");
        }
    }
}
