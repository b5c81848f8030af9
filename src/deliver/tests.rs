//! Delivery against services that do as each case says, with a clock that jumps over waits.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::plan::{LogEvent, Plan};

/// Answers each call from its script; an empty script is success.
#[derive(Default)]
struct Services {
    /// By the number of the call in the plan.
    scripts: Mutex<Vec<VecDeque<Result<(), Failure>>>>,
    made: Mutex<Vec<String>>,
    latency: Duration,
    parallel: Mutex<(usize, usize)>,
    rejected: u64,
}

impl Services {
    fn scripted(scripts: &[&[Result<(), Failure>]]) -> Self {
        let scripts = scripts.iter().map(|script| script.iter().copied().collect()).collect();
        Self { scripts: Mutex::new(scripts), ..Self::default() }
    }

    async fn answer(&self, number: usize, name: String) -> Result<(), CallError> {
        self.made.lock().unwrap().push(name);
        {
            let mut parallel = self.parallel.lock().unwrap();
            parallel.0 += 1;
            parallel.1 = parallel.1.max(parallel.0);
        }
        sleep(self.latency).await;
        self.parallel.lock().unwrap().0 -= 1;
        let next = self.scripts.lock().unwrap().get_mut(number).and_then(VecDeque::pop_front);
        next.unwrap_or(Ok(())).map_err(error)
    }

    fn made(&self) -> Vec<String> {
        self.made.lock().unwrap().clone()
    }
}

fn error(failure: Failure) -> CallError {
    CallError { failure, code: format!("{failure:?}"), message: "because".into() }
}

impl Metrics for Services {
    async fn put_metric_data(&self, call: &MetricCall) -> Result<(), CallError> {
        self.answer(call.namespace.parse().unwrap(), format!("metrics {}", call.namespace)).await
    }
}

impl Logs for Services {
    async fn put_log_events(&self, call: &LogCall) -> Result<u64, CallError> {
        self.answer(call.stream.parse().unwrap(), format!("logs {}", call.stream)).await?;
        Ok(self.rejected)
    }

    async fn create_log_stream(&self, _group: &str, stream: &str) -> Result<(), CallError> {
        self.made.lock().unwrap().push(format!("stream {stream}"));
        Ok(())
    }
}

struct Record {
    saves: Mutex<Vec<Progress>>,
    fails_at: Option<usize>,
    latency: Duration,
    lease: Duration,
    since: Mutex<Instant>,
}

impl Record {
    fn new() -> Self {
        Self {
            saves: Mutex::default(),
            fails_at: None,
            latency: Duration::from_millis(5),
            lease: Duration::from_secs(45),
            since: Mutex::new(Instant::now()),
        }
    }
}

impl Checkpoint for Record {
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError> {
        let since = Instant::now();
        sleep(self.latency).await;
        let mut saves = self.saves.lock().unwrap();
        if Some(saves.len()) == self.fails_at {
            return Err(taken_over());
        }
        saves.push(progress.clone());
        *self.since.lock().unwrap() = since;
        Ok(())
    }

    fn renew_at(&self) -> Instant {
        *self.since.lock().unwrap() + self.lease / 2
    }

    fn valid_until(&self) -> Instant {
        *self.since.lock().unwrap() + self.lease
    }
}

fn taken_over() -> CheckpointError {
    CheckpointError::TakenOver("entry".into())
}

/// A plan whose calls carry their number as namespace or stream.
fn plan(metrics: usize, logs: usize) -> Plan {
    let number = |number: usize| number.to_string().into();
    Plan {
        metric_calls: (0..metrics).map(|n| MetricCall { namespace: number(n), data: vec![] }).collect(),
        log_calls: (metrics..metrics + logs)
            .map(|n| LogCall {
                group: "group".into(),
                stream: number(n),
                events: vec![LogEvent { timestamp_ms: 0, message: "x".into() }],
            })
            .collect(),
        ..Plan::default()
    }
}

async fn run(plan: &Plan, progress: Progress, services: &Services, record: &Record, seconds: u64) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    deliver(plan, progress, services, services, record, deadline, &|| 1.0).await
}

async fn simply(plan: &Plan, services: &Services) -> Outcome {
    run(plan, Progress::default(), services, &Record::new(), 300).await
}

