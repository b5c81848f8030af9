//! What a batch consists of, after all checks.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{LineError, Snapshot};

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
    /// What was added to Locust's own statistics.
    Snapshot(Snapshot),
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
    response_time_us: Column,
    response_bytes: Column,
}

/// Integers, some of which may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Option<i64>>")]
pub struct Column {
    /// 0 where there is none.
    values: Vec<i64>,
    /// The rows without a value, ascending.
    missing: Vec<usize>,
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

impl Column {
    /// Makes room for so many rows.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.values.reserve(rows);
    }

    /// Appends a row; always true, for who asks whether to go on.
    pub(super) fn push(&mut self, value: Option<i64>) -> bool {
        if value.is_none() {
            self.missing.push(self.values.len());
        }
        self.values.push(value.unwrap_or(0));
        true
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Row by row.
    pub fn iter(&self) -> impl Iterator<Item = Option<i64>> + '_ {
        let mut missing = self.missing.iter().peekable();
        self.values
            .iter()
            .enumerate()
            .map(move |(row, value)| missing.next_if_eq(&&row).is_none().then_some(*value))
    }

    /// The values among some rows: as few slices as there are gaps.
    pub fn values(&self, rows: Range<usize>) -> impl Iterator<Item = &[i64]> + '_ {
        let first = self.missing.partition_point(|row| *row < rows.start);
        let last = self.missing.partition_point(|row| *row < rows.end);
        let gaps = self.missing[first..last].iter().copied();
        let starts = std::iter::once(rows.start).chain(gaps.clone().map(|row| row + 1));
        starts.zip(gaps.chain([rows.end])).map(|(start, end)| &self.values[start..end])
    }
}

impl From<Vec<Option<i64>>> for Column {
    fn from(values: Vec<Option<i64>>) -> Self {
        values.into_iter().collect()
    }
}

impl FromIterator<Option<i64>> for Column {
    fn from_iter<T: IntoIterator<Item = Option<i64>>>(values: T) -> Self {
        let mut column = Self::default();
        values.into_iter().for_each(|value| _ = column.push(value));
        column
    }
}

impl Columns {
    /// Columns that belong together.
    ///
    /// # Errors
    /// When they are not of equal length.
    pub fn new(at_ms: Vec<i64>, response_time_us: Column, response_bytes: Column) -> Result<Self, LineError> {
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
    pub fn response_time_us(&self) -> &Column {
        &self.response_time_us
    }

    /// Sizes of the responses in bytes.
    pub fn response_bytes(&self) -> &Column {
        &self.response_bytes
    }

    /// Request by request.
    pub fn iter(&self) -> impl Iterator<Item = Request> + '_ {
        let rows = self.at_ms.iter().zip(self.response_time_us.iter()).zip(self.response_bytes.iter());
        rows.map(|((at_ms, response_time_us), response_bytes)| Request {
            at_ms: *at_ms,
            response_time_us,
            response_bytes,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_column_keeps_its_rows(
            rows in prop::collection::vec(prop::option::of(any::<i64>()), 0..40),
            from in 0..40_usize,
            to in 0..40_usize,
        ) {
            let column: Column = rows.iter().copied().collect();
            prop_assert_eq!(column.iter().collect::<Vec<_>>(), rows.clone());
            prop_assert_eq!(column.len(), rows.len());
            let (from, to) = (from.min(to).min(rows.len()), to.min(rows.len()));
            let values: Vec<i64> = column.values(from..to).flatten().copied().collect();
            prop_assert_eq!(values, rows[from..to].iter().copied().flatten().collect::<Vec<_>>());
        }
    }
}
