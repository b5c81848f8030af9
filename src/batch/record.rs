//! What a batch consists of, after all checks.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::LineError;

/// The first line: whose batch this is, and what it covers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Header {
    /// The name of what is tested.
    pub test: String,
    /// One execution of the test.
    pub run: String,
    /// One Locust process of the run.
    pub source: String,
    /// The batch's number within its source, from 0.
    pub seq: u64,
    /// Start of the run, milliseconds since 1970.
    pub run_started_ms: i64,
    /// Start of the interval, milliseconds since 1970.
    pub from_ms: i64,
    /// End of the interval, milliseconds since 1970.
    pub to_ms: i64,
    /// The host under test, as Locust was told.
    #[serde(default)]
    pub host: Option<String>,
    /// Version of Locust.
    #[serde(default)]
    pub locust: Option<String>,
    /// Version of the hook.
    #[serde(default)]
    pub hook: Option<String>,
    /// What the run was labelled with.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// One line between the header and the end, of a kind that this relay knows.
#[derive(Debug, PartialEq)]
pub enum Record {
    /// Finished requests of one group.
    Requests(Requests),
    /// How many users were running.
    Users(Users),
    /// Something in the life of the test.
    Event(Event),
    /// Exceptions in user code.
    Exception(Exception),
}

/// Finished requests with the same method, name, status and error.
#[derive(Debug, PartialEq)]
pub struct Requests {
    /// HTTP method, or the type that a custom client gave.
    pub method: String,
    /// The request's name, as Locust groups its statistics.
    pub name: String,
    /// HTTP status; none when there was no response, or no HTTP.
    pub status: Option<i64>,
    /// Error text; none when Locust counts the request as a success.
    pub error: Option<String>,
    /// The requests, in the order of the batch.
    pub columns: Columns,
}

/// Requests as columns of equal length: a million of them are read and counted without a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    at_ms: Vec<i64>,
    response_time_us: Vec<Option<i64>>,
    response_bytes: Vec<Option<i64>>,
}

/// One finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it finished, milliseconds since 1970.
    pub at_ms: i64,
    /// Its response time in microseconds; none where Locust counted the request but no response time.
    pub response_time_us: Option<i64>,
    /// Size of its response in bytes, as the client reported it.
    pub response_bytes: Option<i64>,
}

impl Columns {
    /// Columns that belong together.
    ///
    /// # Errors
    /// When they are not of equal length.
    pub fn new(
        at_ms: Vec<i64>,
        response_time_us: Vec<Option<i64>>,
        response_bytes: Vec<Option<i64>>,
    ) -> Result<Self, LineError> {
        let [at, times, sizes] = [at_ms.len(), response_time_us.len(), response_bytes.len()];
        if at != times || at != sizes {
            return Err(LineError::UnequalColumns {
                at_ms: at,
                response_time_us: times,
                response_bytes: sizes,
            });
        }
        Ok(Self { at_ms, response_time_us, response_bytes })
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.at_ms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at_ms.is_empty()
    }

    /// When each finished, milliseconds since 1970.
    pub fn at_ms(&self) -> &[i64] {
        &self.at_ms
    }

    /// Response times in microseconds.
    pub fn response_time_us(&self) -> &[Option<i64>] {
        &self.response_time_us
    }

    /// Sizes of the responses in bytes.
    pub fn response_bytes(&self) -> &[Option<i64>] {
        &self.response_bytes
    }

    /// Request by request.
    pub fn iter(&self) -> impl Iterator<Item = Request> + '_ {
        let rows = self.at_ms.iter().zip(&self.response_time_us).zip(&self.response_bytes);
        rows.map(|((at_ms, response_time_us), response_bytes)| Request {
            at_ms: *at_ms,
            response_time_us: *response_time_us,
            response_bytes: *response_bytes,
        })
    }
}

impl FromIterator<Request> for Columns {
    fn from_iter<T: IntoIterator<Item = Request>>(requests: T) -> Self {
        let mut columns = Self::default();
        for Request { at_ms, response_time_us, response_bytes } in requests {
            columns.at_ms.push(at_ms);
            columns.response_time_us.push(response_time_us);
            columns.response_bytes.push(response_bytes);
        }
        columns
    }
}

/// How many users were running at one moment.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Users {
    /// The moment, milliseconds since 1970.
    pub at_ms: i64,
    /// Users of all classes.
    pub total: u64,
    /// Users by their class.
    #[serde(default)]
    pub by_class: BTreeMap<String, u64>,
}

/// Something in the life of the test.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What, by Locust's name of the event.
    pub kind: String,
    /// More about it: JSON as it stands in the batch, which may be of any size.
    #[serde(default = "null")]
    pub detail: Box<RawValue>,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, &self.kind, self.detail.get()) == (other.at_ms, &other.kind, other.detail.get())
    }
}

/// An exception in user code, and how often it was seen in the interval.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Exception {
    /// First seen, milliseconds since 1970.
    pub at_ms: i64,
    /// How often.
    pub count: u64,
    /// Its message.
    pub message: String,
    /// Its traceback.
    #[serde(default)]
    pub traceback: String,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}
