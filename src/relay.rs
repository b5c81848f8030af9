//! From the event to the answer: fetch, plan, claim, deliver, complete, for each object.

use std::collections::BTreeMap;
use std::future::Future;

use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::batch::{Header, Reader};
use crate::config::Config;
use crate::deliver::{Logs, Metrics, Progress, Report, deliver};
use crate::error::{Cause, FetchError, ObjectError, RelayError};
use crate::ledger::{self, Answer, Begun, Intent, LedgerStore};
use crate::notification::{self, Notification, ObjectRef};
use crate::plan::{Plan, PlanError, plan};
use crate::replay::{self, Lane};
use crate::telemetry;

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
    /// Who this is in the ledger: different for every attempt.
    pub owner: String,
    /// When work must be over.
    pub deadline: Instant,
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
            if let Err(cause) = self.relay_one(object, invocation).await {
                let (kind, temporary) = (cause.kind(), cause.is_temporary());
                error!(%object, kind, temporary, error = %cause, "batch not relayed");
                (self.print)(&telemetry::failed(temporary, (self.clock)()));
                errors.push(ObjectError { object: object.clone(), cause });
            }
        }
        errors
    }

    async fn relay_one(&self, object: &ObjectRef, invocation: &Invocation) -> Result<(), Cause> {
        if Instant::now() >= invocation.deadline {
            return Err(Cause::NotBegun);
        }
        let lane = Lane::of(&object.key)?;
        let bytes = self.store.get(object, self.config.max_batch_bytes).await?;
        let header =
            Reader::open(&bytes, self.config.max_batch_bytes).map_err(PlanError::from)?.header().clone();
        let now_ms = (self.clock)();
        let replay = match &lane {
            Lane::Live => None,
            Lane::Replay(name) => {
                let prefix = &self.config.ledger_prefix;
                let shift =
                    replay::shift_ms(&self.store, &object.bucket, prefix, name, &header, now_ms).await?;
                Some((replay::test_name(&header.test, name), shift))
            }
        };
        let batch = Batch { object, bytes: &bytes, header: &header, lane: &lane, replay, now_ms };
        let relayed = self.publish(&batch, invocation).await?;
        let Header { test, run, source, seq, .. } = &header;
        let live = lane == Lane::Live;
        let lane = lane.name();
        let now_ms = (self.clock)();
        match relayed {
            Relayed::Published(plan, report, attempt) => {
                let lag_ms = live.then(|| now_ms.saturating_sub(header.to_ms));
                (self.print)(&telemetry::relayed(&plan, &report, lag_ms, now_ms));
                let (metric_calls, log_calls) = (plan.metric_calls.len(), plan.log_calls.len());
                let Report { attempts, throttled, maybe_repeated, rejected_log_events } = report;
                info!(%object, lane, test, run, source, seq, attempt, requests = plan.requests, skipped_records = plan.skipped_records,
                    metric_calls, log_calls, attempts, throttled, maybe_repeated, rejected_log_events, lag_ms, "batch relayed");
            }
            Relayed::Duplicate => {
                (self.print)(&telemetry::skipped(now_ms));
                info!(%object, lane, test, run, source, seq,
                    "batch was relayed before: skipped. To publish it again, copy it to replays/<a new name>/<test>/<run>/<source>/");
            }
        }
        Ok(())
    }

    async fn publish(&self, batch: &Batch<'_>, invocation: &Invocation) -> Result<Relayed, Cause> {
        let object = batch.object;
        let mut plan = batch.plan(&self.config)?;
        let key = ledger::key(&self.config.ledger_prefix, batch.lane.name(), batch.header);
        let mut fingerprint = plan.fingerprint();
        let intent = Intent {
            bucket: &object.bucket,
            key: &key,
            owner: &invocation.owner,
            object: &object.to_string(),
            fingerprint: &fingerprint,
            settings: &self.plan_settings,
            calls: plan.len(),
            lease: self.config.lease,
        };
        let (claim, begun) = match ledger::claim(&self.store, &self.clock, &intent).await? {
            Answer::Done => return Ok(Relayed::Duplicate),
            Answer::Busy { until_ms } => return Err(Cause::Busy { until_ms }),
            Answer::Yours(claim, begun) => (claim, begun),
        };
        if begun.fingerprint != fingerprint
            && let Some(as_begun) = self.plan_as_begun(batch, &begun)?
        {
            plan = as_begun;
            fingerprint = plan.fingerprint();
        }
        if begun.fingerprint != fingerprint {
            let (done, calls) = (begun.progress.done.len(), begun.calls);
            self.release(claim, &begun.progress).await;
            return Err(Cause::PlanChanged {
                begun: begun.fingerprint,
                done,
                calls,
                found: fingerprint,
                key,
            });
        }
        let outcome = deliver(
            &plan,
            begun.progress,
            &self.metrics,
            &self.logs,
            &claim,
            invocation.deadline,
            &self.random,
        )
        .await;
        match outcome.result {
            Ok(()) => claim.complete().await.map_err(|error| Cause::Delivery(error.into()))?,
            Err(error) => {
                let Report { attempts, throttled, maybe_repeated, .. } = outcome.report;
                let done = outcome.progress.done.len();
                warn!(%object, done, calls = plan.len(), attempts, throttled, maybe_repeated, "delivery stopped");
                self.release(claim, &outcome.progress).await;
                return Err(error.into());
            }
        }
        Ok(Relayed::Published(plan, outcome.report, begun.attempt))
    }

    /// The plan under the settings that it was begun with; none when this version cannot read those any more.
    fn plan_as_begun(&self, batch: &Batch<'_>, begun: &Begun) -> Result<Option<Plan>, Cause> {
        let Ok(config) = Config::read(|name| begun.settings.get(name).cloned()) else { return Ok(None) };
        info!("the settings have changed since an earlier attempt: finishing with those that it began with");
        batch.plan(&config).map(Some)
    }

    async fn release(&self, claim: ledger::Claim<'_, S>, progress: &Progress) {
        if let Err(error) = claim.release(progress).await {
            // Nobody is misled: the next attempt waits for the end of the lease and doubts what is not recorded.
            warn!(%error, "the batch could not be released");
        }
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
