//! What records become in metrics and log events, case by case.

mod properties;
mod snapshots;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::catalog::Metric;
use super::limits::*;
use super::*;
use crate::batch::{Event, Exception, Request, Requests, Users};
use crate::config::Config;

/// 2026-11-21T10:29:00Z.
const NOW_MS: i64 = 1_795_256_940_000;

fn config(variables: &[(&str, &str)]) -> Config {
    Config::read(|name| match variables.iter().find(|(variable, _)| *variable == name) {
        Some((_, value)) => Some((*value).to_owned()),
        None => (name == "RELAY_LOG_GROUP").then(|| "/locust/relay".to_owned()),
    })
    .unwrap()
}

fn header() -> Header {
    serde_json::from_value(serde_json::json!({
        "test": "checkout", "run": "r1", "source": "s1", "seq": 7, "run_started_ms": NOW_MS - 60_000,
        "from_ms": NOW_MS - 10_000, "to_ms": NOW_MS,
    }))
    .unwrap()
}

fn planned(config: &Config, records: Vec<Record>) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(config, &header());
    records.into_iter().try_for_each(|record| planner.add(record))?;
    planner.finish(NOW_MS)
}

fn group(method: &str, name: &str, requests: Vec<Request>) -> Requests {
    let columns = requests.into_iter().collect();
    Requests { method: method.into(), name: name.into(), status: Some(200), error: None, columns }
}

fn request(at_ms: i64, time: Option<i64>, size: Option<i64>) -> Request {
    Request { at_ms: NOW_MS + at_ms, response_time_us: time, response_bytes: size }
}

fn detail(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn data(plan: &Plan) -> impl Iterator<Item = &Datum> {
    plan.metric_calls.iter().flat_map(|call| &call.data)
}

/// `Name=value` of each dimension: short to compare.
fn key(datum: &Datum) -> String {
    let dimensions: Vec<_> = datum.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}{{{}}}", datum.metric.name(), dimensions.join(","))
}

/// Samples and sum by metric and dimensions.
fn totals(plan: &Plan) -> BTreeMap<String, (u64, f64)> {
    let mut totals: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for datum in data(plan) {
        let total = totals.entry(key(datum)).or_default();
        if let Values::Statistics(statistics) = datum.values {
            total.0 += statistics.count;
            total.1 += statistics.sum;
        }
        total.0 += datum.samples().iter().map(|sample| sample.count).sum::<u64>();
        total.1 += datum.samples().iter().map(|sample| sample.value * sample.count as f64).sum::<f64>();
    }
    totals
}

/// Every rule of `PutMetricData` and `PutLogEvents` that a plan could break.
fn assert_legal(plan: &Plan) {
    for call in &plan.metric_calls {
        assert!((1..=MAX_DATA_PER_CALL).contains(&call.data.len()));
        let bytes: usize = call.data.iter().map(encoded_bytes).sum();
        assert!(bytes + call.namespace.len() < 1_000_000, "{bytes} bytes");
        for datum in &call.data {
            match &datum.values {
                Values::Samples(samples) => assert!((1..=MAX_VALUES_PER_DATUM).contains(&samples.len())),
                Values::Statistics(Statistics { count, sum, minimum, maximum }) => {
                    let count = *count as f64;
                    let slack = 1e-9 * sum.abs();
                    assert!(count > 0.0 && minimum * count <= sum + slack && *sum <= maximum * count + slack);
                    assert!(
                        count == 1.0 || minimum < maximum,
                        "CloudWatch must compute no percentiles: {datum:?}"
                    );
                }
            }
            for Sample { value, count } in datum.samples().iter() {
                assert!(value.is_finite() && value.abs() < 2_f64.powi(360) && *count > 0);
            }
            assert!(
                datum.samples().is_sorted_by(|left, right| left.value < right.value),
                "values must differ: {datum:?}"
            );
            assert!(datum.dimensions.len() <= 30);
            for (name, value) in datum.dimensions.iter() {
                assert!(!name.is_empty() && (1..=1024).contains(&value.len()), "{value}");
                assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && !value.trim().is_empty());
            }
            assert!(
                datum.timestamp_s * 1000 > NOW_MS - MAX_AGE_MS
                    && datum.timestamp_s * 1000 < NOW_MS + MAX_FUTURE_MS
            );
        }
    }
    for call in &plan.log_calls {
        let times: Vec<_> = call.events.iter().map(|event| event.timestamp_ms).collect();
        assert!((1..=MAX_EVENTS_PER_CALL).contains(&times.len()));
        assert!(times.is_sorted());
        assert!(times[times.len() - 1] - times[0] < MAX_LOG_CALL_SPAN_MS);
        assert!(
            call.events.iter().map(|event| event.message.len() + 26).sum::<usize>() <= MAX_LOG_CALL_BYTES
        );
        for event in &call.events {
            assert!(!event.message.is_empty() && event.message.len() <= 1_000_000);
            assert!(
                serde_json::from_str::<serde_json::Value>(&event.message)
                    .is_ok_and(|event| event.is_object())
            );
        }
        assert!((1..=512).contains(&call.stream.len()) && !call.stream.contains([':', '*']));
    }
}

