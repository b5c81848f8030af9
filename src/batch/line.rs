//! One line → one record.

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Column, Columns, Event, Exception, LineError, Record, Requests, Snapshot, Users, columns};

/// A line as it stands there; one of the fields names its kind.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(bound(deserialize = "G: Deserialize<'de>"))]
pub(super) struct Line<G = Group> {
    requests: Option<G>,
    users: Option<Users>,
    event: Option<Event>,
    exception: Option<Exception>,
    snapshot: Option<Snapshot>,
    pub end: Option<End>,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Group {
    method: String,
    name: String,
    status: Option<i64>,
    error: Option<String>,
    at_ms: Vec<i64>,
    response_time_us: Column,
    response_bytes: Column,
}

/// A group with its columns as they stand there.
#[derive(Deserialize)]
struct Frame<'a> {
    method: String,
    name: String,
    status: Option<i64>,
    error: Option<String>,
    #[serde(borrow)]
    at_ms: &'a RawValue,
    #[serde(borrow)]
    response_time_us: &'a RawValue,
    #[serde(borrow)]
    response_bytes: &'a RawValue,
}

/// The last line: what must have been read by then.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct End {
    pub records: u64,
    pub requests: u64,
}

impl Line {
    /// Reads a line, the columns of requests on a short way.
    pub fn parse(line: &[u8]) -> serde_json::Result<Self> {
        match Self::with_columns_cut_out(line) {
            Some(parsed) => Ok(parsed),
            None => serde_json::from_slice(line),
        }
    }

    /// Reads the columns by themselves, and the line as if they were empty.
    ///
    /// Nothing when the line is not as the hook writes it, or is wrong in any way: who reads all of it in the ordinary
    /// way finds the error.
    fn with_columns_cut_out(line: &[u8]) -> Option<Self> {
        if !line.starts_with(b"{\"requests\":") {
            return None;
        }
        let mut frame = Vec::new();
        let mut rest = line;
        let mut cut = |key: &str, push: &mut dyn FnMut(&[u8]) -> Option<usize>| {
            let begin = memmem::find(rest, key.as_bytes())? + key.len();
            let length = push(&rest[begin..])?;
            frame.extend_from_slice(&rest[..begin]);
            rest = &rest[begin + length..];
            // Where the bracket stands.
            Some(frame.len() - 1)
        };
        let (mut at_ms, mut response_time_us, mut response_bytes) =
            (Vec::new(), Column::default(), Column::default());
        let times = cut("\"at_ms\":[", &mut |text| {
            columns::integers(text, |value| value.map(|value| at_ms.push(value)).is_some())
        })?;
        response_time_us.reserve(at_ms.len());
        response_bytes.reserve(at_ms.len());
        let places = [
            times,
            cut("\"response_time_us\":[", &mut |text| {
                columns::integers(text, |value| response_time_us.push(value))
            })?,
            cut("\"response_bytes\":[", &mut |text| {
                columns::integers(text, |value| response_bytes.push(value))
            })?,
        ];
        frame.extend_from_slice(rest);
        let Line { requests, users, event, exception, snapshot, end }: Line<Frame<'_>> =
            serde_json::from_slice(&frame).ok()?;
        let group = requests?;
        // The same keys may stand in another object that nobody knows: only at its own place a column is the group's.
        let place = |column: &RawValue| column.get().as_ptr().addr() - frame.as_ptr().addr();
        if [group.at_ms, group.response_time_us, group.response_bytes].map(place) != places {
            return None;
        }
        let Frame { method, name, status, error, .. } = group;
        let group = Group { method, name, status, error, at_ms, response_time_us, response_bytes };
        Some(Self { requests: Some(group), users, event, exception, snapshot, end })
    }

    /// The record, none for a kind that is not known (or the end).
    pub fn into_record(self, from_ms: i64, shift_ms: i64) -> Result<Option<Record>, LineError> {
        let kinds = usize::from(self.requests.is_some())
            + usize::from(self.users.is_some())
            + usize::from(self.event.is_some())
            + usize::from(self.exception.is_some())
            + usize::from(self.snapshot.is_some())
            + usize::from(self.end.is_some());
        if kinds > 1 {
            let found = format!("{kinds} of them");
            return Err(LineError::Field {
                field: "record",
                expected: "one kind of record in a line",
                found,
            });
        }
        let shift = |at_ms: i64| shifted("at_ms", at_ms, shift_ms);
        Ok(match self {
            // The columns count from the header's time, which is shifted already.
            Self { requests: Some(group), .. } => Some(Record::Requests(group.into_requests(from_ms)?)),
            Self { users: Some(users), .. } => {
                Some(Record::Users(Users { at_ms: shift(users.at_ms)?, ..users }))
            }
            Self { event: Some(event), .. } => {
                Some(Record::Event(Event { at_ms: shift(event.at_ms)?, ..event }))
            }
            Self { exception: Some(exception), .. } => {
                Some(Record::Exception(Exception { at_ms: shift(exception.at_ms)?, ..exception }))
            }
            Self { snapshot: Some(snapshot), .. } => {
                let (from_ms, at_ms) = (shift(snapshot.from_ms)?, shift(snapshot.at_ms)?);
                Some(Record::Snapshot(Snapshot { from_ms, at_ms, ..snapshot.checked()? }))
            }
            _ => None,
        })
    }
}

