"""Sealed batches on their way to the destination: which is next, what the bounds cost, what became of them.

Without any concurrency: `uploader` runs it as a greenlet of Locust, the sidecar in a thread.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from ..destination import Address, Bucket, Destination, UploadError, connect
from .spool import MAX_MEMORY, Orphan, Sealed, Spool

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Pauses between attempts double from the first to the longest; each lasts from a half to the whole of
that."""


@dataclass
class Totals:
    """What became of this process's batches."""

    batches: int = 0
    requests: int = 0
    bytes: int = 0
    lost_batches: int = 0
    lost_requests: int = 0


class Outbox:
    """Batches in the order in which they are stored; S3 being away only makes the spool grow."""

    def __init__(
        self,
        spool: Spool,
        connect: Callable[[Address], Destination] = connect,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """For what `spool` seals, to the destinations that `connect` makes."""
        self.spool = spool
        self.totals = Totals()
        self._connect = connect
        self._clock = clock
        self._queue: deque[Sealed] = deque()
        self._left: deque[Sealed] = deque()
        self._orphans: list[Orphan] = []
        self._destinations: dict[str, Destination] = {}
        self._current: Sealed | None = None
        self._memory = 0
        self._failing_since: dict[str, float] = {}
        self._said_undeleted = False

    def destination(self, to: str) -> Destination:
        """The destination at the address `to`, made once."""
        if to not in self._destinations:
            self._destinations[to] = self._connect(Address.parse(to))
        return self._destinations[to]

    def prepare(self) -> None:
        """Connects to this run's destination; when that fails, the uploads will say so."""
        destination = self.destination(self.spool.to)
        if isinstance(destination, Bucket):
            try:
                destination.connect()
            except UploadError as error:
                self._failed(self.spool.to, error)

    def region(self) -> str | None:
        """The AWS region of this run's destination, if it is in AWS and reachable."""
        destination = self._destinations.get(self.spool.to)
        return destination.region if isinstance(destination, Bucket) else None

    def add(self, sealed: Sealed) -> None:
        """Queues a batch."""
        self.totals.batches += 1
        self.totals.requests += sealed.requests
        self.totals.bytes += sealed.size
        if sealed.path is None:
            self._memory += sealed.size
        self._queue.append(sealed)

    def trim(self, excess: int) -> None:
        """Drops the oldest batches: this process's share of `excess`, the bytes by which all processes
        together exceed the spool's limit, and what memory must not hold.
        """
        share, may_go = self._share(excess)
        while share > 0 and (oldest := self._oldest(may_go)) is not None:
            share -= oldest.size
            self._lose(oldest, f"the spool {self.spool.root} is full ({self.spool.limit // 2**20} MB)")
        while self._memory > MAX_MEMORY and (oldest := self._oldest(_in_memory)) is not None:
            self._lose(oldest, f"the spool {self.spool.root} cannot be written ({self.spool.error})")

    def _share(self, excess: int) -> tuple[int, Callable[[Sealed], bool]]:
        """How many bytes of the excess this process frees, and by which batches.

        Only batches that cannot be uploaded go, in proportion to their part of the spool: each process does
        the same at about the same time, and room that others need is no reason to drop what is on its way.
        """
        if excess <= 0:
            return 0, self._is_stuck
        stuck = sum(sealed.size for sealed in chain(self._left, self._queue) if self._is_stuck(sealed))
        share = -(-excess * stuck // (excess + self.spool.limit))  # rounded up
        alone = sum(sealed.size for sealed in self._queue if not _in_memory(sealed)) - self.spool.limit
        if alone > share:  # a destination that works, but too slowly, must not let the spool grow either
            return alone, lambda sealed: sealed.to == self.spool.to and not _in_memory(sealed)
        return share, self._is_stuck

    def _is_stuck(self, sealed: Sealed) -> bool:
        """Whether a batch on the disk waits for a destination that fails; what others left waits for this
        run's."""
        failing = {self.spool.to, sealed.to} & self._failing_since.keys()
        return bool(failing) and not _in_memory(sealed)

    def _oldest(self, may_go: Callable[[Sealed], bool]) -> Sealed | None:
        for sealed in chain(self._left, self._queue):
            if sealed is not self._current and may_go(sealed):
                return sealed
        return None

    def _lose(self, sealed: Sealed, why: str) -> None:
        (self._left if sealed in self._left else self._queue).remove(sealed)
        self._forget(sealed)
        if self.totals.lost_batches == 0:
            logger.error("relay: %s: the oldest batches are being lost", why)
        self.totals.lost_batches += 1
        self.totals.lost_requests += sealed.requests

    def _forget(self, sealed: Sealed) -> None:
        if sealed.path is None:
            self._memory -= sealed.size
        try:
            sealed.forget()
        except OSError as error:  # a later process puts it once more, which changes nothing
            if not self._said_undeleted:
                self._said_undeleted = True
                logger.warning("relay: cannot delete batches that are done with: %s", error)

    def adopt(self) -> None:
        """Queues what processes that died left under the same root."""
        batches = requests = 0
        for orphan in self.spool.adopt():
            try:
                left = orphan.batches()
                for sealed in left:
                    Address.parse(sealed.to)
            except (OSError, ValueError) as error:
                logger.warning("relay: left alone: %s", error)
                orphan.release()
                continue
            self._orphans.append(orphan)
            self._left.extend(left)
            batches += len(left)
            requests += sum(sealed.requests for sealed in left)
        if batches:
            logger.info(
                "relay: uploading %d batches (%d requests) left by earlier processes", batches, requests
            )

    @property
    def pending(self) -> bool:
        """Whether anything is not stored yet."""
        return bool(self._queue or self._left)

    @property
    def waiting(self) -> list[Sealed]:
        """This process's batches that are not stored yet."""
        return list(self._queue)

    def send_next(self) -> bool:
        """Stores the oldest batch (there is one: see `pending`); False: it failed, the caller is to pause."""
        waiting = self._queue or self._left
        sealed = self._current = waiting[0]
        try:
            self._upload(sealed)
        except Exception as error:  # noqa: BLE001  # whatever it is, the batch waits
            self._failed(sealed.to, error)
            return False
        finally:
            self._current = None
        waiting.remove(sealed)
        self._forget(sealed)
        return True

    def release(self) -> None:
        """Gives back what was adopted; what waits stays in the spool for the next process."""
        for orphan in self._orphans:
            orphan.close()
        self._orphans.clear()

    def _upload(self, sealed: Sealed) -> None:
        try:
            data = sealed.read()
        except OSError as error:
            raise UploadError(f"cannot read {sealed.path}: {error}") from error
        if data is None:
            logger.error(
                "relay: %s is gone from the spool: %d requests are lost", sealed.path, sealed.requests
            )
            self.totals.lost_batches += 1
            self.totals.lost_requests += sealed.requests
            return
        self.destination(sealed.to).put(sealed.key, data)
        if (since := self._failing_since.pop(sealed.to, None)) is not None:
            logger.info("relay: uploads to %s work again after %.0f s", sealed.to, self._clock() - since)

    def _failed(self, to: str, error: Exception) -> None:
        if to not in self._failing_since:
            self._failing_since[to] = self._clock()
            why = error if isinstance(error, UploadError) else repr(error)
            logger.warning("relay: cannot upload, batches wait in %s: %s", self.spool.root, why)


def _in_memory(sealed: Sealed) -> bool:
    return sealed.path is None
