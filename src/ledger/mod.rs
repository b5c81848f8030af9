//! Which batches were delivered: S3 objects, written only under conditions, so that nothing is published twice.
//!
//! Each batch has one entry. Whoever creates it, or takes over one that nobody holds, may publish; everybody else gives
//! way. A holder that dies leaves an entry whose lease runs out. The entry says which calls are done and under which
//! settings the plan was made: the batch is finished with those, because other settings make other calls.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;

use crate::batch::Header;
use crate::deliver::{Checkpoint, CheckpointError, Failure, Progress};

/// What stands as it is in a part of a key; everything else is percent-encoded, as in the keys of batches.
const KEY_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'@').remove(b'-');

/// The first part of an entry's key for batches of running tests.
pub const LIVE: &str = "live";

/// How often an entry is read again after somebody else was quicker, before giving way.
const MAX_RACES: usize = 3;

/// Tells the time: milliseconds since 1970.
pub type Clock<'a> = &'a (dyn Fn() -> i64 + Sync);

/// Objects with conditional writes: what the ledger needs of S3.
pub trait LedgerStore: Sync {
    /// An object and its tag, if it exists.
    fn read(
        &self,
        bucket: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<(Vec<u8>, ETag)>, StoreError>> + Send;

    /// Writes an object if `expected` still holds: the tag that it has, or none for an object that must not exist.
    fn write(
        &self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
        expected: Option<&ETag>,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;
}

/// The tag of one version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(pub String);

/// How a conditional write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Written; the object now has this tag.
    Yes(ETag),
    /// Not written: the condition did not hold.
    Conflict,
}

/// The store could not do what it was asked to.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{code}: {message}")]
pub struct StoreError {
    /// What to do about it.
    pub failure: Failure,
    /// The service's name of the error, or what happened to the connection.
    pub code: String,
    /// The service's explanation.
    pub message: String,
}

/// Why there is no claim.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LedgerError {
    /// S3 could not be asked.
    #[error("ledger entry {key}: {error}")]
    Store {
        /// The entry's key.
        key: String,
        /// What happened.
        error: StoreError,
    },
    /// Somebody wrote something else there.
    #[error(
        "ledger entry {key}: expected a ledger entry, found {found}: delete the object only if the batch may be \
         published again from its beginning"
    )]
    NotAnEntry {
        /// The entry's key.
        key: String,
        /// What is wrong with it.
        found: String,
    },
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Being published by its holder, as long as the lease lasts.
    Claimed,
    /// Begun, and left for whoever comes next.
    Open,
    /// Published whole.
    Done,
}

/// An entry as it stands in S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    state: State,
    /// The holder: an invocation's request id, and a nonce that tells its attempts apart.
    owner: String,
    /// Until when the holder has it, milliseconds since 1970.
    lease_until_ms: i64,
    /// Attempts so far, this one included.
    attempt: u32,
    /// The object that was relayed.
    object: String,
    /// The plan's fingerprint.
    fingerprint: String,
    /// The settings under which the plan was made.
    settings: BTreeMap<String, String>,
    /// Calls in the plan.
    calls: usize,
    #[serde(flatten)]
    progress: Progress,
}

/// What an attempt knows of the batch that it wants to publish.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// The bucket of the batch and of the ledger.
    pub bucket: &'a str,
    /// The entry's key, from [`key`].
    pub key: &'a str,
    /// Who asks: different for every attempt, also within one invocation.
    pub owner: &'a str,
    /// The object, for people who read the ledger.
    pub object: &'a str,
    /// The plan's fingerprint.
    pub fingerprint: &'a str,
    /// The settings that the plan was made with.
    pub settings: &'a BTreeMap<String, String>,
    /// Calls in the plan.
    pub calls: usize,
    /// How long a claim lasts without being renewed.
    pub lease: Duration,
}

/// What the ledger answers.
#[expect(clippy::large_enum_variant, reason = "one a batch, taken apart at once")]
pub enum Answer<'a, S> {
    /// Publish, beginning with this progress.
    Yours(Claim<'a, S>, Begun),
    /// It is published already.
    Done,
    /// Somebody else is at it until then, milliseconds since 1970.
    Busy {
        /// End of the other's lease.
        until_ms: i64,
    },
}