#[test]
fn an_endpoint_s_requests_become_its_metrics() {
    let records = vec![
        Record::Requests(group(
            "GET",
            "/cart",
            vec![
                request(-2_900, Some(1_500), Some(10)),
                request(-2_100, Some(2_500), None),
                request(-50, None, Some(7)),
            ],
        )),
        Record::Requests(Requests {
            status: None,
            error: Some("ConnectionError('refused')".into()),
            ..group("GET", "/cart", vec![request(-2_000, Some(500), Some(0))])
        }),
        Record::Users(Users { at_ms: NOW_MS - 1_000, total: 5, by_class: [("Shopper".into(), 5)].into() }),
    ];
    let plan = planned(&config(&[("RELAY_DIMENSION_SETS", "Test;Test,Method,Name")]), records).unwrap();
    assert_legal(&plan);
    assert_eq!(plan.requests, 4);
    let endpoint = "Test=checkout,Method=GET,Name=/cart";
    let expected: BTreeMap<_, _> = [
        (format!("ResponseTime{{{endpoint}}}"), (3, 4.5)),
        (format!("Requests{{{endpoint}}}"), (3, 4.0)),
        (format!("Failures{{{endpoint}}}"), (3, 1.0)),
        (format!("ResponseSize{{{endpoint}}}"), (3, 17.0)),
        ("ResponseTime{Test=checkout}".into(), (3, 4.5)),
        ("Requests{Test=checkout}".into(), (3, 4.0)),
        ("Failures{Test=checkout}".into(), (3, 1.0)),
        ("ResponseSize{Test=checkout}".into(), (3, 17.0)),
        ("Responses{Test=checkout,Status=200}".into(), (2, 3.0)),
        ("Responses{Test=checkout,Status=ConnectionError}".into(), (1, 1.0)),
        ("Users{Test=checkout}".into(), (1, 5.0)),
        ("Users{Test=checkout,UserClass=Shopper}".into(), (1, 5.0)),
    ]
    .into();
    assert_eq!(totals(&plan), expected);
    let second = NOW_MS / 1000 - 3;
    let times: Vec<_> = data(&plan)
        .filter(|datum| datum.metric == Metric::ResponseTime && datum.dimensions.len() == 3)
        .map(|datum| {
            let values: Vec<_> = datum.samples().iter().map(|sample| sample.value).collect();
            (datum.timestamp_s - second, values)
        })
        .collect();
    assert_eq!(times, [(0, vec![1.5, 2.5]), (1, vec![0.5])]);
}

#[test]
fn metrics_have_the_dimensions_that_the_catalog_says() {
    let records = vec![
        Record::Requests(group("GET", "/", vec![request(-1, Some(1), Some(1))])),
        Record::Users(Users { at_ms: NOW_MS - 1_000, total: 5, by_class: [("Shopper".into(), 5)].into() }),
        Record::Snapshot(
            serde_json::from_value(serde_json::json!({
                "from_ms": NOW_MS - 1_000, "at_ms": NOW_MS,
                "endpoints": [{
                    "method": "GET", "name": "/", "requests": 1, "failures": 0,
                    "percentiles_ms": {"50": 1, "90": 1, "95": 1, "99": 1},
                }],
                "total": {
                    "percentiles_ms": {"50": 1, "90": 1, "95": 1, "99": 1},
                    "current_percentiles_ms": {"50": 1, "90": 1, "95": 1, "99": 1},
                },
                "workers": [{"id": "w", "cpu_percent": 1, "memory_bytes": 1}],
            }))
            .unwrap(),
        ),
    ];
    let config = config(&[]);
    let plan = planned(&config, records).unwrap();
    let found: std::collections::BTreeSet<(Metric, Vec<&str>)> = data(&plan)
        .map(|datum| (datum.metric, datum.dimensions.iter().map(|(name, _)| *name).collect()))
        .collect();
    let sets: Vec<Vec<&str>> = config
        .dimension_sets
        .iter()
        .map(|set| set.iter().map(|dimension| dimension.as_str()).collect())
        .collect();
    let said = Metric::ALL.into_iter().flat_map(|metric| {
        let own =
            metric.own_dimensions().map(|own| own.iter().map(|set| [&["Test"], *set].concat()).collect());
        own.unwrap_or_else(|| sets.clone()).into_iter().map(move |set| (metric, set))
    });
    assert_eq!(found, said.collect());
}

