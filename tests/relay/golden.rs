//! The batches in `tests/data`, written by the hook, say here what the hook meant by them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use relay::batch::{Reader, Record};
use relay::config::Config;
use relay::plan::{Values, plan};
use serde_json::Value;

const LIMIT: u64 = 1 << 28;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(data(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&bytes(&format!("{name}.expected.json"))).unwrap()
}

#[derive(Debug, Default, PartialEq)]
struct Endpoint {
    requests: i64,
    failures: i64,
    times: Vec<i64>,
    time_nulls: i64,
    sizes: Vec<i64>,
    statuses: BTreeMap<String, i64>,
    errors: BTreeMap<String, i64>,
    span_ms: Option<(i64, i64)>,
}

fn assert_reads_as_expected(file: &str, name: &str) {
    let bytes = bytes(file);
    let expected = expected(name);
    let reader = Reader::open(&bytes, LIMIT).unwrap();
    let header = reader.header().clone();
    for field in ["test", "run", "source"] {
        let found = [("test", &header.test), ("run", &header.run), ("source", &header.source)];
        let found = found.iter().find(|(name, _)| *name == field).unwrap().1;
        assert_eq!(expected["header"][field], found.as_str(), "{file}: {field}");
    }
    for (field, found) in [
        ("run_started_ms", header.run_started_ms),
        ("from_ms", header.from_ms),
        ("to_ms", header.to_ms),
        ("seq", header.seq as i64),
    ] {
        assert_eq!(expected["header"][field], found, "{file}: {field}");
    }
    assert_eq!(expected["header"]["labels"], serde_json::to_value(&header.labels).unwrap());

    let mut endpoints: BTreeMap<(String, String), Endpoint> = BTreeMap::new();
    let (mut users, mut events, mut exceptions) = (Vec::new(), Vec::new(), Vec::new());
    for record in reader {
        match record.unwrap() {
            Record::Requests(group) => {
                let endpoint = endpoints.entry((group.method, group.name)).or_default();
                let count = group.columns.len() as i64;
                endpoint.requests += count;
                let status = group.status.map_or("none".to_owned(), |status| status.to_string());
                *endpoint.statuses.entry(status).or_default() += count;
                if let Some(error) = group.error {
                    endpoint.failures += count;
                    *endpoint.errors.entry(error).or_default() += count;
                }
                for request in group.columns.iter() {
                    match request.response_time_us {
                        Some(time) => endpoint.times.push(time),
                        None => endpoint.time_nulls += 1,
                    }
                    endpoint.sizes.extend(request.response_bytes);
                    let (first, last) = endpoint.span_ms.unwrap_or((request.at_ms, request.at_ms));
                    endpoint.span_ms = Some((first.min(request.at_ms), last.max(request.at_ms)));
                }
            }
            Record::Users(record) => users.push(record),
            Record::Event(record) => events.push(record),
            Record::Exception(record) => exceptions.push((record.message, record.count)),
            Record::Snapshot(_) => panic!("{file}: the hook writes no snapshots"),
        }
    }

    assert_eq!(expected["endpoints"].as_array().unwrap().len(), endpoints.len(), "{file}");
    for wanted in expected["endpoints"].as_array().unwrap() {
        let key =
            (wanted["method"].as_str().unwrap().to_owned(), wanted["name"].as_str().unwrap().to_owned());
        let found = endpoints.get(&key).unwrap_or_else(|| panic!("{file}: no {key:?}"));
        let times = &wanted["response_time_us"];
        assert_eq!(wanted["requests"], found.requests, "{key:?}");
        assert_eq!(wanted["failures"], found.failures, "{key:?}");
        assert_eq!(times["count"], found.times.len(), "{key:?}");
        assert_eq!(times["nulls"], found.time_nulls, "{key:?}");
        assert_eq!(times["sum"].as_i64().unwrap_or(0), found.times.iter().sum::<i64>(), "{key:?}");
        assert_eq!(times["min"].as_i64(), found.times.iter().min().copied(), "{key:?}");
        assert_eq!(times["max"].as_i64(), found.times.iter().max().copied(), "{key:?}");
        assert_eq!(wanted["response_bytes"]["count"], found.sizes.len(), "{key:?}");
        assert_eq!(
            wanted["response_bytes"]["sum"].as_i64().unwrap_or(0),
            found.sizes.iter().sum::<i64>(),
            "{key:?}"
        );
        assert_eq!(wanted["statuses"], serde_json::to_value(&found.statuses).unwrap(), "{key:?}");
        assert_eq!(wanted["errors"], serde_json::to_value(&found.errors).unwrap(), "{key:?}");
        assert_eq!(wanted["first_at_ms"].as_i64(), found.span_ms.map(|span| span.0), "{key:?}");
        assert_eq!(wanted["last_at_ms"].as_i64(), found.span_ms.map(|span| span.1), "{key:?}");
    }
    for (wanted, found) in expected["users"].as_array().unwrap().iter().zip(&users) {
        assert_eq!(
            (wanted["at_ms"].as_i64(), wanted["total"].as_u64()),
            (Some(found.at_ms), Some(found.total))
        );
        assert_eq!(wanted["by_class"], serde_json::to_value(&found.by_class).unwrap());
    }
    assert_eq!(expected["users"].as_array().unwrap().len(), users.len());
    for (wanted, found) in expected["events"].as_array().unwrap().iter().zip(&events) {
        assert_eq!(
            (wanted["at_ms"].as_i64(), wanted["kind"].as_str()),
            (Some(found.at_ms), Some(&*found.kind))
        );
        assert_eq!(wanted["detail"], serde_json::from_str::<Value>(found.detail.get()).unwrap());
    }
    assert_eq!(expected["events"].as_array().unwrap().len(), events.len());
    let mut wanted: Vec<_> = expected["exceptions"].as_array().unwrap().iter().collect();
    wanted.sort_by_key(|exception| exception["message"].to_string());
    exceptions.sort();
    let found: Vec<_> = exceptions.iter().map(|(message, count)| (Some(&**message), Some(*count))).collect();
    assert_eq!(
        wanted.iter().map(|e| (e["message"].as_str(), e["count"].as_u64())).collect::<Vec<_>>(),
        found
    );
}

