"""A load made of a few numbers: a sample of each kind of process, recorded with the hook's own columns.

Requests finish at random at a constant rate, with log-normal response times. The n-th endpoint is asked 1/n
times as often as the first (`skew`). Every other endpoint answers with one size, as files and small APIs do;
sizes of the others spread as response times do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import accumulate
from math import ceil, floor, log
from pathlib import Path
from typing import Any, Final, NamedTuple

from locust_hook import __version__
from locust_hook.recording.columns import Columns
from locust_hook.recording.encode import Header, compress, encode
from locust_hook.recording.recorder import FLUSH_BYTES

from .load import CostError, Load, Part

START_MS: Final = 1_795_259_340_437
"""When a sample begins, since 1970: no more at a whole second than a real flush is."""

SAMPLED_REQUESTS: Final = 10_000
MIN_INTERVALS: Final = 3
MAX_INTERVALS: Final = 120
"""A sample has as many flush intervals as it takes for so many requests, within these bounds."""

MAX_RATE: Final = 20_000
"""Requests per second of one Locust process, which itself makes fewer."""

FAILED_STATUS: Final = 500

BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "requests": (0.01, 10_000_000),
    "endpoints": (1, 10_000),
    "workers": (0, 10_000),
    "hours": (0.01, 8_760),
    "flush_seconds": (1, 3_600),
    "failures": (0, 1),
    "response_ms": (0.001, 3_600_000),
    "spread": (0, 3),
    "response_bytes": (0, 1_000_000_000),
    "skew": (0, 5),
    "users": (0, 10_000_000),
    "user_classes": (1, 1_000),
    "max_endpoints": (1, 10_000),
    "seed": (0, 2**32),
}
"""The least and the most of each number of a workload."""


@dataclass(frozen=True)
class Workload:
    """What is asked for; `python -m cost --help` says what each number means."""

    requests: float = 1_000.0
    endpoints: int = 20
    workers: int = 2
    hours: float = 1.0
    flush_seconds: int = 10
    failures: float = 0.01
    response_ms: float = 50.0
    spread: float = 0.8
    response_bytes: int = 5_000
    skew: float = 1.0
    users: int = 100
    user_classes: int = 3
    max_endpoints: int = 500
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises `CostError` for what is out of bounds."""
        for field in fields(self):
            least, most = BOUNDS[field.name]
            if not least <= (value := getattr(self, field.name)) <= most:
                raise CostError(f"{field.name}: expected {least:,} to {most:,}, found {value:,}")
        if self.rate > MAX_RATE:
            raise CostError(
                f"expected at most {MAX_RATE:,} requests/s of one process, found {self.rate:,.0f}: use more"
            )

    @property
    def rate(self) -> float:
        """Requests per second of each process that makes some."""
        return self.requests / max(self.workers, 1)


class Generated:
    """Makes the batches of a workload, in a folder."""

    def __init__(self, workload: Workload, folder: Path) -> None:
        self.workload = workload
        self.flush_seconds = workload.flush_seconds
        made_by = f"{workload.workers:,} workers and a master" if workload.workers else "one process"
        self.name = f"{workload.requests:,g} requests/s to {workload.endpoints:,} endpoints, by {made_by}"
        self._folder = folder

    def load(self, flush_seconds: int) -> Load:
        """See `Source`."""
        workload = self.workload
        # No test begins at a full hour: one of two hours sends metrics in three hours of the clock.
        seconds, hours = workload.hours * 3600, floor(workload.hours) + 1

        def process(kind: str) -> Process:
            return Process(workload, kind, flush_seconds, self._folder)

        leader = process("master" if workload.workers else "local")
        led, sampled = leader.sample()
        uploaded = [Part(led, seconds / sampled), Part([leader.end()])]
        if not workload.workers:
            return Load(seconds, hours, 1, uploaded, [Part([*led, *leader.census()], hours)])
        worker, other = process("worker-1"), process("worker-2")
        files, sampled = worker.sample()
        uploaded.append(Part(files, workload.workers * seconds / sampled))
        # What a second worker adds (nothing, unless Source is a dimension), each further one adds as well.
        one = [*led, *files, *worker.census()]
        two = [*one, *other.census()]
        more = workload.workers - 1
        metered = [Part(one, hours * (1 - more)), Part(two, hours * more)]
        return Load(seconds, hours, workload.workers + 1, uploaded, metered)


class Endpoint(NamedTuple):
    """What is asked for; sizes in bytes."""

    method: str
    name: str
    size: int
    size_spread: float


class Response(NamedTuple):
    """As much of an HTTP response as the hook looks at."""

    status_code: int


