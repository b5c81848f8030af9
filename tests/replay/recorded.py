"""Runs as the hook records them, at any time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from locust_hook.destination import batch_prefix
from locust_hook.recording.encode import Header
from tests.hook import golden
from tests.hook.golden import Request

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
ENDPOINTS = [("GET", "/"), ("GET", "/item/[id]"), ("POST", "/checkout")]


@dataclass
class Batch(golden.Inputs):
    """What goes into one batch of a recorded run."""

    head: Header = field(kw_only=True)

    @property
    def header(self) -> Header:
        """The header."""
        return self.head

    @property
    def key(self) -> str:
        """Where the hook puts it."""
        head = self.head
        return f"{batch_prefix(head.test, head.run, head.source)}{head.seq:06}.ndjson.gz"

    def content(self) -> bytes:
        """The object's bytes, made by the hook."""
        return golden.write(self)


@dataclass(frozen=True)
class Run:
    """A recorded run: every source hands in a batch for each `interval_ms`."""

    test: str
    run: str
    started_ms: int
    length_ms: int = 6 * MINUTE_MS
    interval_ms: int = 30_000
    sources: Sequence[str] = ("host-master", "host-worker-1", "host-worker-2")
    requests: int = 40
    """Of each worker in each interval."""
    scale: float = 1.0
    """All response times are so much longer."""
    seed: int = 1

    @property
    def end_ms(self) -> int:
        """When it ended."""
        return self.started_ms + self.length_ms

    def at(self, started_ms: int, **changes: str) -> Run:
        """The same run at another time, perhaps under another name."""
        return replace(self, started_ms=started_ms, **changes)  # type: ignore[arg-type]

    def batches(self) -> Iterator[Batch]:
        """Its batches. The numbers in it depend on `seed` alone, not on when it took place."""
        chance = random.Random(self.seed)  # noqa: S311
        for source in self.sources:
            for seq, offset_ms in enumerate(range(0, self.length_ms, self.interval_ms)):
                from_ms = self.started_ms + offset_ms
                to_ms = min(from_ms + self.interval_ms, self.end_ms)
                head = Header(
                    self.test, self.run, source, seq, self.started_ms, from_ms, to_ms,
                    host="https://shop.example", locust="2.47.0", hook="0.1.0",
                )  # fmt: skip
                batch = Batch(name=self.test, head=head)
                if source.endswith("master"):
                    batch.users = [(from_ms + 1000, {"Shopper": 5 + seq, "Thief": 1})]
                    if seq == 0:
                        batch.events = [(from_ms, "test_start", {})]
                else:
                    batch.requests = [self._request(chance, from_ms, to_ms) for _ in range(self.requests)]
                    batch.exceptions = [(from_ms + 5, ValueError("no cart"))] if seq % 3 == 1 else []
                yield batch

    def _request(self, chance: random.Random, from_ms: int, to_ms: int) -> Request:
        method, name = chance.choice(ENDPOINTS)
        failed = chance.random() < 0.1
        return Request(
            from_ms + chance.random() * (to_ms - from_ms), method, name,
            response_time=None if chance.random() < 0.02 else chance.lognormvariate(3, 1) * self.scale,
            length=chance.randrange(100, 5000),
            status=500 if failed else 200,
            exception="HTTPError('500 Server Error')" if failed else None,
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Writes the run as the hook does with a `file://` destination."""
        for batch in self.batches():
            path = folder / batch.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(batch.content())
