"""What one Locust process saw since the last flush, kept as flat columns; no I/O, no clock of its own.

The request listener is the only code of this package that runs once per request, so it does as little as
possible: one look-up by name and one append to a flat list. Everything else (grouping, rounding, text) waits
for the flush. The numbers behind these choices are in `docs/performance.md`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._fast import Rows

try:
    from ._fast import Listener
except ImportError:  # it is built where there is a C compiler; the listener in Python counts the same
    Listener = None  # type: ignore[assignment, misc]

OTHER: Final = "(other)"
"""Method, name or error text that stands for everything beyond a bound."""

SLOTS: Final = 5
"""Values per request in a name's flat list: completion time (s), method, status, response time (ms),
bytes."""

FAILURE_SLOTS: Final = 3
"""Values per request in a failure group's flat list: completion time (s), response time (ms), bytes."""

REQUEST_BYTES: Final = 128
"""Memory of one buffered request: five list slots and their reserve (45 B), two floats (48), an int (28)."""

ROW_BYTES: Final = 36
"""Memory of one request in `Rows`: 24 B and their reserve."""

MAX_NAME: Final = 4_096
"""Characters kept of a request name or method; Locust itself has no limit."""

MAX_ERROR: Final = 2_000
"""Characters kept of an error text or exception message."""

MAX_TRACEBACK: Final = 10_000
"""Characters kept of a traceback."""

MAX_ERRORS: Final = 500
"""Distinct error texts of a run; the next ones fold into their class: ids in messages must not cost
memory."""

MAX_ERROR_CLASSES: Final = 100
"""Distinct folded error texts, for exception classes that are made at run time."""

MAX_FAILURE_GROUPS: Final = 5_000
"""Distinct (method, name, status, error) of one batch; beyond it failures are counted under `(other)`."""

MAX_EXCEPTIONS: Final = 200
"""Distinct (message, traceback) of one batch; the next ones fold into their class."""

MAX_EVENTS: Final = 1_000
"""Lifecycle events and user counts kept of one interval, each; the oldest go first."""

Row = tuple[Any, Any, list[Any]]
"""A request taken out: the dict it was in, its key there, its values."""

FailureKey = tuple[str, str, "int | None", str]
"""Method, name, status and error text of a failure group."""


