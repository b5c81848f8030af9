//! The relay's settings: `RELAY_*` environment variables, read once at the start.
//!
//! A value that does not parse stops the start and names its variable; an empty value means "not set", because a
//! template parameter left empty arrives as an empty string.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A dimension that a metric of the load test can carry.
///
/// All but [`Method`](Dimension::Method) and [`Name`](Dimension::Name) have one value in a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The name of what is tested.
    Test,
    /// One execution of the test.
    Run,
    /// One Locust process of the run.
    Source,
    /// The host under test, as Locust was told.
    Host,
    /// The request's method or type.
    Method,
    /// The request's name.
    Name,
}

impl Dimension {
    /// Every dimension, in the order in which messages list them.
    pub const ALL: [Dimension; 6] =
        [Self::Test, Self::Run, Self::Source, Self::Host, Self::Method, Self::Name];

    /// The name in CloudWatch and in `RELAY_DIMENSION_SETS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Test => "Test",
            Self::Run => "Run",
            Self::Source => "Source",
            Self::Host => "Host",
            Self::Method => "Method",
            Self::Name => "Name",
        }
    }
}

/// Which requests become log events of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRequests {
    /// Those that Locust counts as failures.
    Failures,
    /// Every one.
    All,
    /// None.
    None,
}

/// The settings, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Namespace of the load test's metrics.
    pub namespace: String,
    /// Log group of the load test's events; without one, no log events are written.
    pub log_group: Option<String>,
    /// Length of the interval whose requests share one timestamp, in seconds.
    pub resolution_seconds: u32,
    /// The sets of dimensions that endpoint metrics are published with.
    pub dimension_sets: Vec<Vec<Dimension>>,
    /// Which requests become log events.
    pub log_requests: LogRequests,
    /// The share of those requests that is written, 0.0 to 1.0.
    pub log_sample: f64,
    /// Endpoints of one batch that are published by name; the rest fold into `(other)`.
    pub max_endpoints: usize,
    /// Key prefix of the ledger's objects.
    pub ledger_prefix: String,
    /// How long an attempt has a batch for itself without a sign of life.
    pub lease: Duration,
    /// Largest batch that is read, in bytes after decompression.
    pub max_batch_bytes: u64,
}

/// A setting whose value cannot be used.
#[derive(Debug, Error, PartialEq)]
#[error("{variable}: expected {expected}, found `{found}`")]
pub struct ConfigError {
    /// The environment variable.
    pub variable: &'static str,
    /// What it must be.
    pub expected: String,
    /// What it was.
    pub found: String,
}

/// Namespace length and pattern: CloudWatch API, `PutMetricData`, parameter `Namespace`.
const NAMESPACE_MAX_CHARS: usize = 255;

/// Sets of dimensions: each one multiplies the number of metrics, and with it the bill.
const MAX_DIMENSION_SETS: usize = 10;

/// A setting: where it comes from, and what it is when it is not set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// Its value when it is not set or empty; none for "nothing".
    pub default: Option<&'static str>,
    /// The parameter of the template that sets it.
    pub parameter: Option<&'static str>,
    /// Whether it decides what a plan looks like.
    decides_plan: bool,
}

const NAMESPACE: Setting = setting("RELAY_NAMESPACE", "Locust", Some("Namespace"), true);
const LOG_GROUP: Setting =
    Setting { variable: "RELAY_LOG_GROUP", default: None, parameter: None, decides_plan: true };
const RESOLUTION_SECONDS: Setting = setting("RELAY_RESOLUTION_SECONDS", "1", Some("ResolutionSeconds"), true);
const DIMENSION_SETS: Setting =
    setting("RELAY_DIMENSION_SETS", "Test;Test,Method,Name;Test,Run", Some("DimensionSets"), true);
