"""Locust's statistics count from the start of a test; these count what was added since the last look. Pure.

Times are integer microseconds: differences of integers add up to the total exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import ceil, floor
from typing import Any, Final

from ..recording.columns import MAX_ERROR, MAX_NAME, OTHER, text
from .answers import Counted, Entry

MAX_TEXTS: Final = 500
"""Distinct errors, and distinct exceptions, of a run that are told apart; further ones count as `(other)`."""


@dataclass(frozen=True)
class Totals:
    """One endpoint since the statistics' start. `sum_us` adds up what snapshots told; see `added`."""

    requests: int = 0
    failures: int = 0
    response_times: int = 0
    sum_us: int = 0
    min_us: int | None = None
    max_us: int | None = None
    response_bytes: int | None = None

    @classmethod
    def of(cls, entry: Entry) -> Totals:
        """Locust tells averages over the requests that have a response time, and not how many those are.

        An endpoint whose average and maximum are 0 has none (a maximum of None shows as 0); else all count.
        """
        size = entry.average_bytes
        total = Totals(
            entry.requests,
            entry.failures,
            response_bytes=None if size is None else round(size * entry.requests),
        )
        average = entry.average_ms
        if average is None or entry.requests == 0 or (average == 0 and not entry.max_ms):
            return total
        low, high = entry.min_ms, entry.max_ms
        return replace(
            total,
            response_times=entry.requests,
            sum_us=round(average * entry.requests * 1000),
            min_us=floor(average * 1000) if low is None else round(low * 1000),
            max_us=ceil(average * 1000) if high is None else round(high * 1000),
        )

    def __add__(self, other: Totals) -> Totals:
        """Both as one endpoint."""
        return Totals(
            self.requests + other.requests,
            self.failures + other.failures,
            self.response_times + other.response_times,
            self.sum_us + other.sum_us,
            _of_known(min, self.min_us, other.min_us),
            _of_known(max, self.max_us, other.max_us),
            _of_known(int.__add__, self.response_bytes, other.response_bytes),
        )

    def shrank_to(self, now: Totals) -> bool:
        """Whether Locust began anew with this endpoint."""
        return now.requests < self.requests or now.failures < self.failures


def _of_known(combine: Any, one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    found: int = combine(one, other)
    return found


def added(before: Totals, now: Totals) -> tuple[dict[str, Any], Totals]:
    """What a snapshot says of an endpoint, and its totals as told from then on.

    The sum is kept between `response_times` times the minimum and maximum. What that cuts off (less than a
    microsecond a request, but for endpoints of which only some requests have a response time) is told later.
    """
    if before.shrank_to(now):
        before = Totals()
    count = now.response_times - before.response_times
    times = None
    if count > 0 and now.min_us is not None and now.max_us is not None:
        total = min(max(now.sum_us - before.sum_us, count * now.min_us), count * now.max_us)
        times = {
            "sum": total,
            "min": now.min_us if now.min_us != before.min_us else total // count,
            "max": now.max_us if now.max_us != before.max_us else -(-total // count),
        }
        now = replace(now, sum_us=before.sum_us + total)
    else:
        now = replace(now, sum_us=before.sum_us, min_us=before.min_us, max_us=before.max_us)
    known = now.response_bytes is not None
    change = {
        "requests": now.requests - before.requests,
        "failures": now.failures - before.failures,
        "response_times": count if times else 0,
        "response_time_us": times,
        "response_bytes": (now.response_bytes or 0) - (before.response_bytes or 0) if known else None,
    }
    return change, now


@dataclass
class Endpoints:
    """All endpoints of a run, at most `limit` of them told apart; plain data, so that it can be stored."""

    told: dict[tuple[str, str], Totals] = field(default_factory=dict)

    def advance(self, entries: Iterable[Entry], limit: int) -> tuple[list[dict[str, Any]], bool]:
        """What a snapshot says of the endpoints that changed, and whether any were folded into `(other)`."""
        now: dict[tuple[str, str], Totals] = {}
        percentiles = {}
        for entry in entries:
            endpoint = (text(entry.method, MAX_NAME), text(entry.name, MAX_NAME))
            if endpoint not in self.told and len(self.told.keys() | now.keys()) >= limit:
                endpoint = (OTHER, OTHER)
            totals = Totals.of(entry)
            now[endpoint] = now[endpoint] + totals if endpoint in now else totals
            known = endpoint != (OTHER, OTHER) and totals.response_times > 0  # else Locust says 0
            percentiles[endpoint] = entry.percentiles_ms if known else {}
        changes = []
        for endpoint, totals in now.items():
            before = self.told.get(endpoint, Totals())
            change, self.told[endpoint] = added(before, totals)
            if change["requests"] or change["failures"]:
                method, name = endpoint
                changes.append(
                    {"method": method, "name": name, **change, "percentiles_ms": percentiles[endpoint]}
                )
        return changes, (OTHER, OTHER) in now

    def clear(self) -> None:
        """Locust's statistics start anew; endpoints that are known stay known."""
        self.told = dict.fromkeys(self.told, Totals())


@dataclass
class Texts:
    """How often each error, or exception, of a run was told; by a hash of its texts, which are long."""

    told: dict[str, int] = field(default_factory=dict)

    def advance(self, counted: Iterable[Counted], limits: tuple[int, ...]) -> list[Counted]:
        """What was added; `limits`: characters kept of each part of the key."""
        now: dict[str, Counted] = {}
        for item in counted:
            texts = tuple(text(part, limit) for part, limit in zip(item.key, limits, strict=True))
            if (key := _hash(texts)) not in self.told and len(self.told.keys() | now.keys()) >= MAX_TEXTS:
                texts = (OTHER,) * len(texts)
                key = _hash(texts)
            now[key] = Counted(texts, item.count + (now[key].count if key in now else 0))
        changes = []
        for key, item in now.items():
            before = self.told.get(key, 0)
            if item.count != before:
                changes.append(
                    replace(item, count=item.count - before if item.count > before else item.count)
                )
        self.told = {**dict.fromkeys(self.told, 0), **{key: item.count for key, item in now.items()}}
        return changes

    def clear(self) -> None:
        """Locust's statistics start anew."""
        self.told.clear()


def _hash(texts: tuple[str, ...]) -> str:
    return blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()


ERROR_LIMITS: Final = (MAX_NAME, MAX_NAME, MAX_ERROR)
"""Characters kept of an error's method, name and text."""
