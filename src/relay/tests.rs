//! The whole road with services in memory: what is published, and what an event is answered.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::deliver::{CallError, Failure};
use crate::ledger::memory::Memory;
use crate::ledger::{ETag, StoreError, Written};
use crate::plan::{LogCall, MetricCall};

/// 2026-11-21T10:29:00Z.
const NOW_MS: i64 = 1_795_256_940_000;

/// S3, CloudWatch and CloudWatch Logs at once; metrics fail while `failure` says so.
#[derive(Default)]
struct World {
    store: Memory,
    requests: AtomicU64,
    metric_calls: AtomicU64,
    log_events: AtomicU64,
    failure: Mutex<Option<Failure>>,
    tests: Mutex<BTreeSet<String>>,
}

impl ObjectStore for &World {
    async fn get(&self, object: &ObjectRef, _limit: u64) -> Result<Vec<u8>, FetchError> {
        let objects = self.store.objects.lock().unwrap();
        let found = objects.get(&object.key).map(|(body, _)| body.clone());
        found.ok_or_else(|| FetchError::Missing("NoSuchKey: The specified key does not exist.".into()))
    }
}

impl LedgerStore for &World {
    async fn read(&self, bucket: &str, key: &str) -> Result<Option<(Vec<u8>, ETag)>, StoreError> {
        self.store.read(bucket, key).await
    }

    async fn write(
        &self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
        expected: Option<&ETag>,
    ) -> Result<Written, StoreError> {
        self.store.write(bucket, key, body, expected).await
    }
}

impl Metrics for &World {
    async fn put_metric_data(&self, call: &MetricCall) -> Result<(), CallError> {
        if let Some(failure) = *self.failure.lock().unwrap() {
            return Err(CallError { failure, code: "Failed".into(), message: "as told".into() });
        }
        self.metric_calls.fetch_add(1, Ordering::Relaxed);
        let dimensions = call.data.iter().flat_map(|datum| datum.dimensions.iter());
        let tests = dimensions.filter(|(name, _)| *name == "Test").map(|(_, test)| test.clone());
        self.tests.lock().unwrap().extend(tests);
        let requests =
            call.data.iter().filter(|datum| datum.metric.name() == "Requests" && datum.dimensions.len() == 1);
        self.requests
            .fetch_add(requests.map(|datum| datum.samples()[0].value as u64).sum(), Ordering::Relaxed);
        Ok(())
    }
}

impl Logs for &World {
    async fn put_log_events(&self, call: &LogCall) -> Result<u64, CallError> {
        self.log_events.fetch_add(call.events.len() as u64, Ordering::Relaxed);
        Ok(0)
    }

    async fn create_log_stream(&self, _group: &str, _stream: &str) -> Result<(), CallError> {
        Ok(())
    }
}

impl World {
    fn relay(&self, variables: &[(&str, &str)]) -> Relay<&World, &World, &World> {
        let variable = |name: &str| {
            let set = variables.iter().find(|(variable, _)| *variable == name);
            set.map(|(_, value)| (*value).to_owned())
                .or((name == "RELAY_LOG_GROUP").then(|| "group".to_owned()))
        };
        Relay {
            config: Config::read(variable).unwrap(),
            plan_settings: crate::config::plan_settings(variable),
            store: self,
            metrics: self,
            logs: self,
            clock: || NOW_MS,
            random: || 0.0,
            print: |_| (),
        }
    }

    fn put(&self, key: &str, body: Vec<u8>) {
        self.store.objects.lock().unwrap().insert(key.to_owned(), (body, 1));
    }

    fn ledger(&self) -> Value {
        let objects = self.store.objects.lock().unwrap();
        let (_, (body, _)) =
            objects.iter().find(|(key, _)| key.starts_with("ledger/")).expect("a ledger entry");
        serde_json::from_slice(body).unwrap()
    }

    async fn handle(&self, event: Value) -> Result<Value, RelayError> {
        self.relay(&[]).handle(&event, &invocation("a")).await
    }
}

fn invocation(request_id: &str) -> Invocation {
    let deadline = Instant::now() + Duration::from_secs(60);
    Invocation { request_id: request_id.into(), deadline, end: deadline + Duration::from_secs(5) }
}

fn batch(seq: u64, requests: usize) -> Vec<u8> {
    let columns = json!({"requests": {"method": "GET", "name": "/", "status": 200, "error": null,
        "at_ms": vec![0; requests], "response_time_us": vec![5; requests], "response_bytes": vec![1; requests]}});
    let header = json!({"format": "locust-stats-batch", "version": 1, "test": "t", "run": "r", "source": "s",
        "seq": seq, "run_started_ms": NOW_MS, "from_ms": NOW_MS - 10_000, "to_ms": NOW_MS});
    let end = json!({"end": {"records": 1, "requests": requests}});
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    write!(encoder, "{header}\n{columns}\n{end}\n").unwrap();
    encoder.finish().unwrap()
}