@dataclass
class Taken:
    """Everything of one interval, as `encode.encode` writes it into a batch."""

    by_name: dict[str, list[Any]] = field(default_factory=dict)
    """Successful requests: name → flat list with `SLOTS` values a request."""
    failures: dict[FailureKey, list[Any]] = field(default_factory=dict)
    """Failed requests: key → flat list with `FAILURE_SLOTS` values a request."""
    rows: list[Rows] = field(default_factory=list)
    """Successful requests that the listener in C took."""
    users: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    exceptions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Requests in this interval."""
        return (
            sum(map(len, self.rows))
            + sum(map(len, self.by_name.values())) // SLOTS
            + sum(map(len, self.failures.values())) // FAILURE_SLOTS
        )

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.by_name or self.rows or self.failures or self.users or self.events or self.exceptions
        )


class Columns:
    """Collects what Locust's events say until `take` hands it over."""

    def __init__(
        self,
        max_endpoints: int,
        error_text: Callable[[Any], str] = repr,
        now: Callable[[], float] | None = None,
        *,
        fast: bool = True,
    ) -> None:
        """Keeps `max_endpoints` names apart; `error_text` makes the text of an error that Locust shows.

        `now`: the clock of completion times (seconds since the epoch), for tests. `fast`: with the listener
        in C, where it is built.
        """
        self.max_endpoints = max_endpoints
        self._error_text = error_text
        self._now = now or time.time
        self._names: set[str] = set()
        self._endpoints: set[tuple[str, str]] = set()
        self._errors: set[str] = set()
        self._error_classes: set[str] = set()
        self._by_name: dict[Any, list[Any]] = {}
        self._failures: dict[FailureKey, list[Any]] = {}
        self._users: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._exceptions: dict[tuple[str, str], dict[str, Any]] = {}
        self._in_run = False
        self.folded = False
        """Whether any name has been folded into `(other)`."""
        self._fast = Listener(self._unusual, now) if fast and Listener is not None else None
        self.on_request: Final[Callable[..., None]] = self._fast or self._listener()
        """The listener for Locust's `request` event."""

    def _listener(self) -> Callable[..., None]:
        """The hot path without C: a closure, because local and cell variables are the cheapest to read.

        Every argument that Locust's own clients pass is named: what lands in `**_` costs three times as much.
        """
        now = self._now
        by_name = self._by_name
        missing = self._success
        failed = self._failure

        def on_request(
            request_type: Any,
            response_time: Any,
            name: Any,
            context: Any = None,
            response: Any = None,
            exception: Any = None,
            start_time: Any = None,
            url: Any = None,
            response_length: Any = None,
            **_: Any,
        ) -> None:
            if exception:  # the same test as Locust's own, so that both count the same failures
                failed(now(), request_type, name, exception, response, response_time, response_length)
                return
            try:
                group = by_name[name]
                group += (
                    now(),
                    request_type,
                    None if response is None else response.status_code,
                    response_time,
                    response_length,
                )
            except Exception:  # noqa: BLE001  # names, responses and times are the user's: they may raise anything
                missing(now(), request_type, name, response, response_time, response_length)

        return on_request

    def _unusual(
        self,
        request_type: Any,
        response_time: Any,
        name: Any,
        response: Any = None,
        exception: Any = None,
        response_length: Any = None,
        **_: Any,
    ) -> None:
        """What the listener in C leaves to Python."""
        if exception:
            self._failure(
                self._now(), request_type, name, exception, response, response_time, response_length
            )
            return
        self._success(self._now(), request_type, name, response, response_time, response_length)
        if self._fast is not None and self._in_run and type(name) is type(request_type) is str:
            endpoint = (request_type, name)
            # Only what is kept as it is: neither folded nor cut.
            kept = name in self._names and text(request_type, MAX_NAME) == request_type
            if kept and self.known_endpoint(request_type, name) == endpoint:
                self._fast.add(name, request_type, http_status(response))

    def _success(
        self, at: float, method: Any, name: Any, response: Any, response_time: Any, length: Any
    ) -> None:
        """A success whose name is new (or folded), or whose response has no HTTP status."""
        name = self.known_name(name)
        group = self._by_name.setdefault(name, [])
        group += (at, OTHER if name == OTHER else method, http_status(response), response_time, length)

    def _failure(
        self, at: float, method: Any, name: Any, error: Any, response: Any, response_time: Any, length: Any
    ) -> None:
        method, name = self.known_endpoint(text(method, MAX_NAME), self.known_name(name))
        key: FailureKey = (method, name, http_status(response), self._known_error(error))
        if key not in self._failures and len(self._failures) >= MAX_FAILURE_GROUPS:
            key = (OTHER, OTHER, None, OTHER)
        self._failures.setdefault(key, []).extend((at, response_time, length))

    def known_name(self, name: Any) -> str:
        """The name to count under: `name` itself, or `(other)` when it is new and no more are kept."""
        known = text(name, MAX_NAME)
        if known not in self._names:
            if len(self._names) >= self.max_endpoints:
                self.folded = True
                return OTHER
            self._names.add(known)
        return known

    def known_endpoint(self, method: str, name: str) -> tuple[str, str]:
        """Like `known_name`, for a pair of method and name."""
        endpoint = (method, name)
        if name == OTHER:
            return (OTHER, OTHER)
        if endpoint not in self._endpoints:
            if len(self._endpoints) >= self.max_endpoints:
                self.folded = True
                return (OTHER, OTHER)
            self._endpoints.add(endpoint)
        return endpoint

    def _known_error(self, error: Any) -> str:
        message = text(self._error_text(error), MAX_ERROR)
        if message in self._errors:
            return message
        if len(self._errors) < MAX_ERRORS:
            self._errors.add(message)
            return message
        folded = OTHER if isinstance(error, str) else f"{text(type(error).__name__, MAX_NAME)}(...)"
        if folded not in self._error_classes:
            if len(self._error_classes) >= MAX_ERROR_CLASSES:
                return OTHER
            self._error_classes.add(folded)
        return folded

    def users(self, at_ms: int, total: int, by_class: dict[str, int]) -> None:
        """Notes how many simulated users there are, in total and by class."""
        self._users.append({"at_ms": at_ms, "total": total, "by_class": by_class})
        del self._users[:-MAX_EVENTS]

    def event(self, at_ms: int, kind: str, detail: dict[str, Any]) -> None:
        """Notes a lifecycle event."""
        self._events.append({"at_ms": at_ms, "kind": kind, "detail": detail})
        del self._events[:-MAX_EVENTS]

    def exception(self, at_ms: int, error: BaseException, tb: TracebackType | None) -> None:
        """Notes an exception that a simulated user raised; equal ones are folded into one with a count."""
        kind = text(type(error).__name__, MAX_NAME)
        message = text(f"{kind}: {error}", MAX_ERROR)
        key = (message, text("".join(traceback.format_tb(tb)), MAX_TRACEBACK))
        if key not in self._exceptions and len(self._exceptions) >= MAX_EXCEPTIONS:
            key = (f"{kind}(...)", "")
            if key not in self._exceptions and len(self._exceptions) >= MAX_EXCEPTIONS + MAX_ERROR_CLASSES:
                key = (OTHER, "")
        record = self._exceptions.setdefault(
            key, {"at_ms": at_ms, "count": 0, "message": key[0], "traceback": key[1]}
        )
        record["count"] += 1

    @property
    def requests(self) -> int:
        """Requests collected since the last `take`."""
        return Taken(self._by_name, self._failures).requests + (self._fast.count if self._fast else 0)

    @property
    def size(self) -> int:
        """Bytes of memory that they hold, estimated."""
        fast = self._fast.count if self._fast else 0
        return (self.requests - fast) * REQUEST_BYTES + fast * ROW_BYTES

    def begin(self, max_endpoints: int, last: list[Row]) -> None:
        """Forgets all names and requests: a run begins, with the requests `last` from `pop_last`."""
        self.end()
        if self._fast is not None:
            self._fast.take()
        self._in_run = True
        self._by_name.clear()
        self._failures = {}
        for known in (self._names, self._endpoints, self._errors, self._error_classes):
            known.clear()
        self.max_endpoints = max_endpoints
        self.folded = False
        for group, key, row in last:
            if group is self._by_name:
                self.known_name(key)
                self._by_name.setdefault(key, []).extend(row)
            else:
                self._failures.setdefault(key, []).extend(row)

    def end(self) -> None:
        """The users are stopped: what comes from now on may belong to the next run, see `pop_last`."""
        self._in_run = False
        if self._fast is not None:
            self._fast.forget()

    def pop_last(self, count: int) -> list[Row]:
        """Removes and returns the last `count` requests since `end`: those of the run about to begin."""
        if count <= 0:
            return []
        rows: list[tuple[float, Any, Any, int]] = []
        for groups, slots in ((self._by_name, SLOTS), (self._failures, FAILURE_SLOTS)):
            for key, flat in groups.items():
                rows += [(flat[start], groups, key, start) for start in range(0, len(flat), slots)]
        rows.sort(key=lambda row: row[0])
        last: list[Row] = []
        # From the end of each list, so that the positions before stay right.
        for _, groups, key, start in sorted(rows[-count:], key=lambda row: row[3], reverse=True):
            flat = groups[key]
            last.append((groups, key, flat[start:]))
            del flat[start:]
            if not flat:
                del groups[key]
        return last[::-1]

    def take(self) -> Taken:
        """Hands over what was collected and starts anew; known names and errors stay known."""
        taken = Taken(
            self._by_name.copy(),
            self._failures,
            self._fast.take() if self._fast is not None else [],
            self._users,
            self._events,
            list(self._exceptions.values()),
        )
        self._by_name.clear()  # not replaced: the listener holds this very dict
        self._failures, self._users, self._events, self._exceptions = {}, [], [], {}
        return taken


def http_status(response: Any) -> int | None:
    """The HTTP status of a response, or None when there was none (Locust's clients say 0 then)."""
    try:
        return valid_status(response.status_code)
    except Exception:  # noqa: BLE001  # a client's own response, or none: its property may raise anything
        return None


def valid_status(status: Any) -> int | None:
    """`status` when it is one HTTP allows (three digits, RFC 9110 section 15), else None."""
    return int(status) if isinstance(status, int) and 100 <= status <= 999 else None


def text(value: Any, limit: int) -> str:
    """`value` as text of at most `limit` characters that UTF-8 can carry (lone surrogates become `?`)."""
    try:
        string: str = value if isinstance(value, str) else str(value)
    except Exception:  # noqa: BLE001  # a user's own object must not cost more than its name
        string = f"<{type(value).__name__}>"
    if not string.isascii():
        string = string.encode("utf-8", "replace").decode()
    return string[:limit]
