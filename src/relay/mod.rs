//! From the event to the answer: fetch, plan, claim, deliver, complete, for each object.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use crate::batch::{Header, Reader};
use crate::config::Config;
use crate::deliver::{CheckpointError, DeliveryError, Logs, Metrics, Outcome, Progress, Report, deliver};
use crate::error::{Cause, FetchError, ObjectError, RelayError};
use crate::ledger::{self, Answer, Begun, Intent, LedgerStore};
use crate::notification::{self, Notification, ObjectRef};
use crate::plan::{Plan, PlanError, plan};
use crate::replay::{self, Lane};
use crate::telemetry;

/// Between two attempts to record that a batch is published; the client has made several within each of them.
const BETWEEN_RECORDS: Duration = Duration::from_secs(1);

/// Fetches batches.
pub trait ObjectStore: Sync {
    /// The bytes of an object of at most `limit` bytes.
    fn get(&self, object: &ObjectRef, limit: u64)
    -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

/// The relay with all that it works with.
pub struct Relay<S, M, L> {
    /// The settings.
    pub config: Config,
    /// Those of them that decide what a plan looks like, as [`Config::read`] takes them.
    pub plan_settings: BTreeMap<String, String>,
    /// Batches and the ledger.
    pub store: S,
    /// CloudWatch metrics.
    pub metrics: M,
    /// CloudWatch Logs.
    pub logs: L,
    /// Milliseconds since 1970.
    pub clock: fn() -> i64,
    /// Numbers from 0 to 1.
    pub random: fn() -> f64,
    /// Takes a line of [`telemetry`].
    pub print: fn(&str),
}

/// One invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its id; Lambda repeats an event under the same one.
    pub request_id: String,
    /// When publishing must be over.
    pub deadline: Instant,
    /// When recording how far it came must be over, too.
    pub end: Instant,
}

/// One object, fetched.
struct Batch<'a> {
    object: &'a ObjectRef,
    bytes: &'a [u8],
    /// As it stands in the batch.
    header: &'a Header,
    lane: &'a Lane,
    /// The test's name and the shift in milliseconds of a replay.
    replay: Option<(String, i64)>,
    now_ms: i64,
}

impl Batch<'_> {
    fn plan(&self, config: &Config) -> Result<Plan, Cause> {
        let mut reader = Reader::open(self.bytes, config.max_batch_bytes).map_err(PlanError::from)?;
        if let Some((test, shift_ms)) = &self.replay {
            reader = reader.replayed_as(test.clone(), *shift_ms).map_err(PlanError::from)?;
        }
        plan(reader, config, self.now_ms).map_err(|error| match error {
            PlanError::OutsideWindow { .. } if self.replay.is_some() => Cause::ReplayWindow(error),
            PlanError::OutsideWindow { .. } => Cause::LiveWindow(error),
            error => error.into(),
        })
    }
}

/// How one object's relaying ended well.
#[derive(Debug)]
enum Relayed {
    /// It is published now.
    Published(Plan, Report, u32),
    /// It was published before.
    Duplicate,
}

impl<S: ObjectStore + LedgerStore, M: Metrics, L: Logs> Relay<S, M, L> {
    /// Relays all objects of an event and answers as its envelope asks.
    ///
    /// # Errors
    /// When the event is no notification, or an object of it could not be relayed. Messages of a queue are answered
    /// one by one instead.
    pub async fn handle(&self, event: &Value, invocation: &Invocation) -> Result<Value, RelayError> {
        match notification::parse(event)? {
            Notification::Whole(objects) => {
                let errors = self.relay_all(&objects, invocation).await;
                if errors.is_empty() {
                    Ok(json!({ "objects": objects.len() }))
                } else {
                    Err(RelayError::Objects(errors))
                }
            }
            Notification::Queue(messages) => {
                let mut failures = Vec::new();
                for message in messages {
                    let failed = match &message.objects {
                        Ok(objects) => !self.relay_all(objects, invocation).await.is_empty(),
                        Err(cause) => {
                            error!(message_id = message.id, error = %cause, "message cannot be read");
                            true
                        }
                    };
                    if failed {
                        failures.push(json!({ "itemIdentifier": message.id }));
                    }
                }
                Ok(json!({ "batchItemFailures": failures }))
            }
        }
    }

