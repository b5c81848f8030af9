//! Archived batches, published again: under another name, at another time.
//!
//! A batch under `replays/<name>/…` is published as test `<test>@<name>`, so that it never mixes with live data and can
//! be laid beside it. All batches of a run are shifted by the same amount, which the first one of them decides, or
//! whoever started the replay: it stands in the run's anchor.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::batch::Header;
use crate::deliver::Failure;
use crate::ledger::{LIVE, LedgerError, LedgerStore, StoreError, Written, key_part};

/// Where batches to replay are put.
const PREFIX: &str = "replays/";

/// Longest name of a replay, in bytes: it becomes part of the test's name and of keys.
const MAX_NAME_BYTES: usize = 128;

/// How long before now a replayed run begins. CloudWatch shows points of the last three hours at once; older ones only
/// after up to two hours. Ten minutes of that are left for the upload.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const BEGIN_BEFORE_NOW_MS: i64 = (3 * 60 - 10) * MINUTE_MS;

/// Shifts are whole minutes, so that each minute of the replay holds what a minute of the run held.
const MINUTE_MS: i64 = 60_000;

/// On what road a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A running test.
    Live,
    /// The replay with this name.
    Replay(String),
}

/// A key under `replays/` that does not name a replay.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "expected the key replays/<name>/<test>/<run>/<source>/<seq>.ndjson.gz with a name of 1 to {MAX_NAME_BYTES} bytes \
     other than `{LIVE}`, found the name `{found}`"
)]
pub struct ReplayNameError {
    /// The name in the key.
    pub found: String,
}

/// The shift of a run in a replay, as it stands in S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// What is added to each of the run's times, in milliseconds.
    pub shift_ms: i64,
}

impl Lane {
    /// Reads the lane from an object's key.
    ///
    /// # Errors
    /// When the key is that of a replay without a usable name.
    pub fn of(key: &str) -> Result<Self, ReplayNameError> {
        let Some(rest) = key.strip_prefix(PREFIX) else {
            return Ok(Self::Live);
        };
        let (part, _) = rest.split_once('/').unwrap_or_default();
        let name = percent_decode_str(part).decode_utf8_lossy().into_owned();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name == LIVE {
            return Err(ReplayNameError { found: name });
        }
        Ok(Self::Replay(name))
    }

    /// The lane's name in the ledger.
    pub fn name(&self) -> &str {
        match self {
            Self::Live => LIVE,
            Self::Replay(name) => name,
        }
    }
}

/// The name under which a replayed test is published.
pub fn test_name(test: &str, replay: &str) -> String {
    format!("{test}@{replay}")
}

/// The shift of a run in a replay: the anchor's, or, for the first batch that arrives, one that makes the run begin 2 h
/// 50 min before `now_ms` (milliseconds since 1970).
///
/// # Errors
/// When S3 cannot be asked, or the anchor is none.
pub async fn shift_ms(
    store: &impl LedgerStore,
    bucket: &str,
    ledger_prefix: &str,
    replay: &str,
    header: &Header,
    now_ms: i64,
) -> Result<i64, LedgerError> {
    let key = anchor_key(ledger_prefix, replay, header);
    let failed = |error| LedgerError::Store { key: key.clone(), error };
    let begin = now_ms - BEGIN_BEFORE_NOW_MS;
    let difference = begin.saturating_sub(header.run_started_ms);
    let anchor = Anchor { shift_ms: difference - difference.rem_euclid(MINUTE_MS) };
    let body = serde_json::to_vec(&anchor).unwrap_or_default();
    if let Written::Yes(_) = store.write(bucket, &key, body, None).await.map_err(failed)? {
        return Ok(anchor.shift_ms);
    }
    let Some((body, _)) = store.read(bucket, &key).await.map_err(failed)? else {
        // Somebody wrote or deleted it at this very moment: it is there, or missing for good, at the next attempt.
        let (code, message) = ("ConditionalRequestConflict".into(), "the anchor is changing".into());
        return Err(failed(StoreError { failure: Failure::NotSent, code, message }));
    };
    let anchor: Anchor = serde_json::from_slice(&body)
        .map_err(|error| LedgerError::NotAnEntry { key, found: format!("no anchor: {error}") })?;
    Ok(anchor.shift_ms)
}

fn anchor_key(ledger_prefix: &str, replay: &str, header: &Header) -> String {
    let [replay, test, run] = [replay, &header.test, &header.run].map(key_part);
    format!("{ledger_prefix}{replay}/{test}/{run}/anchor.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::memory::Memory;

    const NOW_MS: i64 = 1_795_256_940_123;

    fn header(run_started_ms: i64) -> Header {
        serde_json::from_value(serde_json::json!({
            "test": "a/b", "run": "r", "source": "s", "seq": 1, "run_started_ms": run_started_ms, "from_ms": 0, "to_ms": 0,
        }))
        .unwrap()
    }

    async fn shift(store: &Memory, run_started_ms: i64, now_ms: i64) -> Result<i64, LedgerError> {
        shift_ms(store, "stats", "ledger/", "old one", &header(run_started_ms), now_ms).await
    }

    #[test]
    fn the_lane_is_in_the_key() {
        for (key, lane) in [
            ("batches/t/r/s/000001.ndjson.gz", Ok(Lane::Live)),
            ("replays/before/t/r/s/000001.ndjson.gz", Ok(Lane::Replay("before".into()))),
            ("replays/caf%C3%A9/t/r/s/000001.ndjson.gz", Ok(Lane::Replay("café".into()))),
            ("replays/live/t/r/s/1", Err(ReplayNameError { found: "live".into() })),
            ("replays//t/r/s/1", Err(ReplayNameError { found: String::new() })),
            ("replays/object", Err(ReplayNameError { found: String::new() })),
        ] {
            assert_eq!(Lane::of(key), lane, "{key}");
        }
        assert!(Lane::of(&format!("replays/{}/x", "n".repeat(129))).is_err());
    }

    #[tokio::test]
    async fn the_first_batch_decides_and_the_others_follow() {
        let store = Memory::default();
        let forty_days_ms = 40 * 24 * 3_600_000;
        let started = NOW_MS - forty_days_ms + 17;
        let first = shift(&store, started, NOW_MS).await.unwrap();
        assert_eq!(first % MINUTE_MS, 0);
        let begins_before_now_ms = NOW_MS - (started + first);
        assert!((BEGIN_BEFORE_NOW_MS..BEGIN_BEFORE_NOW_MS + MINUTE_MS).contains(&begins_before_now_ms));
        assert_eq!(shift(&store, started, NOW_MS + 500_000).await, Ok(first));
        let objects = store.objects.lock().unwrap();
        assert_eq!(objects.keys().collect::<Vec<_>>(), ["ledger/old%20one/a%2Fb/r/anchor.json"]);
    }

    #[tokio::test]
    async fn a_run_of_the_future_is_shifted_back() {
        assert_eq!(shift(&Memory::default(), NOW_MS, NOW_MS).await, Ok(-BEGIN_BEFORE_NOW_MS));
    }

    #[tokio::test]
    async fn an_anchor_that_is_none_is_said() {
        let store = Memory::default();
        store.write("stats", "ledger/old%20one/a%2Fb/r/anchor.json", b"{}".to_vec(), None).await.unwrap();
        let error = shift(&store, 0, NOW_MS).await.unwrap_err();
        assert!(error.to_string().contains("no anchor: missing field `shift_ms`"), "{error}");
    }
}
