//! Every name that users meet, in one table: what dashboards, alarms, queries and documents are held against.

use serde_json::{Value, json};

use crate::config::{Config, Dimension, SETTINGS};
use crate::plan::catalog::Metric;
use crate::plan::log_fields;
use crate::telemetry;

/// Metrics with units and sets of dimensions, log events with fields, settings with defaults and parameters.
pub fn vocabulary(config: &Config) -> Value {
    let metrics: Vec<_> = Metric::ALL
        .iter()
        .map(|metric| {
            json!({
                "name": metric.name(),
                "unit": metric.unit().name(),
                "dimensions": dimensions(*metric, config),
            })
        })
        .collect();
    let relay_metrics: Vec<_> =
        telemetry::ALL.iter().map(|(name, unit)| json!({"name": name, "unit": unit})).collect();
    let settings: Vec<_> = SETTINGS
        .iter()
        .map(|setting| {
            json!({
                "name": setting.variable,
                "default": setting.default,
                "parameter": setting.parameter,
            })
        })
        .collect();
    json!({
        "namespace": config.namespace,
        "metrics": metrics,
        "relay_namespace": telemetry::NAMESPACE,
        "relay_metrics": relay_metrics,
        "log_events": log_fields(),
        "settings": settings,
    })
}

fn dimensions(metric: Metric, config: &Config) -> Vec<Vec<&'static str>> {
    let test = Dimension::Test.as_str();
    match metric.own_dimensions() {
        None => {
            let names = |set: &Vec<Dimension>| set.iter().map(|dimension| dimension.as_str()).collect();
            config.dimension_sets.iter().map(names).collect()
        }
        Some(sets) => sets.iter().map(|set| [&[test], *set].concat()).collect(),
    }
}
