//! Compressed bytes → header and records.

use serde::Deserialize;
use serde_json::Value;

use super::decompress::Lines;
use super::{
    BatchError, Event, Exception, FORMAT, Header, LineError, MAX_HEADER_BYTES, MAX_IDENTITY_BYTES, Record,
    Request, Requests, Users, VERSION,
};

/// Reads a batch record by record.
///
/// As an iterator it ends after the `end` line has been checked, or with the first error. Records of kinds that this
/// relay does not know are skipped and counted: version 1 of the format may grow.
pub struct Reader<'a> {
    lines: Lines<'a>,
    header: Header,
    shift_ms: i64,
    buffer: Vec<u8>,
    records: u64,
    requests: u64,
    skipped: u64,
    finished: bool,
}

impl<'a> Reader<'a> {
    /// Opens a batch and reads its header. `limit` bounds the decompressed size, in bytes.
    ///
    /// # Errors
    /// When the data are not compressed, not a batch, or of another version.
    pub fn open(bytes: &'a [u8], limit: u64) -> Result<Self, BatchError> {
        let mut lines = Lines::open(bytes, limit)?;
        let mut buffer = Vec::new();
        lines.next_into(&mut buffer)?;
        let header = header(&buffer)?;
        Ok(Self { lines, header, shift_ms: 0, buffer, records: 0, requests: 0, skipped: 0, finished: false })
    }

    /// Reads the batch as that of another test, `shift_ms` milliseconds later.
    ///
    /// # Errors
    /// When its times would leave 64 bits.
    pub fn replayed_as(mut self, test: String, shift_ms: i64) -> Result<Self, BatchError> {
        let at = |error| BatchError::Line { line: 1, error };
        let header = &mut self.header;
        for (field, time) in [
            ("run_started_ms", &mut header.run_started_ms),
            ("from_ms", &mut header.from_ms),
            ("to_ms", &mut header.to_ms),
        ] {
            *time = shifted(field, *time, shift_ms).map_err(at)?;
        }
        header.test = test;
        self.shift_ms = shift_ms;
        Ok(self)
    }

    /// Whose batch this is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Records that were skipped because this relay does not know their kind.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Requests read so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    fn read(&mut self) -> Result<Option<Record>, BatchError> {
        loop {
            if !self.lines.next_into(&mut self.buffer)? {
                return Err(BatchError::MissingEnd { line: self.lines.line() });
            }
            let line = self.lines.line();
            let at = |error| BatchError::Line { line, error };
            let parsed: Line = serde_json::from_slice(&self.buffer).map_err(|error| at(invalid(&error)))?;
            let end = parsed.end;
            let record = parsed.into_record(self.header.from_ms, self.shift_ms).map_err(at)?;
            if let Some(end) = end {
                self.check_end(&end)?;
                return Ok(None);
            }
            self.records += 1;
            match record {
                Some(record) => {
                    if let Record::Requests(group) = &record {
                        self.requests += group.requests.len() as u64;
                    }
                    return Ok(Some(record));
                }
                None => self.skipped += 1,
            }
        }
    }

    fn check_end(&mut self, end: &End) -> Result<(), BatchError> {
        let line = self.lines.line();
        for (what, counted, stated) in
            [("records", self.records, end.records), ("requests", self.requests, end.requests)]
        {
            if counted != stated {
                return Err(BatchError::WrongEnd { line, what, counted, stated });
            }
        }
        // Reading on to the end of the data also lets the decompressor verify its checksum.
        if self.lines.next_into(&mut self.buffer)? {
            return Err(BatchError::Line { line: self.lines.line(), error: LineError::AfterEnd });
        }
        Ok(())
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let item = self.read().transpose();
        self.finished = !matches!(item, Some(Ok(_)));
        item
    }
}