#[test]
fn many_values_of_one_second_are_split_over_several_data() {
    let requests = (0..2_000).map(|n| request(-500, Some(1_000 + n * 37), None)).collect();
    let plan = planned(
        &config(&[("RELAY_DIMENSION_SETS", "Test")]),
        vec![Record::Requests(group("GET", "/", requests))],
    );
    let plan = plan.unwrap();
    assert_legal(&plan);
    let times: Vec<_> = data(&plan).filter(|datum| datum.metric == Metric::ResponseTime).collect();
    assert!(times.len() > 1);
    assert!(times[..times.len() - 1].iter().all(|datum| datum.samples().len() == MAX_VALUES_PER_DATUM));
    assert_eq!(
        times.iter().flat_map(|datum| datum.samples().iter()).map(|sample| sample.count).sum::<u64>(),
        2_000
    );
}

#[test]
fn data_with_long_names_are_packed_up_to_the_bytes_of_a_call() {
    let records = (0..60).map(|n| {
        let requests = (0..12).map(|second| request(-second * 1_000, Some(n), Some(n))).collect();
        Record::Requests(group(&format!("{n}{}", "x".repeat(1_000)), &"y".repeat(1_000), requests))
    });
    let plan = planned(&config(&[("RELAY_DIMENSION_SETS", "Test,Method,Name")]), records.collect()).unwrap();
    assert_legal(&plan);
    let (_, full) = plan.metric_calls.split_last().unwrap();
    assert!(full.len() > 5);
    for call in full {
        let bytes: usize = call.data.iter().map(encoded_bytes).sum();
        assert!(call.data.len() < MAX_DATA_PER_CALL && bytes > MAX_METRIC_CALL_BYTES * 99 / 100, "{bytes}");
    }
}

#[test]
fn endpoints_beyond_the_limit_fold_into_one_and_the_busiest_stay() {
    let mut records: Vec<_> = (0..20)
        .map(|n| {
            Record::Requests(group("GET", &format!("/{n:02}"), vec![request(-10, Some(1_000), Some(1))]))
        })
        .collect();
    records.push(Record::Requests(group("GET", "/19", vec![request(-10, Some(1_000), Some(1)); 5])));
    let config = config(&[("RELAY_MAX_ENDPOINTS", "3"), ("RELAY_DIMENSION_SETS", "Method,Name")]);
    let plan = planned(&config, records).unwrap();
    let requests: BTreeMap<_, _> =
        totals(&plan).into_iter().filter(|(key, _)| key.starts_with("Requests{")).collect();
    let expected =
        [("/19", "GET", 6.0), ("/00", "GET", 1.0), ("/01", "GET", 1.0), ("(other)", "(other)", 17.0)]
            .map(|(name, method, sum)| (format!("Requests{{Method={method},Name={name}}}"), (1, sum)));
    assert_eq!(requests, expected.into());
}

#[test]
fn user_classes_fold_only_beyond_the_limit_and_known_ones_never() {
    let users = |classes: std::ops::Range<usize>| {
        let by_class = classes.map(|n| (format!("Class{n:03}"), 1)).collect();
        Record::Users(Users { at_ms: NOW_MS, total: 1, by_class })
    };
    let classes = |records| {
        let plan = planned(&config(&[]), records).unwrap();
        let keys = totals(&plan).into_keys().filter(|key| key.contains("UserClass"));
        keys.collect::<Vec<_>>()
    };
    assert!(
        !classes(vec![users(0..60), users(0..61), users(30..100)])
            .iter()
            .any(|key| key.contains(names::OTHER))
    );
    let folded = classes(vec![users(0..99), users(0..120)]);
    assert_eq!(folded.len(), 101);
    assert!(
        folded.iter().any(|key| key.contains(names::OTHER))
            && folded.iter().any(|key| key.contains("Class099"))
    );
}

