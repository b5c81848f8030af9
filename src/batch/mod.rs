//! One S3 object → its records, checked.
//!
//! The format is described in `docs/batch-format.md`. A batch is read as a stream of lines, so that memory does not
//! grow with its size; whether it is whole is known only at its `end` line, which is why [`Reader`] yields
//! [`Result`]s and nothing may be published before it has ended well.

mod columns;
mod decompress;
mod error;
mod line;
mod reader;
mod record;
mod snapshot;

pub use error::{BatchError, LineError};
pub use reader::Reader;
pub use record::{Column, Columns, Event, Exception, Header, Record, Request, Requests, Users};
pub use snapshot::{EndpointStatistics, ErrorCount, Snapshot, Times, Total, Worker};

/// The format's name, which each batch begins with.
pub const FORMAT: &str = "locust-stats-batch";

/// The version of the format that this relay reads.
pub const VERSION: u64 = 1;

/// Longest line, in bytes: the hook closes a batch at 12 MiB of columns, and other writers of the format get room. A
/// line is held in memory as a whole, at up to 20 times its size.
pub const MAX_LINE_BYTES: u64 = 16 << 20;

/// Longest header, in bytes.
pub const MAX_HEADER_BYTES: usize = 64 << 10;

/// Longest `test`, `run` or `source`, in bytes: together they must fit into an S3 key of 1,024 bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
pub const MAX_IDENTITY_BYTES: usize = 512;

#[cfg(test)]
mod tests;
