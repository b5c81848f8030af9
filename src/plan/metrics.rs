//! Numbers → data → calls of `PutMetricData`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::aggregate::{Aggregate, Endpoint, Interval, Intervals, THOUSANDTHS, Totals, merged_by_interval};
use super::catalog::{METHOD, Metric, NAME, STATUS, USER_CLASS};
use super::limits::{MAX_DATA_PER_CALL, MAX_METRIC_CALL_BYTES, MAX_VALUES_PER_DATUM};
use super::names::dimension_value;
use super::{Datum, MetricCall, Statistics, Values};
use crate::batch::Header;
use crate::config::{Config, Dimension};
use crate::distribution::{Distribution, Grouper, Sample};

type Dimensions = Arc<[(&'static str, String)]>;

const MICROSECONDS_PER_MILLISECOND: f64 = 1000.0;

/// How far a published response time may lie from the true one, as a share of it.
const TIME_TOLERANCE: f64 = 0.005;

/// The same for sizes of responses: nobody compares them to the last per mille, and with half as many samples most batches
/// fit into one call.
const SIZE_TOLERANCE: f64 = 0.01;

/// Of users, workers and the like there is a value a second: joining them would save nothing.
const EXACT: f64 = 0.0;

/// Every datum of a batch, in an order that depends on nothing but the batch and the settings.
pub(super) fn data(aggregate: &mut Aggregate, config: &Config, header: &Header) -> Vec<Datum> {
    let mut writer = Writer { data: Vec::new(), high_resolution: config.resolution_seconds < 60 };
    let mut parts: BTreeMap<(bool, bool), BTreeMap<Endpoint, Vec<Row>>> = BTreeMap::new();
    for set in &config.dimension_sets {
        let by = (set.contains(&Dimension::Method), set.contains(&Dimension::Name));
        let rows = parts.entry(by).or_insert_with(|| rows(aggregate, by));
        for (endpoint, rows) in rows {
            let dimension = |name: &Dimension| (name.as_str(), value(*name, endpoint, header));
            let dimensions = set.iter().map(dimension).collect();
            rows.iter().for_each(|row| writer.row(&dimensions, row));
        }
    }
    let test = (Dimension::Test.as_str(), dimension_value(&header.test));
    for (status, intervals) in &aggregate.statuses {
        let dimensions = [test.clone(), (STATUS, dimension_value(status))].into();
        for (at, count) in intervals {
            writer.count(Metric::Responses, &dimensions, *at, *count);
        }
    }
    let Aggregate { users, users_by_class, gauges, grouper, .. } = aggregate;
    let mut scratch = Vec::new();
    let all_classes: Dimensions = [test.clone()].into();
    for (at, users) in users {
        writer.samples(
            Metric::Users,
            &all_classes,
            *at,
            &data_of(users, EXACT, 1.0, (grouper, &mut scratch)),
        );
    }
    for (class, intervals) in users_by_class {
        let dimensions = [test.clone(), (USER_CLASS, dimension_value(class))].into();
        for (at, users) in intervals {
            writer.samples(
                Metric::Users,
                &dimensions,
                *at,
                &data_of(users, EXACT, 1.0, (grouper, &mut scratch)),
            );
        }
    }
    for ((metric, endpoint), intervals) in gauges {
        let mut dimensions = vec![test.clone()];
        if let Some(Endpoint { method, name }) = endpoint {
            dimensions.extend([(METHOD, dimension_value(method)), (NAME, dimension_value(name))]);
        }
        let dimensions = dimensions.into();
        for (at, values) in intervals {
            let parts = data_of(values, EXACT, THOUSANDTHS, (grouper, &mut scratch));
            writer.samples(*metric, &dimensions, *at, &parts);
        }
    }
    writer.data
}

/// Requests of one interval, ready to be published under several sets of dimensions.
struct Row {
    at: i64,
    requests: u64,
    failures: u64,
    times: Vec<Samples>,
    sizes: Vec<Samples>,
    unseen_times: Option<Statistics>,
    unseen_sizes: Option<Statistics>,
}

/// The samples of one datum.
type Samples = Arc<[Sample]>;

/// Requests by method, by name, by both or by none of them: endpoints that differ in none of them are added up.
fn rows(aggregate: &mut Aggregate, (by_method, by_name): (bool, bool)) -> BTreeMap<Endpoint, Vec<Row>> {
    let Aggregate { endpoints, grouper, .. } = aggregate;
    // Names that CloudWatch does not take become others, which may be equal.
    let key = |endpoint: &Endpoint| Endpoint {
        method: if by_method { dimension_value(&endpoint.method) } else { String::new() },
        name: if by_name { dimension_value(&endpoint.name) } else { String::new() },
    };
    let mut alike: BTreeMap<Endpoint, Vec<&mut Intervals>> = BTreeMap::new();
    for (endpoint, intervals) in endpoints {
        alike.entry(key(endpoint)).or_default().push(intervals);
    }
    let mut rows = BTreeMap::new();
    for (endpoint, mut parts) in alike {
        let of_endpoint = match parts.as_mut_slice() {
            [intervals] => rows_of(intervals, grouper),
            parts => {
                let mut merged = merged_by_interval(parts.iter().map(|part| &**part), grouper);
                rows_of(&mut merged, grouper)
            }
        };
        rows.insert(endpoint, of_endpoint);
    }
    rows
}

fn rows_of(intervals: &mut Intervals, grouper: &mut Grouper) -> Vec<Row> {
    let mut scratch = Vec::new();
    let row = |(at, interval): (&i64, &mut Interval)| {
        let (times, sizes) = (&mut interval.response_time, &mut interval.response_size);
        Row {
            at: *at,
            requests: interval.requests,
            failures: interval.failures,
            times: data_of(
                times,
                TIME_TOLERANCE,
                MICROSECONDS_PER_MILLISECOND,
                (&mut *grouper, &mut scratch),
            ),
            sizes: data_of(sizes, SIZE_TOLERANCE, 1.0, (&mut *grouper, &mut scratch)),
            unseen_times: interval
                .unseen_times
                .map(|totals| statistics(&totals, MICROSECONDS_PER_MILLISECOND)),
            unseen_sizes: interval.unseen_sizes.map(|totals| statistics(&totals, 1.0)),
        }
    };
    intervals.iter_mut().map(row).collect()
}

/// A distribution as the samples of one datum or, when there are too many, of several of the same time: CloudWatch adds
/// them up.
fn data_of(
    distribution: &mut Distribution,
    tolerance: f64,
    divisor: f64,
    (grouper, scratch): (&mut Grouper, &mut Vec<Sample>),
) -> Vec<Samples> {
    distribution.samples(tolerance, grouper, scratch);
    let published = |sample: &Sample| Sample { value: sample.value / divisor, ..*sample };
    scratch.chunks(MAX_VALUES_PER_DATUM).map(|part| part.iter().map(published).collect()).collect()
}

fn statistics(totals: &Totals, divisor: f64) -> Statistics {
    let minimum = totals.min as f64 / divisor;
    let mut maximum = totals.max as f64 / divisor;
    if totals.count > 1 {
        // With equal bounds, CloudWatch would take the mean for each of the values, and compute percentiles. Only a single
        // value is known by its mean.
        let above = totals.min.saturating_add(1) as f64 / divisor;
        maximum = maximum.max(above).max(minimum.next_up());
    }
    Statistics { count: totals.count, sum: totals.sum as f64 / divisor, minimum, maximum }
}

fn value(dimension: Dimension, endpoint: &Endpoint, header: &Header) -> String {
    match dimension {
        Dimension::Test => dimension_value(&header.test),
        Dimension::Run => dimension_value(&header.run),
        Dimension::Source => dimension_value(&header.source),
        Dimension::Host => dimension_value(header.host.as_deref().unwrap_or_default()),
        // Those of rows are dimension values already.
        Dimension::Method => endpoint.method.clone(),
        Dimension::Name => endpoint.name.clone(),
    }
}

struct Writer {
    data: Vec<Datum>,
    high_resolution: bool,
}

impl Writer {
    fn row(&mut self, dimensions: &Dimensions, row: &Row) {
        self.samples(Metric::ResponseTime, dimensions, row.at, &row.times);
        self.count(Metric::Requests, dimensions, row.at, row.requests);
        // Also when there were none: a failure rate needs zeros, and a graph of failures a line.
        self.count(Metric::Failures, dimensions, row.at, row.failures);
        self.samples(Metric::ResponseSize, dimensions, row.at, &row.sizes);
        for (metric, unseen) in
            [(Metric::ResponseTime, row.unseen_times), (Metric::ResponseSize, row.unseen_sizes)]
        {
            if let Some(statistics) = unseen {
                self.datum(metric, dimensions, row.at, Values::Statistics(statistics));
            }
        }
    }

    fn count(&mut self, metric: Metric, dimensions: &Dimensions, timestamp_s: i64, count: u64) {
        let samples = [Sample { value: count as f64, count: 1 }].into();
        self.datum(metric, dimensions, timestamp_s, Values::Samples(samples));
    }

    fn samples(&mut self, metric: Metric, dimensions: &Dimensions, timestamp_s: i64, parts: &[Samples]) {
        for samples in parts {
            self.datum(metric, dimensions, timestamp_s, Values::Samples(Arc::clone(samples)));
        }
    }

    fn datum(&mut self, metric: Metric, dimensions: &Dimensions, timestamp_s: i64, values: Values) {
        let (dimensions, high_resolution) = (Arc::clone(dimensions), self.high_resolution);
        self.data.push(Datum { metric, dimensions, timestamp_s, values, high_resolution });
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

/// An upper bound of a call's bytes as they are sent.
pub fn encoded_call_bytes(call: &MetricCall) -> usize {
    CALL_BYTES + call.namespace.len() + call.data.iter().map(encoded_bytes).sum::<usize>()
}

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
    /// The key of the statistics, their map, and four keys with a number each.
    const STATISTICS: usize = 17 + 2 + 12 + 4 + 8 + 8 + 4 * (1 + NUMBER);
    let values = match &datum.values {
        Values::Samples(samples) => {
            let columns = if datum.has_counts() { 2 } else { 1 };
            columns * (7 + TEXT + NUMBER * samples.len())
        }
        Values::Statistics(_) => STATISTICS,
    };
    FIXED
        + 2 * TEXT
        + datum.metric.name().len()
        + datum.metric.unit().name().len()
        + 11
        + TEXT
        + dimensions
        + values
}

impl Datum {
    /// Whether any value was seen more than once: otherwise CloudWatch needs no counts.
    pub fn has_counts(&self) -> bool {
        self.samples().iter().any(|sample| sample.count != 1)
    }
}
