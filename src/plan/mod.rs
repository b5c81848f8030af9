//! Records → the exact CloudWatch calls that publish them.
//!
//! A plan is plain data, legal by construction (see [`limits`]) and the same whenever it is made from the same batch
//! and the same settings, so that a later attempt can take up where an earlier one stopped.

mod aggregate;
pub mod catalog;
mod fingerprint;
pub mod limits;
mod logs;
mod metrics;
pub mod names;
mod window;

use std::sync::Arc;

use thiserror::Error;

use crate::batch::{BatchError, Header, Reader, Record};
use crate::config::Config;
use crate::distribution::Sample;
use aggregate::Aggregate;
use catalog::Metric;
use logs::LogWriter;
pub use logs::log_fields;
pub use metrics::{encoded_bytes, encoded_call_bytes};
pub use window::Window;

/// The calls that publish one batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Calls of `PutMetricData`.
    pub metric_calls: Vec<MetricCall>,
    /// Calls of `PutLogEvents`.
    pub log_calls: Vec<LogCall>,
    /// Requests in the batch.
    pub requests: u64,
    /// Records of unknown kinds, which are in no call.
    pub skipped_records: u64,
}

/// One call of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call<'a> {
    /// Of `PutMetricData`.
    Metrics(&'a MetricCall),
    /// Of `PutLogEvents`.
    Logs(&'a LogCall),
}

impl Plan {
    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.metric_calls.len() + self.log_calls.len()
    }

    /// Whether there is nothing to publish.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The call with a number from 0 to [`len`](Self::len): first the metrics, then the logs.
    ///
    /// # Panics
    /// When there is no call with that number.
    pub fn call(&self, number: usize) -> Call<'_> {
        match self.metric_calls.get(number) {
            Some(call) => Call::Metrics(call),
            None => Call::Logs(&self.log_calls[number - self.metric_calls.len()]),
        }
    }
}

/// One call of `PutMetricData`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricCall {
    /// The namespace.
    pub namespace: Arc<str>,
    /// Up to [`limits::MAX_DATA_PER_CALL`] data.
    pub data: Vec<Datum>,
}

/// One datum: the values of one metric in one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// What was measured.
    pub metric: Metric,
    /// Name and value of each dimension.
    pub dimensions: Arc<[(&'static str, String)]>,
    /// Start of the interval, seconds since 1970.
    pub timestamp_s: i64,
    /// What was measured, in numbers.
    pub values: Values,
    /// Stored at a resolution of one second, not one minute.
    pub high_resolution: bool,
}

/// The numbers of a datum.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Different values in ascending order with their counts, at most [`limits::MAX_VALUES_PER_DATUM`].
    Samples(Arc<[Sample]>),
    /// What is known of values that nobody saw: CloudWatch has no percentiles of them.
    Statistics(Statistics),
}

/// A set of statistics, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// How many values there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The mean is not less; over a whole run, the least value.
    pub minimum: f64,
    /// The mean is not more; over a whole run, the greatest value.
    pub maximum: f64,
}

impl Datum {
    /// Its values; none if only statistics are known.
    pub fn samples(&self) -> &[Sample] {
        match &self.values {
            Values::Samples(samples) => samples,
            Values::Statistics(_) => &[],
        }
    }
}

/// One call of `PutLogEvents`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogCall {
    /// The log group.
    pub group: Arc<str>,
    /// The log stream.
    pub stream: Arc<str>,
    /// Events in the order of their time.
    pub events: Vec<LogEvent>,
}

/// One log event.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEvent {
    /// When, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// A JSON object.
    pub message: String,
}

/// Why a batch cannot be published. None of these goes away by trying again.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// The batch cannot be read.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// CloudWatch would not take the timestamps.
    #[error("expected times from {} to {} (what CloudWatch accepts now), found {} to {}{}",
        window::utc(.accepted.0), window::utc(.accepted.1), window::utc(.found.0), window::utc(.found.1),
        if .found.0 < .accepted.0 { ": too old to publish" } else { ": is the load generator's clock right?" })]
    OutsideWindow {
        /// First and last time that CloudWatch accepts, milliseconds since 1970.
        accepted: (i64, i64),
        /// First and last time in the batch.
        found: (i64, i64),
    },
    /// More endpoints × intervals than a real batch has.
    #[error(
        "expected at most {limit} pairs of endpoint (or status, or gauge) and interval, found more: upload smaller \
         batches (--relay-flush-seconds) or raise RELAY_RESOLUTION_SECONDS"
    )]
    TooManyIntervals {
        /// The limit.
        limit: usize,
    },
    /// More different values than the relay holds in memory.
    #[error("expected at most {limit} MB of different values, found more: upload smaller batches")]
    TooManyValues {
        /// The limit in megabytes.
        limit: usize,
    },
    /// More log events than the relay holds in memory.
    #[error(
        "expected at most {limit} bytes of log events (RELAY_MAX_BATCH_MB), found more: lower RELAY_LOG_SAMPLE or set \
         RELAY_LOG_REQUESTS to `failures` or `none`"
    )]
    TooManyLogEvents {
        /// The limit in bytes.
        limit: u64,
    },
}

