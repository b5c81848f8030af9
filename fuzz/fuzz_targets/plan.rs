//! Any lines of a batch → calls that CloudWatch takes, all requests in them, twice the same; or an error.
//!
//! The first byte chooses settings; the rest is the batch's text, without its compression.
#![no_main]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use fuzz::LIMIT;
use fuzz::batch::Reader;
use fuzz::config::Config;
use fuzz::distribution::Sample;
use fuzz::plan::catalog::Metric;
use fuzz::plan::limits::*;
use fuzz::plan::{LogCall, MetricCall, Plan, Statistics, Values, encoded_bytes, plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else { return };
    let mut object = GzEncoder::new(Vec::new(), Compression::none());
    object.write_all(text).unwrap();
    let object = object.finish().unwrap();
    let config = config(*choice);
    let open = || Reader::open(&object, LIMIT);
    let Ok(batch) = open() else { return };
    let now_ms = batch.header().to_ms;
    let Ok(made) = plan(batch, &config, now_ms) else { return };
    made.metric_calls.iter().for_each(|call| check_metrics(call, now_ms));
    made.log_calls.iter().for_each(|call| check_logs(call, now_ms));
    check_requests(&made);
    assert!(plan(open().unwrap(), &config, now_ms).as_ref() == Ok(&made), "the same plan again");
});

fn config(choice: u8) -> Config {
    let pick = |bit: u8, values: [&'static str; 2]| values[usize::from(choice >> bit & 1)].to_owned();
    let settings = move |name: &str| match name {
        "RELAY_LOG_GROUP" => Some("/locust/fuzz".to_owned()),
        "RELAY_RESOLUTION_SECONDS" => Some(pick(0, ["1", "60"])),
        "RELAY_DIMENSION_SETS" => {
            Some(pick(1, ["Test;Test,Method,Name", "Test;Test,Run,Source,Host,Method,Name"]))
        }
        "RELAY_LOG_REQUESTS" => Some(pick(2, ["all", "failures"])),
        "RELAY_LOG_SAMPLE" => Some(pick(3, ["1.0", "0.5"])),
        "RELAY_MAX_ENDPOINTS" => Some(pick(4, ["200", "1"])),
        "RELAY_MAX_BATCH_MB" => Some("1".to_owned()),
        _ => None,
    };
    Config::read(settings).unwrap()
}

fn in_window(at_ms: i64, now_ms: i64) -> bool {
    (now_ms.saturating_sub(MAX_AGE_MS)..=now_ms.saturating_add(MAX_FUTURE_MS)).contains(&at_ms)
}

fn check_metrics(call: &MetricCall, now_ms: i64) {
    assert!((1..=MAX_DATA_PER_CALL).contains(&call.data.len()));
    assert!(call.data.iter().map(encoded_bytes).sum::<usize>() <= MAX_METRIC_CALL_BYTES);
    for datum in &call.data {
        match &datum.values {
            Values::Samples(samples) => {
                assert!((1..=MAX_VALUES_PER_DATUM).contains(&samples.len()));
                for Sample { value, count } in samples.iter() {
                    assert!(value.is_finite() && value.abs() <= 2_f64.powi(360) && *count > 0);
                }
            }
            Values::Statistics(statistics) => check_statistics(statistics),
        }
        assert!(datum.dimensions.len() <= 30);
        for (_, value) in datum.dimensions.iter() {
            assert!((1..=MAX_DIMENSION_VALUE_CHARS).contains(&value.len()));
            assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            assert!(!value.trim().is_empty() && !value.starts_with(':'), "{value:?}");
        }
        let at_ms = datum.timestamp_s * 1000;
        assert!(in_window(at_ms, now_ms), "{at_ms} at {now_ms}");
    }
}

fn check_statistics(Statistics { count, sum, minimum, maximum }: &Statistics) {
    assert!(*count > 0 && [sum, minimum, maximum].iter().all(|number| number.is_finite()));
    // The sum is exact, and the means are rounded: as far as floats go.
    let (count, slack) = (*count as f64, 1e-9 * (1.0 + sum.abs()));
    assert!(minimum * count <= sum + slack && *sum <= maximum * count + slack);
}

fn check_logs(call: &LogCall, now_ms: i64) {
    let stream = &call.stream;
    assert!(
        (1..=MAX_STREAM_NAME_CHARS).contains(&stream.chars().count()) && !stream.contains([':', '*']),
        "{stream}"
    );
    assert!((1..=MAX_EVENTS_PER_CALL).contains(&call.events.len()));
    let bytes: usize = call.events.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES).sum();
    assert!(bytes <= MAX_LOG_CALL_BYTES);
    assert!(call.events.is_sorted_by_key(|event| event.timestamp_ms));
    let span = call.events.last().unwrap().timestamp_ms - call.events[0].timestamp_ms;
    assert!(span <= MAX_LOG_CALL_SPAN_MS);
    for event in &call.events {
        assert!(in_window(event.timestamp_ms, now_ms));
        let message: serde_json::Value = serde_json::from_str(&event.message).unwrap();
        assert!(message.is_object());
    }
}

fn check_requests(plan: &Plan) {
    let data = plan.metric_calls.iter().flat_map(|call| &call.data);
    let requests: f64 = data
        .filter(|datum| datum.metric == Metric::Requests && datum.dimensions.len() == 1)
        .flat_map(|datum| datum.samples().iter())
        .map(|sample| sample.value * sample.count as f64)
        .sum();
    assert_eq!(requests, plan.requests as f64);
}