class Process:
    """One Locust process: what its hook hands in while a simulated clock runs."""

    def __init__(self, workload: Workload, kind: str, flush_seconds: int, folder: Path) -> None:
        """`kind` is `local`, `master` or `worker-<id>`; batches become files of `folder`."""
        self.workload = workload
        self.kind = kind
        self.leads = not kind.startswith("worker")
        self.rate = 0.0 if kind == "master" else workload.rate
        self._flush_seconds = flush_seconds
        self._folder = folder
        self._seq = 0
        self._second = 0
        self._now = self._at(0)
        self._chance = random.Random(f"{workload.seed} {kind}")  # noqa: S311  # repeatable, not secret
        self._columns = Columns(workload.max_endpoints, str, lambda: self._now)
        self._columns.begin(workload.max_endpoints, [])
        self._endpoints = list(_endpoints(workload))
        weights = [(n + 1) ** -workload.skew for n in range(workload.endpoints)]
        self._shares = [weight / sum(weights) for weight in weights]
        self._cumulative = list(accumulate(weights))

    def sample(self) -> tuple[list[Path], int]:
        """Batches, and the seconds in which they come; where there is nothing to tell, there is no batch."""
        flush = self._flush_seconds
        enough = ceil(SAMPLED_REQUESTS / (self.rate * flush)) if self.rate else MIN_INTERVALS
        seconds = flush * min(max(enough, MIN_INTERVALS), MAX_INTERVALS)
        files: list[Path] = []
        owed = 0.0
        for second in range(seconds):
            owed += self.rate
            for self._now in sorted(self._at(second + self._chance.random()) for _ in range(int(owed))):
                [endpoint] = self._chance.choices(self._endpoints, cum_weights=self._cumulative)
                self._request(endpoint)
            owed %= 1
            if self.leads:
                self._columns.users(round(self._at(second + 1) * 1000), *self._users())
            # As the recorder does, which looks every second: when it is time, or the buffer is full.
            if second + 1 - self._second == flush or self._columns.size >= FLUSH_BYTES:
                files += self._flush(second + 1)
        return files + self._flush(seconds), seconds

    def census(self) -> list[Path]:
        """More batches, in which each endpoint is asked at least once, and as often as it is on average."""
        counts = [max(1, round(share * SAMPLED_REQUESTS)) for share in self._shares]
        asked = self._chance.sample(self._endpoints, sum(counts), counts=counts)
        # No larger than a usual one: the relay names only so many endpoints of a batch.
        size = max(ceil(self.rate * self._flush_seconds), ceil(len(asked) / MAX_INTERVALS))
        files: list[Path] = []
        for start in range(0, len(asked), size):
            for endpoint in asked[start : start + size]:
                self._request(endpoint)
            files += self._flush(self._second + self._flush_seconds)
        return files

    def end(self) -> Path:
        """The leader's last batch: lifecycle events."""
        classes = list(self._users()[1])
        events: list[tuple[str, dict[str, Any]]] = [
            ("test_start", {"user_classes": classes, "locustfile": "locustfile.py", "shape": None}),
            ("spawning_complete", {"user_count": self.workload.users}),
            ("test_stop", {}),
            ("quitting", {}),
        ]
        for kind, detail in events:
            self._columns.event(round(self._at(self._second) * 1000), kind, detail)
        [file] = self._flush(self._second + 1)
        return file

    def _at(self, second: float) -> float:
        return START_MS / 1000 + second

    def _request(self, endpoint: Endpoint) -> None:
        method, name, size, size_spread = endpoint
        workload, spread = self.workload, self._chance.lognormvariate
        failed = self._chance.random() < workload.failures
        self._columns.on_request(
            request_type=method,
            name=name,
            response_time=spread(log(workload.response_ms), workload.spread),
            response_length=round(size * spread(0, size_spread)) if size_spread else size,
            response=Response(FAILED_STATUS if failed else 200),
            context={},
            # As Locust's own clients word it.
            exception=f"HTTPError('{FAILED_STATUS} Server Error for url: {name}')" if failed else None,
        )

    def _users(self) -> tuple[int, dict[str, int]]:
        total, classes = self.workload.users, self.workload.user_classes
        return total, {f"UserClass{n}": (total + n) // classes for n in range(classes)}

    def _flush(self, second: int) -> list[Path]:
        begun, self._second = self._second, second
        taken = self._columns.take()
        if not taken:
            return []
        header = Header(
            test="estimate",
            run="20261121T110900Z-0000",
            source=f"load-generator-{self.kind}",
            seq=self._seq,
            run_started_ms=START_MS,
            from_ms=START_MS + begun * 1000,
            to_ms=START_MS + second * 1000,
            host="https://shop.example",
            locust="2.47.0",
            hook=__version__,
        )
        file = self._folder / f"{self.kind}-{self._flush_seconds}s-{self._seq:06}"
        file.write_bytes(compress(encode(header, taken, self._columns)))
        self._seq += 1
        return [file]


def _endpoints(workload: Workload) -> Iterator[Endpoint]:
    size: Callable[[float, float], float] = random.Random(workload.seed).lognormvariate  # noqa: S311
    for n in range(workload.endpoints):
        method = "POST" if n % 4 == 3 else "GET"
        spread = 0.0 if n % 2 else workload.spread
        yield Endpoint(method, f"/shop/endpoint/{n}", round(workload.response_bytes * size(0, 1)), spread)
