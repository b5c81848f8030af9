//! Batches and the ledger.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::{OBJECT_TIMEOUT, call_error};
use crate::deliver::{CallError, Failure};
use crate::error::FetchError;
use crate::ledger::{ETag, LedgerStore, StoreError, Written};
use crate::notification::ObjectRef;
use crate::relay::ObjectStore;

/// Attempts of one call: S3 asks clients to repeat what it could not do, and a conditional write repeats without harm.
const MAX_ATTEMPTS: u32 = 6;

/// Delay before the second attempt, at most; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// Amazon S3.
#[derive(Clone, Debug)]
pub struct S3(Client);

impl S3 {
    /// A client for region, credentials and endpoint of `config`.
    pub fn new(config: &SdkConfig) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(FIRST_DELAY)
            .with_max_backoff(Duration::from_secs(5));
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(OBJECT_TIMEOUT).build();
        // Bucket names become host names only below AWS's own domain.
        let own_endpoint = config.endpoint_url().is_some();
        let builder = Builder::from(config).retry_config(retries).timeout_config(timeouts);
        Self(Client::from_conf(builder.force_path_style(own_endpoint).build()))
    }
}

impl ObjectStore for S3 {
    async fn get(&self, object: &ObjectRef, limit: u64) -> Result<Vec<u8>, FetchError> {
        let request = self.0.get_object().bucket(&object.bucket).key(&object.key);
        let answer = request.send().await.map_err(|error| fetch_error(&error))?;
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let Some(found) = length else {
            return Err(FetchError::Unavailable("the answer has no Content-Length".into()));
        };
        if found > limit {
            return Err(FetchError::TooLarge { limit, found });
        }
        let body = answer.body.collect().await.map_err(|error| FetchError::Unavailable(error.to_string()))?;
        Ok(body.into_bytes().into())
    }
}

impl LedgerStore for S3 {
    async fn read(&self, bucket: &str, key: &str) -> Result<Option<(Vec<u8>, ETag)>, StoreError> {
        let answer = match self.0.get_object().bucket(bucket).key(key).send().await {
            Ok(answer) => answer,
            // (Without permission to list the bucket, S3 answers 403 instead, and that is an error here.)
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(store_error(&error)),
        };
        let tag = ETag(answer.e_tag().unwrap_or_default().to_owned());
        let unreadable = |error: aws_sdk_s3::primitives::ByteStreamError| StoreError {
            failure: Failure::NotSent,
            code: "BodyUnreadable".into(),
            message: error.to_string(),
        };
        Ok(Some((answer.body.collect().await.map_err(unreadable)?.to_vec(), tag)))
    }

    async fn write(
        &self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
        expected: Option<&ETag>,
    ) -> Result<Written, StoreError> {
        let request =
            self.0.put_object().bucket(bucket).key(key).content_type("application/json").body(body.into());
        let request = match expected {
            Some(ETag(tag)) => request.if_match(tag),
            None => request.if_none_match("*"),
        };
        match request.send().await {
            Ok(answer) => Ok(Written::Yes(ETag(answer.e_tag().unwrap_or_default().to_owned()))),
            // 412: the condition does not hold. 409: somebody else wrote or deleted at this very moment. 404: what
            // should have been replaced is gone.
            Err(error)
                if matches!(status(&error), Some(412 | 409 | 404))
                    && error.code() != Some("NoSuchBucket") =>
            {
                Ok(Written::Conflict)
            }
            Err(error) => Err(store_error(&error)),
        }
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

fn store_error<E>(error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let CallError { failure, code, message } = call_error(error);
    StoreError { failure, code, message }
}

fn fetch_error<E>(error: &SdkError<E, HttpResponse>) -> FetchError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let CallError { failure, code, message } = call_error(error);
    let text = format!("{code}: {message}");
    match (code.as_str(), status(error)) {
        ("InvalidObjectState", _) => FetchError::Archived(text),
        ("AccessDenied", _) | (_, Some(404)) => FetchError::Missing(text),
        _ if failure.is_temporary() => FetchError::Unavailable(text),
        _ => FetchError::Refused(text),
    }
}