const LOG_REQUESTS: Setting = setting("RELAY_LOG_REQUESTS", "failures", Some("LogRequests"), true);
const LOG_SAMPLE: Setting = setting("RELAY_LOG_SAMPLE", "1.0", Some("LogSample"), true);
const MAX_ENDPOINTS: Setting = setting("RELAY_MAX_ENDPOINTS", "200", Some("MaxEndpoints"), true);
const MAX_BATCH_MB: Setting = setting("RELAY_MAX_BATCH_MB", "256", Some("MaxBatchMb"), true);
const LEDGER_PREFIX: Setting = setting("RELAY_LEDGER_PREFIX", "ledger/", None, false);
const LEASE_SECONDS: Setting = setting("RELAY_LEASE_SECONDS", "45", None, false);

/// Every setting.
pub const SETTINGS: [Setting; 10] = [
    NAMESPACE,
    LOG_GROUP,
    RESOLUTION_SECONDS,
    DIMENSION_SETS,
    LOG_REQUESTS,
    LOG_SAMPLE,
    MAX_ENDPOINTS,
    MAX_BATCH_MB,
    LEDGER_PREFIX,
    LEASE_SECONDS,
];

const fn setting(
    variable: &'static str,
    default: &'static str,
    parameter: Option<&'static str>,
    decides_plan: bool,
) -> Setting {
    Setting { variable, default: Some(default), parameter, decides_plan }
}

impl Config {
    /// Reads the settings through `variable`, which returns an environment variable's value.
    ///
    /// # Errors
    /// The first setting that does not parse, by name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let read = |setting: Setting| variable(setting.variable).filter(|value| !value.is_empty());
        Ok(Self {
            namespace: NAMESPACE.parse(read, namespace)?,
            log_group: read(LOG_GROUP).map(|value| log_group(&value)).transpose()?,
            resolution_seconds: RESOLUTION_SECONDS.parse(read, resolution)?,
            dimension_sets: DIMENSION_SETS.parse(read, dimension_sets)?,
            log_requests: LOG_REQUESTS.parse(read, log_requests)?,
            log_sample: LOG_SAMPLE.parse(read, |text| number(text, 0.0, 1.0))?,
            max_endpoints: MAX_ENDPOINTS.parse(read, |text| number(text, 1, 10_000))?,
            ledger_prefix: LEDGER_PREFIX.parse(read, ledger_prefix)?,
            lease: LEASE_SECONDS.parse(read, |text| number(text, 1, 900).map(Duration::from_secs))?,
            max_batch_bytes: MAX_BATCH_MB
                .parse(read, |text| number::<u64>(text, 1, 4096).map(|megabytes| megabytes << 20))?,
        })
    }
}

/// The settings that decide what a plan looks like, as [`Config::read`] takes them; unset ones are left out.
pub fn plan_settings(variable: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let deciding = SETTINGS.iter().filter(|setting| setting.decides_plan).map(|setting| setting.variable);
    let set = deciding.filter_map(|name| Some((name.to_owned(), variable(name)?)));
    set.filter(|(_, value)| !value.is_empty()).collect()
}

impl Setting {
    /// Parses the value that `read` finds, or the default; `parser` fails with what it expected.
    fn parse<T>(
        self,
        read: impl Fn(Self) -> Option<String>,
        parser: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let text = read(self).unwrap_or_else(|| self.default.unwrap_or_default().to_owned());
        parser(&text).map_err(|expected| ConfigError { variable: self.variable, expected, found: text })
    }
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(text: &str, min: T, max: T) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(format!("a number from {min} to {max}")),
    }
}

fn namespace(text: &str) -> Result<String, String> {
    let legal = text.len() <= NAMESPACE_MAX_CHARS
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && !text.trim().is_empty()
        && !text.starts_with(':')
        && !text.starts_with("AWS/");
    if legal {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "1 to {NAMESPACE_MAX_CHARS} printable ASCII characters that start neither with `:` nor with `AWS/`"
        ))
    }
}