fn event(keys: &[&str]) -> Value {
    let record = |key: &&str| {
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "stats"}, "object": {"key": key}}})
    };
    json!({"Records": keys.iter().map(record).collect::<Vec<_>>()})
}

fn queue(bodies: &[String]) -> Value {
    let record = |(n, body): (usize, &String)| json!({"eventSource": "aws:sqs", "messageId": format!("m{n}"), "body": body});
    json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()})
}

#[tokio::test]
async fn a_batch_is_published_once_however_often_it_is_announced() {
    let world = World::default();
    world.put("one", batch(0, 7));
    world.put("copied elsewhere", batch(0, 7));
    assert_eq!(world.handle(event(&["one"])).await.unwrap(), json!({"objects": 1}));
    assert_eq!(
        world.handle(event(&["one", "one", "copied+elsewhere"])).await.unwrap(),
        json!({"objects": 3})
    );
    assert_eq!(world.requests.load(Ordering::Relaxed), 7);
    assert_eq!(world.log_events.load(Ordering::Relaxed), 1);
    assert_eq!(world.ledger()["state"], "done");
}

#[tokio::test]
async fn one_bad_object_does_not_keep_the_good_one() {
    let world = World::default();
    world.put("good", batch(0, 7));
    world.put("bad", b"hello".to_vec());
    let error = world.handle(event(&["bad", "good", "gone"])).await.unwrap_err();
    assert_eq!(world.requests.load(Ordering::Relaxed), 7);
    assert_eq!(error.kind(), "NotCompressed");
    assert_eq!(
        error.to_string(),
        "s3://stats/bad: expected gzip (1f 8b) or zstd (28 b5 2f fd) data, found an object that begins with 68 65 6c 6c; \
         s3://stats/gone: expected an object that this function may read, found none: NoSuchKey: The specified key does \
         not exist."
    );
}

#[tokio::test]
async fn the_messages_of_a_queue_fail_one_by_one() {
    let world = World::default();
    world.put("good", batch(0, 7));
    world.put("bad", b"hello".to_vec());
    let bodies = [event(&["bad"]).to_string(), "nonsense".into(), event(&["good"]).to_string()];
    let answer = world.handle(queue(&bodies)).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m1"}]}));
    assert_eq!(world.requests.load(Ordering::Relaxed), 7);
}

#[tokio::test]
async fn a_test_event_and_a_batch_without_requests_are_no_errors() {
    let world = World::default();
    assert_eq!(world.handle(json!({"Event": "s3:TestEvent"})).await.unwrap(), json!({"objects": 0}));
    world.put("empty", batch(0, 0));
    world.handle(event(&["empty"])).await.unwrap();
    assert_eq!(world.ledger()["state"], "done");
}

