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
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 6] = [
        Self::ResponseTime,
        Self::Requests,
        Self::Failures,
        Self::ResponseSize,
        Self::Responses,
        Self::Users,
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
        }
    }

    /// The dimensions beside the test in each of its sets; none for a metric with the sets of `RELAY_DIMENSION_SETS`.
    pub fn own_dimensions(self) -> Option<&'static [&'static [&'static str]]> {
        match self {
            Self::ResponseTime | Self::Requests | Self::Failures | Self::ResponseSize => None,
            Self::Responses => Some(&[&[STATUS]]),
            Self::Users => Some(&[&[], &[USER_CLASS]]),
        }
    }

    /// The unit in CloudWatch: another unit would be another stream of data.
    pub fn unit(self) -> Unit {
        match self {
            Self::ResponseTime => Unit::Milliseconds,
            Self::ResponseSize => Unit::Bytes,
            Self::Requests | Self::Failures | Self::Responses | Self::Users => Unit::Count,
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
        }
    }
}

/// Dimension of [`Metric::Responses`] beside the test.
pub const STATUS: &str = "Status";

/// Dimension of [`Metric::Users`] beside the test.
pub const USER_CLASS: &str = "UserClass";
