//! The only place that decompresses: bounded, by the data's own magic bytes.

use std::io::{self, BufRead, BufReader, Read};

use super::{BatchError, LineError, MAX_LINE_BYTES};

/// First bytes of gzip data. RFC 1952, section 2.3.1.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// First bytes of zstd data. RFC 8878, section 3.1.1.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Largest window of zstd data, as a power of two: 32 MiB, four times that of the tool's `-19`. A larger window would
/// let one small object take hundreds of megabytes of memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// The lines of compressed data, up to a number of decompressed bytes.
pub(super) struct Lines<'a> {
    reader: BufReader<io::Take<Box<dyn Read + Send + 'a>>>,
    compression: &'static str,
    limit: u64,
    line: u64,
}

impl<'a> Lines<'a> {
    /// Opens compressed data; at most `limit` decompressed bytes will be read.
    pub(super) fn open(bytes: &'a [u8], limit: u64) -> Result<Self, BatchError> {
        let (decoder, compression) = decoder(bytes)?;
        // One byte more than allowed tells "exactly at the limit" from "over it".
        let reader = BufReader::with_capacity(64 << 10, decoder.take(limit.saturating_add(1)));
        Ok(Self { reader, compression, limit, line: 0 })
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next line into `buffer`, without its newline; false at the end of the data.
    pub(super) fn next_into(&mut self, buffer: &mut Vec<u8>) -> Result<bool, BatchError> {
        buffer.clear();
        self.line += 1;
        let line = self.line;
        let read = self
            .reader
            .by_ref()
            .take(MAX_LINE_BYTES + 2)
            .read_until(b'\n', buffer)
            .map_err(|error| self.failure(&error))?;
        if self.reader.get_ref().limit() == 0 {
            return Err(BatchError::TooLarge { line, limit: self.limit });
        }
        if buffer.last() == Some(&b'\n') {
            buffer.pop();
        }
        if buffer.len() as u64 > MAX_LINE_BYTES {
            return Err(BatchError::Line { line, error: LineError::TooLong });
        }
        Ok(read > 0)
    }

    fn failure(&self, error: &io::Error) -> BatchError {
        let (line, compression) = (self.line, self.compression);
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BatchError::Truncated { line, compression },
            _ => BatchError::Corrupt { line, compression, found: error.to_string() },
        }
    }
}

#[expect(clippy::disallowed_types, reason = "this is the one decompressor; Lines bounds it")]
fn decoder(bytes: &[u8]) -> Result<(Box<dyn Read + Send + '_>, &'static str), BatchError> {
    if bytes.is_empty() {
        Err(BatchError::Empty)
    } else if bytes.starts_with(GZIP_MAGIC) {
        // Several members, one after the other, are one gzip file: a batch compressed in pieces.
        Ok((Box::new(flate2::bufread::MultiGzDecoder::new(bytes)), "gzip"))
    } else if bytes.starts_with(ZSTD_MAGIC) {
        let corrupt =
            |error: io::Error| BatchError::Corrupt { line: 1, compression: "zstd", found: error.to_string() };
        let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(corrupt)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
        Ok((Box::new(decoder), "zstd"))
    } else {
        let found = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        Err(BatchError::NotCompressed { found })
    }
}
