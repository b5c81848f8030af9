//! Records → numbers per endpoint and interval, per status, and users.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::PlanError;
use super::catalog::{Metric, Percentile};
use super::names::{OTHER, error_class, shorten};
use crate::batch::{EndpointStatistics, Record, Requests, Snapshot, Users};
use crate::distribution::{Distribution, Grouper};

/// Endpoints that are told apart while a batch is read; only the busiest of them are published by name.
const MAX_ENDPOINTS_READ: usize = 10_000;

/// Cells of all tables in one batch (endpoint or status and interval, gauge and interval), at about 300 bytes each: 500
/// endpoints in ten seconds are 5,000, and five times as many when a sidecar saw them.
const MAX_CELLS: usize = 250_000;

/// Longest name that a snapshot's endpoints are told apart by, in bytes: more is published of none.
const MAX_NAME_BYTES: usize = 2 << 10;

/// Memory for the values of one batch, in bytes: a million requests take 16 MB when they are spread over minutes, and
/// less when they are close together.
const MAX_VALUE_BYTES: usize = 64 << 20;

/// Gauges are held as integers of so many to one.
pub(super) const THOUSANDTHS: f64 = 1000.0;

/// Statuses, or classes of users, that are published by name.
const MAX_LABELS: usize = 100;

/// Requests of one endpoint in one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Interval {
    /// Finished requests.
    pub requests: u64,
    /// Those that Locust counts as failures.
    pub failures: u64,
    /// Response times in microseconds.
    pub response_time: Distribution,
    /// Response sizes in bytes.
    pub response_size: Distribution,
    /// The longest response time in microseconds.
    pub longest_us: Option<i64>,
    /// Response times that nobody saw one by one, in microseconds.
    pub unseen_times: Option<Totals>,
    /// Sizes of their responses in bytes.
    pub unseen_sizes: Option<Totals>,
}

/// What is known of values that nobody saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Totals {
    pub count: u64,
    pub sum: i128,
    /// The mean is not less; the least of a whole run is the least value.
    pub min: i64,
    /// The mean is not more; the greatest of a whole run is the greatest value.
    pub max: i64,
}

impl Totals {
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn of_times(endpoint: &EndpointStatistics) -> Option<Self> {
        let times = endpoint.response_time_us.filter(|_| endpoint.response_times > 0)?;
        let (count, sum) = (endpoint.response_times, i128::from(times.sum));
        Some(Self { count, sum, min: times.min, max: times.max })
    }

    /// Of sizes, only the sum is known: the bounds are those of their mean.
    fn of_sizes(endpoint: &EndpointStatistics) -> Option<Self> {
        let sum = endpoint.response_bytes.filter(|_| endpoint.requests > 0)?;
        let mean = i128::from(sum).div_euclid(i128::from(endpoint.requests));
        let mean = i64::try_from(mean).ok()?;
        let count = endpoint.requests;
        let whole = i128::from(mean) * i128::from(count) == i128::from(sum);
        let max = if whole { mean } else { mean.saturating_add(1) };
        Some(Self { count, sum: i128::from(sum), min: mean, max })
    }
}

impl Interval {
    /// All of several intervals' numbers.
    pub fn merged(parts: &[&Self], grouper: &mut Grouper) -> Self {
        let parts = || parts.iter().copied();
        Self {
            requests: parts().map(|part| part.requests).sum(),
            failures: parts().map(|part| part.failures).sum(),
            response_time: Distribution::merged(parts().map(|part| &part.response_time), grouper),
            response_size: Distribution::merged(parts().map(|part| &part.response_size), grouper),
            longest_us: parts().filter_map(|part| part.longest_us).max(),
            unseen_times: parts().filter_map(|part| part.unseen_times).reduce(Totals::and),
            unseen_sizes: parts().filter_map(|part| part.unseen_sizes).reduce(Totals::and),
        }
    }

    fn held_bytes(&self) -> usize {
        self.response_time.held_bytes() + self.response_size.held_bytes()
    }
}