#[test]
fn the_hook_s_batches_say_what_it_meant() {
    for (file, name) in [
        ("typical.ndjson.gz", "typical"),
        ("typical.ndjson.zst", "typical"),
        ("oddities.ndjson.gz", "oddities"),
        ("idle.ndjson.gz", "idle"),
    ] {
        assert_reads_as_expected(file, name);
    }
}

#[test]
fn the_hook_s_batches_become_metrics_that_add_up() {
    for name in ["typical", "oddities", "idle"] {
        let bytes = bytes(&format!("{name}.ndjson.gz"));
        let expected = expected(name);
        let config = Config::read(|name| (name == "RELAY_LOG_GROUP").then(|| "g".to_owned())).unwrap();
        let now_ms = expected["header"]["to_ms"].as_i64().unwrap();
        let plan = plan(Reader::open(&bytes, LIMIT).unwrap(), &config, now_ms).unwrap();
        let data = || plan.metric_calls.iter().flat_map(|call| &call.data);
        let sum = |metric: &str| -> f64 {
            let data = data().filter(|datum| datum.metric.name() == metric && datum.dimensions.len() == 1);
            data.flat_map(|datum| datum.samples().iter())
                .map(|sample| sample.value * sample.count as f64)
                .sum()
        };
        let total = |field: fn(&Value) -> i64| {
            expected["endpoints"].as_array().unwrap().iter().map(field).sum::<i64>()
        };
        assert_eq!(sum("Requests"), total(|endpoint| endpoint["requests"].as_i64().unwrap()) as f64);
        assert_eq!(sum("Failures"), total(|endpoint| endpoint["failures"].as_i64().unwrap()) as f64);
        let times_us = total(|endpoint| endpoint["response_time_us"]["sum"].as_i64().unwrap_or(0)) as f64;
        assert!((sum("ResponseTime") * 1000.0 - times_us).abs() <= 1e-9 * times_us.abs(), "{name}");
        assert_eq!(plan.requests, expected["requests"].as_u64().unwrap());
    }
}

