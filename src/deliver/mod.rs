//! A plan → CloudWatch, call by call.
//!
//! CloudWatch has no token that would make a repeated call harmless, so what was delivered is recorded as it happens:
//! a call gives its place to the next one only when its end, good or bad, stands in the [`Checkpoint`]. Whatever kills
//! the process, at most [`MAX_PARALLEL`] calls are in doubt: the first ones, by number, whose end is not recorded.

mod run;

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::future::Future;
use thiserror::Error;
use tokio::time::Instant;

use crate::plan::{LogCall, MetricCall};
pub use run::deliver;

/// Calls at the same time. CloudWatch takes 500 a second from an account by default, which all functions share.
pub const MAX_PARALLEL: usize = 8;

/// Publishes metrics.
pub trait Metrics: Sync {
    /// Makes one call of `PutMetricData`.
    fn put_metric_data(&self, call: &MetricCall) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// Publishes log events.
pub trait Logs: Sync {
    /// Makes one call of `PutLogEvents`; the answer is the number of events that were rejected for good.
    fn put_log_events(&self, call: &LogCall) -> impl Future<Output = Result<u64, CallError>> + Send;

    /// Creates a log stream; one that exists already is as good.
    fn create_log_stream(
        &self,
        group: &str,
        stream: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// Remembers how far a delivery has come, and holds the right to go on with it.
pub trait Checkpoint: Sync {
    /// Records the progress of the whole plan, and renews the right.
    ///
    /// # Errors
    /// When it cannot be recorded: nothing more may be published then.
    fn save(&self, progress: &Progress) -> impl Future<Output = Result<(), CheckpointError>> + Send;

    /// When the right is due to be renewed.
    fn renew_at(&self) -> Instant;

    /// When the right lapses: after that, another attempt may be publishing.
    fn valid_until(&self) -> Instant;
}

/// Progress cannot be recorded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// Another attempt has the batch.
    #[error("{0}: taken over by another attempt")]
    TakenOver(String),
    /// The record did not answer in time.
    #[error("no answer before the right to publish lapsed")]
    Lapsed,
    /// The record cannot be written now.
    #[error("{0}")]
    Unavailable(String),
    /// The record may not be written.
    #[error("{0}")]
    Denied(String),
}

/// Why a call failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{code}: {message}")]
pub struct CallError {
    /// What to do about it.
    pub failure: Failure,
    /// The service's name of the error, or what happened to the connection.
    pub code: String,
    /// The service's explanation.
    pub message: String,
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too many calls; this one was not carried out.
    Throttled,
    /// The service could not answer; whether the call was carried out is not known.
    Unknown,
    /// Nothing reached the service: no connection, no credentials.
    NotSent,
    /// The log stream does not exist.
    NoStream,
    /// The role does not allow it.
    Denied,
    /// The service does not accept the call, whenever it is made.
    Rejected,
}

impl Failure {
    /// Whether another attempt can succeed soon. (A stream that was just created may take a moment to be there.)
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Throttled | Self::Unknown | Self::NotSent | Self::NoStream)
    }
}

/// What happened in one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests sent to publish, unsuccessful ones included.
    pub attempts: u64,
    /// Answers that said "too many calls".
    pub throttled: u64,
    /// Calls that were made again although an earlier attempt may have been carried out, counted over all invocations
    /// that the batch took: their samples or events may be in CloudWatch twice.
    pub maybe_repeated: u64,
    /// Log events that CloudWatch Logs took note of and threw away: too old, too new, or past the group's retention.
    pub rejected_log_events: u64,
}

/// How a delivery ended.
#[derive(Debug)]
pub struct Outcome {
    /// What happened on the way.
    pub report: Report,
    /// Which calls are done.
    pub progress: Progress,
    /// Whether the plan was delivered whole.
    pub result: Result<(), DeliveryError>,
}

/// How far the calls of a plan have come, by their number in it. Every other call is untouched, or under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Calls that are done.
    pub done: BTreeSet<usize>,
    /// Calls that failed for good in this attempt.
    #[serde(default)]
    pub failed: BTreeSet<usize>,
    /// Calls that are not known to be done, but may be.
    pub uncertain: BTreeSet<usize>,
    /// How many calls were made again although they may have been carried out before, in all attempts together.
    #[serde(default)]
    pub repeated: u64,
}

impl Progress {
    /// The progress that another attempt finds after one that ended without a word: whatever was under way is in
    /// doubt, and what failed is to be tried again.
    pub fn after_a_crash(&self, calls: usize) -> Self {
        let open = (0..calls).filter(|call| !self.done.contains(call) && !self.failed.contains(call));
        let pool: BTreeSet<usize> = open.take(MAX_PARALLEL).collect();
        Self {
            done: self.done.clone(),
            failed: BTreeSet::new(),
            uncertain: &self.uncertain | &pool,
            // Those that were in doubt already have perhaps been repeated before the end, unrecorded.
            repeated: self.repeated + (&self.uncertain & &pool).len() as u64,
        }
    }

    /// The progress that another attempt finds after one that ended in order.
    pub fn after_a_stop(&self) -> Self {
        Self { failed: BTreeSet::new(), ..self.clone() }
    }
}

/// Why a plan was not delivered whole.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeliveryError {
    /// Calls failed.
    #[error("{failed} of {calls} calls failed, one with {example}")]
    Calls {
        /// Calls of the plan.
        calls: usize,
        /// Calls that failed.
        failed: usize,
        /// The first failure.
        example: CallError,
    },
    /// The invocation's time is nearly over.
    #[error("out of time with {remaining} of {calls} calls to make{}; the next attempt goes on from there",
        .last.as_ref().map_or_else(String::new, |last| format!(" (the last failure was {last})")))]
    OutOfTime {
        /// Calls of the plan.
        calls: usize,
        /// Calls that are not done.
        remaining: usize,
        /// The last failure that was hoped to pass.
        last: Option<CallError>,
    },
    /// Progress cannot be recorded.
    #[error("the right to publish was lost: {0}")]
    Checkpoint(#[from] CheckpointError),
}

#[cfg(test)]
mod tests;
