"""Many workers, one relay, in simulated time: who waits for what, and how long. Pure, and always the same.

Every worker hands in a batch per flush interval. An invocation takes one batch, or several that a queue
gathered. It waits for a place below Lambda's concurrency, works, makes its calls of PutMetricData as fast
as the account's quota lets all of them through, and ends. Places are held while it waits: that is paid, too.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass
from itertools import count
from math import floor

WARM_UP_INTERVALS = 2
"""Of which nothing is counted."""


@dataclass(frozen=True)
class Invocation:
    """What one invocation takes, when nothing makes it wait. Times in seconds."""

    batches: int
    before: float
    """Until its first call of PutMetricData."""
    calls: int
    """Of PutMetricData, all at once."""
    after: float
    """From the first such call's admission: the call itself, and completing the batches."""


@dataclass(frozen=True)
class Account:
    """What an account may do."""

    calls_per_second: float
    concurrency: int


@dataclass(frozen=True)
class Outcome:
    """Of the whole simulation. Times in seconds."""

    lag_p50: float
    """From the end of a batch's interval until it is published, of half of the batches at most."""
    lag_p99: float
    peak_concurrency: int
    mean_seconds: float
    """Of an invocation."""
    keeps_up: bool
    """Whether the last batches wait no longer than the first ones."""


def simulate(
    workers: int,
    interval: float,
    invocation: Invocation,
    account: Account,
    *,
    spread: float = 0.0,
    delay: float = 1.0,
    window: float = 5.0,
    intervals: int = 12,
) -> Outcome:
    """Runs so many intervals; the first ones end at whole seconds, by chance within `spread` of each other.

    `delay` passes between the end of an interval and the invocation: upload and notification. A queue gathers
    `invocation.batches` of them, or as many as come in `window` seconds.
    """
    rng = random.Random(1)  # noqa: S311  # repeatable, not secret
    phases = [floor(rng.uniform(0, spread)) for _ in range(workers)]
    flushes = sorted(
        phase + number * interval
        for phase in phases
        for number in range(1, WARM_UP_INTERVALS + intervals + 1)
    )
    ready = _gathered([flush + delay for flush in flushes], invocation.batches, window)
    run = _Run(invocation, account)
    ends = run.all([at for at, _ in ready])
    lags: list[tuple[float, float]] = []
    first = 0
    for (_, size), end in zip(ready, ends, strict=True):
        lags += [(flush, end - flush) for flush in flushes[first : first + size]]
        first += size
    counted = [(flush, lag) for flush, lag in lags if flush > (WARM_UP_INTERVALS + 1) * interval]
    by_lag = sorted(lag for _, lag in counted)
    third = len(counted) // 3
    early, late = (sum(lag for _, lag in part) / third for part in (counted[:third], counted[-third:]))
    return Outcome(
        by_lag[len(by_lag) // 2],
        by_lag[int(len(by_lag) * 0.99)],
        run.peak,
        run.busy / len(ends),
        late < early * 1.2 + 0.5,
    )


def _gathered(arrivals: list[float], batches: int, window: float) -> list[tuple[float, int]]:
    """When each invocation could begin, and with how many batches."""
    groups: list[tuple[float, int]] = []
    start = 0
    for position, at in enumerate(arrivals):
        full = position - start + 1 == batches
        following = arrivals[position + 1] if position + 1 < len(arrivals) else float("inf")
        if full or following > arrivals[start] + window:
            groups.append((at if full else arrivals[start] + window, position - start + 1))
            start = position + 1
    return groups


class _Run:
    """All invocations, event by event."""

    def __init__(self, invocation: Invocation, account: Account) -> None:
        self._invocation = invocation
        self._account = account
        self._order = count()
        self._events: list[tuple[float, int, str, int]] = []
        self._waiting: deque[int] = deque()
        self._running = 0
        self._next_call = 0.0
        self.peak = 0
        self.busy = 0.0

    def all(self, ready: list[float]) -> list[float]:
        """When each invocation ends."""
        ends = [0.0] * len(ready)
        begun = [0.0] * len(ready)
        for number, at in enumerate(ready):
            self._at(at, "ready", number)
        while self._events:
            now, _, what, number = heapq.heappop(self._events)
            if what == "ready":
                self._waiting.append(number)
            elif what == "calls":
                self._at(self._admitted(now) + self._invocation.after, "end", number)
            else:
                ends[number] = now
                self.busy += now - begun[number]
                self._running -= 1
            while self._waiting and self._running < self._account.concurrency:
                starting = self._waiting.popleft()
                begun[starting] = now
                self._running += 1
                self._at(now + self._invocation.before, "calls", starting)
            self.peak = max(self.peak, self._running)
        return ends

    def _admitted(self, now: float) -> float:
        """When the last call of an invocation is let through: the quota is a bucket of one second's calls."""
        rate = self._account.calls_per_second
        self._next_call = max(self._next_call, now - 1.0) + self._invocation.calls / rate
        return max(now, self._next_call)

    def _at(self, at: float, what: str, number: int) -> None:
        heapq.heappush(self._events, (at, next(self._order), what, number))