fn set(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    numbers.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn every_call_is_made_once() {
    let services = Services { rejected: 3, ..Services::default() };
    let outcome = simply(&plan(2, 1), &services).await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(services.made(), ["metrics 0", "metrics 1", "logs 2"]);
    let report = Report { attempts: 3, rejected_log_events: 3, ..Report::default() };
    assert_eq!((outcome.report, outcome.progress.done), (report, set(0..3)));
}

#[tokio::test(start_paused = true)]
async fn what_has_a_place_at_once_needs_no_record_on_the_way() {
    for (calls, recorded) in [(MAX_PARALLEL, false), (MAX_PARALLEL + 1, true)] {
        let record = Record::new();
        let services = Services { latency: Duration::from_millis(20), ..Services::default() };
        let outcome = run(&plan(calls, 0), Progress::default(), &services, &record, 300).await;
        assert_eq!(outcome.result, Ok(()));
        assert_eq!(!record.saves.lock().unwrap().is_empty(), recorded, "{calls} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_doubt_is_recorded_before_the_call_is_repeated() {
    let services = Services {
        latency: Duration::from_millis(20),
        ..Services::scripted(&[&[], &[Err(Failure::Unknown), Err(Failure::Unknown)]])
    };
    let record = Record::new();
    let outcome = run(&plan(2, 0), Progress::default(), &services, &record, 300).await;
    assert_eq!(outcome.result, Ok(()));
    let saves = record.saves.lock().unwrap();
    let doubts: Vec<_> = saves.iter().map(|save| (save.uncertain.clone(), save.repeated)).collect();
    assert_eq!(doubts, [(set([1]), 0), (set([1]), 1)]);
    // Had the process ended after the first one, the call may have been repeated already, unrecorded.
    assert_eq!(saves[0].after_a_crash(2).repeated, 1);
    assert_eq!(outcome.report.maybe_repeated, 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_done_are_not_made_again() {
    let services = Services::default();
    let progress = Progress { done: set([0, 2]), uncertain: set([1]), ..Progress::default() };
    let outcome = run(&plan(3, 1), progress, &services, &Record::new(), 300).await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(services.made(), ["metrics 1", "logs 3"]);
    assert_eq!(outcome.report.maybe_repeated, 1);
    assert!(outcome.progress.uncertain.is_empty());
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_are_retried_and_doubt_is_counted() {
    let services = Services::scripted(&[
        &[Err(Failure::Throttled), Err(Failure::Throttled)],
        &[Err(Failure::Unknown), Err(Failure::Unknown)],
        &[Err(Failure::NotSent)],
    ]);
    let outcome = simply(&plan(2, 1), &services).await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(
        outcome.report,
        Report { attempts: 8, throttled: 2, maybe_repeated: 2, rejected_log_events: 0 }
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_for_good_leaves_the_others_done() {
    let services = Services::scripted(&[&[Err(Failure::Denied)], &[], &[Err(Failure::Rejected)]]);
    let outcome = simply(&plan(4, 0), &services).await;
    assert_eq!(services.made().len(), 4);
    assert_eq!(outcome.progress, Progress { done: set([1, 3]), failed: set([0, 2]), ..Progress::default() });
    assert_eq!(outcome.result.unwrap_err().to_string(), "2 of 4 calls failed, one with Denied: because");
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_are_repeated_until_the_time_is_over_with_growing_delays() {
    let services = Services::scripted(&[&[Err(Failure::Throttled); 60]]);
    let begin = Instant::now();
    let outcome = run(&plan(1, 0), Progress::default(), &services, &Record::new(), 100).await;
    assert_eq!(begin.elapsed(), Duration::from_secs(100), "not later, either");
    let delays = [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000];
    let waited: u64 = delays.iter().sum();
    let attempts = delays.len() as u64 + (100_000 - waited).div_ceil(10_000);
    assert_eq!((outcome.report.attempts, outcome.report.throttled), (attempts, attempts));
    let last = Some(error(Failure::Throttled));
    assert_eq!(outcome.result, Err(DeliveryError::OutOfTime { calls: 1, remaining: 1, last }));
    assert_eq!(outcome.progress, Progress::default(), "a throttled call raises no doubt");
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_created() {
    let services = Services::scripted(&[&[Err(Failure::NoStream)]]);
    assert_eq!(simply(&plan(0, 1), &services).await.result, Ok(()));
    assert_eq!(services.made(), ["logs 0", "stream 0", "logs 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_there_at_once_is_waited_for() {
    let services = Services::scripted(&[&[Err(Failure::NoStream), Err(Failure::NoStream)]]);
    assert_eq!(simply(&plan(0, 1), &services).await.result, Ok(()));
    assert_eq!(services.made(), ["logs 0", "stream 0", "logs 0", "logs 0"]);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_calls_are_in_doubt_at_any_moment() {
    /// Looks, as each call begins, at what the record knows.
    struct Watched(Services, Record, Mutex<Vec<usize>>);
    impl Metrics for Watched {
        async fn put_metric_data(&self, call: &MetricCall) -> Result<(), CallError> {
            let recorded = self.1.saves.lock().unwrap().last().cloned().unwrap_or_default();
            let begun = self.0.made().len() + 1;
            let unrecorded = begun - recorded.done.len() - recorded.failed.len();
            self.2.lock().unwrap().push(unrecorded);
            let number: usize = call.namespace.parse().unwrap();
            assert!(recorded.after_a_crash(60).uncertain.contains(&number), "{number} is under way");
            self.0.put_metric_data(call).await
        }
    }
    let latency = Duration::from_millis(20);
    let scripts: Vec<VecDeque<_>> =
        (0..60).map(|n| if n % 5 == 0 { [Err(Failure::Rejected)].into() } else { VecDeque::new() }).collect();
    let services = Services { latency, scripts: Mutex::new(scripts), ..Services::default() };
    let watched = Watched(services, Record::new(), Mutex::default());
    let deadline = Instant::now() + Duration::from_secs(300);
    let plan = plan(60, 0);
    let outcome =
        deliver(&plan, Progress::default(), &watched, &watched.0, &watched.1, deadline, &|| 1.0).await;
    assert!(matches!(outcome.result, Err(DeliveryError::Calls { failed: 12, .. })));
    assert_eq!(watched.0.parallel.lock().unwrap().1, MAX_PARALLEL);
    assert_eq!(watched.2.lock().unwrap().iter().max(), Some(&MAX_PARALLEL));
    let saves = watched.1.saves.lock().unwrap().len();
    assert!(saves < 40, "saves must be shared: {saves}");
}

#[tokio::test(start_paused = true)]
async fn time_that_runs_out_leaves_a_clear_state() {
    let services = Services { latency: Duration::from_secs(4), ..Services::default() };
    let outcome = run(&plan(20, 0), Progress::default(), &services, &Record::new(), 10).await;
    assert_eq!(outcome.result, Err(DeliveryError::OutOfTime { calls: 20, remaining: 4, last: None }));
    assert_eq!(
        outcome.progress,
        Progress { done: set(0..16), uncertain: set(16..20), ..Progress::default() }
    );
}

#[tokio::test(start_paused = true)]
async fn everything_stops_at_once_when_another_attempt_has_taken_over() {
    // Seven calls are answered late; the eighth's success cannot be recorded any more.
    let scripts: Vec<VecDeque<_>> = (0..50)
        .map(|n| if n == 7 { VecDeque::new() } else { [Err(Failure::Throttled); 99].into() })
        .collect();
    let services = Services { scripts: Mutex::new(scripts), ..Services::default() };
    let record = Record { fails_at: Some(0), ..Record::new() };
    let begin = Instant::now();
    let outcome = run(&plan(50, 0), Progress::default(), &services, &record, 300).await;
    assert_eq!(outcome.result, Err(DeliveryError::Checkpoint(taken_over())));
    assert_eq!(begin.elapsed(), record.latency);
    assert_eq!(services.made().len(), MAX_PARALLEL);
}

#[tokio::test(start_paused = true)]
async fn a_long_call_keeps_the_right_alive() {
    let services = Services { latency: Duration::from_secs(60), ..Services::default() };
    let record = Record { lease: Duration::from_secs(20), ..Record::new() };
    assert_eq!(run(&plan(1, 0), Progress::default(), &services, &record, 300).await.result, Ok(()));
    assert_eq!(record.saves.lock().unwrap().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn calls_given_up_when_a_renewal_fails_are_in_doubt() {
    let services = Services { latency: Duration::from_secs(60), ..Services::default() };
    let record = Record { fails_at: Some(2), lease: Duration::from_secs(20), ..Record::new() };
    let begin = Instant::now();
    let outcome = run(&plan(3, 0), Progress::default(), &services, &record, 300).await;
    assert_eq!(outcome.result, Err(DeliveryError::Checkpoint(taken_over())));
    assert!(begin.elapsed() < Duration::from_secs(31));
    assert_eq!(outcome.progress, Progress { uncertain: set(0..3), ..Progress::default() });
}

#[tokio::test(start_paused = true)]
async fn nothing_is_attempted_beyond_the_right_to_publish() {
    // The record hangs; the calls are throttled again and again.
    let services = Services::scripted(&[&[Err(Failure::Throttled); 99]]);
    let lease = Duration::from_secs(20);
    let record = Record { lease, latency: Duration::from_secs(1_000), ..Record::new() };
    let begin = Instant::now();
    let outcome = run(&plan(1, 0), Progress::default(), &services, &record, 300).await;
    assert_eq!(outcome.result, Err(DeliveryError::Checkpoint(CheckpointError::Lapsed)));
    assert_eq!(begin.elapsed(), lease);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_old_already_is_renewed_first() {
    let record = Record::new();
    tokio::time::advance(Duration::from_secs(40)).await;
    let services = Services { latency: Duration::from_secs(10), ..Services::default() };
    assert_eq!(run(&plan(1, 0), Progress::default(), &services, &record, 300).await.result, Ok(()));
    assert_eq!(*record.saves.lock().unwrap(), [Progress::default()]);
}

#[test]
fn another_attempt_tries_again_what_failed_and_doubts_what_was_under_way() {
    let progress = Progress { done: set([0, 2]), failed: set([1, 4]), uncertain: set([1]), repeated: 0 };
    let uncertain = set([1, 3, 5, 6, 7, 8, 9, 10, 11]);
    let crashed = Progress { done: set([0, 2]), uncertain, ..Progress::default() };
    assert_eq!(progress.after_a_crash(20), crashed);
    assert_eq!(progress.after_a_stop(), Progress { failed: set([]), ..progress });
    // A second crash: of the first eight open ones, all but call 4 were in doubt before.
    assert_eq!(crashed.after_a_crash(20).repeated, 7);
}
