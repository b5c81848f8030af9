"""What the watch makes of looks at a modelled Locust: every request is told once, whatever happens."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from locust_hook.recording.columns import OTHER
from locust_hook.sidecar import totals
from locust_hook.sidecar.answers import (
    About,
    read_errors,
    read_exceptions,
    read_statistics,
    read_status,
)
from locust_hook.sidecar.judge import Look, Origin, judge, wants_start
from locust_hook.sidecar.state import State
from locust_hook.sidecar.watch import Naming, Watch
from tests.sidecar.model import Model
from tests.sidecar.reader import Batch, Sum, read, sums

NAMING = Naming("", "", "here-sidecar", {})
START_MS = 1_795_259_340_000


def stored(state: State) -> State:
    """The state as the next process reads it."""
    return State.from_dict(json.loads(json.dumps(state.as_dict())))


@dataclass
class Play:
    """A modelled Locust and its sidecar, with a clock; `batches` are those that are written."""

    naming: Naming = NAMING
    limit: int = 500
    model: Model = field(default_factory=Model)
    at_ms: int = START_MS
    started_ms: int = START_MS
    batches: list[Batch] = field(default_factory=list)
    waited: bool = False
    watch: Watch = field(init=False)
    committed: State = field(default_factory=State)

    def __post_init__(self) -> None:
        self.watch = Watch(State(), self.naming, self.limit)

    def start(self, state: str = "running") -> None:
        """A test starts."""
        self.model.clear()
        self.started_ms = self.at_ms
        self.model.state, self.model.users = state, 5

    def stop(self) -> None:
        """A test ends."""
        self.model.state, self.model.users = "stopped", 0

    def reset(self) -> None:
        """Somebody resets the statistics."""
        self.model.reset()
        self.started_ms = self.at_ms

    def request(self, name: str, count: int = 1, time: float | None = 5.0, error: str | None = None) -> None:
        """Requests are made."""
        for _ in range(count):
            self.model.request("GET", name, time, 100, error)

    def pass_time(self, milliseconds: int) -> None:
        """Time passes, in which the last request came just now."""
        self.at_ms += milliseconds
        self.model.seconds = (self.at_ms - self.started_ms) / 1000

    def look(self, state: str | None = None) -> None:
        """The sidecar looks; `state`: what Locust says late."""
        told = self.model.state
        if state is not None:
            self.model.state = state
        look = Look(
            read_status(self.model.status()),
            read_statistics(self.model.statistics()),
            read_errors(self.model.failures()),
            read_exceptions(self.model.raised()),
            {"Visitor": self.model.users},
        )
        self.model.state = told
        second = (self.started_ms - START_MS) // 1000
        origin = Origin(
            About("2.47.0", "http://x", "my/test.py"),
            f"2026-11-21T11:{9 + second // 60:02}:{second % 60:02}Z",
        )
        asked = wants_start(self.watch.state, look.status, self.waited)
        verdict = judge(
            self.watch.state, look, self.at_ms, waited=self.waited, started=origin.started if asked else None
        )
        self.waited = False
        if verdict.begins or verdict.ends or verdict.anew:
            self.write()
        self.watch.observe(look, verdict, self.at_ms, origin if verdict.begins or verdict.anew else None)
        self.committed = stored(self.watch.base)

    def write(self) -> None:
        """A batch is written."""
        if self.watch.has_records:
            _, content = self.watch.batch()
            self.watch.done()
            self.committed = stored(self.watch.base)
            self.batches.append(read(content))

    def die(self) -> None:
        """The sidecar is killed and started again."""
        self.watch = Watch(stored(self.committed), self.naming, self.limit)
        self.waited = self.watch.state.at_ms > 0

    def fail(self) -> None:
        """A batch cannot be written."""
        self.watch.go_back()

    @property
    def told(self) -> dict[tuple[str, str], Sum]:
        """What the batches add up to."""
        return sums(self.batches)

    @property
    def runs(self) -> list[str]:
        """The ids of the runs, in order."""
        return list(dict.fromkeys(batch.header["run"] for batch in self.batches))

    def kinds(self) -> list[str]:
        """The kinds of all events."""
        return [event["kind"] for batch in self.batches for event in batch.events]


def requests(found: dict[tuple[str, str], Sum]) -> dict[str, int]:
    return {name: total.requests for (_, name), total in found.items() if total.requests}


def test_a_test_from_start_to_end() -> None:
    play = Play()
    play.look()
    play.start("spawning")
    play.request("/a", 3)
    play.pass_time(1000)
    play.look()
    play.model.state = "running"
    play.request("/a", 2, error="boo")
    play.request("/b", 1, time=None)
    play.pass_time(1000)
    play.look()
    play.stop()
    play.request("/b", 1, time=None)
    play.pass_time(1000)
    play.look()
    play.pass_time(1000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 5, "/b": 2}
    assert play.told["GET", "/a"].failures == 2
    assert (play.told["GET", "/b"].response_times, play.told["GET", "/b"].min_us) == (0, None)
    (batch,) = play.batches
    by_name = {entry["name"]: entry["percentiles_ms"] for entry in batch.snapshots[1]["endpoints"]}
    assert by_name == {"/a": {"50": 5, "90": 5, "95": 5, "99": 5}, "/b": {}}
    assert play.kinds() == ["state", "test_start", "spawning_complete", "test_stop"]
    assert batch.header["test"] == "test"
    assert batch.header["run"].startswith("20261121T1109")
    assert [users["total"] for users in batch.users] == [5, 5, 0]
    assert [snapshot["at_ms"] - snapshot["from_ms"] for snapshot in batch.snapshots] == [1000] * 3
    assert batch.snapshots[1]["errors"] == [{"method": "GET", "name": "/a", "error": "boo", "count": 2}]


def test_what_was_counted_before_the_first_look_belongs_to_a_test_that_runs() -> None:
    play = Play()
    play.start()
    play.request("/a", 100)
    play.pass_time(60_000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 100}
    (snapshot,) = play.batches[0].snapshots
    assert snapshot["from_ms"] == START_MS == play.batches[0].header["run_started_ms"]


def test_what_was_counted_before_the_first_look_is_left_alone_when_no_test_runs() -> None:
    play = Play()
    play.start()
    play.request("/a", 100, error="old")
    play.stop()
    play.pass_time(60_000)
    play.look()
    play.write()
    assert play.batches == []
    play.start()
    play.request("/a", 1, error="new")
    play.pass_time(1000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 1}
    (snapshot,) = play.batches[0].snapshots
    assert [error["error"] for error in snapshot["errors"]] == ["new"]


@pytest.mark.parametrize(
    ("started", "before_ms", "expected"),
    [
        ("2026-11-21T11:09:00Z", 0, START_MS),
        ("2026-11-21T11:09:00Z", START_MS + 500, START_MS + 500),
        ("2026-11-21T11:19:00Z", 0, START_MS + 1000),
        ("2026-01-01T00:00:00Z", 0, START_MS + 1000 - 86_400_000),
        (None, 0, START_MS + 1000),
        ("soon", START_MS, START_MS),
    ],
)
def test_the_start_of_a_run(started: str | None, before_ms: int, expected: int) -> None:
    assert Origin(About(), started).started_ms(before_ms, START_MS + 1000) == expected


def test_what_comes_late_is_told_alone() -> None:
    play = Play()
    play.start()
    play.request("/a", 100)
    play.stop()
    play.pass_time(60_000)
    play.look()
    play.request("/a", 10)
    play.pass_time(1000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 10}


def test_a_short_test_while_locust_was_awaited_is_not_missed() -> None:
    play = Play(waited=True)
    play.request("/a", 7)
    play.stop()
    play.pass_time(1000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 7}


def test_exceptions_that_come_before_the_counts_do() -> None:
    play = Play()
    play.look()
    play.model.exceptions["boo", "tb"] = 2
    play.pass_time(1000)
    play.look()
    play.start()
    play.model.exceptions["boo", "tb"] = 3
    play.request("/a")
    play.pass_time(1000)
    play.look()
    play.write()
    assert sum(e["count"] for batch in play.batches for e in batch.exceptions) == 3


@pytest.mark.parametrize("late", [0, 1, 2])
@pytest.mark.parametrize("kept", [False, True])
def test_the_next_test_is_another_run(late: int, kept: bool) -> None:
    """`late`: looks for which Locust tells the old state. `kept`: the same endpoint is there at once."""
    play = Play()
    play.start()
    play.request("/a", 50)
    play.pass_time(10_000)
    play.look()
    play.stop()
    play.pass_time(1000)
    play.look()
    play.start("running")
    play.request("/a" if kept else "/b", 60)
    for number in range(4):
        play.request("/b")
        play.pass_time(1000)
        play.look("stopped" if number < late else None)
    play.write()
    assert len(play.runs) == 2
    assert requests(sums(play.batches[:1])) == {"/a": 50}
    assert requests(play.told) == ({"/a": 110, "/b": 4} if kept else {"/a": 50, "/b": 64})
    assert play.kinds().count("test_start") == 1
    assert [batch.header["seq"] for batch in play.batches] == [0, 0]


def test_the_next_test_after_a_very_short_one() -> None:
    play = Play()
    play.look()
    play.start()
    play.request("/a", 5)
    play.pass_time(100)
    play.look()
    play.stop()
    play.pass_time(100)
    play.look()
    play.at_ms += 1000
    play.start()
    play.request("/a", 6)
    play.pass_time(900)  # more than the time of the test before
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 11}
    assert len(play.runs) == 2


def test_a_test_that_nobody_saw_begin() -> None:
    play = Play()
    play.start()
    play.request("/a", 5)
    play.pass_time(5_000)
    play.look()
    play.start()
    play.request("/b", 100)
    play.pass_time(8_000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 5, "/b": 100}
    assert len(play.runs) == 2


@pytest.mark.parametrize("ahead", [False, True])
def test_reset_statistics_are_the_same_run(ahead: bool) -> None:
    """`ahead`: so soon that Locust does not even say that the test runs."""
    play = Play()
    play.look()
    play.start()
    play.request("/a", 50)
    play.pass_time(1000)
    play.look("ready" if ahead else None)
    play.reset()
    play.request("/a", 60)
    play.pass_time(900)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 110}
    assert len(play.runs) == 1
    assert play.kinds().count("reset_stats") == 1


def test_a_clock_that_is_set_back_is_no_reset() -> None:
    play = Play()
    play.start()
    play.request("/a", 50)
    play.pass_time(100_000)
    play.look()
    play.request("/a", 5)
    play.pass_time(1000)
    play.model.seconds -= 30
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 55}


@pytest.mark.parametrize("running", [False, True])
def test_a_locust_that_is_started_again(running: bool) -> None:
    play = Play()
    play.start()
    play.request("/a", 50)
    play.pass_time(5_000)
    play.look()
    play.waited = True
    play.pass_time(60_000)
    play.start() if running else play.model.clear()
    play.model.state = "running" if running else "ready"
    play.request("/a", 70 if running else 0)
    play.pass_time(20_000 if running else 0)
    play.look()
    play.start()
    play.request("/a", 100)
    play.pass_time(10_000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 220 if running else 150}
    assert len(play.runs) == 2 if not running else len(play.runs) >= 2


def test_killed_in_the_middle_nothing_is_lost_and_nothing_told_twice() -> None:
    play = Play()
    play.start()
    play.request("/a", 50)
    play.pass_time(1000)
    play.look()
    play.write()
    play.request("/a", 5, error="boo")
    play.pass_time(1000)
    play.look()
    play.die()
    play.request("/a", 5)
    play.pass_time(60_000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 60}
    assert len(play.runs) == 1
    assert [batch.header["seq"] for batch in play.batches] == [0, 1]
    (snapshot,) = play.batches[1].snapshots
    assert (snapshot["from_ms"], snapshot["at_ms"]) == (START_MS + 1000, START_MS + 62_000)
    assert snapshot["errors"][0]["count"] == 5


def test_tests_of_one_given_id_are_one_run() -> None:
    play = Play(Naming("shop", "nightly", "here-sidecar", {}))
    for _ in range(2):
        play.start()
        play.request("/a", 50)
        play.pass_time(10_000)
        play.look()
        play.stop()
        play.pass_time(1_000)
        play.look()
        play.write()
    assert requests(play.told) == {"/a": 100}
    assert {(batch.header["run"], batch.header["test"]) for batch in play.batches} == {("nightly", "shop")}
    (source,) = {batch.header["source"] for batch in play.batches}
    assert source.startswith("here-sidecar-")
    assert len(source) == len("here-sidecar-") + 4
    assert [batch.header["seq"] for batch in play.batches] == [0, 1]


def test_endpoints_and_errors_beyond_the_bound_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_TEXTS", 4)
    play = Play(limit=3)
    play.start()
    for number in range(5):
        play.request(f"/{number}", 2, error=f"error {number % 3}")
        play.pass_time(1000)
        play.look()
    play.write()
    assert requests(play.told) == {"/0": 2, "/1": 2, "/2": 2, OTHER: 4}
    assert play.watch.folded
    errors: Counter[str] = Counter()
    for snapshot in play.batches[0].snapshots:
        for error in snapshot["errors"]:
            errors[error["error"]] += error["count"]
    assert sum(errors.values()) == 10
    assert errors[OTHER] == 2


def test_the_sum_stays_between_the_bounds_also_when_only_some_requests_have_a_time() -> None:
    play = Play()
    play.start()
    for time in (None, 100.0, None, 0.001, None, 3.0004, 3.0004):
        play.request("/a", 1, time)
        play.pass_time(1000)
        play.look()
    play.write()
    assert play.told["GET", "/a"].response_times == 7  # `sums` has checked each snapshot's bounds
    assert (play.told["GET", "/a"].min_us, play.told["GET", "/a"].max_us) == (1, 100_000)


def test_what_the_bounds_cut_off_is_told_later() -> None:
    play = Play()
    play.start()
    for time, count in ((100.0, 1), (None, 1), (0.001, 1), (100.0, 10)):
        play.request("/a", count, time)
        play.pass_time(1000)
        play.look()
    play.write()
    average_us = (11 * 100_000 + 1) / 12
    assert play.told["GET", "/a"].sum_us == pytest.approx(13 * average_us, abs=1)


def test_times_of_no_use_do_not_hide_the_other_endpoints() -> None:
    play = Play()
    play.start()
    play.request("/a", 1, float("inf"))
    play.request("/b", 1, 2.0)
    play.pass_time(1000)
    play.look()
    play.write()
    assert requests(play.told) == {"/a": 1, "/b": 1}
    assert play.told["GET", "/a"].response_times == 0


ACTIONS = st.one_of(
    st.tuples(
        st.just("request"),
        st.sampled_from(["/a", "/b", "/ü", "x" * 5000]),
        st.integers(1, 30),
        st.floats(0.0001, 1e5),
    ),
    st.tuples(st.just("look"), st.integers(100, 3000)),
    st.tuples(st.sampled_from(["write", "die", "fail", "reset", "restart", "stop"])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=40))
@example([("request", "/a", 3, 1.0), ("look", 1000), ("fail",), ("die",), ("look", 1000)])
def test_whatever_happens_each_request_is_told_once(actions: list[Any]) -> None:
    """Looks come before each new start of the statistics, so that nothing is gone unseen."""
    play = Play()
    play.start()
    play.request("/start", 5, 1.0)
    play.pass_time(1000)
    play.look()
    made: Counter[str] = Counter({"/start": 5})
    times: list[float] = [1.0] * 5
    for kind, *values in actions:
        if kind == "request":
            name, count, time = values
            play.request(name, count, time)
            made[name[:4096]] += count
            times += [time] * count
        elif kind == "look":
            play.pass_time(values[0])
            play.look()
        elif kind in ("write", "die", "fail"):
            getattr(play, kind)()
        else:
            play.pass_time(1000)
            play.look()
            play.write()
            if kind == "stop":
                play.stop()
                continue
            play.reset() if kind == "reset" else play.start()
            play.request("/start", 5, 1.0)
            made["/start"] += 5
            times += [1.0] * 5
            play.pass_time(900)  # shorter than what the old statistics covered
            play.look()
    play.pass_time(1000)
    play.look()
    play.write()
    told = play.told
    assert requests(told) == dict(made)
    assert min(total.min_us for total in told.values() if total.min_us is not None) == round(
        min(times) * 1000
    )
    assert max(total.max_us for total in told.values() if total.max_us is not None) == round(
        max(times) * 1000
    )
    assert sum(total.sum_us for total in told.values()) == pytest.approx(sum(times) * 1000, rel=1e-9, abs=500)
    check_seqs(play.batches)


def check_seqs(batches: Iterable[Batch]) -> None:
    seqs: dict[str, list[int]] = {}
    for batch in batches:
        seqs.setdefault(batch.header["run"], []).append(batch.header["seq"])
    for found in seqs.values():
        assert found == list(range(len(found)))


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="expected version 1, found 2"):
        State.from_dict({**State().as_dict(), "version": 2})
    with pytest.raises(ValueError, match="expected the sidecar's state"):
        State.from_dict({"version": 1})


def test_a_batch_reads_well() -> None:
    play = Play()
    play.start()
    play.request("/größe")
    play.pass_time(1000)
    play.look()
    _, content = play.watch.batch()
    assert "/größe" in gzip.decompress(content).decode()
