"""What a look at Locust means: does a test start, do statistics start anew? Pure.

Locust tells totals and never when they began, so a new start is inferred: totals shrink, endpoints vanish,
the time that the statistics cover shrinks, or their start, where it was asked for, is a later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..recording.columns import MAX_NAME, OTHER, text
from .answers import About, Counted, Statistics, Status
from .state import State

ACTIVE: Final = frozenset(("spawning", "running"))
"""Locust's states in which a test runs (`locust.runners.STATE_SPAWNING`, `STATE_RUNNING`)."""

ENDED: Final = frozenset(("ready", "stopped", "missing"))
"""Locust's states in which none does, and none is about to end."""

LATEST_START_SECONDS: Final = 10.0
"""By how much the time that new statistics cover may exceed that since the last look: a master counts from
the start of its workers' reports, which come every three seconds."""

LATEST_STATE_MS: Final = 5_000
"""How late Locust may tell its state, which it keeps for two seconds (`locust.web.DEFAULT_CACHE_TIME`): the
run that its counts told of before is the one that is spawning."""


LONGEST_JOINED_MS: Final = 86_400_000
"""Interval that the first snapshot of a running test covers at most, whenever Locust says that it started."""


@dataclass(frozen=True)
class Look:
    """One look at Locust. None: was not asked for."""

    status: Status
    statistics: Statistics
    errors: list[Counted] | None = None
    exceptions: list[Counted] | None = None
    by_class: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Origin:
    """What Locust tells of a test when one starts, and of statistics that start anew.

    `started`: the statistics' start, UTC, ISO 8601, to the second; by Locust's clock.
    """

    about: About
    started: str | None

    def started_ms(self, before_ms: int, at_ms: int) -> int:
        """The statistics' start, between the last look (0: there was none) and this one; since the epoch."""
        try:
            found = datetime.fromisoformat((self.started or "").replace("Z", "+00:00")).timestamp() * 1000
        except ValueError:  # another format, or none
            return before_ms or at_ms
        return min(max(before_ms or at_ms - LONGEST_JOINED_MS, int(found)), at_ms)


@dataclass(frozen=True)
class Verdict:
    """What a look means: statistics start `anew`; a run `begins`, or the one there was is over (`ends`).

    `joined`: the run that begins was going on when it was seen first.
    """

    anew: bool = False
    begins: bool = False
    ends: bool = False
    joined: bool = False


def wants_start(state: State, status: Status, waited: bool) -> bool:
    """Whether the statistics' start is worth asking for: they may be others than at the last look."""
    starts = status.state in ACTIVE and state.locust_state not in ACTIVE
    return state.at_ms > 0 and (waited or starts)


def judge(
    state: State, look: Look, at_ms: int, *, waited: bool = False, started: str | None = None
) -> Verdict:
    """What a look means, after the one that `state` tells of.

    `waited`: whether this is the first look after a time in which Locust could not be seen. `started`: the
    statistics' start, if it was asked for (see `wants_start`).
    """
    total = look.statistics.total
    active = look.status.state in ACTIVE
    if state.at_ms == 0:
        return Verdict(anew=True, begins=active or (waited and total.requests > 0), joined=not waited)
    vanished = _vanished(state, look.statistics)
    anew = (
        vanished
        or total.requests < state.requests
        or total.failures < state.failures
        or _covers_less(state, look.statistics, at_ms)
        or (started is not None and state.started is not None and started > state.started)
    )
    was_active = state.locust_state in ACTIVE or at_ms - state.ahead_ms < LATEST_STATE_MS
    starts = active and not was_active
    if state.run is None:
        return Verdict(anew, begins=active or total.requests > (0 if anew else state.requests))
    # Resetting the statistics keeps their (empty) lines, the start of a test does not.
    restarted = anew and (vanished or waited or (not was_active and total.requests > 0))
    begins = (restarted and (active or total.requests > 0)) or (starts and (anew or state.requests == 0))
    return Verdict(anew, begins, ends=restarted and not begins)


def _vanished(state: State, statistics: Statistics) -> bool:
    now = {(text(entry.method, MAX_NAME), text(entry.name, MAX_NAME)) for entry in statistics.entries}
    told = state.endpoints.told
    return any(totals.requests and key not in now and OTHER not in key for key, totals in told.items())


def _covers_less(state: State, statistics: Statistics, at_ms: int) -> bool:
    before, now = state.seconds, statistics.seconds
    if before is None or now is None or now >= before - 0.001:
        return False
    # Else it is only Locust's clock that was set back.
    return now <= (at_ms - state.at_ms) / 1000 + LATEST_START_SECONDS
