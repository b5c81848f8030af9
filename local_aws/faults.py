"""Scripted faults: what goes wrong, for which calls, how often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from local_aws.calls import Call
from local_aws.errors import AwsError

Kind = Literal["throttle", "error500", "error503", "timeout", "cut_before", "cut_after", "latency_ms"]

# A held call is let go after this many seconds at the latest, so that no test hangs for ever.
MAX_HOLD_SECONDS = 60.0


@dataclass(eq=False)
class Fault:
    """One scripted fault.

    `times` calls are hit (None: all), after the first `skip` matching calls were left alone. `service` and
    `operation` None match any; `match` is a part of the resource's ARN, or a function of the call.
    Kind `timeout` holds the call before any work is done, until `release` or `hold_seconds`, and then closes
    the connection; `cut_before` and `cut_after` close it before and after the work is done; `latency_ms`
    waits `latency_ms` milliseconds and goes on.
    """

    kind: Kind
    service: str | None = None
    operation: str | None = None
    times: int | None = 1
    skip: int = 0
    match: str | Callable[[Call], bool] | None = None
    latency_ms: int = 0
    hold_seconds: float = MAX_HOLD_SECONDS
    hits: int = 0
    _seen: int = 0
    _released: threading.Event = field(default_factory=threading.Event, repr=False)
    _hit: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected a fault kind of {', '.join(get_args(Kind))}, found {self.kind!r}")
        if not 0 <= self.hold_seconds <= MAX_HOLD_SECONDS:
            raise ValueError(f"expected hold_seconds of 0..{MAX_HOLD_SECONDS}, found {self.hold_seconds}")

    def release(self) -> None:
        """Let go the calls that a `timeout` holds."""
        self._released.set()

    def wait_released(self, seconds: float) -> None:
        """Block until `release`, or for `seconds`."""
        self._released.wait(seconds)

    def wait_hit(self, hits: int = 1, timeout: float = 30) -> None:
        """Block until this fault has hit `hits` calls."""
        with self._hit:
            if not self._hit.wait_for(lambda: self.hits >= hits, timeout):
                raise TimeoutError(
                    f"expected {hits} calls hit by {self.kind} in {timeout} s, found {self.hits}"
                )

    def takes(self, call: Call) -> bool:
        """Count `call` if it matches, and say whether it is hit."""
        with self._hit:
            if not self._matches(call):
                return False
            self._seen += 1
            if self._seen <= self.skip or (self.times is not None and self.hits >= self.times):
                return False
            self.hits += 1
            self._hit.notify_all()
            return True

    def _matches(self, call: Call) -> bool:
        if self.service not in (None, call.service) or self.operation not in (None, call.operation):
            return False
        if isinstance(self.match, str):
            return self.match in call.resource
        return self.match is None or self.match(call)


class Faults:
    """The faults in force, in the order they were added; the first that takes a call wins."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self,
        *,
        kind: Kind,
        service: str | None = None,
        operation: str | None = None,
        times: int | None = 1,
        skip: int = 0,
        match: str | Callable[[Call], bool] | None = None,
        latency_ms: int = 0,
        hold_seconds: float = MAX_HOLD_SECONDS,
    ) -> Fault:
        """Put a fault in force; see `Fault`."""
        fault = Fault(kind, service, operation, times, skip, match, latency_ms, hold_seconds)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults and let go what they hold."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release()

    def take(self, call: Call) -> Fault | None:
        """The fault that hits `call`, if any."""
        with self._lock:
            return next((fault for fault in self._faults if fault.takes(call)), None)


# Codes as the services' own models and guides name them. S3: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_ERRORS: dict[tuple[str, str], tuple[int, str, str, str | None]] = {
    ("throttle", "s3"): (503, "SlowDown", "Please reduce your request rate.", None),
    ("throttle", "cloudwatch"): (400, "Throttling", "Rate exceeded", "ThrottlingException"),
    ("throttle", "logs"): (400, "ThrottlingException", "Rate exceeded", None),
    ("throttle", "sqs"): (403, "RequestThrottled", "Request is throttled.", None),
    ("error500", "s3"): (500, "InternalError", "We encountered an internal error. Please try again.", None),
    ("error500", "cloudwatch"): (
        500,
        "InternalServiceError",
        "Internal service error",
        "InternalServiceFault",
    ),
    ("error503", "s3"): (503, "ServiceUnavailable", "Service is unable to handle request.", None),
    ("error503", "logs"): (
        503,
        "ServiceUnavailableException",
        "The service cannot complete the request.",
        None,
    ),
}
_DEFAULTS: dict[str, tuple[int, str, str, str | None]] = {
    "throttle": (400, "Throttling", "Rate exceeded", None),
    "error500": (
        500,
        "InternalFailure",
        "The request processing has failed because of an unknown error.",
        None,
    ),
    "error503": (
        503,
        "ServiceUnavailable",
        "The request has failed due to a temporary failure of the server.",
        None,
    ),
}


def fault_error(kind: str, service: str) -> AwsError:
    """What `service` answers to a call hit by a fault of `kind`: throttle, error500 or error503."""
    return AwsError(*(_ERRORS.get((kind, service)) or _DEFAULTS[kind]))
