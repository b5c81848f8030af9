"""Brings sealed batches to the destination, in a thread: S3 must not hold up the looks at Locust."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable

from ..destination import Address, Destination, connect
from ..recording.outbox import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Outbox
from ..recording.spool import Sealed, Spool

logger = logging.getLogger(__name__)


class Sender(threading.Thread):
    """Runs an outbox, which nobody else touches meanwhile: what is to be done comes as messages."""

    def __init__(self, spool: Spool, connect: Callable[[Address], Destination] = connect) -> None:
        """Sends what `spool` seals; adopts what processes that died left in its folder."""
        super().__init__(name="sender", daemon=True)
        self.outbox = Outbox(spool, connect)
        self._spools = [spool]
        self._messages: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._drained: list[threading.Event] = []
        self._pause = FIRST_PAUSE_SECONDS
        self._stopping = False

    def add(self, sealed: Sealed) -> None:
        """Sends a batch."""
        self._messages.put(lambda: self._add(sealed))

    def use(self, spool: Spool) -> None:
        """Another run begins, with a spool of its own."""
        self._messages.put(lambda: self._use(spool))

    def drain(self, seconds: float) -> bool:
        """Waits until everything is stored, or for so long; whether everything is stored."""
        drained = threading.Event()
        self._messages.put(lambda: self._hurry(drained))
        return drained.wait(max(0.0, seconds))

    def stop(self, seconds: float) -> None:
        """Ends the thread after the upload that is going on; after so long, leaves it to the process' end."""
        self._messages.put(self._stop)
        self.join(seconds)

    def _add(self, sealed: Sealed) -> None:
        self.outbox.add(sealed)
        self.outbox.trim(self.outbox.spool.excess())

    def _use(self, spool: Spool) -> None:
        self._spools.append(spool)
        self.outbox.spool = spool

    def _hurry(self, drained: threading.Event) -> None:
        self._pause = FIRST_PAUSE_SECONDS
        self._drained.append(drained)

    def _stop(self) -> None:
        self._stopping = True

    def run(self) -> None:
        """The thread's loop."""
        self._messages.put(self.outbox.prepare)
        self._messages.put(self.outbox.adopt)
        wait: float | None = None
        while True:
            self._take_messages(wait)
            if self._stopping:
                break
            if not self.outbox.pending:
                self._rest()
                wait, self._pause = None, FIRST_PAUSE_SECONDS
            elif self.outbox.send_next():
                wait, self._pause = 0.0, FIRST_PAUSE_SECONDS
            else:
                wait = random.uniform(self._pause / 2, self._pause)  # noqa: S311  # not a secret
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self.outbox.release()
        for spool in self._spools:
            spool.close()

    def _take_messages(self, wait: float | None) -> None:
        """Does what was asked for; waits so long for it, without an end if None."""
        try:
            message = self._messages.get(timeout=wait)
            while True:
                try:
                    message()
                except Exception as error:  # whatever it is, batches wait on the disk
                    logger.error("relay: sending was disturbed: %r", error, exc_info=error)
                message = self._messages.get_nowait()
        except queue.Empty:
            return

    def _rest(self) -> None:
        """Everything is stored: says so, and gives back the spools of earlier runs."""
        for drained in self._drained:
            drained.set()
        self._drained.clear()
        for spool in self._spools[:-1]:
            spool.close()
        del self._spools[:-1]
