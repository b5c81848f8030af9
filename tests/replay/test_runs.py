"""The list of what an archive holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from locust_hook.commands.runs import main
from tests.replay.conftest import Command, Replays
from tests.replay.recorded import DAY_MS, MINUTE_MS, Run

OLD = Run("checkout", "20261012T110015Z-4f3a", 1_791_802_815_000)
NEW = Run("checkout", "named", 1_791_802_815_000 + 7 * DAY_MS, length_ms=MINUTE_MS, sources=("host-local",))
IDLE = Run("idle", "20261013T110015Z-0000", 1_791_802_815_000 + DAY_MS, sources=("host-master",))


def failures(run: Run) -> int:
    return sum(request.exception is not None for batch in run.batches() for request in batch.requests)


def expected(run: Run, start: str, requests: int) -> dict[str, object]:
    batches = list(run.batches())
    return {
        "test": run.test,
        "run": run.run,
        "sources": len(run.sources),
        "batches": len(batches),
        "missing_batches": 0,
        "bytes": sum(len(batch.content()) for batch in batches),
        "start": start,
        "start_ms": run.started_ms,
        "end_ms": run.end_ms,
        "requests": requests,
        "failures": failures(run),
        "error": None,
    }


ALL = [
    expected(NEW, "2026-10-19T11:00:15Z", 80),
    expected(IDLE, "2026-10-13T11:00:15Z", 0),
    expected(OLD, "2026-10-12T11:00:15Z", 960),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for run in (OLD, NEW, IDLE):
        run.write(tmp_path)
    return tmp_path


def test_the_command_lists_runs_as_json(folder: Path) -> None:
    command = [sys.executable, "-m", "locust_hook", "runs", str(folder), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == ALL
    assert result.stderr == "listed objects: 50\nread batches: [" + "#" * 30 + "] 50 of 50 (100%)\n"


def test_the_list_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == [
        "test", "run", "start (UTC)", "length", "sources", "batches", "size", "requests", "failures",
    ]  # fmt: skip
    assert cells[3][:6] == ["checkout", OLD.run, "2026-10-12 11:00:15", "6 min", "3", "36"]
    assert cells[3][7:] == ["960", f"{failures(OLD)}"]


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        (["--test", "idle"], [IDLE]),
        (["--run", "named"], [NEW]),
        (["--test", "idle", "--run", "named"], []),
        (["--since", "2026-10-13"], [NEW, IDLE]),
        (["--until", "2026-10-13T11:00:15Z"], [OLD]),
        (["--since", "2026-10-13T11:00:15Z", "--until", "2026-10-19T13:00:15+02:00"], [IDLE]),
        (["--limit", "2"], [NEW, IDLE]),
        (["--quick"], [NEW, IDLE, OLD]),
    ],
)
def test_selecting(
    folder: Path, arguments: list[str], runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--json", *arguments]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [(one["test"], one["run"]) for one in found] == [(run.test, run.run) for run in runs]
    assert [one["requests"] is None for one in found] == ["--quick" in arguments] * len(runs)
    assert ("1 older runs are not listed" in shown.err) == ("--limit" in arguments)


def test_what_cannot_be_read_is_said_and_the_rest_is_listed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = folder / next(iter(OLD.batches())).key
    broken.write_bytes(broken.read_bytes()[:-30])
    (folder / list(OLD.batches())[-2].key).unlink()
    assert main([str(folder), "--json"]) == 1
    *others, last = json.loads(capsys.readouterr().out)
    assert others == ALL[:2]
    assert (last["batches"], last["missing_batches"], last["requests"]) == (35, 1, None)
    assert last["error"] == f"{broken}: expected a whole batch, found truncated gzip data"
    assert main([str(folder)]) == 1
    assert f"checkout/{OLD.run}: 1 batches are missing\n" in capsys.readouterr().out


def test_an_empty_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().err == "no runs found\n"
    assert main([str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_what_is_no_archive(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/no/such/folder"]) == 2
    assert "expected a folder or s3://bucket[/prefix], found '/no/such/folder'" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--limit", "0"], ["--since", "noon"], ["--parallel", "65"]])
def test_options_are_checked(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([".", *option])
    assert exit_.value.code == 2


def test_a_bucket_with_a_run_in_cold_storage(cloud: Replays, command: Command) -> None:
    listed = [run.at(run.started_ms, test=f"listed-{run.test}") for run in (OLD, IDLE)]
    cloud.archive(listed[0])
    cloud.archive(listed[1], StorageClass="GLACIER")
    outcome = command("runs", f"s3://{cloud.bucket}", "--test", "listed-checkout", "--json")
    assert outcome.code == 0, outcome.err
    (found,) = json.loads(outcome.out)
    assert (found["requests"], found["start_ms"], found["sources"]) == (960, OLD.started_ms, 3)
    outcome = command("runs", f"s3://{cloud.bucket}", "--test", "listed-idle", "--json")
    assert outcome.code == 1
    (found,) = json.loads(outcome.out)
    assert found["error"] == "12 of its batches lie in cold storage and must be restored first"
    assert (found["batches"], found["requests"], found["start"]) == (12, None, None)