/// A time some milliseconds later.
pub(super) fn shifted(field: &'static str, at_ms: i64, by_ms: i64) -> Result<i64, LineError> {
    at_ms.checked_add(by_ms).ok_or_else(|| LineError::Field {
        field,
        expected: "times that stay within 64 bits",
        found: format!("{at_ms} and {by_ms} more"),
    })
}

impl Group {
    fn into_requests(self, from_ms: i64) -> Result<Requests, LineError> {
        let Self { method, name, status, error, mut at_ms, response_time_us, response_bytes } = self;
        let mut last_ms = from_ms;
        for at_ms in &mut at_ms {
            last_ms = shifted("at_ms", last_ms, *at_ms)?;
            *at_ms = last_ms;
        }
        let columns = Columns::new(at_ms, response_time_us, response_bytes)?;
        Ok(Requests { method, name, status, error, columns })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GROUP: &str = r#"{"requests":{"method":"GET","name":"/cart","status":200,"error":null,"at_ms":[-5,0,12],"response_time_us":[1500,null,7],"response_bytes":[10,-1,null]}}"#;

    fn slow(line: &str) -> Result<Line, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    fn parsed(line: &str) -> Result<Line, String> {
        Line::parse(line.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_usual_line_takes_the_short_way_and_reads_the_same() {
        let short = Line::with_columns_cut_out(GROUP.as_bytes());
        assert_eq!(short, slow(GROUP).ok());
        assert!(short.is_some());
    }

    #[test]
    fn whatever_is_unusual_reads_the_same() {
        for (from, to) in [
            ("-5,0,12", "-5, 0 ,12"),
            ("-5,0,12", ""),
            ("-5,0,12", "null,0,12"),
            ("1500", "1.5"),
            ("1500", "01"),
            ("1500", "-0"),
            ("1500", "123456789012345678"),
            ("1500", "9223372036854775807"),
            ("1500", "9223372036854775808"),
            ("1500", "nul"),
            ("[1500", "[,1500"),
            ("[1500", "[[1500"),
            ("7]", "7,]"),
            ("7]", "7"),
            ("at_ms", "at"),
            (r#""status""#, r#""at_ms":[1],"status""#),
            (r#""status""#, r#""x":{"at_ms":[1]},"status""#),
            (r#""status""#, r#""x":"\"at_ms\":[1]","status""#),
            (r#""status""#, r#""x\"at_ms":[1],"status""#),
            (r#""at_ms":[-5,0,12]"#, r#""x":{"at_ms":[-5,0,12]},"at_ms":[]"#),
            (r#""at_ms":[-5,0,12]"#, r#""x":{"at_ms":[-5,0,12]},"at_ms": []"#),
            (
                r#""at_ms":[-5,0,12],"response_time_us":[1500,null,7],"response_bytes":[10,-1,null]"#,
                r#""x":{"at_ms":[1,2],"response_time_us":[5,6],"response_bytes":[7,8]},"at_ms":[],"response_time_us":[],"response_bytes":[]"#,
            ),
            (r#""status":200,"#, ""),
            (r#"}}"#, r#"}} "#),
            (r#"}}"#, r#"}"#),
            (r#"}}"#, r#"},"users":{"at_ms":[1],"total":1}}"#),
        ] {
            let line = GROUP.replace(from, to);
            assert_eq!(parsed(&line), slow(&line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_columns_read_the_same(
            at in prop::collection::vec(any::<i64>(), 0..9),
            times in prop::collection::vec(prop::option::of(prop_oneof![any::<i64>(), 0..10_000_000_i64]), 0..9),
            cut in 0..400_usize,
        ) {
            let columns = serde_json::json!({"method": "GET", "name": "é", "status": null, "error": "x"}).to_string();
            let mut line = format!(
                "{{\"requests\":{},\"at_ms\":{},\"response_time_us\":{},\"response_bytes\":{}}}}}",
                &columns[..columns.len() - 1],
                serde_json::to_string(&at).unwrap(),
                serde_json::to_string(&times).unwrap(),
                serde_json::to_string(&times).unwrap(),
            );
            prop_assert_eq!(parsed(&line), slow(&line));
            if line.is_char_boundary(cut.min(line.len())) {
                line.truncate(cut);
                prop_assert_eq!(parsed(&line), slow(&line));
            }
        }
    }
}
