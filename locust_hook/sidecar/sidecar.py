"""The loop: look at Locust, note what changed, hand in a batch at intervals and at the end."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ..console import dashboard_link
from ..destination import Address, Destination, batch_prefix, connect
from ..recording.columns import MAX_ERROR
from ..recording.encode import Header
from ..recording.spool import Spool
from .answers import About, AnswerError
from .checkpoint import Batch, Checkpoint
from .client import ClientError, LoginError, UnreachableError
from .interface import Interface
from .judge import ENDED, Look, Origin, judge, wants_start
from .sender import Sender
from .settings import SidecarSettings
from .state import Run, State
from .watch import Naming, Watch

logger = logging.getLogger(__name__)

PAUSE_PER_LOOK: Final = 9.0
"""Locust computes its answers where it makes its load: the pause after a look is at least this many times as
long as the look took (but no longer than the time between two batches)."""

LONGEST_LOGIN_PAUSE_SECONDS: Final = 60.0
"""Pauses after a refused login double up to this: servers lock accounts out."""

MAX_REASONS: Final = 5
"""Reasons why Locust cannot be read that are logged until it can be read again; each of them once."""

LAST_SILENCE_SECONDS: Final = 3.0
"""Time Locust may be silent at the last look, when the sidecar is told to end."""

LAST_LOOKS_SECONDS: Final = 4.0
"""How long the sidecar looks on when it is told to end while a test runs, or has just ended: Locust may be
about to end as well, and a master's totals are complete only after its workers' reports, which come every
three seconds (`locust.runners.WORKER_REPORT_INTERVAL`)."""

LAST_PAUSE_SECONDS: Final = 0.2
"""Pause between those looks: a Locust that ends shows its final totals for half a second."""

LAST_UPLOAD_SECONDS: Final = 1.0
"""Time to leave the thread of the uploads in order, once it was waited for."""


class Sidecar:
    """Follows one Locust from `run` until it is told to stop."""

    def __init__(
        self,
        settings: SidecarSettings,
        naming: Naming,
        interface: Interface,
        checkpoint: Checkpoint,
        connect: Callable[[Address], Destination] = connect,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Goes on where `checkpoint` says that the sidecar before it ended. Raises `CheckpointError`."""
        self.settings = settings
        self._recording = settings.recording
        self._interface = interface
        self._checkpoint = checkpoint
        self._clock = clock
        state, unsealed = checkpoint.load()
        if state.run is not None:
            # A source of its own, as each process has: should the state be older than what is stored (a disk
            # that was put back), no batch is taken for the repetition of another.
            source = f"{naming.source}-{secrets.token_hex(4)}"
            state.run, state.seq = replace(state.run, source=source), 0
        self._watch = Watch(state, naming, self._recording.max_endpoints)
        self._spool = self._new_spool("" if state.run is None else _prefix(state.run))
        self._sender = Sender(self._spool, connect)
        self._unsealed = unsealed
        """The last batch, as long as it is not in the spool."""
        self._stored = self._watch.base
        """What is on the disk, as far as it is known."""
        self._waited = state.at_ms > 0
        """Whether time passed in which nobody looked at Locust."""
        self._away_since: float | None = None
        self._said_away: set[str] = set()
        self._login_pause = 0.0
        self._errors_due = True
        self._due = 0.0
        self._ended = float("-inf")
        self._said_folded = False
        self._said_unwritable = False
        self._said_spool_error = False
        self._said_failed: set[str] = set()
        self._lost = 0

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _new_spool(self, key_prefix: str) -> Spool:
        recording = self._recording
        limit = recording.spool_limit_mb * 2**20
        return Spool(recording.spool, limit, recording.to.url, key_prefix, synced=True)

    def run(self, stop: threading.Event) -> bool:
        """Looks until `stop` is set, then once more, and waits for the uploads; whether nothing was lost."""
        logger.info("relay: reading %s, batches go to %s", self._interface.url, self._recording.to.url)
        if (run := self._watch.state.run) is not None:
            logger.info("relay: going on with run %s of test %s", run.run, run.test)
            naming = self._watch.naming
            for option, given, known in (("test", naming.test, run.test), ("run", naming.run, run.run)):
                if given and given != known:
                    logger.warning("relay: --%s %s holds for the next test that starts", option, given)
        self._sender.start()
        if self._unsealed is not None:
            self._seal(self._unsealed)
        self._due = time.monotonic() + self._recording.flush_seconds
        while not stop.is_set():
            began = time.monotonic()
            self._look()
            took = time.monotonic() - began
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + self._recording.flush_seconds
                self._flush()
            longest = max(self._recording.flush_seconds, self.settings.poll_seconds)
            pause = max(self.settings.poll_seconds - took, min(PAUSE_PER_LOOK * took, longest))
            stop.wait(max(pause, self._login_pause))
        return self._finish()

    def _look(self) -> bool:
        """Looks once; False when Locust cannot be read, which is said once."""
        try:
            status = self._interface.status()
            statistics = self._interface.statistics()
            at_ms = self._now_ms()
            look = Look(status, statistics)
            started = self._started() if wants_start(self._watch.state, status, self._waited) else None
            verdict = judge(self._watch.state, look, at_ms, waited=self._waited, started=started)
            origin = None
            if verdict.begins or verdict.anew:
                about = self._about() if verdict.begins else About()
                origin = Origin(about, started or self._started())
        except (ClientError, AnswerError) as error:
            self._away(error)
            return False
        self._back(look)
        before = self._watch.state.locust_state
        self._errors_due |= (
            verdict.anew or verdict.begins or statistics.total.failures != self._watch.state.failures
        )
        look, gone = self._details(look)
        if verdict.begins or verdict.ends or verdict.anew:
            self._leave()
        self._watch.observe(look, verdict, at_ms, origin)
        if verdict.begins:
            self._begin_run()
        if status.state in ENDED and before not in ENDED:
            self._due, self._ended = 0.0, time.monotonic()
            self._report_end(look)
        if self._watch.folded and not self._said_folded:
            self._said_folded = True
            logger.warning(
                "relay: more than %d endpoints: further ones are counted as (other). Group URLs with the "
                "name argument, or raise --max-endpoints",
                self._recording.max_endpoints,
            )
        if self._watch.base is not self._stored:
            self._commit(self._watch.base, self._unsealed)
        if self._watch.is_full:
            self._flush()
        if gone is not None:
            self._away(gone)
        return gone is None

    def _about(self) -> About:
        """What the test is. A page that cannot be read is only a help, but its test's name stays for the run:
        if Locust is gone, or wants a login, the next look asks again."""
        try:
            return self._interface.about()
        except (LoginError, UnreachableError):
            raise
        except ClientError as error:
            self._say_failed("what test it runs", error)
            return About()

    def _started(self) -> str | None:
        """The statistics' start; None when it cannot be read: it is the largest page, and only a help."""
        try:
            return self._interface.started()
        except ClientError as error:
            self._say_failed("when its statistics start", error)
            return None

    def _details(self, look: Look) -> tuple[Look, ClientError | None]:
        """What completes a look, as far as it can be read, and why Locust is gone, if it is.

        The totals count all the same: Locust may end in the middle of a look, or a page of it be broken.
        """
        users, by_class = look.status.users, self._watch.wants_users_by_class(look.status)
        pages: tuple[tuple[bool, str, Callable[[], dict[str, Any]]], ...] = (
            (self._errors_due, "its errors", lambda: {"errors": self._interface.errors()}),
            (True, "its exceptions", lambda: {"exceptions": self._interface.exceptions()}),
            (by_class, "its users' classes", lambda: {"by_class": self._interface.users_by_class(users)}),
        )
        for wanted, what, ask in pages:
            try:
                look = replace(look, **ask()) if wanted else look
            except (LoginError, UnreachableError) as error:
                return look, error
            except (ClientError, AnswerError) as error:
                self._say_failed(what, error)
        self._errors_due &= look.errors is None
        return look, None

    def _say_failed(self, what: str, error: Exception) -> None:
        """Says, once for each reason, that a page cannot be read that is not needed to count."""
        why = f"{what}: {str(error)[:MAX_ERROR]}"
        if why not in self._said_failed and len(self._said_failed) < MAX_REASONS:
            self._said_failed.add(why)
            logger.warning("relay: %s does not tell %s", self._interface.url, why)

    def _away(self, error: Exception) -> None:
        if isinstance(error, LoginError):
            self._login_pause = min(max(1.0, 2 * self._login_pause), LONGEST_LOGIN_PAUSE_SECONDS)
        self._waited = True
        why = str(error)[:MAX_ERROR]
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._said_away.clear()
            if self._watch.state.run is not None:
                self._watch.event(self._now_ms(), "unreachable", {"error": why})
        if why not in self._said_away and len(self._said_away) < MAX_REASONS:
            self._said_away.add(why)
            logger.warning("relay: cannot read %s, trying again: %s", self._interface.url, why)

    def _back(self, look: Look) -> None:
        self._waited, self._login_pause = False, 0.0
        if self._away_since is not None:
            away = time.monotonic() - self._away_since
            logger.info("relay: %s answers after %.0f s", self._interface.url, away)
            self._away_since = None
            if self._watch.state.run is not None:
                self._watch.event(self._now_ms(), "reachable", {"seconds": round(away)})
        if self._watch.state.at_ms == 0:
            status = look.status
            logger.info("relay: Locust is %s, with %d users", status.state, status.users)

    def _begin_run(self) -> None:
        run = self._watch.state.run
        assert run is not None  # noqa: S101  # for mypy: it has just begun
        logger.info("relay: run %s of test %s goes to %s", run.run, run.test, self._recording.to.url)

    def _leave(self) -> None:
        """Hands in what belongs to the statistics that are over."""
        self._flush()
        if lost := self._watch.abandon():
            self._lost += lost
            logger.error("relay: %d requests, counted before the statistics started anew, are lost", lost)

    def _report_end(self, look: Look) -> None:
        run, total = self._watch.state.run, look.statistics.total
        if run is not None:
            logger.info(
                "relay: run %s: the test has ended, Locust counts %s requests, %s failures",
                *(run.run, f"{total.requests:,}", f"{total.failures:,}"),
            )
            if (region := self._sender.outbox.region()) is not None:
                link = dashboard_link(region, self._recording.dashboard, run.run_started_ms, self._now_ms())
                logger.info("relay: dashboard: %s", link)

    def _flush(self) -> None:
        """Makes a batch of what was seen; when that is not possible, what was counted is told later."""
        if not self._watch.has_records:
            return
        requests = self._watch.pending_requests
        header, data = self._watch.batch()
        batch = Batch(_prefix(header), header.seq, requests, data)
        if self._commit(replace(self._watch.state, seq=header.seq + 1), batch):
            self._watch.done()
            self._stored = self._watch.base
            self._seal(batch)
        else:
            self._watch.go_back()
            self._errors_due = True

    def _commit(self, state: State, batch: Batch | None) -> bool:
        try:
            self._checkpoint.commit(state, batch)
        except OSError as error:
            if not self._said_unwritable:
                self._said_unwritable = True
                logger.error(
                    "relay: cannot write the state %s, no batches until it can be: %s",
                    *(self._checkpoint.folder, error),
                )
            return False
        if self._said_unwritable:
            self._said_unwritable = False
            logger.info("relay: the state %s can be written again", self._checkpoint.folder)
        self._stored = state
        return True

    def _seal(self, batch: Batch) -> None:
        if batch.key_prefix != self._spool.key_prefix:
            self._spool = self._new_spool(batch.key_prefix)
            self._sender.use(self._spool)
        sealed = self._spool.seal(batch.seq, batch.requests, batch.data)
        self._unsealed = batch if sealed.path is None else None
        if sealed.path is None and not self._said_spool_error:
            self._said_spool_error = True
            logger.warning(
                "relay: cannot write the spool %s, batches wait in memory: %s",
                *(self._spool.root, self._spool.error),
            )
        self._sender.add(sealed)

    def _finish(self) -> bool:
        """The last looks, the last batch, the last uploads, each within its bound."""
        self._interface.client.silence_seconds = LAST_SILENCE_SECONDS
        deadline = time.monotonic() + LAST_LOOKS_SECONDS
        while self._look() and self._may_count_more() and time.monotonic() < deadline:
            time.sleep(LAST_PAUSE_SECONDS)
        self._flush()
        stored = self._sender.drain(self._recording.final_flush_seconds)
        if stored:
            self._commit(
                self._watch.base, None
            )  # if not, the last batch is stored once more at the next start
        self._sender.stop(LAST_UPLOAD_SECONDS)
        return self._close(stored)

    def _may_count_more(self) -> bool:
        active = self._watch.state.locust_state not in ENDED
        return active or time.monotonic() - self._ended < LAST_LOOKS_SECONDS

    def _close(self, stored: bool) -> bool:
        totals, spool = self._sender.outbox.totals, self._recording.spool
        waiting = [] if stored else self._sender.outbox.waiting
        untold = self._watch.abandon()
        lost = self._lost + totals.lost_requests + sum(s.requests for s in waiting if s.path is None)
        line = f"{totals.requests:,} requests in {totals.batches} batches, {totals.bytes:,} bytes"
        line += f", to {self._recording.to.url}"
        if waiting:
            line += f"; {sum(sealed.path is not None for sealed in waiting)} batches wait in {spool}"
        line += f"; LOST {lost:,} requests" if lost else "" if untold else "; nothing lost"
        if untold:
            line += (
                f"; {untold:,} requests are in no batch: the next sidecar tells them if the test still runs"
            )
        logger.info("relay: %s", line)
        self._checkpoint.close()
        return lost + untold == 0


def _prefix(identity: Run | Header) -> str:
    return batch_prefix(identity.test, identity.run, identity.source)
