//! The span of time that CloudWatch takes.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::PlanError;
use super::limits::{MAX_AGE_MS, MAX_FUTURE_MS, WINDOW_MARGIN_MS};

/// First and last time of a batch, milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window(Option<(i64, i64)>);

impl Window {
    /// Takes a time into the window.
    pub fn include(&mut self, at_ms: i64) {
        self.0 = Some(match self.0 {
            None => (at_ms, at_ms),
            Some((first, last)) => (first.min(at_ms), last.max(at_ms)),
        });
    }

    /// Checks that CloudWatch takes all of it at `now_ms`.
    ///
    /// # Errors
    /// When any time lies outside. A batch is refused as a whole: half of one would look like a whole one.
    pub fn check(&self, now_ms: i64) -> Result<(), PlanError> {
        let accepted = (
            now_ms.saturating_sub(MAX_AGE_MS - WINDOW_MARGIN_MS),
            now_ms.saturating_add(MAX_FUTURE_MS - WINDOW_MARGIN_MS),
        );
        match self.0 {
            Some(found) if found.0 < accepted.0 || found.1 > accepted.1 => {
                Err(PlanError::OutsideWindow { accepted, found })
            }
            _ => Ok(()),
        }
    }
}

/// A time as people read it; far outside of any calendar, its milliseconds.
pub(super) fn utc(at_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1000))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{at_ms} ms"))
}
