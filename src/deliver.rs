//! A plan → CloudWatch, call by call.
//!
//! CloudWatch has no token that would make a repeated call harmless, so what was delivered is recorded as it happens:
//! a call gives its place to the next one only when its success stands in the [`Checkpoint`]. Whatever kills the
//! process, at most [`MAX_PARALLEL`] calls are in doubt.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use crate::plan::{Call, LogCall, MetricCall, Plan};

/// Calls at the same time. CloudWatch takes 500 a second from an account by default, which all functions share.
pub const MAX_PARALLEL: usize = 8;

/// Attempts for one call within one invocation; with the delays below they take half a minute at the most.
const MAX_ATTEMPTS: u32 = 8;

/// Delay before the second attempt; each further one waits up to twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Longest delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(10);

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

/// Remembers which calls are done.
pub trait Checkpoint {
    /// Records the progress of the whole plan.
    ///
    /// # Errors
    /// When it cannot be recorded: nothing more may be published then.
    fn save(&self, progress: &Progress) -> impl Future<Output = Result<(), CheckpointError>> + Send;

    /// How long the last record allows to go on without another.
    fn valid_for(&self) -> Duration;
}

/// Progress cannot be recorded.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct CheckpointError(pub String);

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
    /// Whether another attempt can succeed soon.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Throttled | Self::Unknown | Self::NotSent)
    }
}

/// What happened in one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls made, unsuccessful ones included.
    pub attempts: u64,
    /// Answers that said "too many calls".
    pub throttled: u64,
    /// Calls that were made again although an earlier attempt may have been carried out: their samples or events may
    /// be in CloudWatch twice.
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

/// Which calls of a plan are done, by their number in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Calls that are done.
    pub done: BTreeSet<usize>,
    /// Calls that are not known to be done, but may be.
    pub uncertain: BTreeSet<usize>,
}

/// Why a plan was not delivered whole.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeliveryError {
    /// Calls failed.
    #[error("{failed} of {calls} calls failed, the first with {first}")]
    Calls {
        /// Calls of the plan.
        calls: usize,
        /// Calls that failed.
        failed: usize,
        /// The first failure.
        first: CallError,
    },
    /// The invocation's time is nearly over.
    #[error("out of time with {remaining} of {calls} calls to make: the next attempt goes on from there")]
    OutOfTime {
        /// Calls of the plan.
        calls: usize,
        /// Calls that are not done.
        remaining: usize,
    },
    /// Progress cannot be recorded.
    #[error("progress cannot be recorded: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// Delivers the calls of `plan` that are not done yet.
///
/// After `deadline` no attempt is begun, and those under way are given up. `random` gives numbers from 0 to 1, for the
/// delays between attempts.
pub async fn deliver(
    plan: &Plan,
    progress: Progress,
    metrics: &impl Metrics,
    logs: &impl Logs,
    checkpoint: &impl Checkpoint,
    deadline: Instant,
    random: &(dyn Fn() -> f64 + Sync),
) -> Outcome {
    let todo: Vec<usize> = (0..plan.len()).filter(|number| !progress.done.contains(number)).collect();
    let delivery = Delivery {
        plan,
        metrics,
        logs,
        checkpoint,
        deadline,
        random,
        saved: tokio::sync::Mutex::new(progress.done.clone()),
        state: Mutex::new(State { progress, ..State::default() }),
    };
    let calls = stream::iter(todo).for_each_concurrent(MAX_PARALLEL, |number| delivery.call(number));
    tokio::select! {
        () = calls => {}
        () = delivery.keep_alive() => {}
    }
    delivery.into_outcome()
}

struct Delivery<'a, M, L, C> {
    plan: &'a Plan,
    metrics: &'a M,
    logs: &'a L,
    checkpoint: &'a C,
    deadline: Instant,
    random: &'a (dyn Fn() -> f64 + Sync),
    /// The calls that stand in the checkpoint; held while it is being written.
    saved: tokio::sync::Mutex<BTreeSet<usize>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    report: Report,
    failures: Vec<CallError>,
    checkpoint_failure: Option<CheckpointError>,
}

