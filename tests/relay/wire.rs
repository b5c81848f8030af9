//! What the SDK really sends and how its answers are taken, against HTTP-level fakes.

use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::test_util::{NeverClient, infallible_client_fn};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::body::SdkBody;
use ciborium::Value as Cbor;
use proptest::prelude::*;
use relay::aws::{CloudWatch, CloudWatchLogs, S3};
use relay::deliver::{CallError, Failure, Logs, Metrics};
use relay::distribution::Sample;
use relay::error::FetchError;
use relay::ledger::{ETag, LedgerStore, Written};
use relay::notification::ObjectRef;
use relay::plan::catalog::Metric;
use relay::plan::{Datum, LogCall, LogEvent, MetricCall, Statistics, Values, encoded_bytes};
use relay::relay::ObjectStore;
use serde_json::json;

type Request = http::Request<SdkBody>;
type Answer = http::Response<SdkBody>;

fn config(client: SharedHttpClient) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
        .http_client(client)
        .build()
}

/// A service that keeps its requests and answers them by a function of their number.
fn service(
    answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
) -> (SdkConfig, Arc<Mutex<Vec<Request>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    let client = infallible_client_fn(move |request: Request| {
        let mut kept = kept.lock().unwrap();
        let answer = answer(kept.len(), &request);
        kept.push(request);
        answer
    });
    (config(client), requests)
}

fn answer(status: u16, body: impl Into<SdkBody>) -> Answer {
    http::Response::builder().status(status).body(body.into()).unwrap()
}

fn cbor(status: u16, fields: &[(&str, &str)]) -> Answer {
    let text = |text: &str| Cbor::Text(text.to_owned());
    let map = Cbor::Map(fields.iter().map(|(key, value)| (text(key), text(value))).collect());
    let mut body = Vec::new();
    ciborium::into_writer(&map, &mut body).unwrap();
    let mut answer = answer(status, body);
    answer.headers_mut().insert("smithy-protocol", "rpc-v2-cbor".parse().unwrap());
    answer.headers_mut().insert("content-type", "application/cbor".parse().unwrap());
    answer
}

/// The body as it was before compression.
fn plain_body(request: &Request) -> &[u8] {
    assert_eq!(request.headers().get("content-encoding"), None, "compressing costs more than it saves");
    request.body().bytes().unwrap()
}

fn field<'a>(value: &'a Cbor, name: &str) -> Option<&'a Cbor> {
    value.as_map()?.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

fn floats(value: Option<&Cbor>) -> Option<Vec<f64>> {
    value?.as_array()?.iter().map(Cbor::as_float).collect()
}

fn datum(metric: Metric, samples: &[(f64, u64)], dimensions: &[&str]) -> Datum {
    let samples = samples.iter().map(|(value, count)| Sample { value: *value, count: *count }).collect();
    let values = Values::Samples(samples);
    let dimensions = dimensions.iter().map(|value| ("Name", (*value).to_owned())).collect();
    Datum { metric, dimensions, timestamp_s: 1_795_256_940, values, high_resolution: true }
}

const STATISTICS: Statistics = Statistics { count: 3, sum: 7.5, minimum: 1.5, maximum: 4.0 };

async fn put(config: &SdkConfig, data: Vec<Datum>) -> Result<(), CallError> {
    CloudWatch::new(config).put_metric_data(&MetricCall { namespace: "Locust".into(), data }).await
}

