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

/// The first part of a ledger key for batches of a running test.
const LIVE: &str = "live";

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
}

/// One invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Who this is in the ledger: different for every attempt.
    pub owner: String,
    /// When work must be over.
    pub deadline: Instant,
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
                errors.push(ObjectError { object: object.clone(), cause });
            }
        }
        errors
    }

    async fn relay_one(&self, object: &ObjectRef, invocation: &Invocation) -> Result<(), Cause> {
        if Instant::now() >= invocation.deadline {
            return Err(Cause::NotBegun);
        }
        let bytes = self.store.get(object, self.config.max_batch_bytes).await?;
        let header = self.open(&bytes)?.header().clone();
        let relayed = self.publish(object, &bytes, &header, invocation).await?;
        let Header { test, run, source, seq, .. } = &header;
        match relayed {
            Relayed::Published(plan, report, attempt) => {
                let lag_ms = (self.clock)() - header.to_ms;
                let (metric_calls, log_calls) = (plan.metric_calls.len(), plan.log_calls.len());
                let Report { attempts, throttled, maybe_repeated, rejected_log_events } = report;
                info!(%object, test, run, source, seq, attempt, requests = plan.requests, skipped_records = plan.skipped_records,
                    metric_calls, log_calls, attempts, throttled, maybe_repeated, rejected_log_events, lag_ms, "batch relayed");
            }
            Relayed::Duplicate => info!(%object, test, run, source, seq, "batch was relayed before: skipped"),
        }
        Ok(())
    }

    async fn publish(
        &self,
        object: &ObjectRef,
        bytes: &[u8],
        header: &Header,
        invocation: &Invocation,
    ) -> Result<Relayed, Cause> {
        let mut plan = plan(self.open(bytes)?, &self.config, (self.clock)())?;
        let key = ledger::key(&self.config.ledger_prefix, LIVE, header);
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
        if begun.fingerprint != fingerprint {
            plan = self.plan_as_begun(bytes, &begun, plan)?;
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

    /// The plan under the settings that it was begun with; when those cannot be read any more, the plan as it is.
    fn plan_as_begun(&self, bytes: &[u8], begun: &Begun, plan_now: Plan) -> Result<Plan, PlanError> {
        match Config::read(|name| begun.settings.get(name).cloned()) {
            Ok(config) => {
                info!(
                    "the settings have changed since an earlier attempt: finishing with those that it began with"
                );
                plan(self.open(bytes)?, &config, (self.clock)())
            }
            Err(_) => Ok(plan_now),
        }
    }

    fn open<'b>(&self, bytes: &'b [u8]) -> Result<Reader<'b>, PlanError> {
        Ok(Reader::open(bytes, self.config.max_batch_bytes)?)
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
