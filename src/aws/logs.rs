//! `PutLogEvents` and `CreateLogStream`.

use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::Builder;
use aws_sdk_cloudwatchlogs::operation::create_log_stream::CreateLogStreamError;
use aws_sdk_cloudwatchlogs::operation::put_log_events::PutLogEventsError;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, RejectedLogEventsInfo};

use super::{call_error, once};
use crate::deliver::{CallError, Failure, Logs};
use crate::plan::LogCall;

/// CloudWatch Logs.
#[derive(Clone, Debug)]
pub struct CloudWatchLogs(Client);

impl CloudWatchLogs {
    /// A client for region, credentials and endpoint of `config`.
    pub fn new(config: &SdkConfig) -> Self {
        let (retries, timeouts) = once();
        Self(Client::from_conf(Builder::from(config).retry_config(retries).timeout_config(timeouts).build()))
    }
}

impl Logs for CloudWatchLogs {
    async fn put_log_events(&self, call: &LogCall) -> Result<u64, CallError> {
        let mut events = Vec::with_capacity(call.events.len());
        for event in &call.events {
            let event =
                InputLogEvent::builder().timestamp(event.timestamp_ms).message(&event.message).build();
            // Both fields are set: this cannot fail. Should it, the call fails by name instead of losing an event.
            events.push(event.map_err(|error| CallError {
                failure: Failure::Rejected,
                code: "InvalidLogEvent".into(),
                message: error.to_string(),
            })?);
        }
        let request = self.0.put_log_events().log_group_name(&*call.group).log_stream_name(&*call.stream);
        match request.set_log_events(Some(events)).send().await {
            Ok(answer) => {
                Ok(answer.rejected_log_events_info().map_or(0, |info| rejected(info, call.events.len())))
            }
            Err(error) => {
                let no_stream =
                    matches!(error.as_service_error(), Some(PutLogEventsError::ResourceNotFoundException(_)));
                let error = call_error(&error);
                Err(if no_stream { CallError { failure: Failure::NoStream, ..error } } else { error })
            }
        }
    }

    async fn create_log_stream(&self, group: &str, stream: &str) -> Result<(), CallError> {
        match self.0.create_log_stream().log_group_name(group).log_stream_name(stream).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(CreateLogStreamError::ResourceAlreadyExistsException(_)) => Ok(()),
                _ => Err(call_error(&error)),
            },
        }
    }
}

/// How many of `events` were rejected: from the beginning up to an index (too old, expired) and from one on (too new).
fn rejected(info: &RejectedLogEventsInfo, events: usize) -> u64 {
    let count = |index: i32| usize::try_from(index).unwrap_or(0).min(events);
    let old = info.too_old_log_event_end_index().map_or(0, count);
    let expired = info.expired_log_event_end_index().map_or(0, count);
    let new = info.too_new_log_event_start_index().map_or(0, |index| events - count(index));
    (old.max(expired) + new).min(events) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_events_are_counted_from_both_ends() {
        let info = |old, expired, new| {
            RejectedLogEventsInfo::builder()
                .set_too_old_log_event_end_index(old)
                .set_expired_log_event_end_index(expired)
                .set_too_new_log_event_start_index(new)
                .build()
        };
        for (old, expired, new, count) in [
            (None, None, None, 0),
            (Some(2), None, None, 2),
            (Some(2), Some(3), None, 3),
            (None, None, Some(8), 2),
            (Some(1), None, Some(9), 2),
            (Some(99), Some(-1), Some(0), 10),
        ] {
            assert_eq!(rejected(&info(old, expired, new), 10), count, "{old:?} {expired:?} {new:?}");
        }
    }
}
