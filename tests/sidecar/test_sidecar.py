"""The sidecar as a whole, beside a modelled Locust: faults, restarts, what it says."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from locust_hook.destination import Address as To
from locust_hook.destination import Destination, Folder, UploadError
from locust_hook.recording.settings import Settings
from locust_hook.recording.spool import Spool
from locust_hook.sidecar import answers, sender, sidecar, watch
from locust_hook.sidecar.checkpoint import Checkpoint, CheckpointError
from locust_hook.sidecar.client import Address, Client
from locust_hook.sidecar.interface import Interface
from locust_hook.sidecar.settings import SidecarSettings, read
from locust_hook.sidecar.sidecar import Sidecar
from locust_hook.sidecar.watch import Naming
from tests.sidecar.model import Model
from tests.sidecar.reader import read_runs, sums
from tests.sidecar.server import FakeLocust, served


class Killed(BaseException):
    """The process is killed at this moment."""


class Script(threading.Event):
    """Does one step in each pause between two looks; then tells the sidecar to stop."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self.steps = list(steps)

    def wait(self, timeout: float | None = None) -> bool:
        if self.steps:
            self.steps.pop(0)()
        else:
            self.set()
        return self.is_set()


class Store(Folder):
    """A folder that can be told to fail."""

    fails = False

    def put(self, key: str, data: bytes) -> None:
        if self.fails:
            raise UploadError("S3 is away")
        super().put(key, data)


@dataclass
class Place:
    """A folder in which sidecars follow one another beside one Locust."""

    folder: Path
    locust: FakeLocust
    store: Store = field(init=False)
    naming: Naming = field(default_factory=lambda: Naming("", "", "here-sidecar", {}))
    flush_seconds: float = 0

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "out")

    @property
    def model(self) -> Model:
        return self.locust.model

    @property
    def settings(self) -> SidecarSettings:
        recording = Settings(
            To.parse((self.folder / "out").as_uri()),
            flush_seconds=self.flush_seconds,
            spool=self.folder / "spool",
            final_flush_seconds=0.3 if self.store.fails else 10,
        )
        return SidecarSettings(recording, Address.parse(self.locust.url), 0.0, None, None)

    def sidecar(self) -> Sidecar:
        settings = self.settings
        interface = Interface(Client(settings.url))
        checkpoint = Checkpoint(settings.recording.spool, settings.url, settings.recording.to)
        connect: Callable[[To], Destination] = lambda _: self.store  # noqa: E731
        return Sidecar(settings, self.naming, interface, checkpoint, connect)

    def run(self, *steps: Callable[[], object]) -> bool:
        """A sidecar's life, with a step after each of its looks."""
        return self.sidecar().run(Script(*steps))

    def run_until_killed(self, *steps: Callable[[], object]) -> None:
        """A sidecar's life; its locks are given back as the system does it."""
        sidecar = self.sidecar()
        with pytest.raises(Killed):
            sidecar.run(Script(*steps))
        sidecar._sender.stop(10)
        sidecar._checkpoint.close()

    def request(self, count: int) -> None:
        for _ in range(count):
            self.model.request("GET", "/a", 5.0)
        self.model.seconds += 1

    def stop(self) -> None:
        self.model.state, self.model.users = "stopped", 0

    def start(self, count: int) -> None:
        """A test begins, and makes so many requests."""
        self.model.clear()
        self.model.state, self.model.users = "running", 3
        self.request(count)

    @property
    def told(self) -> int:
        """Requests in all batches."""
        runs = read_runs(self.folder / "out")
        return sum(total.requests for run in runs.values() for total in sums(run).values())


