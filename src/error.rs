//! Why an invocation failed, under names that stay the same: the on-failure queue's readers sort by them.

use lambda_runtime::Diagnostic;
use thiserror::Error;

use crate::deliver::{CheckpointError, DeliveryError, Failure};
use crate::ledger::LedgerError;
use crate::notification::{NotificationError, ObjectRef};
use crate::plan::PlanError;
use crate::replay::ReplayNameError;

/// Why an invocation failed.
#[derive(Debug, Error)]
pub enum RelayError {
    /// The event is no notification.
    #[error(transparent)]
    Notification(#[from] NotificationError),
    /// Objects of the event could not be relayed; all of them were tried.
    #[error("{}", list(.0))]
    Objects(Vec<ObjectError>),
}

/// Why one object could not be relayed. The object is still there.
#[derive(Debug, Error)]
#[error("{object}: {cause}")]
pub struct ObjectError {
    /// The object.
    pub object: ObjectRef,
    /// What stood in the way.
    pub cause: Cause,
}

/// What stands in an object's way.
#[derive(Debug, Error)]
pub enum Cause {
    /// It cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is no batch, or none that can be published.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A batch whose times CloudWatch does not take.
    #[error(
        "{0}. To publish it at another time, copy it to replays/<name>/<test>/<run>/<source>/ in the same bucket"
    )]
    LiveWindow(PlanError),
    /// A replayed batch whose times CloudWatch does not take.
    #[error(
        "{0}. A replay by copying begins 2 h 50 min before its first batch arrives and takes runs of up to 4 h 30 min; \
         for a longer run, or to begin anew, replay under another name with `python -m locust_hook replay`"
    )]
    ReplayWindow(PlanError),
    /// A key under `replays/` without a usable name.
    #[error(transparent)]
    ReplayName(#[from] ReplayNameError),
    /// The ledger cannot be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another attempt is at it.
    #[error(
        "another attempt is publishing this batch, until {until_ms} (milliseconds since 1970) at the latest"
    )]
    Busy {
        /// End of the other's lease.
        until_ms: i64,
    },
    /// An earlier attempt began with a plan that this relay cannot make again.
    #[error(
        "expected the plan {begun}, of which {done} of {calls} calls were delivered, found {found}: this version of \
         the relay plans differently. Finish with the former version, or delete the ledger entry {key} to publish the \
         batch again from its beginning"
    )]
    PlanChanged {
        /// Fingerprint of the plan that was begun.
        begun: String,
        /// Calls delivered of it.
        done: usize,
        /// Calls in it.
        calls: usize,
        /// Fingerprint of the plan made now.
        found: String,
        /// The ledger entry's key.
        key: String,
    },
    /// The invocation's time was over before anything was published.
    #[error("out of time before anything was published")]
    OutOfTime,
    /// CloudWatch did not take all of it.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Why an object cannot be fetched.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FetchError {
    /// There is no such object, or it may not be read: without permission to list a bucket, S3 answers both alike.
    #[error("expected an object that this function may read, found none: {0}")]
    Missing(String),
    /// Larger than any batch that the relay would read.
    #[error("expected at most {limit} bytes (RELAY_MAX_BATCH_MB), found {found}")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The object's size in bytes.
        found: u64,
    },
    /// It is in an archive from which it has to be restored first.
    #[error("expected an object that can be read, found one in {0}: restore it, then copy it onto itself")]
    Archived(String),
    /// S3 refuses, for a reason that stays.
    #[error("cannot be fetched: {0}")]
    Refused(String),
    /// S3 did not answer, or not well.
    #[error("cannot be fetched now: {0}")]
    Unavailable(String),
}

impl Cause {
    /// A stable name of the cause.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::Missing(_)) => "ObjectMissing",
            Self::Fetch(FetchError::TooLarge { .. }) => "BatchTooLarge",
            Self::Fetch(FetchError::Archived(_)) => "ObjectArchived",
            Self::Fetch(FetchError::Refused(_)) => "ObjectRefused",
            Self::Fetch(FetchError::Unavailable(_)) => "ObjectUnavailable",
            Self::Plan(error) | Self::LiveWindow(error) | Self::ReplayWindow(error) => error.kind(),
            Self::ReplayName(_) => "InvalidReplayName",
            Self::Ledger(LedgerError::Store { error, .. }) => match error.failure {
                Failure::Denied | Failure::Rejected => "LedgerDenied",
                _ => "LedgerUnavailable",
            },
            Self::Ledger(LedgerError::NotAnEntry { .. }) => "NotALedgerEntry",
            Self::Busy { .. } => "BatchBusy",
            Self::PlanChanged { .. } => "PlanChanged",
            Self::OutOfTime => "OutOfTime",
            Self::Delivery(DeliveryError::Checkpoint(error)) => match error {
                CheckpointError::TakenOver(_) => "BatchBusy",
                CheckpointError::Lapsed | CheckpointError::Unavailable(_) => "LedgerUnavailable",
                CheckpointError::Denied(_) => "LedgerDenied",
            },
            Self::Delivery(DeliveryError::OutOfTime { last: None, .. }) => "OutOfTime",
            Self::Delivery(
                DeliveryError::OutOfTime { last: Some(failed), .. }
                | DeliveryError::Calls { example: failed, .. },
            ) => match failed.failure {
                Failure::Throttled => "CloudWatchThrottled",
                Failure::Unknown | Failure::NotSent | Failure::NoStream => "CloudWatchUnavailable",
                Failure::Denied => "CloudWatchDenied",
                Failure::Rejected => "CloudWatchRejected",
            },
        }
    }

    /// Whether another attempt, without any change, may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Fetch(FetchError::Unavailable(_))
            | Self::Busy { .. }
            | Self::OutOfTime
            | Self::Delivery(DeliveryError::OutOfTime { .. }) => true,
            Self::Delivery(DeliveryError::Checkpoint(error)) => !matches!(error, CheckpointError::Denied(_)),
            Self::Ledger(LedgerError::Store { error, .. }) => error.failure.is_temporary(),
            Self::Fetch(_)
            | Self::Plan(_)
            | Self::LiveWindow(_)
            | Self::ReplayWindow(_)
            | Self::ReplayName(_)
            | Self::Ledger(LedgerError::NotAnEntry { .. })
            | Self::PlanChanged { .. }
            | Self::Delivery(DeliveryError::Calls { .. }) => false,
        }
    }
}

impl RelayError {
    /// A stable name of the cause; of several, that of the first one that will not go away by itself.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Notification(_) => "NotANotification",
            Self::Objects(errors) => {
                let lasting = errors.iter().find(|error| !error.cause.is_temporary());
                lasting.or(errors.first()).map_or("Unknown", |error| error.cause.kind())
            }
        }
    }
}

impl From<RelayError> for Diagnostic {
    fn from(error: RelayError) -> Self {
        Self { error_type: error.kind().to_owned(), error_message: error.to_string() }
    }
}

fn list(errors: &[ObjectError]) -> String {
    errors.iter().map(ObjectError::to_string).collect::<Vec<_>>().join("; ")
}
