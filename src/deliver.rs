//! A plan → CloudWatch, call by call.
//!
//! CloudWatch has no token that would make a repeated call harmless, so what was delivered is recorded as it happens:
//! a call gives its place to the next one only when its end, good or bad, stands in the [`Checkpoint`]. Whatever kills
//! the process, at most [`MAX_PARALLEL`] calls are in doubt: the first ones, by number, whose end is not recorded.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::plan::{Call, LogCall, MetricCall, Plan};

/// Calls at the same time. CloudWatch takes 500 a second from an account by default, which all functions share.
pub const MAX_PARALLEL: usize = 8;

/// Delay before the second attempt, at most; it doubles with each further one.
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

/// Delivers the calls of `plan` that are not done yet.
///
/// Temporary failures are repeated until `deadline`; after it no attempt is begun, and those under way are given up.
/// `random` gives numbers from 0 to 1, for the delays between attempts.
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
        saved: tokio::sync::Mutex::new(0),
        stopped: Notify::new(),
        state: Mutex::new(State { progress, ..State::default() }),
    };
    if Instant::now() >= checkpoint.renew_at() {
        // It took long to come here: planning a large batch, or a slow answer.
        delivery.save(&mut *delivery.saved.lock().await).await;
    }
    let calls = stream::iter(todo).for_each_concurrent(MAX_PARALLEL, |number| delivery.call(number));
    tokio::select! {
        () = calls => {}
        () = delivery.keep_alive() => {}
        () = delivery.stopped.notified() => {}
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
    /// How many changes of the progress stand in the checkpoint; held while it is being written.
    saved: tokio::sync::Mutex<u64>,
    /// Rings when the checkpoint is lost: all calls are given up.
    stopped: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    /// How often the progress has changed.
    changes: u64,
    /// Calls of which an attempt was begun and has not ended.
    under_way: BTreeSet<usize>,
    report: Report,
    out_of_time: bool,
    /// Failures for good.
    failures: Vec<CallError>,
    /// The last temporary one.
    last_failure: Option<CallError>,
    lost: Option<CheckpointError>,
}

impl<M: Metrics, L: Logs, C: Checkpoint> Delivery<'_, M, L, C> {
    /// Makes one call, as often as it takes, and records how it ended.
    async fn call(&self, number: usize) {
        let end = self.attempts(number).await;
        let all_done = {
            let mut state = self.state();
            match end {
                None => return,
                Some(Ok(())) => {
                    state.progress.done.insert(number);
                    state.progress.uncertain.remove(&number);
                }
                Some(Err(error)) => {
                    state.progress.failed.insert(number);
                    state.failures.push(error);
                }
            }
            state.changes += 1;
            state.progress.done.len() == self.plan.len()
        };
        // When the whole plan is delivered, that is recorded in any case, by whoever asked for the delivery.
        if !all_done {
            self.record().await;
        }
    }

    /// Attempts a call until it is done or fails for good; nothing when there was no time left for it.
    async fn attempts(&self, number: usize) -> Option<Result<(), CallError>> {
        let mut delay = FIRST_DELAY;
        let mut counted = false;
        loop {
            {
                let mut state = self.state();
                if Instant::now() >= self.deadline {
                    state.out_of_time = true;
                }
                if Instant::now() >= self.checkpoint.valid_until() {
                    self.lose(&mut state, CheckpointError::Lapsed);
                }
                if state.lost.is_some() || state.out_of_time {
                    return None;
                }
                if !counted && state.progress.uncertain.contains(&number) {
                    counted = true;
                    state.progress.repeated += 1;
                }
                state.under_way.insert(number);
            }
            let Ok(result) = timeout_at(self.deadline, self.attempt(number)).await else {
                // It stays under way: nobody knows how it ends.
                self.state().out_of_time = true;
                return None;
            };
            {
                let mut state = self.state();
                state.under_way.remove(&number);
                match result {
                    Ok(()) => return Some(Ok(())),
                    Err(error) => {
                        match error.failure {
                            Failure::Throttled => state.report.throttled += 1,
                            Failure::Unknown => {
                                state.progress.uncertain.insert(number);
                            }
                            _ => {}
                        }
                        if !error.failure.is_temporary() {
                            return Some(Err(error));
                        }
                        state.last_failure = Some(error);
                    }
                }
            }
            // Full jitter: many relays that were throttled together do not come back together.
            let wait = delay.mul_f64((self.random)().clamp(0.0, 1.0));
            sleep_until(self.deadline.min(Instant::now() + wait)).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }

    async fn attempt(&self, number: usize) -> Result<(), CallError> {
        match self.plan.call(number) {
            Call::Metrics(call) => {
                self.state().report.attempts += 1;
                self.metrics.put_metric_data(call).await
            }
            Call::Logs(call) => match self.put_log_events(call).await {
                Err(error) if error.failure == Failure::NoStream => {
                    // Creating a stream twice does no harm: no doubt arises from it.
                    let harmless = |error: CallError| match error.failure {
                        Failure::Unknown => CallError { failure: Failure::NotSent, ..error },
                        _ => error,
                    };
                    self.state().report.attempts += 1;
                    self.logs.create_log_stream(&call.group, &call.stream).await.map_err(harmless)?;
                    self.put_log_events(call).await
                }
                other => other,
            },
        }
    }

    async fn put_log_events(&self, call: &LogCall) -> Result<(), CallError> {
        self.state().report.attempts += 1;
        let rejected = self.logs.put_log_events(call).await?;
        self.state().report.rejected_log_events += rejected;
        Ok(())
    }

    /// Records the progress. Calls that end while a record is being written go into the next one together.
    async fn record(&self) {
        let mine = self.state().changes;
        let mut saved = self.saved.lock().await;
        if *saved < mine && self.state().lost.is_none() {
            self.save(&mut saved).await;
        }
    }

    async fn save(&self, saved: &mut u64) {
        let (progress, changes) = {
            let state = self.state();
            (state.progress.clone(), state.changes)
        };
        let written = timeout_at(self.checkpoint.valid_until(), self.checkpoint.save(&progress)).await;
        match written.unwrap_or(Err(CheckpointError::Lapsed)) {
            Ok(()) => *saved = changes,
            Err(error) => self.lose(&mut self.state(), error),
        }
    }

    /// Renews the right to publish, long before it lapses.
    async fn keep_alive(&self) {
        loop {
            sleep_until(self.checkpoint.renew_at()).await;
            let mut saved = self.saved.lock().await;
            if Instant::now() >= self.checkpoint.renew_at() {
                self.save(&mut saved).await;
            }
            if self.state().lost.is_some() {
                return;
            }
        }
    }

    fn lose(&self, state: &mut State, error: CheckpointError) {
        state.lost.get_or_insert(error);
        self.stopped.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Never held across an await, and no holder panics; should one, the numbers in it are still the best known.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_outcome(self) -> Outcome {
        let calls = self.plan.len();
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let State { mut progress, mut report, failures, lost, under_way, last_failure, .. } = state;
        // What was given up on the way may still be carried out.
        progress.uncertain.extend(under_way);
        report.maybe_repeated = progress.repeated;
        let (failed, remaining) = (failures.len(), calls - progress.done.len());
        let example = failures.into_iter().next();
        let result = match (lost, example) {
            (Some(error), _) => Err(error.into()),
            (None, Some(example)) => Err(DeliveryError::Calls { calls, failed, example }),
            (None, None) if remaining > 0 => {
                Err(DeliveryError::OutOfTime { calls, remaining, last: last_failure })
            }
            (None, None) => Ok(()),
        };
        Outcome { report, progress, result }
    }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
