"""A recorder without Locust: what happens when a batch cannot be made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from locust_hook.destination import Address
from locust_hook.recording import encode as encode_module
from locust_hook.recording import recorder as recorder_module
from locust_hook.recording.columns import Columns
from locust_hook.recording.recorder import Recorder, Run
from locust_hook.recording.settings import OPTIONS, parse
from locust_hook.recording.spool import Spool


def until(condition: Callable[[], Any]) -> None:
    """Lets greenlets run until the condition holds."""
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.001)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """One that is in a run and uploads to a folder, and flushes when it is asked."""
    texts = {option.name: option.default for option in OPTIONS}
    to = Address.parse(f"file://{tmp_path}/out").url
    settings = parse({**texts, "to": to, "spool": str(tmp_path / "spool"), "flush-seconds": "600"})
    assert settings is not None
    columns = Columns(100)
    columns.begin(100, [])
    recorder = Recorder(settings, Run("t", "r", 0, ""), "s", columns, versions=("1", "1"))
    recorder.start()
    yield recorder
    recorder.finish()


def request(recorder: Recorder, count: int = 1) -> None:
    for _ in range(count):
        recorder.columns.on_request("GET", "/", 1.0, 1)


def fail(*_: Any) -> Any:
    raise RuntimeError("nobody expects this")


def stored(recorder: Recorder) -> list[str]:
    return sorted(path.name for path in Path(recorder.settings.to.path).rglob("*.gz"))


@pytest.mark.parametrize("broken", [(encode_module, "encode"), (encode_module, "compress"), (Spool, "seal")])
def test_a_batch_that_cannot_be_made_is_counted_and_the_next_one_is_made(
    recorder: Recorder,
    broken: tuple[Any, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as broke:
        broke.setattr(*broken, fail)
        request(recorder, 3)
        recorder.flush_soon()
        until(lambda: recorder.dropped == 3)
        request(recorder, 2)
        recorder.flush_soon()
        until(lambda: recorder.dropped == 5)
    assert caplog.text.count("relay: cannot make a batch") == 1
    assert "its 3 requests are lost: RuntimeError('nobody expects this')" in caplog.text
    request(recorder)
    recorder.flush_soon()
    until(lambda: stored(recorder) == ["000002.ndjson.gz"])
    assert recorder.finish()
    assert recorder.summary().endswith("; LOST 5 requests")


def test_counting_users_cannot_end_the_recording(recorder: Recorder) -> None:
    recorder._count_users = fail
    recorder.flush_soon()
    until(lambda: recorder._said_errors)
    recorder._count_users = None
    request(recorder)
    recorder.flush_soon()
    until(lambda: stored(recorder) == ["000000.ndjson.gz"])


def test_a_last_flush_that_fails_is_not_called_nothing_lost(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    request(recorder)
    with monkeypatch.context() as broke:
        broke.setattr(recorder.columns, "take", fail)
        recorder.finish()
    assert "its requests are LOST" in recorder.summary()
    assert "nothing lost" not in recorder.summary()


def test_a_sealed_batch_is_kept_when_the_spool_cannot_be_measured(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    request(recorder)
    with monkeypatch.context() as broke:
        broke.setattr(Path, "stat", denied)
        broke.setattr("os.scandir", denied)
        recorder.flush()
    assert (recorder.dropped, recorder.uploader.totals.requests) == (0, 1)


def test_memory_is_bounded_while_the_disk_hangs(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(recorder_module, "MAX_BYTES", 10_000)
    seal, (hangs, go_on) = Spool.seal, os.pipe()

    def slow(*batch: Any) -> Any:
        os.read(hangs, 1)
        return seal(*batch)

    monkeypatch.setattr(Spool, "seal", slow)
    request(recorder, 3)
    recorder.flush_soon()
    until(lambda: not recorder.columns.requests)
    try:
        request(recorder, 1_000)
        until(lambda: recorder.dropped == 1_000)
        request(recorder, 2)
    finally:
        os.write(go_on, b"..")
    assert recorder.finish()
    assert recorder.uploader.totals.requests == 5
    assert recorder.summary().endswith("; LOST 1,000 requests")
    os.close(hangs)
    os.close(go_on)


@pytest.mark.parametrize(
    ("now", "length", "share", "due"),
    [
        (100.003, 10, 1, 110),  # a moment late: no drift
        (100.9, 10, 1, 110),
        (100.9, 10, 0.0, 101),  # the first interval
        (100.2, 10, 0.55, 105),
        (100.0, 10, 0.0, 101),
        (100.7, 1, 1, 101),
        (100.7, 0.5, 0.3, 101.2),  # shorter than a second: as it comes
    ],
)
def test_batches_end_at_whole_seconds(
    recorder: Recorder, now: float, length: float, share: float, due: float
) -> None:
    recorder.clock = lambda: now
    recorder.settings = replace(recorder.settings, flush_seconds=length)
    assert recorder._due(share) == pytest.approx(due)
