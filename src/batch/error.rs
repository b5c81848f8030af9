//! Why a batch cannot be read.

use thiserror::Error;

use super::{FORMAT, MAX_LINE_BYTES, VERSION};

/// Why a batch cannot be read. None of these goes away by trying again.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// Nothing in the object.
    #[error("expected a batch, found an empty object")]
    Empty,
    /// Neither gzip nor zstd.
    #[error("expected gzip (1f 8b) or zstd (28 b5 2f fd) data, found an object that begins with {found}")]
    NotCompressed {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The compressed data end early: an interrupted upload.
    #[error("line {line}: expected more data, found the end: the {compression} data are truncated")]
    Truncated {
        /// The line that was being read.
        line: u64,
        /// `gzip` or `zstd`.
        compression: &'static str,
    },
    /// The compressed data are damaged.
    #[error("line {line}: expected intact {compression} data, found {found}")]
    Corrupt {
        /// The line that was being read.
        line: u64,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// What the decompressor says.
        found: String,
    },
    /// More decompressed data than the relay is set to take.
    #[error(
        "line {line}: expected at most {limit} bytes after decompression (RELAY_MAX_BATCH_MB), found more"
    )]
    TooLarge {
        /// The line that was being read.
        line: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The first line is not a header of this format.
    #[error("line 1: expected the header of a `{FORMAT}`, found {found}")]
    NotABatch {
        /// What stands there.
        found: String,
    },
    /// A version that this relay does not know.
    #[error("line 1: expected version {VERSION}, found version {found}: deploy a relay that reads it")]
    UnknownVersion {
        /// The version as it stands there.
        found: String,
    },
    /// Something is wrong in one line.
    #[error("line {line}: {error}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        error: LineError,
    },
    /// The `end` line is missing: the writer was interrupted.
    #[error("line {line}: expected a record or the `end` line, found the end of the batch: it is truncated")]
    MissingEnd {
        /// The line that is missing.
        line: u64,
    },
    /// The `end` line counts something else than what was read.
    #[error("line {line}: expected {counted} {what} as read so far, found {stated} in the `end` line")]
    WrongEnd {
        /// The number of the `end` line.
        line: u64,
        /// `records` or `requests`.
        what: &'static str,
        /// What was read.
        counted: u64,
        /// What the `end` line says.
        stated: u64,
    },
}

impl BatchError {
    /// A stable name of the cause, for the error type that Lambda reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "EmptyObject",
            Self::NotCompressed { .. } => "NotCompressed",
            Self::Truncated { .. } | Self::MissingEnd { .. } => "TruncatedBatch",
            Self::Corrupt { .. } => "CorruptBatch",
            Self::TooLarge { .. } => "BatchTooLarge",
            Self::NotABatch { .. } => "NotABatch",
            Self::UnknownVersion { .. } => "UnknownBatchVersion",
            Self::Line { error, .. } => match error {
                LineError::TooLong => "LineTooLong",
                LineError::Json { .. } => "InvalidJson",
                LineError::UnequalColumns { .. } => "UnequalColumns",
                LineError::Field { .. } => "InvalidRecord",
                LineError::AfterEnd => "DataAfterEnd",
            },
            Self::WrongEnd { .. } => "WrongEndLine",
        }
    }
}

/// What is wrong in a line.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// Longer than any line may be.
    #[error("expected at most {MAX_LINE_BYTES} bytes, found a longer line")]
    TooLong,
    /// Not JSON, or not of the shape of its record.
    #[error("expected a JSON record, found {found}")]
    Json {
        /// What the parser says, with the column.
        found: String,
    },
    /// The columns of a group must have one entry for each request.
    #[error(
        "expected columns of equal length, found at_ms: {at_ms}, response_time_us: {response_time_us}, \
         response_bytes: {response_bytes}"
    )]
    UnequalColumns {
        /// Entries of `at_ms`.
        at_ms: usize,
        /// Entries of `response_time_us`.
        response_time_us: usize,
        /// Entries of `response_bytes`.
        response_bytes: usize,
    },
    /// A value that the format does not allow.
    #[error("{field}: expected {expected}, found {found}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What it may hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// Something follows the `end` line.
    #[error("expected the end of the batch after its `end` line, found more")]
    AfterEnd,
}