/// Names of log groups: CloudWatch Logs API, `CreateLogGroup`, parameter `logGroupName`.
fn log_group(text: &str) -> Result<String, ConfigError> {
    let legal = text.len() <= 512
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte))
        && !text.starts_with("aws/");
    if legal {
        Ok(text.to_owned())
    } else {
        Err(ConfigError {
            variable: "RELAY_LOG_GROUP",
            expected: "a log group's name: 1 to 512 of letters, digits and `.-_/#`, not starting with `aws/`"
                .into(),
            found: text.to_owned(),
        })
    }
}

/// CloudWatch shows points at 1, 5, 10 or 30 seconds and at multiples of a minute.
fn resolution(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(seconds @ (1 | 5 | 10 | 30)) => Ok(seconds),
        Ok(seconds) if (60..=3600).contains(&seconds) && seconds % 60 == 0 => Ok(seconds),
        _ => Err("1, 5, 10, 30 or a multiple of 60 up to 3600 (seconds)".into()),
    }
}

fn dimension_sets(text: &str) -> Result<Vec<Vec<Dimension>>, String> {
    let names: Vec<_> = Dimension::ALL.iter().map(|dimension| dimension.as_str()).collect();
    let expected = || {
        format!(
            "up to {MAX_DIMENSION_SETS} different sets separated by `;`, each of different names from {} separated \
             by `,` (for example `{}`)",
            names.join(", "),
            DIMENSION_SETS.default.unwrap_or_default()
        )
    };
    let mut sets: Vec<Vec<Dimension>> = Vec::new();
    for part in text.split(';') {
        let mut set = Vec::new();
        for name in part.split(',').map(str::trim) {
            let dimension = Dimension::ALL.into_iter().find(|dimension| dimension.as_str() == name);
            match dimension {
                Some(dimension) if !set.contains(&dimension) => set.push(dimension),
                _ => return Err(expected()),
            }
        }
        // The order inside a set means nothing to CloudWatch: sorted, equal sets are seen to be equal.
        set.sort_unstable();
        if sets.contains(&set) || sets.len() == MAX_DIMENSION_SETS {
            return Err(expected());
        }
        sets.push(set);
    }
    Ok(sets)
}

fn log_requests(text: &str) -> Result<LogRequests, String> {
    match text {
        "failures" => Ok(LogRequests::Failures),
        "all" => Ok(LogRequests::All),
        "none" => Ok(LogRequests::None),
        _ => Err("`failures`, `all` or `none`".into()),
    }
}

