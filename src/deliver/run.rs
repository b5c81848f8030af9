//! Makes the calls of a plan: eight at a time, as often as it takes, recording how each ends.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    CallError, Checkpoint, CheckpointError, DeliveryError, Failure, Logs, MAX_PARALLEL, Metrics, Outcome,
    Progress, Report,
};
use crate::plan::{Call, LogCall, Plan};

/// Delay before the second attempt, at most; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Longest delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(10);

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
        state: Mutex::new(State { progress, waiting: todo.len(), ..State::default() }),
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
    /// Calls of which no attempt was begun yet.
    waiting: usize,
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
        self.state().waiting -= 1;
        let end = self.attempts(number).await;
        let gives_its_place = {
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
            state.waiting > 0
        };
        // Without a next call, no more are in doubt than there are places: most plans need no record on the way. How
        // the delivery ended is recorded in any case, by whoever asked for it.
        if gives_its_place {
            self.record().await;
        }
    }

    /// Attempts a call until it is done or fails for good; nothing when there was no time left for it.
    async fn attempts(&self, number: usize) -> Option<Result<(), CallError>> {
        let mut delay = FIRST_DELAY;
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
                if state.progress.uncertain.contains(&number) {
                    state.progress.repeated += 1;
                }
                state.under_way.insert(number);
            }
            let Ok(result) = timeout_at(self.deadline, self.attempt(number)).await else {
                // It stays under way: nobody knows how it ends.
                self.state().out_of_time = true;
                return None;
            };
            let mut doubt = false;
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
                                state.changes += 1;
                                doubt = true;
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
            if doubt {
                // Before it is repeated: should the process end then, the next attempt knows that it may have been.
                self.record().await;
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