    /// Tries each object; one that fails does not keep the others.
    async fn relay_all(&self, objects: &[ObjectRef], invocation: &Invocation) -> Vec<ObjectError> {
        let mut errors = Vec::new();
        for object in objects {
            // Boxed: a future that holds all stages at once is deeper than the compiler likes.
            if let Err(cause) = Box::pin(self.relay_one(object, invocation)).await {
                let (kind, temporary) = (cause.kind(), cause.is_temporary());
                let outcome = if temporary { "delayed" } else { "refused" };
                error!(%object, outcome, kind, error = %cause, "batch not relayed");
                (self.print)(&telemetry::failed(temporary, (self.clock)()));
                errors.push(ObjectError { object: object.clone(), cause });
            }
        }
        errors
    }

    async fn relay_one(&self, object: &ObjectRef, invocation: &Invocation) -> Result<(), Cause> {
        let lane = Lane::of(&object.key)?;
        let bytes =
            in_time(invocation.deadline, self.store.get(object, self.config.max_batch_bytes)).await??;
        let header =
            Reader::open(&bytes, self.config.max_batch_bytes).map_err(PlanError::from)?.header().clone();
        let now_ms = (self.clock)();
        let replay = match &lane {
            Lane::Live => None,
            Lane::Replay(name) => {
                let prefix = &self.config.ledger_prefix;
                let shift = replay::shift_ms(&self.store, &object.bucket, prefix, name, &header, now_ms);
                let shift_ms = in_time(invocation.deadline, shift).await??;
                Some((replay::test_name(&header.test, name), shift_ms))
            }
        };
        let batch = Batch { object, bytes: &bytes, header: &header, lane: &lane, replay, now_ms };
        match Box::pin(self.publish(&batch, invocation)).await? {
            Relayed::Published(plan, report, attempt) => self.tell_published(&batch, &plan, &report, attempt),
            Relayed::Duplicate => {
                (self.print)(&telemetry::skipped((self.clock)()));
                let Header { test, run, source, seq, .. } = &header;
                info!(%object, outcome = "skipped", lane = lane.name(), test, run, source, seq,
                    "batch was relayed before: skipped. To publish it again, copy it to replays/<a new name>/<test>/<run>/<source>/");
            }
        }
        Ok(())
    }

    async fn publish(&self, batch: &Batch<'_>, invocation: &Invocation) -> Result<Relayed, Cause> {
        let (object, deadline) = (batch.object, invocation.deadline);
        let key = ledger::key(&self.config.ledger_prefix, batch.lane.name(), batch.header);
        let plan = match batch.plan(&self.config) {
            Ok(plan) => plan,
            Err(error @ Cause::Plan(PlanError::Batch(_))) => return Err(error),
            // What can no longer be published may have been, in time: then nothing is wrong.
            Err(error) => {
                let done = in_time(deadline, ledger::is_done(&self.store, &object.bucket, &key)).await?;
                return if done { Ok(Relayed::Duplicate) } else { Err(error) };
            }
        };
        let fingerprint = plan.fingerprint();
        // Lambda repeats an event under its request id, and an event may name a batch twice: the nonce tells the
        // attempts apart.
        let nonce = ((self.random)() * (1_u64 << 53) as f64) as u64;
        let intent = Intent {
            bucket: &object.bucket,
            key: &key,
            owner: &format!("{}/{nonce:014x}", invocation.request_id),
            object: &object.to_string(),
            fingerprint: &fingerprint,
            settings: &self.plan_settings,
            calls: plan.len(),
            lease: self.config.lease,
        };
        let (claim, begun) =
            match in_time(deadline, ledger::claim(&self.store, &self.clock, &intent)).await?? {
                Answer::Done => return Ok(Relayed::Duplicate),
                Answer::Busy { until_ms } => return Err(Cause::Busy { until_ms }),
                Answer::Yours(claim, begun) => (claim, begun),
            };
        let plan = match self.plan_as_begun(batch, plan, &fingerprint, &begun, &key) {
            Ok(plan) => plan,
            Err(cause) => {
                self.release(claim, &begun.progress, invocation).await;
                return Err(cause);
            }
        };
        let Outcome { report, progress, result } =
            deliver(&plan, begun.progress, &self.metrics, &self.logs, &claim, deadline, &self.random).await;
        let result = match result {
            Ok(()) => complete(&claim, invocation.end).await,
            Err(error) => {
                self.release(claim, &progress, invocation).await;
                Err(error.into())
            }
        };
        if let Err(cause) = result {
            let Report { attempts, throttled, maybe_repeated, rejected_log_events } = report;
            (self.print)(&telemetry::stopped(&report, (self.clock)()));
            warn!(%object, done = progress.done.len(), uncertain = progress.uncertain.len(), calls = plan.len(), attempts,
                throttled, maybe_repeated, rejected_log_events, "delivery stopped");
            return Err(cause);
        }
        Ok(Relayed::Published(plan, report, begun.attempt))
    }

