//! The ledger against a store in memory, with writes whose answers get lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

use super::memory::Memory;
use super::*;

const LEASE: Duration = Duration::from_secs(45);

struct World {
    store: Memory,
    now_ms: AtomicI64,
    settings: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        let settings = [("RELAY_NAMESPACE".to_owned(), "Locust".to_owned())].into();
        Self { store: Memory::default(), now_ms: AtomicI64::new(1_000_000), settings }
    }

    fn pass(&self, duration: Duration) {
        self.now_ms.fetch_add(millis(duration), Ordering::Relaxed);
    }

    fn clock(&self) -> impl Fn() -> i64 + Sync + '_ {
        || self.now_ms.load(Ordering::Relaxed)
    }

    fn intent<'a>(&'a self, owner: &'a str) -> Intent<'a> {
        Intent {
            bucket: "stats",
            key: "ledger/x.json",
            owner,
            object: "s3://stats/x",
            fingerprint: "f1",
            settings: &self.settings,
            calls: 20,
            lease: LEASE,
        }
    }
}

fn progress(done: impl IntoIterator<Item = usize>, uncertain: impl IntoIterator<Item = usize>) -> Progress {
    let set = |numbers: &mut dyn Iterator<Item = usize>| numbers.collect::<BTreeSet<_>>();
    Progress {
        done: set(&mut done.into_iter()),
        uncertain: set(&mut uncertain.into_iter()),
        ..Progress::default()
    }
}

macro_rules! yours {
    ($answer:expr) => {
        match $answer.await.unwrap() {
            Answer::Yours(claim, begun) => (claim, begun),
            other => panic!("expected the claim, found {other}"),
        }
    };
}

impl<S> std::fmt::Display for Answer<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Yours(_, begun) => write!(f, "yours, attempt {}", begun.attempt),
            Answer::Done => write!(f, "done"),
            Answer::Busy { until_ms } => write!(f, "busy until {until_ms}"),
        }
    }
}

#[test]
fn the_key_is_the_batch_s_identity() {
    let header: Header = serde_json::from_value(serde_json::json!({
        "test": "my test/é", "run": "r:1", "source": "a@b", "seq": 17, "run_started_ms": 0, "from_ms": 0, "to_ms": 0,
    }))
    .unwrap();
    assert_eq!(key("ledger/", "live", &header), "ledger/live/my%20test%2F%C3%A9/r%3A1/a@b/000017.json");
}

#[tokio::test]
async fn one_of_two_gets_it_and_the_other_gives_way() {
    let world = World::new();
    let clock = &world.clock();
    let (first, begun) = yours!(claim(&world.store, clock, &world.intent("a")));
    assert_eq!(
        begun,
        Begun {
            progress: Progress::default(),
            fingerprint: "f1".into(),
            settings: world.settings.clone(),
            calls: 20,
            attempt: 1
        }
    );
    let second = claim(&world.store, clock, &world.intent("b")).await.unwrap();
    assert_eq!(second.to_string(), format!("busy until {}", 1_000_000 + 45_000));
    first.complete().await.unwrap();
    assert_eq!(claim(&world.store, clock, &world.intent("b")).await.unwrap().to_string(), "done");
}

#[tokio::test]
async fn what_was_released_is_taken_up_where_it_was_left_under_the_same_settings() {
    let world = World::new();
    let clock = &world.clock();
    let (first, _) = yours!(claim(&world.store, clock, &world.intent("a")));
    first.release(&progress([0, 1], [3])).await.unwrap();
    let other = BTreeMap::new();
    let intent = Intent { fingerprint: "f2", settings: &other, calls: 7, ..world.intent("b") };
    let (_, begun) = yours!(claim(&world.store, clock, &intent));
    assert_eq!(begun.progress, progress([0, 1], [3]));
    assert_eq!((begun.fingerprint.as_str(), &begun.settings, begun.attempt), ("f1", &world.settings, 2));
}

#[tokio::test]
async fn a_plan_of_which_nothing_was_published_may_change() {
    let world = World::new();
    let clock = &world.clock();
    let (first, _) = yours!(claim(&world.store, clock, &world.intent("a")));
    first.release(&Progress::default()).await.unwrap();
    let intent = Intent { fingerprint: "f2", calls: 2, ..world.intent("b") };
    let (second, begun) = yours!(claim(&world.store, clock, &intent));
    assert_eq!((begun.fingerprint.as_str(), begun.attempt), ("f2", 2));
    second.complete().await.unwrap();
}

#[tokio::test]
async fn a_dead_holder_is_followed_after_its_lease_and_its_calls_are_in_doubt() {
    let world = World::new();
    let clock = &world.clock();
    let (first, _) = yours!(claim(&world.store, clock, &world.intent("a")));
    world.pass(LEASE / 2);
    first.save(&progress([0, 2], [])).await.unwrap();
    world.pass(LEASE - Duration::from_millis(1));
    assert!(claim(&world.store, clock, &world.intent("b")).await.unwrap().to_string().starts_with("busy"));
    world.pass(Duration::from_millis(1));
    let (second, begun) = yours!(claim(&world.store, clock, &world.intent("b")));
    assert_eq!(begun.progress, progress([0, 2], [1, 3, 4, 5, 6, 7, 8, 9]));
    // The first one was only slow: it must notice, and stop.
    let error = first.save(&progress([0, 1, 2], [])).await.unwrap_err();
    assert_eq!(error.to_string(), "ledger entry ledger/x.json: taken over by another attempt");
    assert!(first.complete().await.is_err());
    second.complete().await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_no_conflict() {
    let world = World::new();
    let clock = &world.clock();
    *world.store.lose_answer.lock().unwrap() = true;
    let (first, begun) = yours!(claim(&world.store, clock, &world.intent("a")));
    assert_eq!(begun.attempt, 1);
    *world.store.lose_answer.lock().unwrap() = true;
    first.save(&progress([4], [])).await.unwrap();
    *world.store.lose_answer.lock().unwrap() = true;
    first.complete().await.unwrap();
    assert_eq!(claim(&world.store, clock, &world.intent("b")).await.unwrap().to_string(), "done");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_is_no_conflict() {
    let world = World::new();
    let clock = &world.clock();
    let (first, _) = yours!(claim(&world.store, clock, &world.intent("a")));
    *world.store.hang.lock().unwrap() = true;
    let given_up = tokio::time::timeout(LEASE, first.save(&progress([4], []))).await;
    assert!(given_up.is_err());
    first.save(&progress([4, 5], [])).await.unwrap();
    first.complete().await.unwrap();
}

#[tokio::test]
async fn something_else_in_its_place_is_not_overwritten() {
    let world = World::new();
    let clock = &world.clock();
    world.store.write("stats", "ledger/x.json", b"hello".to_vec(), None).await.unwrap();
    let error = claim(&world.store, clock, &world.intent("a")).await.err().unwrap();
    assert!(
        error
            .to_string()
            .starts_with("ledger entry ledger/x.json: expected a ledger entry, found expected value")
    );
}
