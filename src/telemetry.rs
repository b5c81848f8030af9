//! The relay's own health, as lines of the CloudWatch embedded metric format: printed, they become metrics without a
//! call and without a permission.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Map, Value, json};

use crate::deliver::Report;
use crate::plan::Plan;

/// Namespace of the relay's own metrics, beside that of the load tests.
pub const NAMESPACE: &str = "Locust/Relay";

/// A metric of the relay's own: name and CloudWatch's unit. They have no dimensions.
pub type SelfMetric = (&'static str, &'static str);

/// Batches published.
pub const BATCHES_RELAYED: SelfMetric = ("BatchesRelayed", "Count");
/// Batches skipped because they had been published before.
pub const BATCHES_SKIPPED: SelfMetric = ("BatchesSkipped", "Count");
/// Objects that could not be relayed in this attempt, and that another attempt may help.
pub const BATCHES_DELAYED: SelfMetric = ("BatchesDelayed", "Count");
/// Objects that cannot be relayed as they are.
pub const BATCHES_REFUSED: SelfMetric = ("BatchesRefused", "Count");
/// Requests in published batches.
pub const REQUESTS_RELAYED: SelfMetric = ("RequestsRelayed", "Count");
/// Time from the end of a live batch's interval to its publication.
pub const LAG: SelfMetric = ("Lag", "Milliseconds");
/// Calls made to publish batches, unsuccessful ones included.
pub const CALLS: SelfMetric = ("Calls", "Count");
/// Answers of CloudWatch that said "too many calls".
pub const THROTTLES: SelfMetric = ("Throttles", "Count");
/// Calls repeated although an earlier attempt may have been carried out.
pub const CALLS_MAYBE_REPEATED: SelfMetric = ("CallsMaybeRepeated", "Count");
/// Log events that CloudWatch Logs threw away: too old, too new, or past the group's retention.
pub const LOG_EVENTS_REJECTED: SelfMetric = ("LogEventsRejected", "Count");

/// Every one of them.
pub const ALL: [SelfMetric; 10] = [
    BATCHES_RELAYED,
    BATCHES_SKIPPED,
    BATCHES_DELAYED,
    BATCHES_REFUSED,
    REQUESTS_RELAYED,
    LAG,
    CALLS,
    THROTTLES,
    CALLS_MAYBE_REPEATED,
    LOG_EVENTS_REJECTED,
];

/// The line for a published batch. `lag_ms` is none for a replay, whose times are not now.
pub fn relayed(plan: &Plan, report: &Report, lag_ms: Option<i64>, now_ms: i64) -> String {
    let mut values = vec![(BATCHES_RELAYED, 1.into()), (REQUESTS_RELAYED, plan.requests.into())];
    values.extend(calls(report));
    values.extend(lag_ms.map(|lag_ms| (LAG, lag_ms.into())));
    line(&values, now_ms)
}

/// The line for a delivery that did not come to its end.
pub fn stopped(report: &Report, now_ms: i64) -> String {
    line(&calls(report), now_ms)
}

fn calls(report: &Report) -> [(SelfMetric, Value); 4] {
    [
        (CALLS, report.attempts.into()),
        (THROTTLES, report.throttled.into()),
        (CALLS_MAYBE_REPEATED, report.maybe_repeated.into()),
        (LOG_EVENTS_REJECTED, report.rejected_log_events.into()),
    ]
}

/// The line for a batch that had been published before.
pub fn skipped(now_ms: i64) -> String {
    line(&[(BATCHES_SKIPPED, 1.into())], now_ms)
}

/// The line for an object that was not relayed.
pub fn failed(temporary: bool, now_ms: i64) -> String {
    line(&[(if temporary { BATCHES_DELAYED } else { BATCHES_REFUSED }, 1.into())], now_ms)
}

fn line(values: &[(SelfMetric, Value)], now_ms: i64) -> String {
    let metrics: Vec<_> =
        values.iter().map(|((name, unit), _)| json!({"Name": name, "Unit": unit})).collect();
    let directive = json!([{"Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": metrics}]);
    let mut root: Map<String, Value> =
        values.iter().map(|((name, _), value)| ((*name).to_owned(), value.clone())).collect();
    root.insert("_aws".into(), json!({"Timestamp": now_ms, "CloudWatchMetrics": directive}));
    Value::Object(root).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_each_metric_that_it_has() {
        let report = Report { attempts: 3, throttled: 1, maybe_repeated: 0, rejected_log_events: 2 };
        let plan = Plan { requests: 40_000, ..Plan::default() };
        let line: Value = serde_json::from_str(&relayed(&plan, &report, Some(1_234), 99)).unwrap();
        assert_eq!(line["_aws"]["Timestamp"], 99);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(
            (&directive["Namespace"], &directive["Dimensions"]),
            (&json!("Locust/Relay"), &json!([[]]))
        );
        let metrics = directive["Metrics"].as_array().unwrap();
        let values: Vec<_> = metrics
            .iter()
            .map(|metric| {
                (
                    metric["Name"].as_str().unwrap(),
                    metric["Unit"].as_str().unwrap(),
                    line[metric["Name"].as_str().unwrap()].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            values,
            [
                ("BatchesRelayed", "Count", 1),
                ("RequestsRelayed", "Count", 40_000),
                ("Calls", "Count", 3),
                ("Throttles", "Count", 1),
                ("CallsMaybeRepeated", "Count", 0),
                ("LogEventsRejected", "Count", 2),
                ("Lag", "Milliseconds", 1_234),
            ]
        );
    }

    #[test]
    fn what_was_not_relayed_is_sorted_by_what_can_be_done() {
        for (text, name) in [
            (skipped(0), "BatchesSkipped"),
            (failed(true, 0), "BatchesDelayed"),
            (failed(false, 0), "BatchesRefused"),
        ] {
            let line: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line[name], 1, "{text}");
        }
        let stopped: Value =
            serde_json::from_str(&stopped(&Report { throttled: 9, ..Report::default() }, 0)).unwrap();
        assert_eq!((&stopped["Throttles"], &stopped["BatchesRelayed"]), (&json!(9), &Value::Null));
        let replayed = relayed(&Plan::default(), &Report::default(), None, 0);
        assert!(!replayed.contains("Lag"));
    }
}
