"""One process's part of one run: takes the columns at intervals, seals them as batches, has them uploaded."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import RLock

from ..console import dashboard_link
from ..destination import batch_prefix
from . import encode
from .columns import Columns, Taken
from .settings import Settings
from .spool import Sealed, Spool
from .uploader import Uploader

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""How often users are counted and the buffer is looked at."""

FLUSH_BYTES = 12 * 2**20
"""Buffered columns that are flushed before their time."""

MAX_BYTES = 256 * 2**20
"""Buffered columns that are dropped (and counted): sealing does not keep up, perhaps because the disk
hangs."""

MIN_FLUSH_SECONDS = 2.0
"""What the last flush always gets, whatever the bound says: it is what makes requests survive the process."""

WORK_SECONDS = 0.0005
"""Work on the event loop without a pause, while a batch is encoded."""

PAUSE_SECONDS = 0.001
"""The pause, in which the load generator runs."""


@dataclass(frozen=True)
class Run:
    """Identity of a run, made by the master and passed to the workers as plain data."""

    test: str
    run: str
    run_started_ms: int
    host: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for Locust's messages."""
        return {**asdict(self), "labels": dict(self.labels)}


class Recorder:
    """Records a run from `start` to `finish`."""

    def __init__(
        self,
        settings: Settings,
        run: Run,
        source: str,
        columns: Columns,
        *,
        versions: tuple[str, str],
        count_users: Callable[[int], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`versions` are Locust's and the hook's, for the header; `count_users` is called every second to
        note users.

        All times come from `clock` (seconds since the epoch).
        """
        self.settings = settings
        self.run = run
        self.source = source
        self.columns = columns
        self.clock = clock
        self.dropped = 0
        """Requests dropped before they were sealed."""
        self._versions = versions
        self._count_users = count_users
        self._spool = Spool(
            settings.spool,
            settings.spool_limit_mb * 2**20,
            settings.to.url,
            batch_prefix(run.test, run.run, source),
        )
        self.uploader = Uploader(self._spool, clock=clock)
        self._seq = 0
        self._from_ms = self.now_ms()
        self._flush_lock = RLock()
        self._flush_now = Event()
        self._stopping = False
        self._closed = False
        self._unsealed = False
        self._said_folded = False
        self._said_spool_error = False
        self._said_errors: set[type[Exception]] = set()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def now_ms(self) -> int:
        """The clock in integer milliseconds."""
        return int(self.clock() * 1000)

    def start(self) -> None:
        """Starts flushing and uploading; before there are users, because loading boto3 takes half a
        second."""
        self.uploader.prepare()
        self.uploader.start()
        self._greenlet = gevent.spawn(self._loop)
        gevent.spawn(self.uploader.adopt)

    def flush_soon(self) -> None:
        """Has the columns flushed without waiting for it."""
        self._flush_now.set()

    def _loop(self) -> None:
        # The first interval is shorter, by chance: workers that start together do not upload together.
        due = self._due(random.random())  # noqa: S311  # not secret
        while not self._stopping:
            wait = min(TICK_SECONDS, max(0.0, due - self.clock()))
            asked = self._flush_now.wait(wait)
            self._flush_now.clear()
            if self._stopping:
                break
            now = self.clock()
            try:
                if self._count_users is not None:
                    self._count_users(self.now_ms())
                if asked or now >= due or self.columns.size >= FLUSH_BYTES:
                    due = self._due()
                    self.flush(PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next interval counts
                self._say_error("recording was disturbed", error)

    def _due(self, share: float = 1.0) -> float:
        """When an interval that begins now ends, or a share of it: at a whole second.

        CloudWatch's points are seconds: one that is cut by two batches is published in two parts, and a batch
        that cuts two of them hardly fits into one call.
        """
        now, length = self.clock(), self.settings.flush_seconds
        return now + length if length < 1 else max(math.floor(now + length * share), math.floor(now) + 1)

    def flush(self, pause: float = 0.0, *, last: bool = False) -> None:
        """Seals what was collected; `pause`: seconds to pause now and then, 0 for never."""
        with self._flush_lock:
            if self._closed:
                return
            self._closed = last
            from_ms, to_ms = self._from_ms, self.now_ms()
            taken = self.columns.take()
            self._from_ms = to_ms
            if not taken:
                return
            header = encode.Header(
                test=self.run.test,
                run=self.run.run,
                source=self.source,
                seq=self._seq,
                run_started_ms=self.run.run_started_ms,
                from_ms=from_ms,
                to_ms=to_ms,
                host=self.run.host,
                locust=self._versions[0],
                hook=self._versions[1],
                labels=dict(self.run.labels),
            )
            self._seq += 1
            requests = taken.requests
            try:
                sealed, excess = self._seal(header.seq, requests, self._encode(header, taken, pause))
            except Exception as error:  # noqa: BLE001  # no memory, a defect: it is counted
                self.dropped += requests
                self._say_error(f"cannot make a batch, its {requests} requests are lost", error)
                return
            self.uploader.add(sealed)
            self.uploader.trim(excess)
        if self.columns.folded and not self._said_folded:
            self._said_folded = True
            logger.warning(
                "relay: more than %d request names: further ones are counted as (other). Group URLs with the "
                "name argument, or raise --relay-max-endpoints",
                self.settings.max_endpoints,
            )

    def _encode(self, header: encode.Header, taken: Taken, pause: float) -> list[encode.Chunk]:
        chunks = []
        resumed = time.perf_counter()
        for chunk in encode.encode(header, taken, self.columns):
            chunks.append(chunk)
            if pause and time.perf_counter() - resumed > WORK_SECONDS:
                gevent.sleep(pause)
                self._drop_beyond_bound()
                resumed = time.perf_counter()
        return chunks

    def _say_error(self, what: str, error: Exception) -> None:
        """Logs an error that nobody expected, once of each type: it may come again with every interval."""
        if type(error) not in self._said_errors:
            self._said_errors.add(type(error))
            logger.error("relay: %s: %r (further ones are only counted)", what, error, exc_info=error)

    def _drop_beyond_bound(self) -> None:
        if self.columns.size > MAX_BYTES:
            count = self.columns.requests
            self.columns.take()
            self.dropped += count
            logger.error("relay: sealing does not keep up: %d requests are lost", count)

    def _seal(self, seq: int, requests: int, chunks: list[encode.Chunk]) -> tuple[Sealed, int]:
        """The sealed batch, and the bytes by which the spool exceeds its limit."""

        def seal() -> tuple[Sealed, int] | Exception:
            try:
                sealed = self._spool.seal(seq, requests, encode.compress(chunks))
                return sealed, self._spool.excess()
            except Exception as error:  # noqa: BLE001  # raised below: gevent prints what a thread raises
                return error

        sealing = gevent.get_hub().threadpool.spawn(seal)
        while not sealing.ready():
            sealing.wait(TICK_SECONDS)
            if not self._closed:  # after the last flush, the columns are the next run's
                self._drop_beyond_bound()
        found = sealing.get()
        assert found is not None  # noqa: S101  # for mypy: gevent's types say that there may be no result
        if isinstance(found, Exception):
            raise found
        sealed, excess = found
        if sealed.path is None and not self._said_spool_error:
            self._said_spool_error = True
            logger.warning(
                "relay: cannot write the spool %s, batches wait in memory: %s",
                self._spool.root,
                self._spool.error,
            )
        return sealed, excess

    def stop(self) -> None:
        """Takes the columns for the last time: from now on, they are the next run's."""
        self._stopping = True
        self.flush(last=True)

    def finish(self) -> bool:
        """Ends the record within the setting's bound: a last flush (unless `stop` did it), then the uploads.

        What cannot be stored in time stays in the spool. A KeyboardInterrupt ends the wait, not the flush.
        Returns whether everything is stored.
        """
        deadline = self.clock() + self.settings.final_flush_seconds
        self._stopping = True
        self._flush_now.set()
        last = gevent.spawn(self._last_flush)
        try:
            last.join(timeout=max(MIN_FLUSH_SECONDS, deadline - self.clock()))
            stored = self.uploader.drain(deadline)
        except KeyboardInterrupt:
            last.join(timeout=MIN_FLUSH_SECONDS)
            stored = False
        self._unsealed = not last.successful()
        self.uploader.close()
        self._spool.close()
        return stored

    def _last_flush(self) -> None:
        if self._greenlet is not None:
            self._greenlet.join()  # it may be in the middle of a flush
        self.stop()

    def summary(self) -> str:
        """One line: what was seen, what was written, what is waiting or lost."""
        totals = self.uploader.totals
        waiting = self.uploader.waiting
        line = f"{totals.requests:,} requests in {totals.batches} batches, {totals.bytes:,} bytes"
        line += f", to {self.settings.to.url}"
        if waiting:
            kept = [sealed for sealed in waiting if sealed.path is not None]
            line += f"; {len(kept)} batches wait in {self._spool.root}"
        lost = self.dropped + totals.lost_requests + sum(s.requests for s in waiting if s.path is None)
        if self._unsealed:
            line += "; the last flush did not end in time, its requests are LOST"
        if lost:
            line += f"; LOST {lost:,} requests"
        return line if lost or self._unsealed else f"{line}; nothing lost"

    def dashboard_link(self) -> str | None:
        """The dashboard's page for the time of the run; None without CloudWatch behind the destination."""
        region = self.uploader.region()
        if region is None:
            return None
        return dashboard_link(region, self.settings.dashboard, self.run.run_started_ms, self.now_ms())