/// How far earlier attempts have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Which calls are done, and which may be.
    pub progress: Progress,
    /// The fingerprint of the plan that was begun.
    pub fingerprint: String,
    /// The settings under which it was made.
    pub settings: BTreeMap<String, String>,
    /// Calls in it.
    pub calls: usize,
    /// This attempt's number, from 1.
    pub attempt: u32,
}

/// The key of a batch's entry: its identity, whatever object it came from. `lane` is [`LIVE`] or a replay's name.
pub fn key(prefix: &str, lane: &str, header: &Header) -> String {
    let [lane, test, run, source] = [lane, &header.test, &header.run, &header.source].map(key_part);
    format!("{prefix}{lane}/{test}/{run}/{source}/{:06}.json", header.seq)
}

/// A text as one part of a key.
pub fn key_part(text: &str) -> String {
    utf8_percent_encode(text, KEY_PART).to_string()
}

/// The right to publish one batch.
pub struct Claim<'a, S> {
    store: &'a S,
    clock: Clock<'a>,
    bucket: String,
    key: String,
    lease: Duration,
    held: Mutex<Held>,
}

/// The entry as this attempt wrote it last.
#[derive(Clone)]
struct Held {
    entry: Entry,
    tag: ETag,
    /// When that write was begun: the lease counts from then, whenever its answer came.
    since: Instant,
}

/// Asks for the right to publish a batch.
///
/// # Errors
/// When S3 cannot be asked, or the entry is none.
pub async fn claim<'a, S: LedgerStore>(
    store: &'a S,
    clock: Clock<'a>,
    intent: &Intent<'_>,
) -> Result<Answer<'a, S>, LedgerError> {
    let Intent { bucket, key, owner, .. } = *intent;
    let failed = |error| LedgerError::Store { key: key.to_owned(), error };
    let mut entry = Entry {
        state: State::Claimed,
        owner: owner.to_owned(),
        lease_until_ms: clock() + millis(intent.lease),
        attempt: 1,
        object: intent.object.to_owned(),
        fingerprint: intent.fingerprint.to_owned(),
        settings: intent.settings.clone(),
        calls: intent.calls,
        progress: Progress::default(),
    };
    let mut expected: Option<ETag> = None;
    for _ in 0..MAX_RACES {
        let asked = Instant::now();
        entry.lease_until_ms = clock() + millis(intent.lease);
        let written = store.write(bucket, key, json(&entry), expected.as_ref()).await.map_err(failed)?;
        if let Written::Yes(tag) = written {
            return Ok(yours(store, clock, intent, entry, tag, asked));
        }
        let Some((body, tag)) = store.read(bucket, key).await.map_err(failed)? else {
            expected = None;
            continue;
        };
        let found: Entry = serde_json::from_slice(&body)
            .map_err(|error| LedgerError::NotAnEntry { key: key.to_owned(), found: error.to_string() })?;
        if found.owner == owner && found.state == State::Claimed {
            // Our own write: it was carried out, its answer was lost, and the repetition met it.
            return Ok(yours(store, clock, intent, found, tag, asked));
        }
        match found.state {
            State::Done => return Ok(Answer::Done),
            State::Claimed if found.lease_until_ms > clock() => {
                return Ok(Answer::Busy { until_ms: found.lease_until_ms });
            }
            State::Claimed | State::Open => {}
        }
        let progress = match found.state {
            State::Claimed => found.progress.after_a_crash(found.calls),
            State::Open | State::Done => found.progress.after_a_stop(),
        };
        // Before anything was published, this attempt's plan is as good as the other's.
        let plan = if progress == Progress::default() { entry } else { found.clone() };
        entry = Entry {
            state: State::Claimed,
            owner: owner.to_owned(),
            lease_until_ms: clock() + millis(intent.lease),
            attempt: found.attempt.saturating_add(1),
            progress,
            ..plan
        };
        expected = Some(tag);
    }
    // Somebody else won each race: it is theirs now.
    Ok(Answer::Busy { until_ms: clock() + millis(intent.lease) })
}

