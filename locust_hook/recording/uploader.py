"""Brings sealed batches to their destination, oldest first, for as long as it takes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from ..destination import Address, Destination, connect
from .outbox import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Outbox
from .spool import Sealed, Spool


class Uploader(Outbox):
    """One greenlet that uploads.

    It runs on Locust's own event loop with cooperative sockets: boto3 in a native thread would compete for
    the GIL and stall the loop for longer than its own two milliseconds per batch.
    """

    def __init__(
        self,
        spool: Spool,
        connect: Callable[[Address], Destination] = connect,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Uploads what `spool` seals to the destinations that `connect` makes."""
        super().__init__(spool, connect, clock)
        self._wake = Event()
        self._hurry = Event()
        self._drained = Event()
        self._drained.set()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Starts uploading, this process's batches first, then those of processes that died."""
        self._greenlet = gevent.spawn(self._run)

    def add(self, sealed: Sealed) -> None:
        """Queues a batch."""
        super().add(sealed)
        self._begin()

    def adopt(self) -> None:
        """Queues what processes that died left under the same root."""
        super().adopt()
        self._begin()

    def _begin(self) -> None:
        if self.pending:
            self._drained.clear()
            self._wake.set()

    def drain(self, deadline: float) -> bool:
        """Waits until everything is stored or the clock says `deadline`; True when everything is stored."""
        self._hurry.set()
        return bool(self._drained.wait(max(0.0, deadline - self._clock())))

    def close(self) -> None:
        """Stops uploading; what waits stays in the spool for the next process."""
        if self._greenlet is not None:
            self._greenlet.kill()
        self.release()

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._wake.wait()
            self._wake.clear()
            while self.pending:
                if self.send_next():
                    pause = FIRST_PAUSE_SECONDS
                elif self._hurry.wait(random.uniform(pause / 2, pause)):  # noqa: S311  # not a secret
                    pause = FIRST_PAUSE_SECONDS
                    self._hurry.clear()
                else:
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._drained.set()
