//! Batches → what publishing them would take, without publishing anything.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use crate::batch::Reader;
use crate::config::Config;
use crate::deliver::MAX_PARALLEL;
use crate::plan::limits::EVENT_OVERHEAD_BYTES;
use crate::plan::{Plan, PlanError, encoded_call_bytes, plan};

/// What it takes to publish some batches, each in an invocation of its own that nothing disturbs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// Batches.
    pub batches: u64,
    /// Requests in them.
    pub requests: u64,
    /// Bytes of the objects as they are stored.
    pub compressed_bytes: u64,
    /// Different custom metrics: name and dimensions.
    pub metrics: usize,
    /// Calls of `PutMetricData`.
    pub metric_calls: usize,
    /// Data in them.
    pub metric_data: usize,
    /// Their bytes before compression, at most.
    pub metric_bytes: usize,
    /// Calls of `PutLogEvents`.
    pub log_calls: usize,
    /// Events in them.
    pub log_events: usize,
    /// Their bytes as CloudWatch Logs counts and bills them.
    pub log_bytes: usize,
    /// Writes of the ledger: a claim and a completion, and progress where a batch has many calls (at most).
    pub ledger_writes: usize,
    #[serde(skip)]
    seen: HashSet<u64>,
}

impl Preview {
    /// Adds one object. Its age does not matter: an archived batch counts as if it had just ended.
    ///
    /// # Errors
    /// When the object is no batch, or is one that the relay would refuse.
    pub fn add(&mut self, bytes: &[u8], config: &Config) -> Result<(), PlanError> {
        let batch = Reader::open(bytes, config.max_batch_bytes)?;
        let now_ms = batch.header().to_ms;
        let plan = plan(batch, config, now_ms)?;
        self.batches += 1;
        self.compressed_bytes += bytes.len() as u64;
        self.requests += plan.requests;
        self.add_calls(&plan);
        self.ledger_writes += 2 + plan.len().saturating_sub(MAX_PARALLEL);
        Ok(())
    }

    fn add_calls(&mut self, plan: &Plan) {
        self.metric_calls += plan.metric_calls.len();
        self.metric_bytes += plan.metric_calls.iter().map(encoded_call_bytes).sum::<usize>();
        for datum in plan.metric_calls.iter().flat_map(|call| &call.data) {
            self.metric_data += 1;
            let mut hasher = DefaultHasher::new();
            (datum.metric, &datum.dimensions).hash(&mut hasher);
            self.seen.insert(hasher.finish());
        }
        self.metrics = self.seen.len();
        self.log_calls += plan.log_calls.len();
        for event in plan.log_calls.iter().flat_map(|call| &call.events) {
            self.log_events += 1;
            self.log_bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn batch(seq: u64) -> Vec<u8> {
        let text = format!(
            "{{\"format\":\"locust-stats-batch\",\"version\":1,\"test\":\"t\",\"run\":\"r\",\"source\":\"s\",\
             \"seq\":{seq},\"run_started_ms\":0,\"from_ms\":0,\"to_ms\":1000}}\n\
             {{\"requests\":{{\"method\":\"GET\",\"name\":\"/\",\"status\":500,\"error\":\"E\",\"at_ms\":[1,2],\
             \"response_time_us\":[5,6],\"response_bytes\":[1,1]}}}}\n{{\"end\":{{\"records\":1,\"requests\":2}}}}\n"
        );
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_batches_share_counts_once_and_the_rest_adds_up() {
        let config = Config::read(|name| (name == "RELAY_LOG_GROUP").then(|| "/locust".to_owned())).unwrap();
        let mut one = Preview::default();
        one.add(&batch(0), &config).unwrap();
        // Three sets of dimensions with four metrics each, and one status.
        assert_eq!((one.metrics, one.metric_data, one.metric_calls), (13, 13, 1));
        // Two failures and a summary.
        assert_eq!((one.log_events, one.log_calls, one.ledger_writes), (3, 1, 2));
        let mut two = one.clone();
        two.add(&batch(1), &config).unwrap();
        assert_eq!((two.batches, two.requests, two.metrics, two.metric_data), (2, 4, 13, 26));
        assert_eq!((two.log_bytes, two.ledger_writes), (2 * one.log_bytes, 4));
        assert_eq!(two.add(b"{", &config).unwrap_err().kind(), "NotCompressed");
    }
}
