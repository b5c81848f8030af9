//! Records → log events → calls of `PutLogEvents`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use fnv::FnvHasher;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::aggregate::Aggregate;
use super::limits::{EVENT_OVERHEAD_BYTES, MAX_EVENTS_PER_CALL, MAX_LOG_CALL_BYTES, MAX_LOG_CALL_SPAN_MS};
use super::names::{cut, stream};
use super::{LogCall, LogEvent, PlanError};
use crate::batch::{Header, Record, Requests, Snapshot};
use crate::config::{Config, LogRequests};
use crate::distribution::Distribution;

/// Longest text in a log event, in bytes. JSON writes one byte as up to six: even six such texts stay below the 1 MB
/// that an event may have.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// What every log event begins with.
#[derive(Serialize)]
struct Common<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    test: &'a str,
    run: &'a str,
    source: &'a str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct RequestFields<'a> {
    method: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_time_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_bytes: Option<i64>,
}

#[derive(Serialize)]
struct LifecycleFields<'a> {
    kind: &'a str,
    detail: &'a RawValue,
}

#[derive(Serialize)]
struct ExceptionFields<'a> {
    count: u64,
    message: &'a str,
    traceback: &'a str,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    method: &'a str,
    name: &'a str,
    error: &'a str,
    count: u64,
}

#[derive(Serialize)]
struct SummaryFields<'a> {
    method: &'a str,
    name: &'a str,
    requests: u64,
    failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p90_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ms: Option<f64>,
}

/// The fields of each type of log event, by name. Some are left out where there is nothing to say.
pub fn log_fields() -> BTreeMap<&'static str, Vec<String>> {
    let request = RequestFields {
        method: "",
        name: "",
        status: Some(0),
        error: Some(""),
        response_time_ms: Some(0.0),
        response_bytes: Some(0),
    };
    let summary = SummaryFields {
        method: "",
        name: "",
        requests: 0,
        failures: 0,
        mean_ms: Some(0.0),
        p50_ms: Some(0.0),
        p90_ms: Some(0.0),
        p95_ms: Some(0.0),
        p99_ms: Some(0.0),
        max_ms: Some(0.0),
    };
    [
        fields_of("request", request),
        fields_of("event", LifecycleFields { kind: "", detail: RawValue::NULL }),
        fields_of("exception", ExceptionFields { count: 0, message: "", traceback: "" }),
        fields_of("error", ErrorFields { method: "", name: "", error: "", count: 0 }),
        fields_of("summary", summary),
    ]
    .into()
}

fn fields_of(kind: &'static str, fields: impl Serialize) -> (&'static str, Vec<String>) {
    let event = Common { kind, test: "", run: "", source: "", fields };
    let names = match serde_json::to_value(event) {
        Ok(Value::Object(object)) => object.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    };
    (kind, names)
}

/// Collects the log events of one batch.
pub(super) struct LogWriter {
    group: Arc<str>,
    header: Header,
    log_requests: LogRequests,
    sample: Sample,
    limit: u64,
    bytes: u64,
    events: Vec<LogEvent>,
}

impl LogWriter {
    pub fn new(group: &str, config: &Config, header: &Header) -> Self {
        Self {
            group: group.into(),
            header: header.clone(),
            log_requests: config.log_requests,
            sample: Sample::new(config.log_sample, header),
            limit: config.max_batch_bytes,
            bytes: 0,
            events: Vec::new(),
        }
    }

    /// Takes one record.
    pub fn add(&mut self, record: &Record) -> Result<(), PlanError> {
        match record {
            Record::Requests(group) => self.add_requests(group),
            Record::Users(_) => Ok(()),
            Record::Snapshot(snapshot) => self.add_errors(snapshot),
            Record::Event(event) => {
                let detail = bounded(&event.detail);
                let fields = LifecycleFields { kind: &cut(&event.kind, MAX_TEXT_BYTES), detail: &detail };
                self.push(event.at_ms, "event", fields)
            }
            Record::Exception(exception) => {
                let message = cut(&exception.message, MAX_TEXT_BYTES);
                let traceback = cut(&exception.traceback, MAX_TEXT_BYTES);
                let fields =
                    ExceptionFields { count: exception.count, message: &message, traceback: &traceback };
                self.push(exception.at_ms, "exception", fields)
            }
        }
    }

    fn add_requests(&mut self, group: &Requests) -> Result<(), PlanError> {
        let wanted = match self.log_requests {
            LogRequests::All => true,
            LogRequests::Failures => group.error.is_some(),
            LogRequests::None => false,
        };
        if !wanted {
            return Ok(());
        }
        let (method, name) = (cut(&group.method, MAX_TEXT_BYTES), cut(&group.name, MAX_TEXT_BYTES));
        let error = group.error.as_deref().map(|error| cut(error, MAX_TEXT_BYTES));
        for request in group.columns.iter() {
            if !self.sample.take() {
                continue;
            }
            let fields = RequestFields {
                method: &method,
                name: &name,
                status: group.status,
                error: error.as_deref(),
                response_time_ms: request.response_time_us.map(milliseconds),
                response_bytes: request.response_bytes,
            };
            self.push(request.at_ms, "request", fields)?;
        }
        Ok(())
    }

    fn add_errors(&mut self, snapshot: &Snapshot) -> Result<(), PlanError> {
        if self.log_requests == LogRequests::None {
            return Ok(());
        }
        for error in &snapshot.errors {
            let fields = ErrorFields {
                method: &cut(&error.method, MAX_TEXT_BYTES),
                name: &cut(&error.name, MAX_TEXT_BYTES),
                error: &cut(&error.error, MAX_TEXT_BYTES),
                count: error.count,
            };
            self.push(snapshot.published_at_ms(), "error", fields)?;
        }
        Ok(())
    }

