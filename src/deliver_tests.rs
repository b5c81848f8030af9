//! Delivery against services that do as each case says, with a clock that jumps over waits.

use std::collections::VecDeque;

use super::*;
use crate::plan::LogEvent;

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

#[derive(Default)]
struct Record {
    saves: Mutex<Vec<Progress>>,
    fails_at: Option<usize>,
    lease: Option<Duration>,
}

impl Checkpoint for Record {
    async fn save(&self, progress: &Progress) -> Result<(), CheckpointError> {
        sleep(Duration::from_millis(5)).await;
        let mut saves = self.saves.lock().unwrap();
        if Some(saves.len()) == self.fails_at {
            return Err(CheckpointError("taken over".into()));
        }
        saves.push(progress.clone());
        Ok(())
    }

    fn valid_for(&self) -> Duration {
        self.lease.unwrap_or(Duration::from_secs(45))
    }
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
    run(plan, Progress::default(), services, &Record::default(), 300).await
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
async fn calls_that_are_done_are_not_made_again() {
    let services = Services::default();
    let progress = Progress { done: set([0, 2]), uncertain: set([1]) };
    let outcome = run(&plan(3, 1), progress, &services, &Record::default(), 300).await;
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
        Report { attempts: 8, throttled: 2, maybe_repeated: 1, rejected_log_events: 0 }
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_for_good_leaves_the_others_done() {
    let services = Services::scripted(&[&[Err(Failure::Denied)], &[], &[Err(Failure::Rejected)]]);
    let outcome = simply(&plan(4, 0), &services).await;
    assert_eq!(services.made().len(), 4);
    assert_eq!(outcome.progress, Progress { done: set([1, 3]), uncertain: set([]) });
    assert_eq!(
        outcome.result.unwrap_err().to_string(),
        "2 of 4 calls failed, the first with Denied: because"
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_have_an_end_and_delays_grow_to_their_bound() {
    let services = Services::scripted(&[&[Err(Failure::Throttled); 20]]);
    let begin = Instant::now();
    let outcome = simply(&plan(1, 0), &services).await;
    assert_eq!(outcome.report.attempts, u64::from(MAX_ATTEMPTS));
    assert!(matches!(outcome.result, Err(DeliveryError::Calls { failed: 1, .. })));
    assert_eq!(begin.elapsed(), Duration::from_millis(100 + 200 + 400 + 800 + 1_600 + 3_200 + 6_400));
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_created() {
    let services = Services::scripted(&[&[Err(Failure::NoStream)]]);
    assert_eq!(simply(&plan(0, 1), &services).await.result, Ok(()));
    assert_eq!(services.made(), ["logs 0", "stream 0", "logs 0"]);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_calls_are_in_doubt_at_any_moment() {
    let services = Services { latency: Duration::from_millis(20), ..Services::default() };
    let record = Record::default();
    let outcome = run(&plan(50, 10), Progress::default(), &services, &record, 300).await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(services.parallel.lock().unwrap().1, MAX_PARALLEL);
    // Whenever a save had just been made, no more than the calls after it can have been under way.
    let saves = record.saves.lock().unwrap();
    assert!(saves.len() < 60, "saves must be shared: {}", saves.len());
    assert!(saves.windows(2).all(|pair| pair[1].done.len() - pair[0].done.len() <= MAX_PARALLEL));
    assert!(saves.windows(2).all(|pair| pair[1].done.is_superset(&pair[0].done)));
}

#[tokio::test(start_paused = true)]
async fn time_that_runs_out_leaves_a_clear_state() {
    let services = Services { latency: Duration::from_secs(4), ..Services::default() };
    let outcome = run(&plan(20, 0), Progress::default(), &services, &Record::default(), 10).await;
    assert_eq!(outcome.result, Err(DeliveryError::OutOfTime { calls: 20, remaining: 4 }));
    assert_eq!(outcome.progress, Progress { done: set(0..16), uncertain: set(16..20) });
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_after_the_checkpoint_was_lost() {
    let services = Services { latency: Duration::from_millis(20), ..Services::default() };
    let record = Record { fails_at: Some(0), ..Record::default() };
    let outcome = run(&plan(50, 0), Progress::default(), &services, &record, 300).await;
    assert_eq!(outcome.result, Err(DeliveryError::Checkpoint(CheckpointError("taken over".into()))));
    assert!(services.made().len() <= 2 * MAX_PARALLEL, "{}", services.made().len());
}

#[tokio::test(start_paused = true)]
async fn a_long_call_keeps_the_checkpoint_alive() {
    let services = Services { latency: Duration::from_secs(60), ..Services::default() };
    let record = Record { lease: Some(Duration::from_secs(20)), ..Record::default() };
    assert_eq!(run(&plan(1, 0), Progress::default(), &services, &record, 300).await.result, Ok(()));
    assert_eq!(record.saves.lock().unwrap().len(), 5);
    let lost = Record { fails_at: Some(2), lease: Some(Duration::from_secs(20)), ..Record::default() };
    let begin = Instant::now();
    let outcome = run(&plan(1, 0), Progress::default(), &services, &lost, 300).await;
    assert!(matches!(outcome.result, Err(DeliveryError::Checkpoint(_))));
    assert!(begin.elapsed() < Duration::from_secs(31));
}