#[tokio::test]
async fn put_metric_data_carries_everything_that_was_planned() {
    let (config, requests) = service(|_, _| cbor(200, &[]));
    let data = vec![
        datum(Metric::ResponseTime, &[(0.5, 1), (1.25, 3)], &["/cart"]),
        Datum { high_resolution: false, ..datum(Metric::ResponseSize, &[(7.0, 1)], &[]) },
        Datum { values: Values::Statistics(STATISTICS), ..datum(Metric::ResponseTime, &[], &[]) },
    ];
    put(&config, data).await.unwrap();
    let requests = requests.lock().unwrap();
    assert!(requests[0].uri().path().ends_with("/operation/PutMetricData"));
    let body: Cbor = ciborium::from_reader(plain_body(&requests[0])).unwrap();
    assert_eq!(field(&body, "Namespace").unwrap().as_text(), Some("Locust"));
    let data = field(&body, "MetricData").unwrap().as_array().unwrap();
    assert_eq!(field(&data[0], "MetricName").unwrap().as_text(), Some("ResponseTime"));
    assert_eq!(field(&data[0], "Unit").unwrap().as_text(), Some("Milliseconds"));
    assert_eq!(floats(field(&data[0], "Values")), Some(vec![0.5, 1.25]));
    assert_eq!(floats(field(&data[0], "Counts")), Some(vec![1.0, 3.0]));
    assert_eq!(field(&data[0], "StorageResolution").unwrap().as_integer(), Some(1.into()));
    let (tag, time) = field(&data[0], "Timestamp").unwrap().as_tag().unwrap();
    assert_eq!((tag, time.as_float()), (1, Some(1_795_256_940.0)));
    let dimension = &field(&data[0], "Dimensions").unwrap().as_array().unwrap()[0];
    assert_eq!(field(dimension, "Name").unwrap().as_text(), Some("Name"));
    assert_eq!(field(dimension, "Value").unwrap().as_text(), Some("/cart"));
    assert_eq!(floats(field(&data[1], "Counts")), None, "counts that are all 1 need not be sent");
    assert_eq!(field(&data[1], "StorageResolution").unwrap().as_integer(), Some(60.into()));
    let statistics = field(&data[2], "StatisticValues").unwrap();
    let statistic = |name| field(statistics, name).and_then(Cbor::as_float).unwrap();
    assert_eq!(["SampleCount", "Sum", "Minimum", "Maximum"].map(statistic), [3.0, 7.5, 1.5, 4.0]);
    assert_eq!((field(&data[2], "Values"), field(&data[2], "Counts")), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_planned_size_of_a_call_bounds_what_is_sent(
        shapes in prop::collection::vec((0..Metric::ALL.len(), 0..=150_usize, any::<bool>(), prop::collection::vec(1..1_024_usize, 0..4)), 1..40)
    ) {
        let data: Vec<_> = shapes.iter().map(|(metric, values, repeated, dimensions)| {
            let names: Vec<_> = dimensions.iter().map(|length| "x".repeat(*length)).collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let samples: Vec<_> = (0..*values).map(|n| (n as f64, if *repeated { 2 } else { 1 })).collect();
            let datum = datum(Metric::ALL[*metric], &samples, &names);
            // No sample: statistics instead.
            if samples.is_empty() { Datum { values: Values::Statistics(STATISTICS), ..datum } } else { datum }
        }).collect();
        let planned: usize = data.iter().map(encoded_bytes).sum();
        let (config, requests) = service(|_, _| cbor(200, &[]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(put(&config, data)).unwrap();
        let sent = plain_body(&requests.lock().unwrap()[0]).len();
        prop_assert!(sent <= planned + 40 + "Locust".len(), "sent {} of {}", sent, planned);
        prop_assert!(planned <= sent + 32 * shapes.len() + 64 * 4 * shapes.len(), "planned {planned} for {sent}");
    }
}

#[tokio::test]
async fn answers_of_put_metric_data_are_sorted_and_never_repeated_by_the_sdk() {
    for (status, code, failure) in [
        (400, "com.amazonaws.cloudwatch#ThrottlingException", Failure::Throttled),
        (500, "com.amazonaws.cloudwatch#InternalServiceFault", Failure::Unknown),
        (503, "", Failure::Unknown),
        (403, "com.amazonaws.cloudwatch#AccessDeniedException", Failure::Denied),
        (400, "com.amazonaws.cloudwatch#InvalidParameterValueException", Failure::Rejected),
    ] {
        let (config, requests) =
            service(move |_, _| cbor(status, &[("__type", code), ("message", "because")]));
        let error = put(&config, vec![datum(Metric::Requests, &[(1.0, 1)], &[])]).await.unwrap_err();
        assert_eq!(error.failure, failure, "{code}: {error}");
        assert_eq!(requests.lock().unwrap().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn answers_that_are_none_leave_the_call_in_doubt() {
    for (status, body) in [(502, "<html>Bad Gateway</html>"), (503, ""), (200, "<html>")] {
        let (config, _) = service(move |_, _| answer(status, body));
        let error = CloudWatchLogs::new(&config).put_log_events(&log_call(1)).await.unwrap_err();
        assert_eq!(error.failure, Failure::Unknown, "{status}: {error}");
    }
}

#[tokio::test]
async fn what_never_left_raises_no_doubt() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let environment = || {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(format!("http://{refused}"))
    };
    let nobody_there = SharedCredentialsProvider::new(Credentials::for_tests());
    let nobody_here = SharedCredentialsProvider::new(provide_credentials_fn(|| async {
        Err(CredentialsError::not_loaded("no credentials"))
    }));
    for credentials in [nobody_there, nobody_here] {
        let config = environment().credentials_provider(credentials).build();
        let error = put(&config, vec![datum(Metric::Requests, &[(1.0, 1)], &[])]).await.unwrap_err();
        assert_eq!(error.failure, Failure::NotSent, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_given_up() {
    let config = config(SharedHttpClient::new(NeverClient::new()));
    let error = put(&config, vec![datum(Metric::Requests, &[(1.0, 1)], &[])]).await.unwrap_err();
    assert_eq!((error.failure, error.code.as_str()), (Failure::Unknown, "Timeout"));
}

fn log_call(events: usize) -> LogCall {
    let event = |n: usize| LogEvent { timestamp_ms: n as i64, message: format!("{{\"n\":{n}}}") };
    LogCall { group: "g".into(), stream: "t/r/s".into(), events: (0..events).map(event).collect() }
}

fn json_answer(status: u16, body: serde_json::Value) -> Answer {
    let mut answer = answer(status, body.to_string());
    answer.headers_mut().insert("content-type", "application/x-amz-json-1.1".parse().unwrap());
    answer
}

#[tokio::test]
async fn put_log_events_counts_what_was_rejected() {
    let (config, requests) =
        service(|_, _| json_answer(200, json!({"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": 3}})));
    assert_eq!(CloudWatchLogs::new(&config).put_log_events(&log_call(5)).await, Ok(2));
    let requests = requests.lock().unwrap();
    let body: serde_json::Value = serde_json::from_slice(plain_body(&requests[0])).unwrap();
    assert_eq!(body["logGroupName"], "g");
    assert_eq!(body["logStreamName"], "t/r/s");
    assert_eq!(body["logEvents"][4], json!({"timestamp": 4, "message": "{\"n\":4}"}));
}

#[tokio::test]
async fn a_missing_stream_and_one_that_exists_are_known() {
    let failing =
        |kind: &'static str| service(move |_, _| json_answer(400, json!({"__type": kind, "message": "m"}))).0;
    let error = |kind| async move {
        CloudWatchLogs::new(&failing(kind)).put_log_events(&log_call(1)).await.unwrap_err()
    };
    assert_eq!(error("ResourceNotFoundException").await.failure, Failure::NoStream);
    assert_eq!(error("ThrottlingException").await.failure, Failure::Throttled);
    assert_eq!(error("InvalidParameterException").await.failure, Failure::Rejected);
    assert_eq!(error("AccessDeniedException").await.failure, Failure::Denied);
    let create = |kind| async move { CloudWatchLogs::new(&failing(kind)).create_log_stream("g", "s").await };
    assert_eq!(create("ResourceAlreadyExistsException").await, Ok(()));
    assert_eq!(create("ThrottlingException").await.unwrap_err().failure, Failure::Throttled);
}

fn object() -> ObjectRef {
    ObjectRef { bucket: "stats".into(), key: "batches/a b/é".into() }
}

fn s3_error(status: u16, code: &str) -> Answer {
    answer(status, format!("<Error><Code>{code}</Code><Message>m</Message></Error>"))
}

#[tokio::test]
async fn objects_are_fetched_up_to_the_limit() {
    let (config, requests) = service(|_, _| {
        let mut answer = answer(200, "hello");
        answer.headers_mut().insert("content-length", "5".parse().unwrap());
        answer
    });
    let s3 = S3::new(&config);
    assert_eq!(s3.get(&object(), 5).await, Ok(b"hello".to_vec()));
    let uri = requests.lock().unwrap()[0].uri().to_string();
    assert!(uri.contains("/batches/a%20b/%C3%A9"), "{uri}");
    assert_eq!(s3.get(&object(), 4).await, Err(FetchError::TooLarge { limit: 4, found: 5 }));
    let (unsized_answer, _) = service(|_, _| answer(200, "hello"));
    assert!(matches!(S3::new(&unsized_answer).get(&object(), 5).await, Err(FetchError::Unavailable(_))));
    type Kind = fn(String) -> FetchError;
    let kinds: [(u16, &str, Kind); 5] = [
        (404, "NoSuchKey", FetchError::Missing),
        (403, "AccessDenied", FetchError::Missing),
        (403, "InvalidObjectState", FetchError::Archived),
        (403, "RequestTimeTooSkewed", FetchError::Refused),
        (400, "ThrottlingException", FetchError::Unavailable),
    ];
    for (status, code, kind) in kinds {
        let (config, _) = service(move |_, _| s3_error(status, code));
        let error = S3::new(&config).get(&object(), 5).await.unwrap_err();
        assert_eq!(error, kind(format!("{code}: m")));
    }
}

#[tokio::test]
async fn ledger_entries_are_written_under_conditions() {
    let (config, requests) = service(|_, _| {
        let mut answer = answer(200, "");
        answer.headers_mut().insert("etag", "\"t2\"".parse().unwrap());
        answer
    });
    let s3 = S3::new(&config);
    let written = Written::Yes(ETag("\"t2\"".into()));
    assert_eq!(s3.write("stats", "k", b"{}".to_vec(), None).await.as_ref(), Ok(&written));
    assert_eq!(
        s3.write("stats", "k", b"{}".to_vec(), Some(&ETag("\"t1\"".into()))).await.as_ref(),
        Ok(&written)
    );
    {
        let requests = requests.lock().unwrap();
        assert_eq!(requests[0].headers().get("if-none-match").unwrap(), "*");
        assert_eq!(requests[1].headers().get("if-match").unwrap(), "\"t1\"");
    }
    for (status, code) in
        [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict"), (404, "NoSuchKey")]
    {
        let (config, _) = service(move |_, _| s3_error(status, code));
        assert_eq!(S3::new(&config).write("stats", "k", vec![], None).await, Ok(Written::Conflict));
    }
    let (config, _) = service(|_, _| s3_error(404, "NoSuchBucket"));
    assert_eq!(S3::new(&config).write("stats", "k", vec![], None).await.unwrap_err().code, "NoSuchBucket");
    let (config, _) = service(|_, _| s3_error(404, "NoSuchKey"));
    assert_eq!(S3::new(&config).read("stats", "k").await, Ok(None));
}
