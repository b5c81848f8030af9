//! What the sidecar's looks at Locust become.

use super::*;

#[test]
fn a_look_at_locust_s_statistics_becomes_totals_and_gauges() {
    let snapshot = |json: &str| -> Record { Record::Snapshot(serde_json::from_str(json).unwrap()) };
    let at = NOW_MS - 5_000;
    let records = vec![
        snapshot(&format!(
            r#"{{"from_ms":{},"at_ms":{at},
            "endpoints":[
                {{"method":"GET","name":"/a","requests":4,"failures":1,"response_times":3,
                  "response_time_us":{{"sum":6000,"min":1000,"max":3000}},"response_bytes":10,
                  "percentiles_ms":{{"50":2,"95":2.5,"99.9":9}}}},
                {{"method":"GET","name":"/b","requests":2,"failures":0,"response_times":2,
                  "response_time_us":{{"sum":9000,"min":4000,"max":5000}},"response_bytes":null}}],
            "total":{{"percentiles_ms":{{"50":3}},"current_percentiles_ms":{{"95":4.5}}}},
            "errors":[{{"method":"GET","name":"/a","error":"HTTPError('500')","count":1}}],
            "workers":[{{"id":"w1","state":"running","users":5,"cpu_percent":12.5,"memory_bytes":1000}},
                       {{"id":"w2","state":"running","users":5,"cpu_percent":37.5,"memory_bytes":null}},
                       {{"id":"w3","state":"missing","users":5,"cpu_percent":99.0,"memory_bytes":9}}]}}"#,
            at - 1_000
        )),
        snapshot(&format!(
            r#"{{"from_ms":{at},"at_ms":{},"endpoints":[{{"method":"GET","name":"/a","requests":1,"failures":0}}]}}"#,
            at + 1_000
        )),
    ];
    let plan = planned(&config(&[("RELAY_DIMENSION_SETS", "Test;Test,Method,Name")]), records).unwrap();
    assert_legal(&plan);
    assert_eq!(plan.requests, 7);
    let second = NOW_MS / 1000 - 6;
    let found: BTreeMap<_, _> = data(&plan)
        .map(|datum| {
            let numbers = match &datum.values {
                Values::Samples(samples) => {
                    samples.iter().map(|sample| format!("{}x{}", sample.count, sample.value)).collect()
                }
                Values::Statistics(Statistics { count, sum, minimum, maximum }) => {
                    vec![format!("{count}: {sum} in {minimum}..{maximum}")]
                }
            };
            (format!("{} +{}", key(datum), datum.timestamp_s - second), numbers.join(" "))
        })
        .collect();
    let (a, b) = ("Test=checkout,Method=GET,Name=/a", "Test=checkout,Method=GET,Name=/b");
    let expected: BTreeMap<_, _> = [
        ("ResponseTime{Test=checkout} +0".to_owned(), "5: 15 in 1..5"),
        ("Requests{Test=checkout} +0".into(), "1x6"),
        ("Failures{Test=checkout} +0".into(), "1x1"),
        ("ResponseSize{Test=checkout} +0".into(), "4: 10 in 2..3"),
        ("Requests{Test=checkout} +1".into(), "1x1"),
        ("Failures{Test=checkout} +1".into(), "1x0"),
        (format!("ResponseTime{{{a}}} +0"), "3: 6 in 1..3"),
        (format!("Requests{{{a}}} +0"), "1x4"),
        (format!("Failures{{{a}}} +0"), "1x1"),
        (format!("ResponseSize{{{a}}} +0"), "4: 10 in 2..3"),
        (format!("Requests{{{a}}} +1"), "1x1"),
        (format!("Failures{{{a}}} +1"), "1x0"),
        (format!("ResponseTime{{{b}}} +0"), "2: 9 in 4..5"),
        (format!("Requests{{{b}}} +0"), "1x2"),
        (format!("Failures{{{b}}} +0"), "1x0"),
        (format!("LocustP50{{{a}}} +0"), "1x2"),
        (format!("LocustP95{{{a}}} +0"), "1x2.5"),
        ("LocustP50{Test=checkout} +0".into(), "1x3"),
        ("LocustCurrentP95{Test=checkout} +0".into(), "1x4.5"),
        ("Workers{Test=checkout} +0".into(), "1x2"),
        ("WorkerCpu{Test=checkout} +0".into(), "1x12.5 1x37.5"),
        ("WorkerMemory{Test=checkout} +0".into(), "1x1000"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .into();
    assert_eq!(found, expected);
    let messages: Vec<_> = plan.log_calls[0].events.iter().map(|event| event.message.as_str()).collect();
    let common = r#""test":"checkout","run":"r1","source":"s1","method":"GET""#;
    assert_eq!(
        messages[0],
        format!(r#"{{"type":"error",{common},"name":"/a","error":"HTTPError('500')","count":1}}"#)
    );
    assert_eq!(
        messages[1],
        format!(
            r#"{{"type":"summary",{common},"name":"/a","requests":5,"failures":1,"mean_ms":2.0,"max_ms":3.0}}"#
        )
    );
}

#[test]
fn cells_count_once_however_often_they_are_seen() {
    // A sidecar's minute of 500 endpoints, of each of which every second tells something.
    let endpoints: Vec<_> = (0..500)
        .map(|n| {
            serde_json::json!({
                "method": "GET", "name": format!("/{n}"), "requests": 1, "failures": 0,
                "percentiles_ms": {"50": 1, "90": 1, "95": 1, "99": 1},
            })
        })
        .collect();
    let look = |second: i64| {
        let at_ms = NOW_MS - 60_000 + second * 1_000;
        let look = serde_json::json!({"from_ms": at_ms - 1_000, "at_ms": at_ms, "endpoints": endpoints});
        Record::Snapshot(serde_json::from_value(look).unwrap())
    };
    for resolution in ["1", "60"] {
        let config = config(&[("RELAY_RESOLUTION_SECONDS", resolution), ("RELAY_MAX_ENDPOINTS", "1000")]);
        let looks = (0..60).chain(0..60).map(look).collect();
        assert_eq!(planned(&config, looks).unwrap().requests, 2 * 60 * 500);
    }
}

#[test]
fn folded_endpoints_have_no_gauges() {
    let endpoints: Vec<_> = (0..3)
        .map(|n| format!(r#"{{"method":"GET","name":"/{n}","requests":{},"failures":0,"percentiles_ms":{{"50":{n}}}}}"#, 9 - n))
        .collect();
    let json = format!(r#"{{"from_ms":{NOW_MS},"at_ms":{NOW_MS},"endpoints":[{}]}}"#, endpoints.join(","));
    let record = Record::Snapshot(serde_json::from_str(&json).unwrap());
    let plan = planned(&config(&[("RELAY_MAX_ENDPOINTS", "1")]), vec![record]).unwrap();
    let gauges: Vec<_> = data(&plan).map(key).filter(|key| key.starts_with("LocustP50")).collect();
    assert_eq!(gauges, ["LocustP50{Test=checkout,Method=GET,Name=/0}"]);
}