fn header(line: &[u8]) -> Result<Header, BatchError> {
    let found = |bytes: &[u8]| BatchError::NotABatch {
        found: match String::from_utf8_lossy(bytes).chars().take(80).collect::<String>() {
            text if text.is_empty() => "an empty line".to_owned(),
            text => text,
        },
    };
    if line.len() > MAX_HEADER_BYTES {
        return Err(found(line));
    }
    let value: Value = serde_json::from_slice(line).map_err(|_| found(line))?;
    if value["format"] != FORMAT {
        return Err(found(line));
    }
    if value["version"] != VERSION {
        return Err(BatchError::UnknownVersion { found: value["version"].to_string() });
    }
    let at = |error| BatchError::Line { line: 1, error };
    let header: Header = serde_json::from_value(value).map_err(|error| at(invalid(&error)))?;
    for (field, text) in [("test", &header.test), ("run", &header.run), ("source", &header.source)] {
        if text.is_empty() || text.len() > MAX_IDENTITY_BYTES {
            let found = format!("{} bytes", text.len());
            return Err(at(LineError::Field { field, expected: "1 to 512 bytes", found }));
        }
    }
    Ok(header)
}

fn invalid(error: &serde_json::Error) -> LineError {
    // The parser's own line number is that of the one line it was given: only the column helps.
    let text = error.to_string();
    let found = match text.split_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    };
    LineError::Json { found }
}

/// A line as it stands there; one of the fields names its kind.
#[derive(Deserialize)]
struct Line {
    requests: Option<Columns>,
    users: Option<Users>,
    event: Option<Event>,
    exception: Option<Exception>,
    end: Option<End>,
}

#[derive(Deserialize)]
struct Columns {
    method: String,
    name: String,
    status: Option<i64>,
    error: Option<String>,
    at_ms: Vec<i64>,
    response_time_us: Vec<Option<i64>>,
    response_bytes: Vec<Option<i64>>,
}

#[derive(Clone, Copy, Deserialize)]
struct End {
    records: u64,
    requests: u64,
}

impl Line {
    /// The record, none for a kind that is not known (or the end).
    fn into_record(self, from_ms: i64, shift_ms: i64) -> Result<Option<Record>, LineError> {
        let kinds = usize::from(self.requests.is_some())
            + usize::from(self.users.is_some())
            + usize::from(self.event.is_some())
            + usize::from(self.exception.is_some())
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
            Self { requests: Some(columns), .. } => Some(Record::Requests(columns.into_requests(from_ms)?)),
            Self { users: Some(users), .. } => {
                Some(Record::Users(Users { at_ms: shift(users.at_ms)?, ..users }))
            }
            Self { event: Some(event), .. } => {
                Some(Record::Event(Event { at_ms: shift(event.at_ms)?, ..event }))
            }
            Self { exception: Some(exception), .. } => {
                Some(Record::Exception(Exception { at_ms: shift(exception.at_ms)?, ..exception }))
            }
            _ => None,
        })
    }
}

/// A time some milliseconds later.
fn shifted(field: &'static str, at_ms: i64, by_ms: i64) -> Result<i64, LineError> {
    at_ms.checked_add(by_ms).ok_or_else(|| LineError::Field {
        field,
        expected: "times that stay within 64 bits",
        found: format!("{at_ms} and {by_ms} more"),
    })
}

impl Columns {
    fn into_requests(self, from_ms: i64) -> Result<Requests, LineError> {
        let (times, sizes) = (self.response_time_us, self.response_bytes);
        if self.at_ms.len() != times.len() || self.at_ms.len() != sizes.len() {
            return Err(LineError::UnequalColumns {
                at_ms: self.at_ms.len(),
                response_time_us: times.len(),
                response_bytes: sizes.len(),
            });
        }
        let mut at_ms = from_ms;
        let mut requests = Vec::with_capacity(times.len());
        for ((difference, response_time_us), response_bytes) in self.at_ms.into_iter().zip(times).zip(sizes) {
            at_ms = shifted("at_ms", at_ms, difference)?;
            requests.push(Request { at_ms, response_time_us, response_bytes });
        }
        Ok(Requests {
            method: self.method,
            name: self.name,
            status: self.status,
            error: self.error,
            requests,
        })
    }
}
