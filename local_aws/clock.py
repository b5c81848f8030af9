"""The one clock of local AWS, which tests can set."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone


class Clock:
    """Real time plus an offset; CloudWatch's and Logs' time windows follow it.

    moto does not: S3's `Last-Modified`, the expiry of STS credentials, CloudFormation's and SQS' times stay
    real, and so do Lambda's time-outs and retry waits.
    """

    def __init__(self) -> None:
        self._offset = timedelta(0)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The current time, in UTC."""
        with self._lock:
            return datetime.now(timezone.utc) + self._offset

    def seconds(self) -> float:
        """The current time in seconds since the epoch."""
        with self._lock:
            return time.time() + self._offset.total_seconds()

    def set(self, moment: datetime) -> None:
        """Make `moment` (with a time zone) the current time; from there on time passes as usual."""
        if moment.tzinfo is None:
            raise ValueError(f"expected a time with a time zone, found {moment.isoformat()}")
        with self._lock:
            self._offset = moment - datetime.now(timezone.utc)

    def advance(self, delta: timedelta) -> None:
        """Move the clock by `delta`, which may be negative."""
        with self._lock:
            self._offset += delta

    def reset(self) -> None:
        """Go back to real time."""
        with self._lock:
            self._offset = timedelta(0)
