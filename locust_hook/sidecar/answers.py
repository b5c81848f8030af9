"""What Locust's web interface answers → plain data; pure.

Counts are read from its CSV downloads: unlike the JSON of `/stats/requests` (at most 500 endpoints, times
rounded to milliseconds, kept for two seconds) and `/exceptions` (HTML entities in older versions) they are
complete, exact and current. The JSON tells what they do not: state, users, workers, current percentiles.

A field that is missing is None; columns and fields that are not known are not looked at. What is there has to
be of its type: everything else is an `AnswerError`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

PERCENTILES: Final = frozenset(("50", "90", "95", "99"))
"""The percentiles that are kept of those that Locust tells per endpoint (eleven, if not set otherwise)."""

CHART_PERCENTILES: Final = 6
"""Percentiles in Locust's charts, at most (`locust.stats.PERCENTILES_TO_CHART`)."""

MAX_WORKERS: Final = 10_000
"""Workers of a master."""

EXACT: Final = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 8259 section 6)."""

_PERCENTILE_COLUMN: Final = re.compile(r"(\d{1,2}(?:\.\d+)?)%")
_CHART_PERCENTILE: Final = re.compile(r"response_time_percentile_(0?\.\d+)")
_TEMPLATE_ARGUMENTS: Final = re.compile(r"window\.(?:templateArgs|authArgs)\s*=\s*")


class AnswerError(ValueError):
    """An answer is not what Locust answers; the text says what was expected and what was found."""


@dataclass(frozen=True)
class Worker:
    """A worker of a master; users, CPU (percent of one processor), memory (bytes)."""

    id: str
    state: str
    users: int
    cpu_percent: float | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Status:
    """What Locust is doing."""

    state: str
    users: int
    current_percentiles_ms: dict[str, float] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """One line of the statistics: an endpoint since the statistics' start, or all of them.

    Times in milliseconds, sizes in bytes, rates since the statistics' start; None where Locust does not tell.
    """

    method: str
    name: str
    requests: int
    failures: int
    average_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    average_bytes: float | None = None
    per_second: float | None = None
    percentiles_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Statistics:
    """All endpoints, and their total."""

    entries: list[Entry]
    total: Entry

    @property
    def seconds(self) -> float | None:
        """Time from the statistics' start to the last request, by which a new start is recognised; None
        without requests."""
        rate = self.total.per_second
        return self.total.requests / rate if rate else None


@dataclass(frozen=True)
class Counted:
    """An error or exception text and how often it occurred since the statistics' start.

    `key`: method, name and error text of an error; message and traceback of an exception.
    """

    key: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class About:
    """What a test is: empty where Locust does not tell."""

    version: str = ""
    host: str = ""
    locustfile: str = ""


def read_status(text: str) -> Status:
    """The JSON of `/stats/requests`."""
    report = _object(_json(text, "/stats/requests"), "/stats/requests")
    state = report.get("state")
    if not isinstance(state, str) or not state:
        raise AnswerError(f"expected `state` in the answer to /stats/requests, found {_shown(text)}")
    current: dict[str, float] = {}
    given = report.get("current_response_time_percentiles")
    for name, value in list(given.items())[:CHART_PERCENTILES] if isinstance(given, dict) else ():
        match = _CHART_PERCENTILE.fullmatch(name)
        if match and _is_number(value):
            current[f"{round(float(match[1]) * 100, 6):g}"] = value
    workers = report.get("workers")
    return Status(
        state,
        _count(report.get("user_count", 0), "user_count"),
        current,
        [_worker(worker) for worker in workers[:MAX_WORKERS]] if isinstance(workers, list) else [],
    )


def _worker(found: Any) -> Worker:
    worker = _object(found, "workers")
    cpu, memory = worker.get("cpu_usage"), worker.get("memory_usage")
    if memory == 0:
        cpu = memory = None  # a worker measures both ten seconds after its start for the first time
    return Worker(
        str(worker.get("id", "")),
        str(worker.get("state", "")),
        _count(worker.get("user_count", 0), "user_count"),
        max(0.0, float(cpu)) if _is_number(cpu) else None,
        max(0, int(memory)) if _is_number(memory) else None,
    )


def read_users_by_class(text: str, users: int) -> dict[str, int]:
    """The JSON of `/tasks`: its shares of `users`."""
    per_class = _object(_json(text, "/tasks"), "/tasks").get("per_class")
    if not isinstance(per_class, dict):
        return {}
    by_class = {}
    for name, share in per_class.items():
        ratio = share.get("ratio") if isinstance(share, dict) else None
        if isinstance(ratio, (int, float)) and 0 <= ratio <= 1:
            by_class[name] = round(ratio * users)
    return by_class


def read_statistics(text: str) -> Statistics:
    """The CSV of `/stats/requests/csv`; its last line is the total."""
    rows = [
        _entry(row) for row in _rows(text, "/stats/requests/csv", "Name", "Request Count", "Failure Count")
    ]
    if not rows:
        raise AnswerError(f"expected the line Aggregated in /stats/requests/csv, found {_shown(text)}")
    return Statistics(rows[:-1], rows[-1])


def _entry(row: Mapping[str, str]) -> Entry:
    percentiles = {}
    for column in row:
        match = _PERCENTILE_COLUMN.fullmatch(column)
        if match and match[1] in PERCENTILES and (number := _number(row, column)) is not None:
            percentiles[match[1]] = int(number) if number.is_integer() else number
    return Entry(
        row.get("Type", ""),
        row["Name"],
        _count(row["Request Count"], "Request Count"),
        _count(row["Failure Count"], "Failure Count"),
        _number(row, "Average Response Time"),
        _number(row, "Min Response Time"),
        _number(row, "Max Response Time"),
        _number(row, "Average Content Size"),
        _number(row, "Requests/s"),
        percentiles,
    )


def read_errors(text: str) -> list[Counted]:
    """The CSV of `/stats/failures/csv`."""
    path = "/stats/failures/csv"
    return [
        Counted((row.get("Method", ""), row["Name"], row["Error"]), _count(row["Occurrences"], "Occurrences"))
        for row in _rows(text, path, "Name", "Error", "Occurrences")
    ]


def read_exceptions(text: str) -> list[Counted]:
    """The CSV of `/exceptions/csv`."""
    return [
        Counted((row["Message"], row.get("Traceback", "")), _count(row["Count"], "Count"))
        for row in _rows(text, "/exceptions/csv", "Count", "Message")
    ]


def read_about(page: str) -> About:
    """The page `/`."""
    arguments = template_arguments(page)
    given = {name: arguments.get(name) for name in ("version", "host", "locustfile")}
    return About(**{name: value for name, value in given.items() if isinstance(value, str)})


def read_started(page: str) -> str | None:
    """Start of the statistics (UTC, ISO 8601, to the second) in the page `/stats/report`; None if it is not
    there."""
    started = template_arguments(page).get("start_time")
    return started if isinstance(started, str) and re.match(r"\d{4}-\d\d-\d\d", started) else None


def template_arguments(page: str) -> dict[str, Any]:
    """What Locust puts into a page for its JavaScript; empty if it is not found."""
    match = _TEMPLATE_ARGUMENTS.search(page)
    if match is None:
        return {}
    try:
        found, _ = json.JSONDecoder().raw_decode(page, match.end())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(text: str, path: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"expected JSON from {path}, found {_shown(text)}") from error


def _object(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise AnswerError(f"expected an object in {where}, found {_shown(str(found))}")
    return found


def _rows(text: str, path: str, *required: str) -> Iterator[dict[str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader, [])
        if not set(required) <= set(header):
            raise AnswerError(f"expected the columns {', '.join(required)} from {path}, found {_shown(text)}")
        for row in reader:
            if len(row) != len(header):
                raise AnswerError(
                    f"expected {len(header)} fields in line {reader.line_num} of {path}, found {len(row)}"
                )
            yield dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise AnswerError(f"expected CSV from {path}, found in line {reader.line_num}: {error}") from error


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number of use: not NaN, not infinite, and not too large to be kept exactly."""
    return isinstance(value, (int, float)) and abs(value) <= EXACT


def _count(value: Any, what: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= EXACT:
        raise AnswerError(f"expected a count as {what}, found {_shown(str(value))}")
    return number


def _number(row: Mapping[str, str], column: str) -> float | None:
    """A column's number; None where it is missing, empty, `N/A`, or no use (infinity)."""
    value = row.get(column, "")
    if value in ("", "N/A"):
        return None
    try:
        number = float(value)
    except ValueError as error:
        raise AnswerError(f"expected a number as {column}, found {_shown(value)}") from error
    return number if abs(number) <= EXACT else None  # also None for NaN


def _shown(text: str) -> str:
    """The beginning of a text from outside, fit for a message."""
    return repr(text[:80]) + ("…" if len(text) > 80 else "")