impl<M: Metrics, L: Logs, C: Checkpoint> Delivery<'_, M, L, C> {
    /// Makes one call, as often as it takes, and records it.
    async fn call(&self, number: usize) {
        if self.state().checkpoint_failure.is_some() {
            return;
        }
        match self.attempts(number).await {
            Ok(true) => self.record(number).await,
            Ok(false) => {}
            Err(error) => self.state().failures.push(error),
        }
    }

    /// True when the call is done, false when there was no time left for it.
    async fn attempts(&self, number: usize) -> Result<bool, CallError> {
        let mut delay = FIRST_DELAY;
        let mut repeated = false;
        let mut attempt = 0;
        loop {
            if Instant::now() >= self.deadline {
                return Ok(false);
            }
            attempt += 1;
            {
                let mut state = self.state();
                state.report.attempts += 1;
                if !repeated && state.progress.uncertain.contains(&number) {
                    repeated = true;
                    state.report.maybe_repeated += 1;
                }
            }
            let Ok(result) = timeout_at(self.deadline, self.attempt(number)).await else {
                self.state().progress.uncertain.insert(number);
                return Ok(false);
            };
            let Err(error) = result else { return Ok(true) };
            match error.failure {
                Failure::Throttled => self.state().report.throttled += 1,
                Failure::Unknown => {
                    self.state().progress.uncertain.insert(number);
                }
                _ => {}
            }
            if !error.failure.is_temporary() || attempt == MAX_ATTEMPTS {
                return Err(error);
            }
            // Full jitter: many relays that were throttled together do not come back together.
            sleep(delay.mul_f64((self.random)().clamp(0.0, 1.0))).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }

    async fn attempt(&self, number: usize) -> Result<(), CallError> {
        match self.plan.call(number) {
            Call::Metrics(call) => self.metrics.put_metric_data(call).await,
            Call::Logs(call) => {
                let rejected = match self.logs.put_log_events(call).await {
                    Err(error) if error.failure == Failure::NoStream => {
                        // Creating a stream twice does no harm: no doubt arises from it.
                        let harmless = |error: CallError| match error.failure {
                            Failure::Unknown => CallError { failure: Failure::NotSent, ..error },
                            _ => error,
                        };
                        self.logs.create_log_stream(&call.group, &call.stream).await.map_err(harmless)?;
                        self.logs.put_log_events(call).await?
                    }
                    other => other?,
                };
                self.state().report.rejected_log_events += rejected;
                Ok(())
            }
        }
    }

    /// Records a call that is done. Calls that finish while a record is being written go into the next one together.
    async fn record(&self, number: usize) {
        {
            let mut state = self.state();
            state.progress.done.insert(number);
            state.progress.uncertain.remove(&number);
            if state.progress.done.len() == self.plan.len() {
                // The whole plan is delivered: that is recorded in any case, by whoever asked for the delivery.
                return;
            }
        }
        let mut saved = self.saved.lock().await;
        if !saved.contains(&number) {
            self.save(&mut saved).await;
        }
    }

    async fn save(&self, saved: &mut BTreeSet<usize>) {
        let progress = self.state().progress.clone();
        match self.checkpoint.save(&progress).await {
            Ok(()) => *saved = progress.done,
            Err(error) => self.state().checkpoint_failure = Some(error),
        }
    }

    /// Renews the checkpoint long before it lapses; ends when that fails, and with it all calls.
    async fn keep_alive(&self) {
        loop {
            sleep(self.checkpoint.valid_for() / 2).await;
            self.save(&mut *self.saved.lock().await).await;
            if self.state().checkpoint_failure.is_some() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Never held across an await, and no holder panics; should one, the numbers in it are still the best known.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_outcome(self) -> Outcome {
        let calls = self.plan.len();
        let State { progress, report, failures, checkpoint_failure } =
            self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (failed, remaining) = (failures.len(), calls - progress.done.len());
        let result = match (checkpoint_failure, failures.into_iter().next()) {
            (Some(error), _) => Err(error.into()),
            (None, Some(first)) => Err(DeliveryError::Calls { calls, failed, first }),
            (None, None) if remaining > 0 => Err(DeliveryError::OutOfTime { calls, remaining }),
            (None, None) => Ok(()),
        };
        Outcome { report, progress, result }
    }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