#[test]
fn each_bad_batch_has_its_own_error() {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(data("bad")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let read = || Reader::open(&bytes, LIMIT)?.collect::<Result<Vec<_>, _>>();
        let name = path.file_name().unwrap().to_string_lossy().split('.').next().unwrap().to_owned();
        found.insert(name, read().expect_err("a bad batch").kind());
    }
    let expected = [
        ("broken-json", "InvalidJson"),
        ("empty", "EmptyObject"),
        ("missing-end", "TruncatedBatch"),
        ("missing-field", "InvalidJson"),
        ("not-gzip", "NotCompressed"),
        ("truncated", "TruncatedBatch"),
        ("unequal-columns", "UnequalColumns"),
        ("unknown-version", "UnknownBatchVersion"),
        ("wrong-end", "WrongEndLine"),
    ];
    assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind)).into());
}

#[test]
fn the_sidecar_s_snapshots_become_metrics_that_add_up() {
    let (bytes, expected) = (bytes("sidecar/snapshot.ndjson.gz"), expected("sidecar/snapshot"));
    let config = Config::read(|name| match name {
        "RELAY_LOG_GROUP" => Some("g".to_owned()),
        "RELAY_DIMENSION_SETS" => Some("Test,Method,Name".to_owned()),
        _ => None,
    });
    let now_ms = expected["header"]["to_ms"].as_i64().unwrap();
    let plan = plan(Reader::open(&bytes, LIMIT).unwrap(), &config.unwrap(), now_ms).unwrap();
    let data = || plan.metric_calls.iter().flat_map(|call| &call.data);
    let endpoints = expected["endpoints"].as_array().unwrap();
    assert_eq!((plan.skipped_records, endpoints.len()), (0, 5));
    for endpoint in endpoints {
        let method = endpoint["method"].as_str().unwrap();
        let name = endpoint["name"].as_str().unwrap().replace("größe", "gr%C3%B6%C3%9Fe");
        let name = name.as_str();
        let of = |metric: &'static str| {
            data().filter(move |datum| {
                let values: Vec<_> = datum.dimensions.iter().map(|(_, value)| value.as_str()).collect();
                datum.metric.name() == metric && values[1..] == [method, name]
            })
        };
        for (metric, field) in [("Requests", "requests"), ("Failures", "failures")] {
            let sum: f64 = of(metric).flat_map(|datum| datum.samples()).map(|sample| sample.value).sum();
            assert_eq!(Some(sum), endpoint[field].as_f64(), "{metric} of {name}");
        }
        let times: Vec<_> = of("ResponseTime")
            .map(|datum| match datum.values {
                Values::Statistics(statistics) => statistics,
                Values::Samples(_) => panic!("nobody saw single requests"),
            })
            .collect();
        let count: u64 = times.iter().map(|times| times.count).sum();
        assert_eq!(Some(count), endpoint["response_times"].as_u64(), "{name}");
        if count > 0 {
            let us = |of: fn(f64, f64) -> f64, number: fn(&relay::plan::Statistics) -> f64| {
                (times.iter().map(number).reduce(of).unwrap() * 1000.0).round()
            };
            let wanted = &endpoint["response_time_us"];
            let found = [
                us(|left, right| left + right, |times| times.sum),
                us(f64::min, |times| times.minimum),
                us(f64::max, |times| times.maximum),
            ];
            assert_eq!(found.map(Some), ["sum", "min", "max"].map(|field| wanted[field].as_f64()), "{name}");
        }
    }
    let errors = plan.log_calls.iter().flat_map(|call| &call.events);
    let errors = errors.map(|event| serde_json::from_str::<Value>(&event.message).unwrap());
    let errors = errors.filter(|event| event["type"] == "error");
    assert_eq!(errors.map(|event| event["count"].as_u64().unwrap()).sum::<u64>(), expected["errors"]);
}
