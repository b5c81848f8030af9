//! The metrics: their names and units, in this one place.

/// A metric of the load test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// How long requests took: a distribution over all requests that have a response time.
    ResponseTime,
    /// How many requests finished.
    Requests,
    /// How many of them Locust counts as failures.
    Failures,
    /// How large responses were: a distribution.
    ResponseSize,
    /// How many requests finished with one status, or one class of error where there was no response.
    Responses,
    /// How many users were running.
    Users,
    /// A percentile of all response times since the start of Locust's statistics, as Locust computed it: a gauge.
    Locust(Percentile),
    /// The same, of about the last ten seconds.
    LocustCurrent(Percentile),
    /// Workers that are connected to a master.
    Workers,
    /// Processor time that workers take, in percent of one processor.
    WorkerCpu,
    /// Memory that workers take.
    WorkerMemory,
}

/// A percentile that Locust computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Percentile {
    /// The median.
    P50,
    /// 90 % are not longer.
    P90,
    /// 95 % are not longer.
    P95,
    /// 99 % are not longer.
    P99,
}

impl Percentile {
    /// Those that are published.
    pub const ALL: [Self; 4] = [Self::P50, Self::P90, Self::P95, Self::P99];

    /// Its key in a batch.
    pub fn percent(self) -> &'static str {
        match self {
            Self::P50 => "50",
            Self::P90 => "90",
            Self::P95 => "95",
            Self::P99 => "99",
        }
    }
}

/// A unit, by CloudWatch's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
    /// Hundredths.
    Percent,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 17] = [
        Self::ResponseTime,
        Self::Requests,
        Self::Failures,
        Self::ResponseSize,
        Self::Responses,
        Self::Users,
        Self::Locust(Percentile::P50),
        Self::Locust(Percentile::P90),
        Self::Locust(Percentile::P95),
        Self::Locust(Percentile::P99),
        Self::LocustCurrent(Percentile::P50),
        Self::LocustCurrent(Percentile::P90),
        Self::LocustCurrent(Percentile::P95),
        Self::LocustCurrent(Percentile::P99),
        Self::Workers,
        Self::WorkerCpu,
        Self::WorkerMemory,
    ];

    /// The name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResponseTime => "ResponseTime",
            Self::Requests => "Requests",
            Self::Failures => "Failures",
            Self::ResponseSize => "ResponseSize",
            Self::Responses => "Responses",
            Self::Users => "Users",
            Self::Locust(Percentile::P50) => "LocustP50",
            Self::Locust(Percentile::P90) => "LocustP90",
            Self::Locust(Percentile::P95) => "LocustP95",
            Self::Locust(Percentile::P99) => "LocustP99",
            Self::LocustCurrent(Percentile::P50) => "LocustCurrentP50",
            Self::LocustCurrent(Percentile::P90) => "LocustCurrentP90",
            Self::LocustCurrent(Percentile::P95) => "LocustCurrentP95",
            Self::LocustCurrent(Percentile::P99) => "LocustCurrentP99",
            Self::Workers => "Workers",
            Self::WorkerCpu => "WorkerCpu",
            Self::WorkerMemory => "WorkerMemory",
        }
    }

    /// The dimensions beside the test in each of its sets; none for a metric with the sets of `RELAY_DIMENSION_SETS`.
    pub fn own_dimensions(self) -> Option<&'static [&'static [&'static str]]> {
        match self {
            Self::ResponseTime | Self::Requests | Self::Failures | Self::ResponseSize => None,
            Self::Responses => Some(&[&[STATUS]]),
            Self::Users => Some(&[&[], &[USER_CLASS]]),
            Self::Locust(_) => Some(&[&[], &[METHOD, NAME]]),
            Self::LocustCurrent(_) | Self::Workers | Self::WorkerCpu | Self::WorkerMemory => Some(&[&[]]),
        }
    }

    /// The unit in CloudWatch: another unit would be another stream of data.
    pub fn unit(self) -> Unit {
        match self {
            Self::ResponseTime | Self::Locust(_) | Self::LocustCurrent(_) => Unit::Milliseconds,
            Self::ResponseSize | Self::WorkerMemory => Unit::Bytes,
            Self::Requests | Self::Failures | Self::Responses | Self::Users | Self::Workers => Unit::Count,
            Self::WorkerCpu => Unit::Percent,
        }
    }
}

impl Unit {
    /// The name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::Count => "Count",
            Self::Percent => "Percent",
        }
    }
}

/// Dimension of [`Metric::Responses`] beside the test.
pub const STATUS: &str = "Status";

/// Dimension of [`Metric::Users`] beside the test.
pub const USER_CLASS: &str = "UserClass";

/// Dimensions of [`Metric::Locust`] beside the test, and names of the two settable dimensions.
pub const METHOD: &str = "Method";

/// See [`METHOD`].
pub const NAME: &str = "Name";