fn yours<'a, S>(
    store: &'a S,
    clock: Clock<'a>,
    intent: &Intent<'_>,
    entry: Entry,
    tag: ETag,
    asked: Instant,
) -> Answer<'a, S> {
    let begun = Begun {
        progress: entry.progress.clone(),
        fingerprint: entry.fingerprint.clone(),
        settings: entry.settings.clone(),
        calls: entry.calls,
        attempt: entry.attempt,
    };
    let held = Mutex::new(Held { entry, tag, since: asked });
    let (bucket, key) = (intent.bucket.to_owned(), intent.key.to_owned());
    Answer::Yours(Claim { store, clock, bucket, key, lease: intent.lease, held }, begun)
}

impl<S: LedgerStore> Claim<'_, S> {
    /// Says that the whole batch is published.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub async fn complete(&self) -> Result<(), CheckpointError> {
        self.write(|entry| {
            entry.state = State::Done;
            entry.progress.done = (0..entry.calls).collect();
            entry.progress.uncertain.clear();
        })
        .await
    }

    /// Leaves the batch to whoever comes next.
    ///
    /// # Errors
    /// When that cannot be recorded: the next one has to wait for the end of the lease.
    pub async fn release(self, progress: &Progress) -> Result<(), CheckpointError> {
        self.write(|entry| {
            entry.state = State::Open;
            entry.progress = progress.clone();
        })
        .await
    }

    async fn write(&self, change: impl FnOnce(&mut Entry) + Send) -> Result<(), CheckpointError> {
        let Held { mut entry, mut tag, .. } = self.held().clone();
        let named = |what: &dyn std::fmt::Display| format!("ledger entry {}: {what}", self.key);
        let failed = |error: StoreError| match error.failure {
            Failure::Denied | Failure::Rejected => CheckpointError::Denied(named(&error)),
            _ => CheckpointError::Unavailable(named(&error)),
        };
        change(&mut entry);
        for _ in 0..MAX_RACES {
            let since = Instant::now();
            entry.lease_until_ms = (self.clock)() + millis(self.lease);
            let body = json(&entry);
            let written = self.store.write(&self.bucket, &self.key, body.clone(), Some(&tag));
            if let Written::Yes(tag) = written.await.map_err(failed)? {
                *self.held() = Held { entry, tag, since };
                return Ok(());
            }
            // Perhaps it met an earlier write of our own: one that was repeated, or given up, after it had been sent.
            let Some((found, current)) = self.store.read(&self.bucket, &self.key).await.map_err(failed)?
            else {
                break;
            };
            if found == body {
                *self.held() = Held { entry, tag: current, since };
                return Ok(());
            }
            match serde_json::from_slice::<Entry>(&found) {
                Ok(found) if found.owner == entry.owner => tag = current,
                _ => break,
            }
        }
        Err(CheckpointError::TakenOver(format!("ledger entry {}", self.key)))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Never held across an await, and no holder panics.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: LedgerStore> Checkpoint for Claim<'_, S> {
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError> {
        self.write(|entry| entry.progress = progress.clone()).await
    }

    fn renew_at(&self) -> Instant {
        self.held().since + self.lease / 2
    }

    fn valid_until(&self) -> Instant {
        self.held().since + self.lease
    }
}

/// Whether a batch was published whole, as far as the ledger can be read.
pub async fn is_done(store: &impl LedgerStore, bucket: &str, key: &str) -> bool {
    match store.read(bucket, key).await {
        Ok(Some((body, _))) => {
            serde_json::from_slice::<Entry>(&body).is_ok_and(|entry| entry.state == State::Done)
        }
        _ => false,
    }
}

fn json(entry: &Entry) -> Vec<u8> {
    // Texts, numbers and lists of numbers always become JSON; an empty body would be found as "not an entry".
    serde_json::to_vec(entry).unwrap_or_default()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;
