//! A plan → a number that tells whether another plan makes the same calls.

use std::hash::{Hash, Hasher};

use fnv::FnvHasher;

use super::{Datum, LogEvent, Plan, Statistics, Values};
use crate::distribution::Sample;

impl Plan {
    /// A number that two plans share only when they make the same calls, in hexadecimal.
    ///
    /// It is compared with numbers that other versions of the relay wrote, so what goes into it is spelled out.
    pub fn fingerprint(&self) -> String {
        let mut hasher = FnvHasher::default();
        for call in &self.metric_calls {
            text(&call.namespace, &mut hasher);
            hasher.write_u64(call.data.len() as u64);
            call.data.iter().for_each(|datum| hash_datum(datum, &mut hasher));
        }
        for call in &self.log_calls {
            text(&call.group, &mut hasher);
            text(&call.stream, &mut hasher);
            hasher.write_u64(call.events.len() as u64);
            for LogEvent { timestamp_ms, message } in &call.events {
                hasher.write_i64(*timestamp_ms);
                text(message, &mut hasher);
            }
        }
        format!("{:016x}", hasher.finish())
    }
}

fn hash_datum(datum: &Datum, hasher: &mut FnvHasher) {
    text(datum.metric.name(), hasher);
    text(datum.metric.unit().name(), hasher);
    hasher.write_i64(datum.timestamp_s);
    datum.high_resolution.hash(hasher);
    for (name, value) in datum.dimensions.iter() {
        text(name, hasher);
        text(value, hasher);
    }
    hasher.write_u64(datum.dimensions.len() as u64);
    hasher.write_u64(datum.samples().len() as u64);
    for Sample { value, count } in datum.samples() {
        hasher.write_u64(value.to_bits());
        hasher.write_u64(*count);
    }
    if let Values::Statistics(Statistics { count, sum, minimum, maximum }) = datum.values {
        hasher.write_u64(count);
        [sum, minimum, maximum].iter().for_each(|value| hasher.write_u64(value.to_bits()));
    }
}

/// The length keeps `ab`, `c` and `a`, `bc` apart.
fn text(text: &str, hasher: &mut FnvHasher) {
    hasher.write_u64(text.len() as u64);
    hasher.write(text.as_bytes());
}