fn ledger_prefix(text: &str) -> Result<String, String> {
    let legal = text.ends_with('/')
        && text.len() <= 128
        && !text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
        && !text.starts_with("batches/")
        && !text.starts_with("replays/");
    if legal {
        Ok(text.to_owned())
    } else {
        // Under a trigger's prefix, each ledger object would start the relay again.
        Err("a key prefix that ends in `/`, of letters, digits and `._-/`, outside `batches/` and `replays/`"
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_hold_without_any_variable() {
        let config = config(&[]).unwrap();
        assert_eq!(config.namespace, "Locust");
        assert_eq!(config.log_group, None);
        assert_eq!(config.resolution_seconds, 1);
        assert_eq!(
            config.dimension_sets,
            [
                vec![Dimension::Test],
                vec![Dimension::Test, Dimension::Method, Dimension::Name],
                vec![Dimension::Test, Dimension::Run],
            ]
        );
        assert_eq!(config.log_requests, LogRequests::Failures);
        assert_eq!(config.log_sample, 1.0);
        assert_eq!(config.max_endpoints, 200);
        assert_eq!(config.ledger_prefix, "ledger/");
        assert_eq!(config.lease, Duration::from_secs(45));
        assert_eq!(config.max_batch_bytes, 256 * 1024 * 1024);
    }

    #[test]
    fn the_settings_of_a_plan_make_the_same_plan_again() {
        let variables = [
            ("RELAY_DIMENSION_SETS", "Test"),
            ("RELAY_LOG_SAMPLE", "0.5"),
            ("RELAY_LOG_GROUP", ""),
            ("RELAY_LEASE_SECONDS", "9"),
        ];
        let settings = plan_settings(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["RELAY_DIMENSION_SETS", "RELAY_LOG_SAMPLE"]);
        let again = Config::read(|name| settings.get(name).cloned()).unwrap();
        assert_eq!(Config { lease: Duration::from_secs(9), ..again }, config(&variables).unwrap());
    }

    #[test]
    fn an_empty_value_is_not_set() {
        assert_eq!(config(&[("RELAY_LOG_SAMPLE", ""), ("RELAY_LOG_GROUP", "")]), config(&[]));
    }

    #[test]
    fn values_are_taken() {
        let config = config(&[
            ("RELAY_NAMESPACE", "Load Tests"),
            ("RELAY_LOG_GROUP", "/locust/relay"),
            ("RELAY_RESOLUTION_SECONDS", "120"),
            ("RELAY_DIMENSION_SETS", "Name, Method ,Test;Host"),
            ("RELAY_LOG_REQUESTS", "all"),
            ("RELAY_LOG_SAMPLE", "0.25"),
            ("RELAY_MAX_ENDPOINTS", "7"),
            ("RELAY_LEDGER_PREFIX", "state/ledger/"),
            ("RELAY_MAX_BATCH_MB", "3"),
        ])
        .unwrap();
        assert_eq!(config.namespace, "Load Tests");
        assert_eq!(config.log_group.as_deref(), Some("/locust/relay"));
        assert_eq!(config.resolution_seconds, 120);
        assert_eq!(
            config.dimension_sets,
            [vec![Dimension::Test, Dimension::Method, Dimension::Name], vec![Dimension::Host]]
        );
        assert_eq!(config.log_requests, LogRequests::All);
        assert_eq!(config.log_sample, 0.25);
        assert_eq!(config.max_endpoints, 7);
        assert_eq!(config.ledger_prefix, "state/ledger/");
        assert_eq!(config.max_batch_bytes, 3 << 20);
    }

    #[test]
    fn each_bad_value_names_its_variable() {
        let long = "x".repeat(300);
        for (variable, bad) in [
            ("RELAY_NAMESPACE", "AWS/Lambda"),
            ("RELAY_NAMESPACE", ":Locust"),
            ("RELAY_NAMESPACE", "  "),
            ("RELAY_NAMESPACE", "Löcust"),
            ("RELAY_NAMESPACE", &long),
            ("RELAY_LOG_GROUP", "with space"),
            ("RELAY_LOG_GROUP", "aws/mine"),
            ("RELAY_RESOLUTION_SECONDS", "2"),
            ("RELAY_RESOLUTION_SECONDS", "90"),
            ("RELAY_RESOLUTION_SECONDS", "one"),
            ("RELAY_DIMENSION_SETS", "Test;Tset"),
            ("RELAY_DIMENSION_SETS", "Test;"),
            ("RELAY_DIMENSION_SETS", "Test,Test"),
            ("RELAY_DIMENSION_SETS", "Test,Run;Run,Test"),
            ("RELAY_LOG_REQUESTS", "some"),
            ("RELAY_LOG_SAMPLE", "1.5"),
            ("RELAY_LOG_SAMPLE", "NaN"),
            ("RELAY_LOG_SAMPLE", "-0.1"),
            ("RELAY_MAX_ENDPOINTS", "0"),
            ("RELAY_MAX_ENDPOINTS", "10001"),
            ("RELAY_LEDGER_PREFIX", "ledger"),
            ("RELAY_LEDGER_PREFIX", "batches/ledger/"),
            ("RELAY_LEASE_SECONDS", "0"),
            ("RELAY_MAX_BATCH_MB", "0"),
            ("RELAY_MAX_BATCH_MB", "256MB"),
        ] {
            let error = config(&[(variable, bad)]).expect_err(bad);
            assert_eq!(error.variable, variable);
            assert_eq!(error.found, bad);
        }
    }

    #[test]
    fn the_message_says_what_was_expected_and_found() {
        let error = config(&[("RELAY_LOG_REQUESTS", "some")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "RELAY_LOG_REQUESTS: expected `failures`, `all` or `none`, found `some`"
        );
    }
}
