//! Any batch leads only to legal calls, and the calls add up to the batch.

use proptest::prelude::*;

use super::*;
use crate::batch::{EndpointStatistics, Snapshot, Times, Total};

/// Names that cross the limits on length and alphabet.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0..400_usize).prop_map(|n| format!("/endpoint/{n}")),
        1 => any::<String>(),
        1 => (0..3_usize, 1..2_000_usize).prop_map(|(kind, length)| ["é", "x", " "][kind].repeat(length)),
    ]
}

fn one_request() -> impl Strategy<Value = Request> {
    let time = prop_oneof![4 => (0..60_000_000_i64).prop_map(Some), 1 => any::<i64>().prop_map(Some), 1 => Just(None)];
    let size =
        prop_oneof![4 => (0..100_000_i64).prop_map(Some), 1 => any::<i64>().prop_map(Some), 1 => Just(None)];
    (-40_000..5_000_i64, time, size).prop_map(|(at_ms, time, size)| request(at_ms, time, size))
}

fn requests() -> impl Strategy<Value = Record> {
    let status = prop_oneof![(200..600_i64).prop_map(Some), any::<i64>().prop_map(Some), Just(None)];
    let error = prop::option::weighted(0.2, name());
    let many = prop_oneof![4 => 0..20_usize, 1 => 200..3_000_usize];
    // Few different requests, repeated with other values: generating thousands one by one is slow. They spread over
    // many seconds, or lie so close that a second has more values than a datum takes.
    let requests = (prop::collection::vec(one_request(), 1..20), many, any::<bool>());
    let requests = requests.prop_map(|(some, many, close)| {
        let vary = |n: usize| {
            let mut request = some[n % some.len()];
            let n = n as i64;
            request.at_ms = if close { NOW_MS - n % 4_000 } else { request.at_ms };
            request.response_time_us = request.response_time_us.map(|time| time.wrapping_add(n * 79_190));
            request.response_bytes = request.response_bytes.map(|size| size.wrapping_add(n * 1_013));
            request
        };
        (0..many).map(vary).collect::<Vec<_>>()
    });
    (name(), name(), status, error, requests).prop_map(|(method, name, status, error, requests)| {
        Record::Requests(Requests { method, name, status, error, columns: requests.into_iter().collect() })
    })
}