/// Start of an interval, seconds since 1970 → the requests in it.
pub(super) type Intervals = BTreeMap<i64, Interval>;

/// Method and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Endpoint {
    /// The request's method or type.
    pub method: String,
    /// The request's name.
    pub name: String,
}

impl Endpoint {
    fn other() -> Self {
        Self { method: OTHER.into(), name: OTHER.into() }
    }
}

/// What a batch says, in numbers.
pub(super) struct Aggregate {
    resolution_s: i64,
    /// Requests by endpoint and interval.
    pub endpoints: HashMap<Endpoint, Intervals>,
    /// Requests by status and interval.
    pub statuses: BTreeMap<String, BTreeMap<i64, u64>>,
    /// Running users of all classes, by interval.
    pub users: BTreeMap<i64, Distribution>,
    /// Running users by class and interval.
    pub users_by_class: BTreeMap<String, BTreeMap<i64, Distribution>>,
    /// What Locust says of itself, in thousandths, by interval; of one endpoint, or of all.
    pub gauges: BTreeMap<(Metric, Option<Endpoint>), BTreeMap<i64, Distribution>>,
    /// For grouping values of whatever is here.
    pub grouper: Grouper,
    cells: usize,
    value_bytes: usize,
}

impl Aggregate {
    /// Nothing yet; `resolution_s` is an interval's length in seconds.
    pub fn new(resolution_s: u32) -> Self {
        Self {
            resolution_s: i64::from(resolution_s),
            endpoints: HashMap::new(),
            statuses: BTreeMap::new(),
            users: BTreeMap::new(),
            users_by_class: BTreeMap::new(),
            gauges: BTreeMap::new(),
            cells: 0,
            value_bytes: 0,
            grouper: Grouper::default(),
        }
    }

    /// Takes one record; lifecycle events and exceptions have no numbers.
    pub fn add(&mut self, record: Record) -> Result<(), PlanError> {
        match record {
            Record::Requests(group) => self.add_requests(group),
            Record::Users(users) => self.add_users(users),
            Record::Snapshot(snapshot) => self.add_snapshot(&snapshot),
            Record::Event(_) | Record::Exception(_) => Ok(()),
        }
    }

    /// The endpoint to count for: beyond the limit, all others are one.
    fn endpoint(&self, method: String, name: String) -> Endpoint {
        let endpoint = Endpoint { method, name };
        let known = self.endpoints.len() < MAX_ENDPOINTS_READ || self.endpoints.contains_key(&endpoint);
        if known { endpoint } else { Endpoint::other() }
    }

    /// The time, in milliseconds, that something at `at_ms` is published with.
    pub fn interval_ms(&self, at_ms: i64) -> i64 {
        self.interval(at_ms).saturating_mul(1000)
    }

    fn interval(&self, at_ms: i64) -> i64 {
        let second = at_ms.div_euclid(1000);
        second - second.rem_euclid(self.resolution_s)
    }

    /// Counts new cells of any table; what a batch makes the relay hold must have a bound.
    fn grow(&mut self, cells: usize) -> Result<(), PlanError> {
        self.cells += cells;
        if self.cells > MAX_CELLS {
            return Err(PlanError::TooManyIntervals { limit: MAX_CELLS });
        }
        Ok(())
    }

