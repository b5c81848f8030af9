//! Compressed bytes → header and records.

use serde_json::Value;

use super::decompress::Lines;
use super::line::{End, Line, shifted};
use super::{BatchError, FORMAT, Header, LineError, MAX_HEADER_BYTES, MAX_IDENTITY_BYTES, Record, VERSION};

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
            let parsed = Line::parse(&self.buffer).map_err(|error| at(invalid(&error)))?;
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
                        self.requests += group.columns.len() as u64;
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