fn statistics() -> impl Strategy<Value = EndpointStatistics> {
    let times = (0..1_000_000_u64, -1_000_000_000..1_000_000_000_i64, 0..1_000_i64, 0..1_000_i64);
    let bytes = prop::option::of(any::<i64>());
    let percentile = prop::option::of(-1e20..1e20_f64);
    (name(), name(), 0..1_000_000_u64, times, bytes, percentile).prop_map(
        |(method, name, failures, (count, mean, below, above), response_bytes, percentile)| {
            let bound = |offset: i64| mean.saturating_add(offset);
            EndpointStatistics {
                method,
                name,
                requests: count,
                failures,
                response_times: count,
                response_time_us: Some(Times {
                    sum: mean * count as i64,
                    min: bound(-below),
                    max: bound(above),
                }),
                response_bytes,
                percentiles_ms: percentile.map(|value| ("95".to_owned(), value)).into_iter().collect(),
            }
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let at = || (-200_000_000..5_000_i64).prop_map(|at_ms| NOW_MS + at_ms);
    prop_oneof![
        8 => requests(),
        1 => (at(), prop::collection::vec(statistics(), 0..9)).prop_map(|(at_ms, endpoints)| Record::Snapshot(Snapshot {
            from_ms: at_ms - 1_000, at_ms, endpoints, total: Total::default(), errors: vec![], workers: vec![],
        })),
        1 => (at(), any::<u64>(), prop::collection::btree_map(name(), any::<u64>(), 0..150))
            .prop_map(|(at_ms, total, by_class)| Record::Users(Users { at_ms, total, by_class })),
        1 => (at(), name(), name()).prop_map(|(at_ms, kind, text)| Record::Event(Event {
            at_ms, kind, detail: detail(&serde_json::json!({ "text": text }).to_string()),
        })),
        1 => (at(), 1..9_u64, name(), name())
            .prop_map(|(at_ms, count, message, traceback)| Record::Exception(Exception { at_ms, count, message, traceback })),
    ]
}

/// What the endpoint metrics of the set `Test` must add up to.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    requests: u64,
    /// Those that are in columns.
    seen: u64,
    failures: u64,
    times: (u64, f64),
    sizes: (u64, f64),
    /// Sum of the absolute values: what rounding errors are relative to.
    scale: (f64, f64),
    users: u64,
    events: u64,
}

fn expected(records: &[Record]) -> Expected {
    let mut sum = Expected::default();
    for record in records {
        match record {
            Record::Requests(group) => {
                sum.requests += group.columns.len() as u64;
                sum.seen += group.columns.len() as u64;
                sum.failures += if group.error.is_some() { group.columns.len() as u64 } else { 0 };
                for request in group.columns.iter() {
                    if let Some(time) = request.response_time_us {
                        sum.times = (sum.times.0 + 1, sum.times.1 + time as f64 / 1000.0);
                        sum.scale.0 += (time as f64 / 1000.0).abs();
                    }
                    if let Some(size) = request.response_bytes {
                        sum.sizes = (sum.sizes.0 + 1, sum.sizes.1 + size as f64);
                        sum.scale.1 += (size as f64).abs();
                    }
                }
            }
            Record::Users(_) => sum.users += 1,
            Record::Event(_) | Record::Exception(_) => sum.events += 1,
            Record::Snapshot(snapshot) => {
                for endpoint in &snapshot.endpoints {
                    sum.requests += endpoint.requests;
                    sum.failures += endpoint.failures;
                    if let Some(times) = endpoint.response_time_us.filter(|_| endpoint.response_times > 0) {
                        sum.times.0 += endpoint.response_times;
                        sum.times.1 += times.sum as f64 / 1000.0;
                        sum.scale.0 += (times.sum as f64 / 1000.0).abs();
                    }
                    if let Some(bytes) = endpoint.response_bytes.filter(|_| endpoint.requests > 0) {
                        sum.sizes.0 += endpoint.requests;
                        sum.sizes.1 += bytes as f64;
                        sum.scale.1 += (bytes as f64).abs();
                    }
                }
            }
        }
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_batch_leads_to_legal_calls_that_add_up_to_it(records in prop::collection::vec(record(), 0..40)) {
        let config = config(&[("RELAY_LOG_REQUESTS", "all"), ("RELAY_MAX_ENDPOINTS", "25")]);
        let expected = expected(&records);
        let plan = planned(&config, records).unwrap();
        assert_legal(&plan);

        let totals = totals(&plan);
        let total = |metric: &str| totals.get(&format!("{metric}{{Test=checkout}}")).copied().unwrap_or_default();
        prop_assert_eq!(plan.requests, expected.requests);
        prop_assert_eq!(total("Requests").1, expected.requests as f64);
        prop_assert_eq!(total("Failures").1, expected.failures as f64);
        prop_assert_eq!(total("Users").0, expected.users);
        for (metric, (count, sum), scale) in
            [("ResponseTime", expected.times, expected.scale.0), ("ResponseSize", expected.sizes, expected.scale.1)]
        {
            prop_assert_eq!(total(metric).0, count);
            prop_assert!((total(metric).1 - sum).abs() <= 1e-9 * scale, "{}: {} or {}", metric, total(metric).1, sum);
        }
        // Each set of dimensions, and the statuses, hold every request once.
        for (prefix, requests) in [
            ("Requests{Test=checkout,Method=", expected.requests),
            ("Requests{Test=checkout,Run=", expected.requests),
            ("Responses{Test=checkout,Status=", expected.seen),
        ] {
            let sum: f64 = totals.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, (_, sum))| sum).sum();
            prop_assert_eq!(sum, requests as f64, "{}", prefix);
        }
        let endpoints = totals.keys().filter(|key| key.starts_with("Requests{Test=checkout,Method=")).count();
        prop_assert!(endpoints <= 26);

        let logged = |kind: &str| {
            let prefix = format!(r#"{{"type":"{kind}""#);
            plan.log_calls.iter().flat_map(|call| &call.events).filter(|event| event.message.starts_with(&prefix)).count()
        };
        prop_assert_eq!(logged("request") as u64, expected.seen);
        prop_assert_eq!((logged("event") + logged("exception")) as u64, expected.events);
    }
}

/// The generator above must reach what it is there for.
#[test]
fn the_generator_crosses_the_limits() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(record(), 20..40);
    let config = config(&[("RELAY_LOG_REQUESTS", "all"), ("RELAY_MAX_ENDPOINTS", "25")]);
    let mut crossed: BTreeMap<&str, bool> = BTreeMap::new();
    for _ in 0..24 {
        let records = strategy.new_tree(&mut runner).unwrap().current();
        let plan = planned(&config, records).unwrap();
        let mut cross = |limit, reached: bool| *crossed.entry(limit).or_default() |= reached;
        cross("data in a call", plan.metric_calls.iter().any(|call| call.data.len() == MAX_DATA_PER_CALL));
        cross("values in a datum", data(&plan).any(|datum| datum.samples().len() == MAX_VALUES_PER_DATUM));
        cross(
            "length of a name",
            data(&plan).any(|datum| datum.dimensions.iter().any(|(_, value)| value.len() == 1024)),
        );
        cross(
            "endpoints",
            data(&plan).any(|datum| datum.dimensions.iter().any(|(_, value)| value == names::OTHER)),
        );
        let bytes = |call: &LogCall| call.events.iter().map(|event| event.message.len() + 26).sum::<usize>();
        cross(
            "bytes of a log call",
            plan.log_calls.iter().any(|call| bytes(call) > MAX_LOG_CALL_BYTES * 9 / 10),
        );
        cross(
            "span of a log call",
            plan.log_calls.windows(2).any(|pair| {
                pair[1].events[0].timestamp_ms - pair[0].events[0].timestamp_ms >= MAX_LOG_CALL_SPAN_MS
            }),
        );
    }
    let missed: Vec<_> = crossed.into_iter().filter(|(_, reached)| !reached).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
}
