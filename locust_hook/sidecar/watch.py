"""Looks at Locust → records of a batch, and the header that they belong under. Pure."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..recording.columns import MAX_ERROR, MAX_EVENTS, MAX_NAME, MAX_TRACEBACK, text
from ..recording.encode import Chunk, Header, compress, line
from .answers import CHART_PERCENTILES, PERCENTILES, About, Status
from .judge import ACTIVE, Look, Origin, Verdict
from .state import Run, State
from .totals import ERROR_LIMITS, Totals

EARLIER_MS: Final = 600_000
"""How long before a run what is noted still belongs to it: workers connect before the test starts."""

MAX_PENDING_CELLS: Final = 125_000
"""Numbers that wait for a batch (an endpoint's counts and percentiles at a look, a class's users): half of
what the relay takes in one (`MAX_CELLS` in src/plan/aggregate.rs), because a single look may add 50,000."""

MAX_PENDING_BYTES: Final = 8 * 2**20
"""Text that waits for a batch. A look at 500 endpoints that all changed is 115 kB."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Naming:
    """What the user said of the runs' names; empty: made from what Locust tells."""

    test: str
    run: str
    source: str
    labels: Mapping[str, str]


class Watch:
    """Follows one Locust. What `judge` says of a look, `observe` notes; `batch` is what came since `done`."""

    def __init__(self, state: State, naming: Naming, max_endpoints: int) -> None:
        """Goes on from `state`."""
        self.state = state
        self.base = state.copy()
        """What has to be remembered over the sidecar's end: all that is in no batch yet counts from here."""
        self.naming = naming
        self.max_endpoints = max_endpoints
        self.folded = False
        """Whether any endpoint has been folded into `(other)`."""
        self._look_ms = self._batch_ms = state.at_ms
        self._by_class: Mapping[str, int] | None = None
        self._events: list[Record] = []
        self._users: list[Record] = []
        self._exceptions: list[bytes] = []
        self._snapshots: list[bytes] = []
        self._records = (self._events, self._users, self._exceptions, self._snapshots)
        self._pending_requests = self._pending_cells = self._pending_bytes = 0
        self._forgotten_requests = 0

    def wants_users_by_class(self, status: Status) -> bool:
        """Whether the number of users of each class may have changed."""
        if status.state not in ACTIVE:
            return False
        return self._by_class is None or status.state == "spawning" or status.users != self.state.users

    def observe(self, look: Look, verdict: Verdict, at_ms: int, origin: Origin | None = None) -> None:
        """Notes the changes since the last look; `origin`: of statistics that start anew, or a run."""
        state = self.state
        first = state.at_ms == 0
        self._turn(verdict, at_ms, origin)
        if verdict.begins or verdict.anew:
            self._rebase(look.status)
        self._note_state(look.status, verdict, at_ms)
        self._note_users(look, at_ms)
        if state.run is not None or first:
            self._note_snapshot(look, min(self._look_ms or at_ms, at_ms), at_ms)
        state.at_ms = self._look_ms = at_ms
        state.locust_state = look.status.state
        if look.status.state in ACTIVE:
            state.ahead_ms = 0
        state.users = look.status.users
        state.requests = look.statistics.total.requests
        state.failures = look.statistics.total.failures
        state.seconds = look.statistics.seconds
        if state.run is None and (verdict.anew or verdict.ends):
            self.base = state.copy()  # what is counted so far is nobody's

    def _rebase(self, status: Status) -> None:
        """What comes is told from zero, and also by the next sidecar if this one is killed before a batch."""
        self.base = self.state.copy()
        self.base.at_ms = self._look_ms
        if status.state in ACTIVE:
            self.base.locust_state, self.base.ahead_ms = status.state, 0

    def _turn(self, verdict: Verdict, at_ms: int, origin: Origin | None) -> None:
        """Leaves the statistics or the run behind that are over."""
        state = self.state
        if verdict.anew:
            state.clear()
            state.started = origin.started if origin is not None else None
        if verdict.begins:
            if origin is None:
                raise ValueError("expected an origin for the run that begins")
            if verdict.anew:
                state.endpoints.told.clear()  # another test has other endpoints
            self._begin(origin.about, origin.started_ms(state.at_ms, at_ms))
            state.ahead_ms = at_ms
        elif verdict.ends:
            state.run = None
        elif verdict.anew and state.at_ms > 0:
            self.event(at_ms, "reset_stats", {})

    def _begin(self, about: About, started_ms: int) -> None:
        state, naming = self.state, self.naming
        known = state.run
        if known is not None and naming.run and known.run == naming.run and known.test == self._test(about):
            return  # tests of one given id are one run
        started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_ms / 1000))
        source = naming.source
        if naming.run:
            # A run id given twice must not make two processes one source: the second's batches would be taken
            # for repetitions of the first's. Ids made here are never the same.
            source += f"-{secrets.token_hex(2)}"
        state.run = Run(
            test=self._test(about),
            run=naming.run or f"{started}-{secrets.token_hex(2)}",
            source=source,
            run_started_ms=started_ms,
            host=text(about.host, MAX_NAME),
            locust=text(about.version, MAX_NAME),
        )
        state.seq = 0
        self._look_ms = self._batch_ms = started_ms
        for records in (self._events, self._users):
            records[:] = [record for record in records if record["at_ms"] >= started_ms - EARLIER_MS]

    def _test(self, about: About) -> str:
        # Of several locustfiles the first, as the hook does it.
        return self.naming.test or Path(about.locustfile.partition(",")[0].strip()).stem or "locust"

    def event(self, at_ms: int, kind: str, detail: dict[str, Any]) -> None:
        """Notes an event."""
        self._events.append({"at_ms": at_ms, "kind": kind, "detail": detail})
        del self._events[:-MAX_EVENTS]

    def _note_state(self, status: Status, verdict: Verdict, at_ms: int) -> None:
        before, now = self.state.locust_state, status.state
        detail = {"state": now, "user_count": status.users}
        if verdict.begins and not verdict.joined:
            self.event(at_ms, "test_start", detail)
            if now == "running":
                self.event(at_ms, "spawning_complete", detail)
        elif now != before:
            if now == "running" and before:
                kind = "spawning_complete"
            elif now == "spawning" and before == "running":
                kind = "spawning"
            elif now not in ACTIVE and before in ACTIVE:
                kind = "test_stop"
            else:
                kind = "state"
            self.event(at_ms, kind, detail)
        known = set(self.state.workers)
        for worker in status.workers:
            if worker.id not in known:
                self.event(at_ms, "worker_connect", {"client_id": text(worker.id, MAX_NAME)})
        self.state.workers = [worker.id for worker in status.workers]

    def _note_users(self, look: Look, at_ms: int) -> None:
        users = look.status.users
        if look.by_class is not None:
            self._by_class = {text(name, MAX_NAME): count for name, count in look.by_class.items()}
        if look.status.state in ACTIVE or users != self.state.users:
            by_class = self._by_class or {}
            if users == 0:
                by_class = dict.fromkeys(by_class, 0)
            self._users.append({"at_ms": at_ms, "total": users, "by_class": by_class})
            del self._users[:-MAX_EVENTS]
            self._pending_cells += 1 + len(by_class)

    def _note_snapshot(self, look: Look, from_ms: int, at_ms: int) -> None:
        state, total = self.state, look.statistics.total
        endpoints, folded = state.endpoints.advance(look.statistics.entries, self.max_endpoints)
        self.folded |= folded
        errors = state.errors.advance(look.errors, ERROR_LIMITS) if look.errors is not None else []
        exceptions = (
            state.exceptions.advance(look.exceptions, (MAX_ERROR, MAX_TRACEBACK))
            if look.exceptions is not None
            else []
        )
        if state.run is None:
            return  # what was there at the first look, with no test running, is nobody's run
        self._forgotten_requests = 0  # they are among these
        for changed in exceptions:
            if changed.count > 0:
                message, traceback = changed.key
                exception = {
                    "at_ms": at_ms,
                    "count": changed.count,
                    "message": message,
                    "traceback": traceback,
                }
                self._note(self._exceptions, {"exception": exception})
        errors = [changed for changed in errors if changed.count > 0]
        if not (endpoints or errors or look.status.state in ACTIVE):
            return
        self._pending_requests += sum(int(endpoint["requests"]) for endpoint in endpoints)
        self._pending_cells += (1 + len(PERCENTILES)) * (1 + len(endpoints)) + CHART_PERCENTILES
        self._note(
            self._snapshots,
            {
                "snapshot": {
                    "at_ms": at_ms,
                    "from_ms": from_ms,
                    "endpoints": endpoints,
                    "total": {
                        "percentiles_ms": total.percentiles_ms if Totals.of(total).response_times else {},
                        "current_percentiles_ms": look.status.current_percentiles_ms,
                    },
                    "errors": [
                        dict(zip(("method", "name", "error"), changed.key, strict=True), count=changed.count)
                        for changed in errors
                    ],
                    "workers": [
                        {
                            "id": text(worker.id, MAX_NAME),
                            "state": text(worker.state, MAX_NAME),
                            "users": worker.users,
                            "cpu_percent": worker.cpu_percent,
                            "memory_bytes": worker.memory_bytes,
                        }
                        for worker in look.status.workers
                    ],
                }
            },
        )

    def _note(self, records: list[bytes], record: Record) -> None:
        records.append(line(record))
        self._pending_bytes += len(records[-1])

    @property
    def has_records(self) -> bool:
        """Whether there is a run, and anything to write of it."""
        return self.state.run is not None and any(self._records)

    @property
    def is_full(self) -> bool:
        """Whether a batch is due, however short the time since the last one."""
        return self._pending_cells >= MAX_PENDING_CELLS or self._pending_bytes >= MAX_PENDING_BYTES

    @property
    def pending_requests(self) -> int:
        """Requests that the next batch tells."""
        return self._pending_requests

    def batch(self) -> tuple[Header, bytes]:
        """The next batch, up to the last look; `done` says that it was written."""
        run = self.state.run
        if run is None:
            raise ValueError("expected a run")
        header = Header(
            test=run.test,
            run=run.run,
            source=run.source,
            seq=self.state.seq,
            run_started_ms=run.run_started_ms,
            from_ms=min(self._batch_ms, self.state.at_ms),
            to_ms=self.state.at_ms,
            host=run.host,
            locust=run.locust,
            hook=__version__,
            labels=dict(self.naming.labels),
        )
        records = [line({"event": event}) for event in self._events]
        records += [line({"users": users}) for users in self._users]
        records += [*self._exceptions, *self._snapshots]
        lines = [header.line, *records, line({"end": {"records": len(records), "requests": 0}})]
        return header, compress(Chunk(line, False) for line in lines)

    def done(self) -> None:
        """The batch is written: the next one begins."""
        for records in self._records:
            records.clear()
        self._pending_requests = self._pending_cells = self._pending_bytes = 0
        self.state.seq += 1
        self._batch_ms = self.state.at_ms
        self.base = self.state.copy()

    def abandon(self) -> int:
        """Gives up what `go_back` left to be told again; how many requests those are."""
        lost, self._forgotten_requests = self._forgotten_requests, 0
        return lost

    def go_back(self) -> None:
        """Forgets the snapshots and exceptions since `base`: the next look will tell them again, as one.

        What was seen last is kept: statistics that start anew must be noticed."""
        now, self.state = self.state, self.base.copy()
        self.state.locust_state, self.state.ahead_ms = now.locust_state, now.ahead_ms
        self.state.users, self.state.workers = now.users, now.workers
        self.state.requests, self.state.failures = now.requests, now.failures
        self.state.seconds = now.seconds
        self._look_ms = self._batch_ms = self.state.at_ms
        if self._pending_requests:
            self._forgotten_requests = self._pending_requests
        self._snapshots.clear()
        self._exceptions.clear()
        self._pending_requests = self._pending_cells = self._pending_bytes = 0