    fn add_requests(&mut self, group: Requests) -> Result<(), PlanError> {
        let status = match (group.status, &group.error) {
            (Some(status), _) => status.to_string(),
            (None, Some(error)) => error_class(error).to_owned(),
            (None, None) => "(none)".to_owned(),
        };
        let failed = group.error.is_some();
        let endpoint = self.endpoint(group.method, group.name);
        let columns = &group.columns;
        let mut intervals = self.endpoints.remove(&endpoint).unwrap_or_default();
        let mut responses: BTreeMap<i64, u64> = BTreeMap::new();
        for (at, rows) in self.runs(columns.at_ms()) {
            self.grow(usize::from(!intervals.contains_key(&at)))?;
            let interval = intervals.entry(at).or_default();
            let held_before = interval.held_bytes();
            let requests = rows.len() as u64;
            interval.requests += requests;
            interval.failures += if failed { requests } else { 0 };
            for times in columns.response_time_us().values(rows.clone()) {
                interval.longest_us = interval.longest_us.max(times.iter().copied().max());
                interval.response_time.extend(times, &mut self.grouper);
            }
            for sizes in columns.response_bytes().values(rows) {
                interval.response_size.extend(sizes, &mut self.grouper);
            }
            self.value_bytes = (self.value_bytes + interval.held_bytes()).saturating_sub(held_before);
            if self.value_bytes > MAX_VALUE_BYTES {
                return Err(PlanError::TooManyValues { limit: MAX_VALUE_BYTES >> 20 });
            }
            *responses.entry(at).or_default() += requests;
        }
        self.endpoints.insert(endpoint, intervals);
        let known = labelled(&mut self.statuses, status);
        let before = known.len();
        for (at, count) in responses {
            *known.entry(at).or_default() += count;
        }
        let new = known.len() - before;
        self.grow(new)
    }

    /// Neighbours in the same interval: its start, and which ones they are. Requests come in the order of their time, or
    /// nearly so.
    fn runs(&self, at_ms: &[i64]) -> Vec<(i64, Range<usize>)> {
        let mut runs: Vec<(i64, Range<usize>)> = Vec::new();
        let length_ms = self.resolution_s * 1000;
        let mut current = 0..0;
        for (row, at_ms) in at_ms.iter().enumerate() {
            match runs.last_mut() {
                Some((_, rows)) if current.contains(at_ms) => rows.end = row + 1,
                _ => {
                    let at = self.interval(*at_ms);
                    let start_ms = at.saturating_mul(1000);
                    current = start_ms..start_ms.saturating_add(length_ms);
                    runs.push((at, row..row + 1));
                }
            }
        }
        runs
    }

