"""`python -m cost` says what it knows, and clearly what it cannot do."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from cost import prices, variants
from cost.__main__ import main
from cost.preview import MAX_FILES, relay
from tests.replay.recorded import Run

RUN = Run("checkout", "20261121T110900Z-4f3a", 1_795_259_340_000, length_ms=120_000)
NUMBERS = ("--requests", "50", "--endpoints", "12", "--workers", "2", "--hours", "1.5")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    RUN.write(tmp_path / "archive")
    return tmp_path / "archive"


def as_json(capsys: pytest.CaptureFixture[str], relay_binary: Path, *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json", "--relay", str(relay_binary)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_people_get_tables(capsys: pytest.CaptureFixture[str], relay_binary: Path) -> None:
    assert main([*NUMBERS, "--relay", str(relay_binary)]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0] == "50 requests/s to 12 endpoints, by 2 workers and a master, 1 h 30 min"
    assert lines[1].startswith("270,000 requests in 1,621 batches from 3 Locust processes")
    assert lines[2] == (
        "List prices of us-east-1 as quoted by sources of 2024 to June 2026, compared on 2026-11-21,"
    )
    assert [line for line in lines if line.startswith("Unconfirmed: ")] == [
        f"Unconfirmed: {what}." for what in prices.UNCONFIRMED
    ]
    for text in ("S3 PUT: ledger", "$0.005 per 1,000", "in all", "dashboards", "RELAY_RESOLUTION_SECONDS=60"):
        assert text in said
    assert max(map(len, lines[:30])) < 120, "it fits into a window"


def test_machines_get_json(capsys: pytest.CaptureFixture[str], archive: Path, relay_binary: Path) -> None:
    found = as_json(capsys, relay_binary, str(archive))
    assert found["name"] == f"{RUN.test} / {RUN.run}"
    assert found["prices"] == {"region": "us-east-1", "quoted": "2024 to June 2026", "as_of": "2026-11-21"}
    assert found["looking"]["dollars"] == pytest.approx(
        sum(item["dollars"] for item in found["looking"]["items"])
    )
    assert found["counts"]["batches"] == 12
    assert found["dollars"] == pytest.approx(sum(item["dollars"] for item in found["items"]))
    assert found["dollars_per_hour"] == pytest.approx(
        sum(item["dollars_per_hour"] for item in found["items"])
    )
    for item in (*found["items"], *found["monthly"]):
        if item["name"] != "CloudWatch: custom metrics":
            assert item["dollars"] == pytest.approx(
                item["number"] / item["unit_price"]["per"] * item["unit_price"]["dollars"]
            )


def test_other_settings_are_planned_anew(
    capsys: pytest.CaptureFixture[str], archive: Path, relay_binary: Path
) -> None:
    found = as_json(capsys, relay_binary, str(archive))
    counts = found["counts"]
    others = {variant["name"]: variant["counts"] for variant in found["variants"]}
    requests, failures = (
        8 * RUN.requests,
        counts["log_events"] - others["RELAY_LOG_REQUESTS=none"]["log_events"],
    )
    assert 0 < failures < requests
    assert others["RELAY_LOG_REQUESTS=all"]["log_events"] == counts["log_events"] - failures + requests
    slow = [others[f"RELAY_RESOLUTION_SECONDS={seconds}"]["metric_data"] for seconds in (10, 60)]
    assert counts["metric_data"] > slow[0] > slow[1]
    # Of four request metrics, one set of dimensions is gone.
    assert others["RELAY_DIMENSION_SETS=Test;Test,Method,Name"]["metrics"] == counts["metrics"] - 4
    longer = others["--relay-flush-seconds 90"]
    assert (longer["batches"], longer["requests"]) == (6, counts["requests"])


def test_settings_of_the_environment_hold(
    capsys: pytest.CaptureFixture[str],
    archive: Path,
    relay_binary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RELAY_RESOLUTION_SECONDS", "60")
    monkeypatch.setenv("RELAY_DIMENSION_SETS", "Test")
    found = as_json(capsys, relay_binary, str(archive))
    assert found["settings"]["RELAY_RESOLUTION_SECONDS"] == "60"
    names = {variant["name"] for variant in found["variants"]}
    assert "RELAY_RESOLUTION_SECONDS=10" in names
    assert not any(name.startswith("RELAY_DIMENSION_SETS") or name.endswith("=60") for name in names)
    monkeypatch.setenv("RELAY_RESOLUTION_SECONDS", "7")
    assert main([str(archive), "--relay", str(relay_binary)]) == 2
    assert "RELAY_RESOLUTION_SECONDS: expected 1, 5, 10, 30" in capsys.readouterr().err


def test_the_function_s_time_and_size_can_be_told(
    capsys: pytest.CaptureFixture[str], archive: Path, relay_binary: Path
) -> None:
    options = ("--lambda-ms", "2000", "--lambda-mb", "2048", "--architecture", "arm64")
    found = as_json(capsys, relay_binary, str(archive), *options)
    [duration] = [item for item in found["items"] if item["name"] == "Lambda: GB-seconds"]
    assert duration["number"] == pytest.approx(12 * 2 * 2)
    assert duration["dollars"] == pytest.approx(48 * 0.0000133334)


def test_a_variant_that_cannot_be_planned_is_named(
    capsys: pytest.CaptureFixture[str], archive: Path, relay_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "OTHERS", (("RELAY_MAX_ENDPOINTS", "no"),))
    found = as_json(capsys, relay_binary, str(archive))
    [note] = [note for note in found["notes"] if note.startswith("RELAY_MAX_ENDPOINTS=no cannot be tried")]
    assert "expected a number from 1 to 10000" in note
    assert len(found["variants"]) == 2


def test_missing_batches_are_said(
    capsys: pytest.CaptureFixture[str], archive: Path, relay_binary: Path
) -> None:
    next(archive.rglob("000001.*")).unlink()
    found = as_json(capsys, relay_binary, str(archive))
    assert found["notes"][-1].endswith("in the estimate: 1 of the run's batches.")


def test_a_dashboard_that_is_watched_is_priced(
    capsys: pytest.CaptureFixture[str], archive: Path, relay_binary: Path
) -> None:
    found = as_json(capsys, relay_binary, str(archive), "--refresh-seconds", "10")
    queries, metrics = (item["dollars"] for item in found["looking"]["items"])
    assert found["looking"]["dollars_during_test"] == pytest.approx(12 * (queries / 2 + metrics))
    assert main([str(archive), "--refresh-seconds", "10", "--relay", str(relay_binary)]) == 0
    dollars = f"${found['looking']['dollars_during_test']:.4f}"
    assert f"each 10 s while it runs, 12 times: {dollars}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--refresh-seconds", "0"], "--refresh-seconds: expected 1 to 86,400, found 0"),
        (["--requests", "many"], "expected a number from 0.01 to 1e+07, found 'many'"),
        (["--endpoints", "1.5"], "expected a whole number from 1 to 10000, found '1.5'"),
        (["--hours", "nan"], "expected a number from 0.01 to 8760, found 'nan'"),
        (["folder", "--workers", "3"], "found both: folder and --workers"),
        (["--run", "x"], "expected an ADDRESS beside --test and --run"),
        (["--lambda-ms", "0"], "--lambda-ms: expected 1 to 900,000, found 0"),
        (["--lambda-mb", "64"], "--lambda-mb: expected 128 to 10,240, found 64"),
    ],
)
def test_wrong_options_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_estimated_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, archive: Path, relay_binary: Path
) -> None:
    def said(*arguments: str, binary: Path = relay_binary) -> str:
        assert main([*arguments, "--relay", str(binary)]) == 2
        return capsys.readouterr().err

    assert "expected a folder or s3://bucket[/prefix], found" in said(str(tmp_path / "nowhere"))
    assert "expected the batches of a run in" in said(str(archive), "--test", "other")
    assert "expected at most 20,000 requests/s of one process" in said(
        "--requests", "100000", "--workers", "2"
    )
    assert f"expected the compiled relay at {tmp_path / 'none'}" in said(*NUMBERS, binary=tmp_path / "none")
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho '{\"batches\": 1}'\n")
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    assert "expected a preview from" in said(*NUMBERS, binary=other)
    next(archive.rglob("000002.*")).write_bytes(b"not a batch")
    assert "expected gzip or zstd, found 'not a batch'" in said(str(archive))


def test_a_truncated_batch_is_named(
    capsys: pytest.CaptureFixture[str], archive: Path, relay_binary: Path
) -> None:
    batch = sorted(archive.rglob("000002.*"))[1]
    batch.write_bytes(batch.read_bytes()[:-20])
    assert main([str(archive), "--relay", str(relay_binary)]) == 2
    assert "the relay cannot plan this" in capsys.readouterr().err


def test_files_of_one_preview_are_bounded(relay_binary: Path, tmp_path: Path) -> None:
    plan = relay(relay_binary)
    assert plan([], {}).batches == 0
    with pytest.raises(Exception, match=r"expected at most 50,000 batches an hour, found 50,001"):
        plan([tmp_path / "x"] * (MAX_FILES + 1), {})


def test_readme_tells_what_the_command_says(capsys: pytest.CaptureFixture[str], relay_binary: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme.partition("## What it costs")[2].partition("\n## ")[0]
    [numbers, total] = re.findall(r"make cost (REQUESTS=.*?) +#.*\$([\d.]+)", section)[0]
    options = [
        part for name, value in re.findall(r"(\w+)=(\S+)", numbers) for part in (f"--{name.lower()}", value)
    ]
    found = as_json(capsys, relay_binary, *options)
    assert found["dollars"] == pytest.approx(float(total), rel=0.1)
    monthly = sum(item["dollars"] for item in found["monthly"])
    assert monthly == pytest.approx(
        float(re.findall(r"\| each month \|.*\| \$([\d.]+) \|", section)[0]), rel=0.1
    )
    [look] = re.findall(r"^\| each look at the dashboard \| [^|]+\| \$([\d.]+) \|$", section, re.MULTILINE)
    assert found["looking"]["dollars"] == pytest.approx(float(look), rel=0.1)
    assert f"as quoted by sources of {prices.QUOTED}, compared on {prices.AS_OF}" in section
    lines = re.findall(r"^\| (?!each )[^|]+\| [^|]+\| \$([\d.]+) \|$", section, re.MULTILINE)
    assert sum(map(float, lines)) == pytest.approx(found["dollars"], rel=0.1)
