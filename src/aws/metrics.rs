//! `PutMetricData`.

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::Builder;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};

use super::{call_error, once};
use crate::deliver::{CallError, Metrics};
use crate::plan::catalog::Unit;
use crate::plan::{Datum, MetricCall, Statistics, Values};

/// CloudWatch metrics.
#[derive(Clone, Debug)]
pub struct CloudWatch(Client);

impl CloudWatch {
    /// A client for region, credentials and endpoint of `config`.
    pub fn new(config: &SdkConfig) -> Self {
        let (retries, timeouts) = once();
        let builder = Builder::from(config).retry_config(retries).timeout_config(timeouts);
        // Compressing a call takes as much time of the processor as all the rest, and a small function has a third of
        // one; the bytes that it would save cost nothing within a region. (docs/performance.md)
        Self(Client::from_conf(builder.disable_request_compression(true).build()))
    }
}

impl Metrics for CloudWatch {
    async fn put_metric_data(&self, call: &MetricCall) -> Result<(), CallError> {
        let data = call.data.iter().map(datum).collect();
        let request = self.0.put_metric_data().namespace(call.namespace.as_ref()).set_metric_data(Some(data));
        request.send().await.map(|_| ()).map_err(|error| call_error(&error))
    }
}

fn datum(datum: &Datum) -> MetricDatum {
    let dimensions =
        datum.dimensions.iter().map(|(name, value)| Dimension::builder().name(*name).value(value).build());
    let counts =
        datum.has_counts().then(|| datum.samples().iter().map(|sample| sample.count as f64).collect());
    let (values, statistics) = match &datum.values {
        Values::Samples(samples) => (Some(samples.iter().map(|sample| sample.value).collect()), None),
        Values::Statistics(statistics) => (None, Some(statistic_set(statistics))),
    };
    MetricDatum::builder()
        .metric_name(datum.metric.name())
        .set_dimensions(Some(dimensions.collect()))
        .timestamp(DateTime::from_secs(datum.timestamp_s))
        .set_values(values)
        .set_statistic_values(statistics)
        .set_counts(counts)
        .unit(match datum.metric.unit() {
            Unit::Milliseconds => StandardUnit::Milliseconds,
            Unit::Bytes => StandardUnit::Bytes,
            Unit::Count => StandardUnit::Count,
            Unit::Percent => StandardUnit::Percent,
        })
        .storage_resolution(if datum.high_resolution { 1 } else { 60 })
        .build()
}

fn statistic_set(Statistics { count, sum, minimum, maximum }: &Statistics) -> StatisticSet {
    StatisticSet::builder().sample_count(*count as f64).sum(*sum).minimum(*minimum).maximum(*maximum).build()
}