    fn add_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), PlanError> {
        let at = self.interval(snapshot.published_at_ms());
        let name = |text: &str| shorten(text.into(), MAX_NAME_BYTES);
        for statistics in &snapshot.endpoints {
            let endpoint = self.endpoint(name(&statistics.method), name(&statistics.name));
            // Percentiles of several endpoints cannot be added up.
            if endpoint != Endpoint::other() {
                for percentile in Percentile::ALL {
                    if let Some(value) = statistics.percentiles_ms.get(percentile.percent()) {
                        self.add_gauge(Metric::Locust(percentile), Some(&endpoint), at, *value)?;
                    }
                }
            }
            let intervals = self.endpoints.entry(endpoint).or_default();
            let new = !intervals.contains_key(&at);
            let interval = intervals.entry(at).or_default();
            interval.requests = interval.requests.saturating_add(statistics.requests);
            interval.failures = interval.failures.saturating_add(statistics.failures);
            let both = |left: Option<Totals>, right| left.into_iter().chain(right).reduce(Totals::and);
            interval.unseen_times = both(interval.unseen_times, Totals::of_times(statistics));
            interval.unseen_sizes = both(interval.unseen_sizes, Totals::of_sizes(statistics));
            self.grow(usize::from(new))?;
        }
        for percentile in Percentile::ALL {
            for (metric, percentiles) in [
                (Metric::Locust(percentile), &snapshot.total.percentiles_ms),
                (Metric::LocustCurrent(percentile), &snapshot.total.current_percentiles_ms),
            ] {
                if let Some(value) = percentiles.get(percentile.percent()) {
                    self.add_gauge(metric, None, at, *value)?;
                }
            }
        }
        let connected =
            || snapshot.workers.iter().filter(|worker| worker.state.as_deref() != Some("missing"));
        if !snapshot.workers.is_empty() {
            self.add_gauge(Metric::Workers, None, at, connected().count() as f64)?;
        }
        for worker in connected() {
            if let Some(percent) = worker.cpu_percent {
                self.add_gauge(Metric::WorkerCpu, None, at, percent)?;
            }
            if let Some(bytes) = worker.memory_bytes {
                self.add_gauge(Metric::WorkerMemory, None, at, bytes as f64)?;
            }
        }
        Ok(())
    }

    fn add_gauge(
        &mut self,
        metric: Metric,
        endpoint: Option<&Endpoint>,
        at: i64,
        value: f64,
    ) -> Result<(), PlanError> {
        let gauge = self.gauges.entry((metric, endpoint.cloned())).or_default();
        let new = !gauge.contains_key(&at);
        // What is beyond 64 bits ends at their edge: no percentile is 292 million years long.
        let value = (value * THOUSANDTHS).round() as i64;
        gauge.entry(at).or_default().extend(&[value], &mut self.grouper);
        self.grow(usize::from(new))
    }

    fn add_users(&mut self, users: Users) -> Result<(), PlanError> {
        let at = self.interval(users.at_ms);
        self.grow(usize::from(!self.users.contains_key(&at)))?;
        let users_of_all = self.users.entry(at).or_default();
        users_of_all.extend(&[clamped(users.total)], &mut self.grouper);
        let mut by_class: BTreeMap<String, u64> = BTreeMap::new();
        let mut new = 0;
        for (class, count) in users.by_class {
            let known = self.users_by_class.contains_key(&class);
            let room = self.users_by_class.len() + new < MAX_LABELS;
            new += usize::from(!known && room);
            let sum = by_class.entry(if known || room { class } else { OTHER.to_owned() }).or_default();
            *sum = sum.saturating_add(count);
        }
        for (class, count) in by_class {
            let intervals = self.users_by_class.entry(class).or_default();
            let new = !intervals.contains_key(&at);
            let users_of_class = intervals.entry(at).or_default();
            users_of_class.extend(&[clamped(count)], &mut self.grouper);
            self.grow(usize::from(new))?;
        }
        Ok(())
    }

    /// Leaves the `max` busiest endpoints by name and folds the rest into one.
    pub fn fold_endpoints(&mut self, max: usize) {
        if self.endpoints.len() <= max {
            return;
        }
        let mut ranked: Vec<(Endpoint, Intervals)> = self.endpoints.drain().collect();
        let requests =
            |intervals: &Intervals| intervals.values().map(|interval| interval.requests).sum::<u64>();
        // By number, then by name: the same batch must always fold in the same way.
        ranked.sort_by_cached_key(|(endpoint, intervals)| (Reverse(requests(intervals)), endpoint.clone()));
        let rest = ranked.split_off(max);
        self.endpoints.extend(ranked);
        let other = self.endpoints.remove(&Endpoint::other()).unwrap_or_default();
        let parts = rest.iter().map(|(_, intervals)| intervals).chain([&other]);
        let other = merged_by_interval(parts, &mut self.grouper);
        self.endpoints.insert(Endpoint::other(), other);
        // Percentiles cannot be added up: those of folded endpoints are left out.
        let Self { gauges, endpoints, .. } = self;
        let other = Endpoint::other();
        gauges.retain(|(_, endpoint), _| {
            endpoint.as_ref().is_none_or(|endpoint| *endpoint != other && endpoints.contains_key(endpoint))
        });
    }
}

/// Several endpoints' requests as if they were one's.
pub(super) fn merged_by_interval<'a>(
    parts: impl Iterator<Item = &'a Intervals>,
    grouper: &mut Grouper,
) -> Intervals {
    let mut by_interval: BTreeMap<i64, Vec<&Interval>> = BTreeMap::new();
    for (at, interval) in parts.flatten() {
        by_interval.entry(*at).or_default().push(interval);
    }
    by_interval.into_iter().map(|(at, parts)| (at, Interval::merged(&parts, grouper))).collect()
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The entry of a label, or of `(other)` once there are too many; known labels keep theirs.
fn labelled<T: Default>(labels: &mut BTreeMap<String, T>, label: String) -> &mut T {
    let label =
        if labels.contains_key(&label) || labels.len() < MAX_LABELS { label } else { OTHER.to_owned() };
    labels.entry(label).or_default()
}