#[tokio::test]
async fn what_is_no_notification_fails() {
    let error = World::default().handle(json!({"hello": 1})).await.unwrap_err();
    assert_eq!(error.kind(), "NotANotification");
    let diagnostic = lambda_runtime::Diagnostic::from(error);
    assert_eq!(diagnostic.error_type, "NotANotification");
    assert!(diagnostic.error_message.ends_with(r#"found {"hello":1}"#));
}

#[tokio::test]
async fn a_failed_attempt_is_finished_by_the_next_under_the_settings_it_began_with() {
    let world = World::default();
    world.put("one", batch(0, 7));
    *world.failure.lock().unwrap() = Some(Failure::Denied);
    let error = world.handle(event(&["one"])).await.unwrap_err();
    assert_eq!(error.kind(), "CloudWatchDenied");
    assert_eq!((&world.ledger()["state"], &world.ledger()["done"]), (&json!("open"), &json!([1])));
    *world.failure.lock().unwrap() = None;
    let changed = world.relay(&[("RELAY_LOG_REQUESTS", "all"), ("RELAY_DIMENSION_SETS", "Run")]);
    changed.handle(&event(&["one"]), &invocation("b")).await.unwrap();
    assert_eq!(world.requests.load(Ordering::Relaxed), 7, "by the set `Test` of the first attempt");
    assert_eq!(world.log_events.load(Ordering::Relaxed), 1);
    assert_eq!((&world.ledger()["state"], &world.ledger()["attempt"]), (&json!("done"), &json!(2)));
}

#[tokio::test]
async fn a_plan_that_cannot_be_made_again_is_not_mixed_with_another() {
    let world = World::default();
    world.put("one", batch(0, 7));
    *world.failure.lock().unwrap() = Some(Failure::Denied);
    world.handle(event(&["one"])).await.unwrap_err();
    *world.failure.lock().unwrap() = None;
    {
        let mut objects = world.store.objects.lock().unwrap();
        let (body, _) = objects.get_mut("ledger/live/t/r/s/000000.json").unwrap();
        let mut entry: Value = serde_json::from_slice(body).unwrap();
        entry["fingerprint"] = "0123456789abcdef".into();
        *body = entry.to_string().into_bytes();
    }
    let error = world.handle(event(&["one"])).await.unwrap_err();
    assert_eq!(error.kind(), "PlanChanged");
    assert!(
        error
            .to_string()
            .contains("expected the plan 0123456789abcdef, of which 1 of 2 calls were delivered")
    );
    assert!(error.to_string().contains("delete the ledger entry ledger/live/t/r/s/000000.json"));
    assert_eq!(world.requests.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_batch_that_somebody_else_publishes_is_left_to_them() {
    let world = World::default();
    world.put("one", batch(0, 7));
    world.handle(event(&["one"])).await.unwrap();
    {
        let mut objects = world.store.objects.lock().unwrap();
        let (body, _) = objects.get_mut("ledger/live/t/r/s/000000.json").unwrap();
        let mut entry: Value = serde_json::from_slice(body).unwrap();
        entry["state"] = "claimed".into();
        *body = entry.to_string().into_bytes();
    }
    let error = world.relay(&[]).handle(&event(&["one"]), &invocation("b")).await.unwrap_err();
    assert_eq!(error.kind(), "BatchBusy");
    assert_eq!(world.requests.load(Ordering::Relaxed), 7);
}

#[tokio::test]
async fn an_object_is_not_begun_without_time() {
    let world = World::default();
    world.put("one", batch(0, 7));
    let late = Invocation { deadline: Instant::now(), ..invocation("a") };
    let error = world.relay(&[]).handle(&event(&["one"]), &late).await.unwrap_err();
    assert_eq!(error.kind(), "OutOfTime");
}

#[tokio::test]
async fn a_replayed_batch_is_another_test_and_leaves_the_live_one_alone() {
    let world = World::default();
    world.put("batches/t/r/s/0", batch(0, 7));
    world.put("replays/before/t/r/s/0", batch(0, 7));
    world.handle(event(&["batches/t/r/s/0", "replays/before/t/r/s/0"])).await.unwrap();
    assert_eq!(world.requests.load(Ordering::Relaxed), 14);
    let objects = world.store.objects.lock().unwrap();
    let mut ledger: Vec<_> = objects.keys().filter(|key| key.starts_with("ledger/")).cloned().collect();
    ledger.sort();
    assert_eq!(
        ledger,
        ["ledger/before/t/r/anchor.json", "ledger/before/t/r/s/000000.json", "ledger/live/t/r/s/000000.json"]
    );
    let tests = world.tests.lock().unwrap();
    assert_eq!(*tests, ["t", "t@before"].map(str::to_owned).into());
}

#[tokio::test]
async fn what_cloudwatch_would_not_take_is_told_with_a_way_out() {
    let old = |relay: Relay<_, _, _>| Relay { clock: || NOW_MS + 20 * 24 * 3_600_000, ..relay };
    let world = World::default();
    world.put("batches/one", batch(0, 7));
    let relay = old(world.relay(&[]));
    let error = relay.handle(&event(&["batches/one"]), &invocation("a")).await.unwrap_err();
    assert_eq!(error.kind(), "TimestampTooOld");
    assert!(error.to_string().contains("copy it to replays/<name>/<test>/<run>/<source>/"), "{error}");
    world.put("replays/x/one", batch(0, 7));
    relay.handle(&event(&["replays/x/one"]), &invocation("a")).await.unwrap();

    world.put("ledger/y/t/r/anchor.json", br#"{"shift_ms":0}"#.to_vec());
    world.put("replays/y/one", batch(0, 7));
    let error = relay.handle(&event(&["replays/y/one"]), &invocation("a")).await.unwrap_err();
    assert!(error.to_string().contains("`python -m locust_hook replay`"), "{error}");
    let error = relay.handle(&event(&["replays/live/one"]), &invocation("a")).await.unwrap_err();
    assert_eq!(error.kind(), "InvalidReplayName");
}

#[tokio::test]
async fn a_batch_that_was_published_in_time_is_no_error_later_but_a_damaged_copy_is() {
    let world = World::default();
    world.put("one", batch(0, 7));
    world.handle(event(&["one"])).await.unwrap();
    let later = Relay { clock: || NOW_MS + 20 * 24 * 3_600_000, ..world.relay(&[]) };
    later.handle(&event(&["one"]), &invocation("a")).await.unwrap();
    let damaged = batch(0, 7);
    world.put("damaged", damaged[..damaged.len() - 9].to_vec());
    assert_eq!(world.handle(event(&["damaged"])).await.unwrap_err().kind(), "TruncatedBatch");
    assert_eq!(world.requests.load(Ordering::Relaxed), 7);
}