impl PlanError {
    /// A stable name of the cause, for the error type that Lambda reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Batch(error) => error.kind(),
            Self::OutsideWindow { found, accepted } if found.0 < accepted.0 => "TimestampTooOld",
            Self::OutsideWindow { .. } => "TimestampTooNew",
            Self::TooManyIntervals { .. } => "TooManyIntervals",
            Self::TooManyValues { .. } => "TooManyValues",
            Self::TooManyLogEvents { .. } => "TooManyLogEvents",
        }
    }
}

/// Makes the plan for a batch; `now_ms` (milliseconds since 1970) decides only whether it can still be published.
///
/// # Errors
/// When the batch cannot be read, or CloudWatch would not take what is in it.
pub fn plan(mut batch: Reader<'_>, config: &Config, now_ms: i64) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(config, batch.header());
    for record in batch.by_ref() {
        planner.add(record?)?;
    }
    let mut plan = planner.finish(now_ms)?;
    plan.skipped_records = batch.skipped();
    Ok(plan)
}

/// Takes records one by one, so that no batch is ever held in memory as a whole.
pub struct Planner<'a> {
    config: &'a Config,
    header: Header,
    aggregate: Aggregate,
    logs: Option<LogWriter>,
    window: Window,
    requests: u64,
}

impl<'a> Planner<'a> {
    /// Begins the plan of one batch.
    pub fn new(config: &'a Config, header: &Header) -> Self {
        Self {
            config,
            header: header.clone(),
            aggregate: Aggregate::new(config.resolution_seconds),
            logs: config.log_group.as_deref().map(|group| LogWriter::new(group, config, header)),
            window: Window::default(),
            requests: 0,
        }
    }

    /// Takes one record.
    ///
    /// # Errors
    /// When the batch has more intervals or log events than the relay takes.
    pub fn add(&mut self, record: Record) -> Result<(), PlanError> {
        match &record {
            Record::Requests(group) => {
                self.requests += group.columns.len() as u64;
                let at_ms = group.columns.at_ms();
                let ends = at_ms
                    .iter()
                    .fold((i64::MAX, i64::MIN), |(first, last), at_ms| (first.min(*at_ms), last.max(*at_ms)));
                if !at_ms.is_empty() {
                    for at_ms in [ends.0, ends.1] {
                        self.window.include(self.aggregate.interval_ms(at_ms));
                        self.window.include(at_ms);
                    }
                }
            }
            Record::Users(users) => self.window.include(self.aggregate.interval_ms(users.at_ms)),
            Record::Snapshot(snapshot) => {
                self.requests = self.requests.saturating_add(snapshot.requests());
                let at_ms = snapshot.published_at_ms();
                self.window.include(self.aggregate.interval_ms(at_ms));
                self.window.include(at_ms);
            }
            Record::Event(event) => self.window.include(event.at_ms),
            Record::Exception(exception) => self.window.include(exception.at_ms),
        }
        if let Some(logs) = &mut self.logs {
            logs.add(&record)?;
        }
        self.aggregate.add(record)
    }

    /// The plan for all records taken.
    ///
    /// # Errors
    /// When CloudWatch would not take the batch's timestamps.
    pub fn finish(mut self, now_ms: i64) -> Result<Plan, PlanError> {
        self.aggregate.fold_endpoints(self.config.max_endpoints);
        let mut log_calls = Vec::new();
        if let Some(mut logs) = self.logs {
            if logs.add_summaries(&mut self.aggregate)? {
                self.window.include(self.header.to_ms);
            }
            log_calls = logs.into_calls();
        }
        self.window.check(now_ms)?;
        let data = metrics::data(&mut self.aggregate, self.config, &self.header);
        let metric_calls = metrics::calls(data, &self.config.namespace);
        Ok(Plan { metric_calls, log_calls, requests: self.requests, skipped_records: 0 })
    }
}

#[cfg(test)]
mod tests;
