//! CloudWatch's limits, each with its source.
//!
//! Metrics: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html> and `API_MetricDatum`.
//! Logs: <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>.

/// Data in one `PutMetricData` call.
pub const MAX_DATA_PER_CALL: usize = 1000;

/// Bytes of one `PutMetricData` call before compression. The limit is 1 MB, and the documentation does not say
/// whether before or after compression; AWS's own agent stops here, too.
pub const MAX_METRIC_CALL_BYTES: usize = 999_000;

/// Different values in one datum.
pub const MAX_VALUES_PER_DATUM: usize = 150;

/// Characters of a dimension's value.
pub const MAX_DIMENSION_VALUE_CHARS: usize = 1024;

/// How old a datum or log event may be, in milliseconds: two weeks.
pub const MAX_AGE_MS: i64 = 14 * 24 * 3600 * 1000;

/// How far in the future a datum or log event may lie, in milliseconds: two hours.
pub const MAX_FUTURE_MS: i64 = 2 * 3600 * 1000;

/// Kept from both ends of that window, for the time between making a plan and delivering it: a Lambda function runs at
/// most 15 minutes.
pub const WINDOW_MARGIN_MS: i64 = 15 * 60 * 1000;

/// Log events in one `PutLogEvents` call.
pub const MAX_EVENTS_PER_CALL: usize = 10_000;

/// Bytes of one `PutLogEvents` call: the messages in UTF-8, and [`EVENT_OVERHEAD_BYTES`] for each.
pub const MAX_LOG_CALL_BYTES: usize = 1_048_576;

/// What each log event counts beyond its message.
pub const EVENT_OVERHEAD_BYTES: usize = 26;

/// The events of one call must lie within 24 hours, in milliseconds.
pub const MAX_LOG_CALL_SPAN_MS: i64 = 24 * 3600 * 1000;

/// Characters of a log stream's name.
pub const MAX_STREAM_NAME_CHARS: usize = 512;