#[test]
fn a_coarser_resolution_is_stored_by_the_minute() {
    let record = || {
        Record::Requests(group("GET", "/", vec![request(-70_000, Some(1), None), request(0, Some(1), None)]))
    };
    let plan = planned(&config(&[("RELAY_RESOLUTION_SECONDS", "60")]), vec![record()]).unwrap();
    assert!(data(&plan).all(|datum| datum.timestamp_s % 60 == 0 && !datum.high_resolution));
    let plan = planned(&config(&[("RELAY_RESOLUTION_SECONDS", "30")]), vec![record()]).unwrap();
    assert!(data(&plan).all(|datum| datum.timestamp_s % 30 == 0 && datum.high_resolution));
}

#[test]
fn log_events_tell_what_happened() {
    let failed = Requests {
        status: Some(500),
        error: Some("HTTPError('500')".into()),
        ..group("GET", "/cart", vec![request(-300, Some(1_234), Some(99))])
    };
    let records = || {
        vec![
            Record::Requests(Requests {
                columns: failed.columns.clone(),
                method: "GET".into(),
                name: "/cart".into(),
                status: Some(500),
                error: failed.error.clone(),
            }),
            Record::Requests(group(
                "GET",
                "/cart",
                vec![request(-400, Some(766), None), request(-400, None, None)],
            )),
            Record::Event(Event { at_ms: NOW_MS - 900, kind: "test_start".into(), detail: detail("{}") }),
            Record::Exception(Exception {
                at_ms: NOW_MS - 1,
                count: 2,
                message: "boom".into(),
                traceback: "File".into(),
            }),
        ]
    };
    let messages = |variables: &[(&str, &str)]| -> Vec<(i64, String)> {
        let plan = planned(&config(variables), records()).unwrap();
        assert_legal(&plan);
        let events = plan.log_calls.iter().flat_map(|call| &call.events);
        events.map(|event| (event.timestamp_ms - NOW_MS, event.message.clone())).collect()
    };
    let common = r#""test":"checkout","run":"r1","source":"s1""#;
    let expected = [
        (-900, format!(r#"{{"type":"event",{common},"kind":"test_start","detail":{{}}}}"#)),
        (
            -300,
            format!(
                r#"{{"type":"request",{common},"method":"GET","name":"/cart","status":500,"error":"HTTPError('500')","response_time_ms":1.234,"response_bytes":99}}"#
            ),
        ),
        (-1, format!(r#"{{"type":"exception",{common},"count":2,"message":"boom","traceback":"File"}}"#)),
        (
            0,
            format!(
                r#"{{"type":"summary",{common},"method":"GET","name":"/cart","requests":3,"failures":1,"mean_ms":1.0,"p50_ms":0.766,"p90_ms":1.234,"p95_ms":1.234,"p99_ms":1.234,"max_ms":1.234}}"#
            ),
        ),
    ];
    assert_eq!(messages(&[]), expected);
    assert_eq!(messages(&[("RELAY_LOG_REQUESTS", "none")]).len(), 3);
    assert_eq!(messages(&[("RELAY_LOG_REQUESTS", "all")]).len(), 6);
    assert_eq!(messages(&[("RELAY_LOG_REQUESTS", "all"), ("RELAY_LOG_SAMPLE", "0.0")]).len(), 3);
    assert_eq!(messages(&[("RELAY_LOG_GROUP", "")]).len(), 0);
}

#[test]
fn a_sample_takes_its_share_and_always_the_same_requests() {
    let config = config(&[("RELAY_LOG_REQUESTS", "all"), ("RELAY_LOG_SAMPLE", "0.25")]);
    let record =
        || Record::Requests(group("GET", "/", (0..10_000).map(|n| request(-n, Some(n), None)).collect()));
    let plan = planned(&config, vec![record()]).unwrap();
    let sampled = plan.log_calls.iter().map(|call| call.events.len()).sum::<usize>() - 1;
    assert!((2_300..2_700).contains(&sampled), "{sampled}");
    assert_eq!(planned(&config, vec![record()]).unwrap(), plan);
}

#[test]
fn a_fingerprint_tells_plans_apart() {
    let fingerprint = |variables: &[(&str, &str)], time| {
        let record = Record::Requests(group("GET", "/", vec![request(-1, Some(time), None)]));
        planned(&config(variables), vec![record]).unwrap().fingerprint()
    };
    assert_eq!(fingerprint(&[], 1_000), fingerprint(&[], 1_000));
    assert_ne!(fingerprint(&[], 1_000), fingerprint(&[], 1_001));
    assert_ne!(fingerprint(&[], 1_000), fingerprint(&[("RELAY_NAMESPACE", "Other")], 1_000));
    assert_ne!(fingerprint(&[], 1_000), fingerprint(&[("RELAY_RESOLUTION_SECONDS", "60")], 1_000));
    assert_ne!(fingerprint(&[], 1_000), fingerprint(&[("RELAY_LOG_REQUESTS", "all")], 1_000));
}

#[test]
fn floods_end_in_an_error_not_in_memory() {
    let refused = |config: &Config, requests| {
        let plan = planned(config, vec![Record::Requests(group("GET", "/", requests))]);
        plan.err().map(|error| error.kind())
    };
    let spread = (0..130_000).map(|n| request(-n * 1_000, None, None)).collect();
    assert_eq!(refused(&config(&[]), spread), Some("TooManyIntervals"));
    let different = |(interval, group): (i64, i64)| {
        request(-interval * 1_000, Some((512 + group % 512) << (group / 512)), None)
    };
    let pairs = (0..80).flat_map(|interval| (0..27_000).map(move |group| (interval, group)));
    let none = config(&[("RELAY_LOG_REQUESTS", "none")]);
    assert_eq!(refused(&none, pairs.map(different).collect()), Some("TooManyValues"));
    let config = config(&[("RELAY_LOG_REQUESTS", "all"), ("RELAY_MAX_BATCH_MB", "1")]);
    let many = vec![request(0, None, None); 20_000];
    assert_eq!(refused(&config, many), Some("TooManyLogEvents"));
}

#[test]
fn huge_texts_are_cut_in_log_events() {
    let huge = "\u{1}".repeat(2 << 20);
    let records = vec![
        Record::Requests(Requests {
            error: Some(huge.clone()),
            ..group(&huge, &huge, vec![request(0, None, None)])
        }),
        Record::Exception(Exception {
            at_ms: NOW_MS,
            count: 1,
            message: huge.clone(),
            traceback: huge.clone(),
        }),
        Record::Event(Event {
            at_ms: NOW_MS,
            kind: huge.clone(),
            detail: detail(&serde_json::json!({ "x": huge }).to_string()),
        }),
    ];
    assert_legal(&planned(&config(&[]), records).unwrap());
}

#[test]
fn times_outside_cloudwatch_s_window_are_refused_as_a_whole() {
    let batch = |at_ms| {
        vec![Record::Requests(group("GET", "/", vec![request(0, None, None), request(at_ms, None, None)]))]
    };
    let (day, hour) = (24 * 3_600_000, 3_600_000);
    assert!(planned(&config(&[]), batch(-13 * day)).is_ok());
    assert!(planned(&config(&[]), batch(hour)).is_ok());
    let old = planned(&config(&[]), batch(-14 * day)).unwrap_err();
    assert_eq!(old.kind(), "TimestampTooOld");
    assert_eq!(
        old.to_string(),
        "expected times from 2026-11-07T10:44:00Z to 2026-11-21T12:14:00Z (what CloudWatch accepts now), found \
         2026-11-07T10:29:00Z to 2026-11-21T10:29:00Z: too old to publish"
    );
    assert_eq!(planned(&config(&[]), batch(2 * hour)).unwrap_err().kind(), "TimestampTooNew");
    assert_eq!(planned(&config(&[]), batch(i64::MAX - NOW_MS)).unwrap_err().kind(), "TimestampTooNew");
    assert_eq!(planned(&config(&[]), batch(i64::MIN)).unwrap_err().kind(), "TimestampTooOld");
}

#[test]
fn small_log_events_are_packed_up_to_their_number() {
    let header = Header { test: "t".into(), run: "r".into(), source: "s".into(), ..header() };
    let config = config(&[("RELAY_LOG_REQUESTS", "all")]);
    let mut planner = Planner::new(&config, &header);
    let requests = vec![request(-1, None, None); 12_000];
    planner.add(Record::Requests(Requests { status: None, ..group("", "", requests) })).unwrap();
    let plan = planner.finish(NOW_MS).unwrap();
    assert_legal(&plan);
    let sizes: Vec<_> = plan.log_calls.iter().map(|call| call.events.len()).collect();
    assert_eq!(sizes, [MAX_EVENTS_PER_CALL, 2_001]);
}