def kill() -> None:
    raise Killed


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Retries come soon."""
    monkeypatch.setattr(sender, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(sender, "LONGEST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(sidecar, "LAST_LOOKS_SECONDS", 0.0)
    caplog.set_level(logging.INFO)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with served(FakeLocust(Model("running", 3))) as locust:
        yield Place(tmp_path, locust)


def test_looks_become_batches(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    assert place.run(lambda: place.request(3), lambda: place.request(4))
    assert place.told == 7
    assert "7 requests in " in caplog.messages[-1]
    assert caplog.messages[-1].endswith("; nothing lost")
    assert not list((place.folder / "spool").glob("[!.]*"))
    (batches,) = read_runs(place.folder / "out").values()
    assert batches[0].header["host"] == "http://x"
    assert batches[0].users[0]["by_class"] == {"Visitor": 3}


def test_pages_are_asked_for_once_a_run_and_errors_when_there_are_new_ones(place: Place) -> None:
    place.run(*[lambda: place.request(1)] * 5)
    asked = place.locust.asked
    assert asked.count("/") == asked.count("/stats/report") == 1
    assert asked.count("/stats/failures/csv") == asked.count("/tasks") == 1
    assert asked.count("/stats/requests/csv") == asked.count("/exceptions/csv") == 7


def test_killed_after_the_commit_before_the_batch_is_in_the_spool(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.request(3)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "seal", lambda *_: kill())
        place.run_until_killed(lambda: None)
    assert not (place.folder / "out").exists()
    place.request(4)
    assert place.run(lambda: None)
    assert place.told == 7


def test_killed_before_the_commit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.request(3)
    place.run(lambda: None)
    with monkeypatch.context() as patch:

        def step() -> None:
            place.request(2)
            patch.setattr(Path, "replace", lambda *_: kill())

        place.run_until_killed(step)
    place.request(4)
    place.run(lambda: None)
    assert place.told == 9


def test_killed_at_any_other_moment(place: Place) -> None:
    for count in range(1, 5):
        place.run_until_killed(lambda: place.request(10), *[lambda: place.request(1)] * count, kill)
    place.run(lambda: None)
    assert place.told == 50
    assert len(read_runs(place.folder / "out")) == 1


def test_a_state_that_cannot_be_written_for_a_while(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.fsync

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    place.request(1)
    steps = [
        lambda: monkeypatch.setattr(os, "fsync", full),
        *[lambda: place.request(1)] * 3,
        lambda: monkeypatch.setattr(os, "fsync", real),
    ]
    assert place.run(*steps, lambda: None)
    assert place.told == 4
    (batches,) = read_runs(place.folder / "out").values()
    assert sum(len(batch.snapshots) for batch in batches) < 5, "what was not written is told as one"
    said = [message for message in caplog.messages if "cannot write the state" in message]
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert sum("can be written again" in message for message in caplog.messages) == 1


def test_a_state_that_can_never_be_written(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.request(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert not place.run(lambda: place.request(1))
    assert "; 2 requests are in no batch: the next sidecar tells them" in caplog.messages[-1]
    assert "nothing lost" not in caplog.messages[-1]
    assert place.run(lambda: None)
    assert place.told == 2


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_from_the_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Checkpoint.commit
    monkeypatch.setattr(Checkpoint, "commit", full)
    more = lambda: place.request(10)  # noqa: E731
    free = lambda: monkeypatch.setattr(Checkpoint, "commit", real)  # noqa: E731
    assert place.run(more, more, place.stop, lambda: None, free, lambda: None)
    assert place.told == 20


@pytest.mark.parametrize("anew", ["clear", "reset"])
def test_what_cannot_be_told_any_more_is_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, anew: str
) -> None:
    def begin_anew() -> None:
        getattr(place.model, anew)()
        place.request(3)

    real = Checkpoint.commit
    monkeypatch.setattr(Checkpoint, "commit", full)
    free = lambda: monkeypatch.setattr(Checkpoint, "commit", real)  # noqa: E731
    assert not place.run(lambda: place.request(10), lambda: None, begin_anew, free, lambda: None)
    assert place.told == 3
    assert caplog.messages[-1].endswith("; LOST 10 requests")


def test_killed_before_the_first_batch_of_a_test(place: Place) -> None:
    place.flush_seconds = 3600
    place.stop()
    place.run_until_killed(lambda: None, lambda: place.start(10), lambda: None, kill)
    place.stop()
    assert place.run(lambda: None)
    assert place.told == 10


def test_killed_before_the_first_batch_of_the_next_test(place: Place) -> None:
    place.request(5)
    place.run(place.stop)
    place.flush_seconds = 3600
    place.model.seconds = 100
    place.run_until_killed(lambda: place.start(20), lambda: None, kill)
    place.request(1)
    place.model.seconds = 200
    assert place.run(lambda: None)
    runs = read_runs(place.folder / "out")
    assert [sum(t.requests for t in sums(run).values()) for run in runs.values()] == [5, 21]


def test_killed_after_a_reset_the_run_goes_on(place: Place) -> None:
    def reset() -> None:
        place.model.reset()
        place.request(3)

    place.flush_seconds = 3600
    place.request(5)
    place.run_until_killed(reset, lambda: None, kill)
    assert place.run(lambda: None)
    assert place.told == 8
    assert len(read_runs(place.folder / "out")) == 1


def test_a_state_older_than_what_is_stored_loses_nothing(place: Place) -> None:
    saved: dict[Path, bytes] = {}

    def save() -> None:
        (file,) = place.folder.glob("spool/.sidecar-*/state.json")
        saved[file] = file.read_bytes()

    more = lambda: place.request(10)  # noqa: E731
    place.run_until_killed(more, save, more, lambda: None, kill)
    for file, content in saved.items():
        file.write_bytes(content)
    place.request(1000)
    assert place.run(lambda: None)
    assert place.told >= 1020
    assert len(read_runs(place.folder / "out")) == 1


def test_names_and_contents_are_on_the_disk_before_the_state_that_tells_of_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def sync(opened: int) -> None:
        synced.append(re.sub(r"[0-9]+-[0-9a-f]{8}", "owner", os.readlink(f"/proc/self/fd/{opened}")))
        real(opened)

    monkeypatch.setattr(os, "fsync", sync)
    place.request(1)
    place.run()
    spool = place.folder / "spool"
    (state,) = spool.glob(".sidecar-*")
    kept = [str(state / "state.json.part"), str(state)]
    sealed = [
        f"{spool}/owner/owner.json",
        str(spool),
        f"{spool}/owner/000000.1.ndjson.gz.part",
        f"{spool}/owner",
    ]
    assert synced[:8] == [*kept, *kept, *sealed]
    assert synced[-2:] == kept


@pytest.mark.parametrize("path", ["/stats/failures/csv", "/exceptions/csv", "/tasks", "/"])
def test_a_page_that_cannot_be_read_is_said_once_and_the_rest_counts(
    place: Place, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    place.locust.answers[path] = lambda *_: (403, {}, b"forbidden")
    place.model.exceptions["boo", "tb"] = 1
    place.model.request("GET", "/a", 5.0, error="boo")
    place.run(*[lambda: place.request(1)] * 3)
    assert place.told == 4
    said = [message for message in caplog.messages if "does not tell" in message]
    assert len(said) == 1
    assert f"expected status 200 from {path}, found 403: 'forbidden'" in said[0]
    assert "trying again" not in caplog.text
    assert place.locust.asked.count("/stats/report") == 1
    (batches,) = read_runs(place.folder / "out").values()
    errors = [error["count"] for batch in batches for s in batch.snapshots for error in s["errors"]]
    assert errors == ([] if path == "/stats/failures/csv" else [1])
    exceptions = [found["count"] for batch in batches for found in batch.exceptions]
    assert exceptions == ([] if path == "/exceptions/csv" else [1])
    assert batches[0].header["test"] == ("locust" if path == "/" else "a")


def test_what_waits_for_a_batch_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.flush_seconds = 3600
    monkeypatch.setattr(watch, "MAX_PENDING_CELLS", 40)
    place.run(*[lambda: place.request(1)] * 9)
    (batches,) = read_runs(place.folder / "out").values()
    assert [len(batch.snapshots) for batch in batches] == [3, 3, 3, 2]
    monkeypatch.setattr(watch, "MAX_PENDING_CELLS", 40_000)
    monkeypatch.setattr(watch, "MAX_PENDING_BYTES", 1)
    place.run(*[lambda: place.request(1)] * 2)
    assert place.told == 11
    (batches,) = read_runs(place.folder / "out").values()
    assert [len(batch.snapshots) for batch in batches[4:]] == [1, 1, 1, 1]


def test_a_look_cannot_exceed_what_the_relay_takes() -> None:
    relay = (Path(__file__).parents[2] / "src" / "plan" / "aggregate.rs").read_text()
    found = re.search(r"MAX_CELLS: usize = ([\d_]+);", relay)
    assert found
    endpoints = 10_000  # the setting's largest value
    assert watch.MAX_PENDING_CELLS + endpoints * (1 + len(answers.PERCENTILES)) < int(found[1]) * 0.75


def test_names_that_are_given_hold_for_the_next_test(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.run(lambda: place.request(1))
    place.naming = Naming("shop", "", "here-sidecar", {})
    place.run(lambda: place.request(1), place.stop, lambda: place.start(2))
    assert "--test shop holds for the next test that starts" in caplog.text
    runs = read_runs(place.folder / "out")
    assert [batches[0].header["test"] for batches in runs.values()] == ["a", "shop"]


@pytest.mark.parametrize(
    ("url", "to", "same"),
    [
        ("HTTP://Locust:80/", "s3://bucket/prefix/", True),
        ("http://locust", "s3://bucket/prefix", True),
        ("http://locust/base", "s3://bucket/prefix", False),
        ("http://locust:8089", "s3://bucket/prefix", False),
        ("https://locust:80", "s3://bucket/prefix", False),
        ("http://locust", "s3://bucket", False),
        ("http://locust", "file:///prefix", False),
    ],
)
def test_the_same_locust_however_it_is_spelled(tmp_path: Path, url: str, to: str, same: bool) -> None:
    one = Checkpoint(tmp_path, Address.parse("http://locust/"), To.parse("s3://bucket/prefix"))
    one.close()
    other = Checkpoint(tmp_path, Address.parse(url), To.parse(to))
    other.close()
    assert (one.folder == other.folder) == same


def test_s3_away(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.store.fails = True
    place.request(3)
    assert place.run(lambda: place.request(4))
    assert "batches wait in" in caplog.messages[-1]
    assert sum("cannot upload" in message for message in caplog.messages) == 1
    place.store.fails = False
    assert place.run(lambda: None)
    assert place.told == 7
    assert not list((place.folder / "spool").glob("[!.]*"))


def test_locust_answers_something_else_for_a_while(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.request(3)
    place.locust.answers["/stats/requests"] = lambda *_: (502, {}, b"<h1>bad gateway")
    heal = lambda: place.locust.answers.clear()  # noqa: E731
    place.run(lambda: None, lambda: place.request(1), heal, lambda: place.request(1))
    assert place.told == 5
    said = [message for message in caplog.messages if "trying again" in message]
    assert len(said) == 1
    assert "expected status 200 from /stats/requests, found 502: '<h1>bad gateway'" in said[0]
    assert sum("answers after" in message for message in caplog.messages) == 1


def test_a_report_that_cannot_be_read_is_only_a_help(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.locust.answers["/stats/report"] = lambda *_: (500, {}, b"too large")
    place.run(lambda: place.request(3))
    place.run(lambda: place.request(4))
    assert place.told == 7
    assert len(read_runs(place.folder / "out")) == 1
    assert "does not tell when its statistics start" in caplog.text


def test_counts_are_told_when_locust_ends_in_the_middle_of_a_look(place: Place) -> None:
    place.run(lambda: place.request(3))
    place.request(4)
    place.locust.answers["/exceptions/csv"] = lambda *_: (503, {}, b"")
    place.run()
    assert place.told == 7


def test_two_tests_are_two_runs(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    def stop() -> None:
        place.model.state = "stopped"

    def start() -> None:
        place.model.clear()
        place.model.state = "running"
        place.request(5)

    for _ in range(3):
        place.request(1)
    place.run(stop, start, lambda: place.request(1))
    runs = read_runs(place.folder / "out")
    assert sorted(sum(t.requests for t in sums(run).values()) for run in runs.values()) == [3, 6]
    assert sum("the test has ended, Locust counts 3 requests" in message for message in caplog.messages) == 1


def test_a_second_sidecar_for_the_same_is_refused(place: Place) -> None:
    first = place.sidecar()
    with pytest.raises(CheckpointError, match="another sidecar brings http://127"):
        place.sidecar()
    first.run(Script())
    place.sidecar().run(Script())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"state": {"version": 7}, "batch": null}'])
def test_a_state_that_is_none_is_refused(place: Place, content: str) -> None:
    place.run(lambda: place.request(1))
    (file,) = (place.folder / "spool").glob(".sidecar-*/state.json")
    file.write_text(content)
    with pytest.raises(CheckpointError, match=r"expected the sidecar's state in .*state\.json"):
        place.sidecar()


def test_a_spool_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="expected a folder that can be written as --spool"):
        Checkpoint(tmp_path / "file", Address.parse("http://x"), To.parse("file:///x"))


def test_it_needs_neither_locust_nor_gevent() -> None:
    code = (
        "import sys, locust_hook.sidecar.command\n"
        "assert not {'locust', 'gevent', 'flask', 'requests'} & set(sys.modules), sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- Settings -------------------------------------------------------------------------------------

GIVEN = ("--url", "http://locust:8089", "--to", "file:///batches")


def test_settings_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\n")
    found = read(
        ["--url", "https://locust/base", "--flush-seconds", "5", "--labels", "a=b"],
        {
            "LOCUST_RELAY_TO": "s3://bucket/prefix",
            "LOCUST_RELAY_FLUSH_SECONDS": "7",
            "LOCUST_RELAY_POLL_SECONDS": "2",
            "LOCUST_RELAY_USERNAME": "ann",
            "LOCUST_RELAY_PASSWORD_FILE": str(tmp_path / "password"),
        },
    )
    assert (found.recording.flush_seconds, found.poll_seconds) == (5.0, 2.0)
    assert (found.recording.to.bucket, found.recording.labels) == ("bucket", {"a": "b"})
    assert (found.url.host, found.url.path) == ("locust", "/base")
    assert found.login is not None
    assert (found.login.username, found.login.password, found.login.path) == ("ann", "geheim", "")
    assert "geheim" not in repr(found)
    assert read(GIVEN, {}).login is None


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ((), {}, "expected http://host[:port][/path] or https://…, found '' (option --url, environment"),
        (("--url", "http://x"), {}, "expected where batches go as --to (or LOCUST_RELAY_TO)"),
        (
            (*GIVEN, "--poll-seconds", "0"),
            {},
            "expected a number from 0.1 to 60, found '0' (option --poll-seconds",
        ),
        (GIVEN, {"LOCUST_RELAY_LABELS": "x"}, "environment LOCUST_RELAY_LABELS"),
        (
            (*GIVEN, "--ca-bundle", "/dev/null/x"),
            {},
            "expected certificates in PEM as --ca-bundle /dev/null/x",
        ),
        ((*GIVEN, "--username", "ann"), {}, "expected both --username"),
        (GIVEN, {"LOCUST_RELAY_PASSWORD": "geheim"}, "expected both --username"),
        ((*GIVEN, "--username", "a", "--password-file", "/dev/null/x"), {}, "/dev/null/x: Not a directory"),
        (
            (*GIVEN, "--username", "a", "--password-file", "/dev/null"),
            {"LOCUST_RELAY_PASSWORD": "geheim"},
            "found both",
        ),
        ((*GIVEN, "--username", "a", "--password-file", "/dev/null"), {}, "expected a password of 1 to"),
        (
            (*GIVEN, "--username", "a", "--login-path", "login"),
            {"LOCUST_RELAY_PASSWORD": "geheim"},
            "a path that begins with a slash as --login-path",
        ),
        ((*GIVEN, "--password", "geheim"), {}, "unrecognized arguments"),
    ],
)
def test_settings_that_do_not_parse(
    arguments: tuple[str, ...], environment: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        read(arguments, environment)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert "geheim" not in said or "unrecognized" in said
