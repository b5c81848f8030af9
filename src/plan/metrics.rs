//! Numbers → data → calls of `PutMetricData`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::aggregate::{Aggregate, Endpoint, Intervals};
use super::catalog::{Metric, STATUS, USER_CLASS};
use super::limits::{MAX_DATA_PER_CALL, MAX_METRIC_CALL_BYTES, MAX_VALUES_PER_DATUM};
use super::names::dimension_value;
use super::{Datum, MetricCall};
use crate::batch::Header;
use crate::config::{Config, Dimension};
use crate::distribution::Distribution;

type Dimensions = Arc<[(&'static str, String)]>;

const MICROSECONDS_PER_MILLISECOND: f64 = 1000.0;

/// Every datum of a batch, in an order that depends on nothing but the batch and the settings.
pub(super) fn data(aggregate: &Aggregate, config: &Config, header: &Header) -> Vec<Datum> {
    let mut writer = Writer { data: Vec::new(), high_resolution: config.resolution_seconds < 60 };
    for set in &config.dimension_sets {
        for (dimensions, intervals) in by_dimensions(aggregate, set, header) {
            writer.endpoint(&dimensions, &intervals);
        }
    }
    let test = (Dimension::Test.as_str(), dimension_value(&header.test));
    for (status, intervals) in &aggregate.statuses {
        let dimensions = [test.clone(), (STATUS, dimension_value(status))].into();
        for (at, count) in intervals {
            writer.count(Metric::Responses, &dimensions, *at, *count);
        }
    }
    let all_classes: Dimensions = [test.clone()].into();
    for (at, users) in &aggregate.users {
        writer.distribution(Metric::Users, &all_classes, *at, users, 1.0);
    }
    for (class, intervals) in &aggregate.users_by_class {
        let dimensions = [test.clone(), (USER_CLASS, dimension_value(class))].into();
        for (at, users) in intervals {
            writer.distribution(Metric::Users, &dimensions, *at, users, 1.0);
        }
    }
    writer.data
}

/// Requests by the values of one set of dimensions: endpoints that differ in none of them are added up.
fn by_dimensions<'a>(
    aggregate: &'a Aggregate,
    set: &[Dimension],
    header: &Header,
) -> BTreeMap<Dimensions, Cow<'a, Intervals>> {
    let mut merged: BTreeMap<Dimensions, Cow<'a, Intervals>> = BTreeMap::new();
    for (endpoint, intervals) in &aggregate.endpoints {
        let dimensions =
            set.iter().map(|dimension| (dimension.as_str(), value(*dimension, endpoint, header)));
        merged
            .entry(dimensions.collect())
            .and_modify(|sum| {
                for (at, interval) in intervals {
                    sum.to_mut().entry(*at).or_default().merge(interval);
                }
            })
            .or_insert(Cow::Borrowed(intervals));
    }
    merged
}

fn value(dimension: Dimension, endpoint: &Endpoint, header: &Header) -> String {
    dimension_value(match dimension {
        Dimension::Test => &header.test,
        Dimension::Run => &header.run,
        Dimension::Source => &header.source,
        Dimension::Host => header.host.as_deref().unwrap_or_default(),
        Dimension::Method => &endpoint.method,
        Dimension::Name => &endpoint.name,
    })
}

struct Writer {
    data: Vec<Datum>,
    high_resolution: bool,
}

impl Writer {
    fn endpoint(&mut self, dimensions: &Dimensions, intervals: &Intervals) {
        for (at, interval) in intervals {
            let (times, sizes) = (&interval.response_time, &interval.response_size);
            self.distribution(Metric::ResponseTime, dimensions, *at, times, MICROSECONDS_PER_MILLISECOND);
            self.count(Metric::Requests, dimensions, *at, interval.requests);
            // Also when there were none: a failure rate needs zeros, and a graph of failures a line.
            self.count(Metric::Failures, dimensions, *at, interval.failures);
            self.distribution(Metric::ResponseSize, dimensions, *at, sizes, 1.0);
        }
    }

    fn count(&mut self, metric: Metric, dimensions: &Dimensions, timestamp_s: i64, count: u64) {
        self.datum(metric, dimensions, timestamp_s, vec![count as f64], vec![1]);
    }

    /// A distribution as one datum or, when it has too many values, as several of the same time: CloudWatch adds
    /// them up.
    fn distribution(
        &mut self,
        metric: Metric,
        dimensions: &Dimensions,
        timestamp_s: i64,
        distribution: &Distribution,
        divisor: f64,
    ) {
        let mut groups = distribution.groups();
        while groups.len() > 0 {
            let part = groups.by_ref().take(MAX_VALUES_PER_DATUM);
            let (values, counts) = part.map(|(value, count)| (value / divisor, count)).unzip();
            self.datum(metric, dimensions, timestamp_s, values, counts);
        }
    }

    fn datum(
        &mut self,
        metric: Metric,
        dimensions: &Dimensions,
        timestamp_s: i64,
        values: Vec<f64>,
        counts: Vec<u64>,
    ) {
        let (dimensions, high_resolution) = (Arc::clone(dimensions), self.high_resolution);
        self.data.push(Datum { metric, dimensions, timestamp_s, values, counts, high_resolution });
    }
}

/// Packs data into as few calls as the limits on number and bytes allow.
pub(super) fn calls(data: Vec<Datum>, namespace: &str) -> Vec<MetricCall> {
    let namespace: Arc<str> = namespace.into();
    let empty = CALL_BYTES + namespace.len();
    let mut calls: Vec<MetricCall> = Vec::new();
    let mut bytes = empty;
    for datum in data {
        let size = encoded_bytes(&datum);
        match calls.last_mut() {
            Some(call) if call.data.len() < MAX_DATA_PER_CALL && bytes + size <= MAX_METRIC_CALL_BYTES => {
                call.data.push(datum);
                bytes += size;
            }
            _ => {
                calls.push(MetricCall { namespace: Arc::clone(&namespace), data: vec![datum] });
                bytes = empty + size;
            }
        }
    }
    calls
}

/// CBOR of a call without its namespace's text and its data: two keys, the namespace's length, map and array.
const CALL_BYTES: usize = 40;

/// An upper bound of a datum's bytes in the request's body, which is CBOR.
///
/// A key or text is its bytes and up to 3 of length; a number is 9; map, array and timestamp are up to 11 together.
pub fn encoded_bytes(datum: &Datum) -> usize {
    const NUMBER: usize = 9;
    const TEXT: usize = 3;
    /// Map, the keys of metric, unit, time stamp and storage resolution with their lengths, and the last two's values.
    const FIXED: usize = 2 + 11 + 5 + 10 + 18 + 11 + NUMBER;
    let dimensions: usize =
        datum.dimensions.iter().map(|(name, value)| 2 + 5 + 6 + 2 * TEXT + name.len() + value.len()).sum();
    let columns = if datum.has_counts() { 2 } else { 1 };
    FIXED
        + 2 * TEXT
        + datum.metric.name().len()
        + datum.metric.unit().name().len()
        + 11
        + TEXT
        + dimensions
        + columns * (7 + TEXT + NUMBER * datum.values.len())
}

impl Datum {
    /// Whether any value was seen more than once: otherwise CloudWatch needs no counts.
    pub fn has_counts(&self) -> bool {
        self.counts.iter().any(|count| *count != 1)
    }
}