    /// One event for each endpoint, at the end of the batch's interval; whether there was any.
    pub fn add_summaries(&mut self, aggregate: &mut Aggregate) -> Result<bool, PlanError> {
        let Aggregate { endpoints, grouper, .. } = aggregate;
        let mut endpoints: Vec<_> = endpoints.iter().collect();
        endpoints.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        for (endpoint, intervals) in &endpoints {
            let mut times =
                Distribution::merged(intervals.values().map(|interval| &interval.response_time), grouper);
            let unseen = intervals.values().filter_map(|interval| interval.unseen_times);
            let unseen: Vec<_> = unseen.collect();
            let count = times.count() + unseen.iter().map(|totals| totals.count).sum::<u64>();
            let sum = times.sum() + unseen.iter().map(|totals| totals.sum).sum::<i128>();
            let longest = intervals.values().filter_map(|interval| interval.longest_us);
            let longest = longest.chain(unseen.iter().map(|totals| totals.max)).max();
            let quantiles = times.quantiles([0.5, 0.9, 0.95, 0.99], grouper);
            let quantile = |number: usize| quantiles.map(|values| rounded_milliseconds(values[number]));
            let fields = SummaryFields {
                method: &cut(&endpoint.method, MAX_TEXT_BYTES),
                name: &cut(&endpoint.name, MAX_TEXT_BYTES),
                requests: intervals.values().map(|interval| interval.requests).sum(),
                failures: intervals.values().map(|interval| interval.failures).sum(),
                mean_ms: (count > 0).then(|| rounded_milliseconds(sum as f64 / count as f64)),
                p50_ms: quantile(0),
                p90_ms: quantile(1),
                p95_ms: quantile(2),
                p99_ms: quantile(3),
                max_ms: longest.map(milliseconds),
            };
            self.push(self.header.to_ms, "summary", fields)?;
        }
        Ok(!endpoints.is_empty())
    }

    fn push(
        &mut self,
        timestamp_ms: i64,
        kind: &'static str,
        fields: impl Serialize,
    ) -> Result<(), PlanError> {
        let Header { test, run, source, .. } = &self.header;
        let event = Common { kind, test, run, source, fields };
        // Texts and numbers always become JSON; should they ever not, the event says so itself.
        let message =
            serde_json::to_string(&event).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        self.bytes += (message.len() + EVENT_OVERHEAD_BYTES) as u64;
        if self.bytes > self.limit {
            return Err(PlanError::TooManyLogEvents { limit: self.limit });
        }
        self.events.push(LogEvent { timestamp_ms, message });
        Ok(())
    }

    /// Packs the events into as few calls as the limits on number, bytes, order and span allow.
    pub fn into_calls(mut self) -> Vec<LogCall> {
        self.events.sort_by_key(|event| event.timestamp_ms);
        let stream: Arc<str> = stream(&self.header.test, &self.header.run, &self.header.source).into();
        let mut calls: Vec<LogCall> = Vec::new();
        let mut bytes = 0;
        let mut first_ms = 0;
        for event in self.events {
            let size = event.message.len() + EVENT_OVERHEAD_BYTES;
            match calls.last_mut() {
                Some(call)
                    if call.events.len() < MAX_EVENTS_PER_CALL
                        && bytes + size <= MAX_LOG_CALL_BYTES
                        && event.timestamp_ms.saturating_sub(first_ms) < MAX_LOG_CALL_SPAN_MS =>
                {
                    call.events.push(event);
                    bytes += size;
                }
                _ => {
                    first_ms = event.timestamp_ms;
                    bytes = size;
                    let (group, stream) = (Arc::clone(&self.group), Arc::clone(&stream));
                    calls.push(LogCall { group, stream, events: vec![event] });
                }
            }
        }
        calls
    }
}

/// A lifecycle event's detail, or, when it is too long, the beginning of its JSON as a text.
fn bounded(detail: &RawValue) -> Cow<'_, RawValue> {
    if detail.get().len() <= MAX_TEXT_BYTES {
        return Cow::Borrowed(detail);
    }
    to_raw_value(&cut(detail.get(), MAX_TEXT_BYTES)).map_or(Cow::Borrowed(RawValue::NULL), Cow::Owned)
}

fn milliseconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1000.0
}

/// Milliseconds with three decimals: a mean has no more microseconds than its values.
fn rounded_milliseconds(microseconds: f64) -> f64 {
    microseconds.round() / 1000.0
}

/// Which requests are logged: the same ones at each attempt, without any memory of them.
struct Sample {
    share: f64,
    seed: u64,
    position: u64,
}

impl Sample {
    fn new(share: f64, header: &Header) -> Self {
        let mut hasher = FnvHasher::default();
        for part in [
            header.test.as_bytes(),
            header.run.as_bytes(),
            header.source.as_bytes(),
            &header.seq.to_le_bytes(),
        ] {
            hasher.write(part);
            hasher.write_u8(0xff);
        }
        Self { share, seed: hasher.finish(), position: 0 }
    }

    fn take(&mut self) -> bool {
        self.position += 1;
        // SplitMix64's finalizer spreads consecutive positions evenly (Steele, Lea, Flood 2014).
        let mut bits = self.seed.wrapping_add(self.position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // The upper 53 bits as a fraction: 1.0 takes all, 0.0 none.
        ((bits >> 11) as f64) < self.share * (1_u64 << 53) as f64
    }
}