    /// The plan to deliver: an earlier attempt's, if one has begun, made again under the settings that it began with.
    fn plan_as_begun(
        &self,
        batch: &Batch<'_>,
        plan: Plan,
        fingerprint: &str,
        begun: &Begun,
        key: &str,
    ) -> Result<Plan, Cause> {
        if begun.fingerprint == fingerprint {
            return Ok(plan);
        }
        let mut found = fingerprint.to_owned();
        if let Ok(config) = Config::read(|name| begun.settings.get(name).cloned()) {
            info!(
                "the settings have changed since an earlier attempt: finishing with those that it began with"
            );
            let plan = batch.plan(&config)?;
            found = plan.fingerprint();
            if begun.fingerprint == found {
                return Ok(plan);
            }
        }
        let (done, calls) = (begun.progress.done.len(), begun.calls);
        Err(Cause::PlanChanged { begun: begun.fingerprint.clone(), done, calls, found, key: key.to_owned() })
    }

    async fn release(&self, claim: ledger::Claim<'_, S>, progress: &Progress, invocation: &Invocation) {
        let released = in_time(invocation.end, claim.release(progress)).await;
        // Otherwise nobody is misled: the next attempt waits for the end of the lease and doubts what is not recorded.
        match released {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the batch could not be released"),
            Err(_) => warn!("there was no time to release the batch"),
        }
    }

    fn tell_published(&self, batch: &Batch<'_>, plan: &Plan, report: &Report, attempt: u32) {
        let now_ms = (self.clock)();
        let live = *batch.lane == Lane::Live;
        let lag_ms = live.then(|| now_ms.saturating_sub(batch.header.to_ms));
        (self.print)(&telemetry::relayed(plan, report, lag_ms, now_ms));
        let Header { test, run, source, seq, .. } = batch.header;
        let Plan { requests, skipped_records, metric_calls, log_calls } = plan;
        let Report { attempts, throttled, maybe_repeated, rejected_log_events } = report;
        info!(object = %batch.object, outcome = "relayed", lane = batch.lane.name(), test, run, source, seq, attempt, requests, skipped_records,
            metric_calls = metric_calls.len(), log_calls = log_calls.len(), attempts, throttled, maybe_repeated,
            rejected_log_events, lag_ms, "batch relayed");
    }
}

/// Records that the batch is published, however often that takes: without it, another attempt would publish again.
async fn complete<S: LedgerStore>(claim: &ledger::Claim<'_, S>, end: Instant) -> Result<(), Cause> {
    let attempts = async {
        loop {
            match claim.complete().await {
                Err(CheckpointError::Unavailable(error)) => {
                    warn!(error, "the batch is published, but that is not recorded yet")
                }
                other => return other,
            }
            sleep(BETWEEN_RECORDS).await;
        }
    };
    in_time(end, attempts).await?.map_err(|error| DeliveryError::Checkpoint(error).into())
}

/// Waits for something until a time.
async fn in_time<T>(end: Instant, work: impl Future<Output = T>) -> Result<T, Cause> {
    timeout_at(end, work).await.map_err(|_| Cause::OutOfTime)
}

#[cfg(test)]
mod tests;
