//! What was added to Locust's own statistics in one interval, where single requests cannot be seen.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::LineError;

/// Largest number of requests, failures or errors in one entry: all that a batch can hold of them then fit into 64 bits.
const MAX_COUNT: u64 = 1_000_000_000_000;

/// A look at Locust's statistics. All numbers are differences to the look before, except percentiles and workers.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Snapshot {
    /// The look before, milliseconds since 1970.
    pub from_ms: i64,
    /// This look.
    pub at_ms: i64,
    /// What was added, by endpoint.
    #[serde(default)]
    pub endpoints: Vec<EndpointStatistics>,
    /// Percentiles over all endpoints.
    #[serde(default)]
    pub total: Total,
    /// Failures that were added, by their text.
    #[serde(default)]
    pub errors: Vec<ErrorCount>,
    /// The workers of a master.
    #[serde(default)]
    pub workers: Vec<Worker>,
}

/// What was added to the statistics of one endpoint.
#[derive(Debug, PartialEq, Deserialize)]
pub struct EndpointStatistics {
    /// HTTP method, or the type that a custom client gave.
    pub method: String,
    /// The request's name, as Locust groups its statistics.
    pub name: String,
    /// Finished requests.
    pub requests: u64,
    /// Those that Locust counts as failures.
    pub failures: u64,
    /// Those that have a response time.
    #[serde(default)]
    pub response_times: u64,
    /// The response times; none when there are none.
    #[serde(default)]
    pub response_time_us: Option<Times>,
    /// Sum of the responses' sizes in bytes.
    #[serde(default)]
    pub response_bytes: Option<i64>,
    /// Percent → milliseconds, since the start of Locust's statistics.
    #[serde(default)]
    pub percentiles_ms: BTreeMap<String, f64>,
}

/// Response times of which only this is known, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Times {
    /// Their sum.
    pub sum: i64,
    /// Their mean is not less; the least of a run is Locust's minimum.
    pub min: i64,
    /// Their mean is not more; the greatest of a run is Locust's maximum.
    pub max: i64,
}

/// Percentiles over all endpoints: percent → milliseconds.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Total {
    /// Since the start of Locust's statistics.
    #[serde(default)]
    pub percentiles_ms: BTreeMap<String, f64>,
    /// Of about the last ten seconds.
    #[serde(default)]
    pub current_percentiles_ms: BTreeMap<String, f64>,
}

/// How often one error was added.
#[derive(Debug, PartialEq, Deserialize)]
pub struct ErrorCount {
    /// HTTP method, or the type that a custom client gave.
    pub method: String,
    /// The request's name.
    pub name: String,
    /// The error as Locust shows it.
    pub error: String,
    /// How often.
    pub count: u64,
}

/// One worker of a master.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Worker {
    /// Locust's id of it.
    pub id: String,
    /// Its state, by Locust's name.
    #[serde(default)]
    pub state: Option<String>,
    /// Processor time that it takes, in percent of one processor.
    #[serde(default)]
    pub cpu_percent: Option<f64>,
    /// Its memory.
    #[serde(default)]
    pub memory_bytes: Option<i64>,
}

impl Snapshot {
    /// The moment that its numbers are published for: the last one of its interval. A look at the end of a second tells
    /// what happened in that second.
    pub fn published_at_ms(&self) -> i64 {
        self.at_ms.saturating_sub(1).max(self.from_ms)
    }

    /// Finished requests of all endpoints.
    pub fn requests(&self) -> u64 {
        self.endpoints.iter().fold(0, |sum, endpoint| sum.saturating_add(endpoint.requests))
    }

    /// Checks what CloudWatch would not check, but show.
    pub(super) fn checked(self) -> Result<Self, LineError> {
        let counts = self.endpoints.iter().flat_map(|endpoint| {
            [
                ("requests", endpoint.requests),
                ("failures", endpoint.failures),
                ("response_times", endpoint.response_times),
            ]
        });
        let errors = self.errors.iter().map(|error| ("count", error.count));
        if let Some((field, found)) = counts.chain(errors).find(|(_, count)| *count > MAX_COUNT) {
            let found = found.to_string();
            return Err(LineError::Field { field, expected: "at most a million millions", found });
        }
        for endpoint in &self.endpoints {
            let count = i128::from(endpoint.response_times);
            let within = |times: Times| {
                let sum = i128::from(times.sum);
                i128::from(times.min) * count <= sum && sum <= i128::from(times.max) * count
            };
            if count > 0 && !endpoint.response_time_us.is_some_and(within) {
                return Err(LineError::Field {
                    field: "response_time_us",
                    expected: "min × response_times ≤ sum ≤ max × response_times",
                    found: endpoint.response_time_us.map_or_else(
                        || format!("no response times of {count} requests"),
                        |Times { sum, min, max }| format!("{min} × {count}, {sum}, {max} × {count}"),
                    ),
                });
            }
        }
        Ok(self)
    }
}
