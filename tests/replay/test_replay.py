"""Replays end to end: what CloudWatch shows of them is what it showed of the run, at another time."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from locust_hook.commands import archive, replay_plan
from locust_hook.commands.archive import ArchiveError, Folder, Item, by_run
from locust_hook.commands.replay_target import CONFLICTS, ReplayError, Target
from tests.replay.conftest import Command, Replays, same
from tests.replay.recorded import DAY_MS, HOUR_MS, MINUTE_MS, Run

NOW_MS = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
"""The minute in which the tests began."""

OLD = Run("checkout", "20261012T110015Z-4f3a", NOW_MS - 40 * DAY_MS + 15_123)
TODAY = Run("checkout", "20261121T110000Z-0001", NOW_MS - HOUR_MS, length_ms=2 * MINUTE_MS, seed=2)
LONG = Run(
    "soak", "20261001T000000Z-00aa", NOW_MS - 51 * DAY_MS, length_ms=5 * HOUR_MS + 20 * MINUTE_MS,
    interval_ms=20 * MINUTE_MS, sources=("host-local",), seed=3,
)  # fmt: skip
TOTAL = "Requests", (), "Sum"


@pytest.fixture(scope="module")
def shown(cloud: Replays) -> Any:
    """The old run's metrics as CloudWatch showed them: those of the same run an hour ago, live."""
    twin = OLD.at(OLD.started_ms + 40 * DAY_MS - HOUR_MS, test="twin")
    cloud.publish(twin)
    cloud.archive(OLD)
    cloud.archive(LONG)
    cloud.publish(TODAY)
    assert cloud.failed_events() == []
    found = cloud.minutes("twin", twin.started_ms - OLD.started_ms)
    assert len({at[2] for at in found}) == OLD.length_ms // MINUTE_MS + 1, "in seven minutes"
    requests = sum(total for (name, dimensions, _), (_, total, _) in found.items()
                   if name == "Requests" and not dimensions)  # fmt: skip
    assert requests == 2 * 12 * OLD.requests
    return found


@pytest.fixture(autouse=True)
def untouched(cloud: Replays, shown: Any) -> Any:
    """No replay changes the archive, or what is shown of live tests."""
    archive, live = cloud.objects_under("batches/"), cloud.minutes("checkout")
    assert live
    yield
    after = cloud.objects_under("batches/")
    assert {key: after.get(key) for key in archive} == archive
    assert cloud.minutes("checkout") == live


def copy_plainly(cloud: Replays, run: Run, name: str) -> None:
    """What `aws s3 cp --recursive` does."""
    for batch in run.batches():
        cloud.s3.copy_object(
            Bucket=cloud.bucket, Key=f"replays/{name}/{batch.key.removeprefix('batches/')}",
            CopySource={"Bucket": cloud.bucket, "Key": batch.key},
        )  # fmt: skip


def test_by_plain_copy_in_any_order_by_four_relays(cloud: Replays, shown: Any) -> None:
    cloud.aws.notifications.hold()
    copy_plainly(cloud, OLD, "copied")
    assert cloud.aws.notifications.release(random.Random(7)) == 36  # noqa: S311
    cloud.settle()
    assert cloud.failed_events() == []
    shift_ms = cloud.shift_ms(OLD, "copied")
    began_before_ms = time.time_ns() // 1_000_000 - (OLD.started_ms + shift_ms)
    assert 170 * MINUTE_MS <= began_before_ms < 175 * MINUTE_MS
    assert same(cloud.minutes("checkout@copied", shift_ms), shown)


def test_by_command_killed_and_resumed(
    cloud: Replays, shown: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (f"s3://{cloud.bucket}", "--name", "by command", "--test", "checkout", "--run", OLD.run)
    halted = cloud.aws.faults.add(kind="timeout", operation="CopyObject", skip=10, times=None)
    process = subprocess.Popen(
        [sys.executable, "-m", "locust_hook", "replay", *arguments, "--parallel", "4"],
        env={**os.environ, **cloud.aws.environment(role_arn=cloud.operator_role)},
        stdout=subprocess.DEVNULL,
    )
    try:
        halted.wait_hit(4)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        cloud.aws.faults.clear()
    cloud.settle()
    in_place = cloud.objects_under("replays/by%20command/")
    assert 10 <= len(in_place) < 36
    shift_ms = cloud.shift_ms(OLD, "by%20command")

    parse_time = replay_plan.parse_time
    monkeypatch.setattr(replay_plan, "parse_time", lambda text: parse_time(text) + 5 * MINUTE_MS)
    resumed = command("replay", *arguments)
    assert resumed.code == 0, resumed.err
    assert f"begun before: {len(in_place)} of 36 batches are in place" in resumed.out
    assert re.search(
        r"published as test checkout@by command, (39 d 23 h|40 d( \d+ (h|min))?) later", resumed.out
    )
    assert "within minutes" in resumed.out
    assert "costs about $0.00" in resumed.out
    assert cloud.failed_events() == []
    assert cloud.shift_ms(OLD, "by%20command") == shift_ms
    after = cloud.objects_under("replays/by%20command/")
    assert len(after) == 36
    assert {key: after[key] for key in in_place} == in_place, "nothing is copied twice"
    assert same(cloud.minutes("checkout@by command", shift_ms), shown)

    again = command("replay", *arguments)
    assert (again.code, "36 of 36 batches are in place" in again.out) == (0, True)
    assert same(cloud.minutes("checkout@by command", shift_ms), shown)

    moved = command("replay", *arguments, "--start", "now")
    assert moved.code == 1
    assert "what is published cannot be moved, choose another --name" in moved.err
    assert cloud.shift_ms(OLD, "by%20command") == shift_ms


def test_interrupting_says_how_to_go_on(cloud: Replays) -> None:
    halted = cloud.aws.faults.add(kind="timeout", operation="CopyObject", times=None)
    process = subprocess.Popen(
        [sys.executable, "-m", "locust_hook", "replay", f"s3://{cloud.bucket}/batches/checkout", "--run",
         OLD.run, "--name", "interrupted"],
        env={**os.environ, **cloud.aws.environment(role_arn=cloud.operator_role)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    halted.wait_hit()
    process.send_signal(signal.SIGINT)
    cloud.aws.faults.clear()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    cloud.settle()


def test_from_a_folder(cloud: Replays, shown: Any, command: Command, tmp_path: Path) -> None:
    OLD.write(tmp_path)
    arguments = (tmp_path, "--name", "folder", "--to", f"s3://{cloud.bucket}")
    outcome = command("replay", *arguments, "--start", "now")
    assert outcome.code == 0, outcome.err
    assert cloud.failed_events() == []
    shift_ms = cloud.shift_ms(OLD, "folder")
    # Not NOW_MS: that is when the tests were collected, which may be long ago.
    assert abs(OLD.started_ms + shift_ms - time.time() * 1000) < 10 * MINUTE_MS
    assert same(cloud.minutes("checkout@folder", shift_ms), shown)


def test_from_another_bucket(cloud: Replays, command: Command) -> None:
    run = Run("elsewhere", "r1", NOW_MS - 300 * DAY_MS, length_ms=MINUTE_MS)
    cloud.s3.create_bucket(Bucket="old-archive")
    cloud.s3.put_bucket_policy(Bucket="old-archive", Policy=json.dumps({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": cloud.operator_role},
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": ["arn:aws:s3:::old-archive", "arn:aws:s3:::old-archive/*"],
        }],
    }))  # fmt: skip
    cloud.archive(run, "old-archive")
    before = cloud.objects_under("", "old-archive")
    moment = "2026-11-21T00:00" if NOW_MS - 2 * DAY_MS < 1_795_219_200_000 < NOW_MS else "now"
    outcome = command(
        "replay", "s3://old-archive", "--to", f"s3://{cloud.bucket}", "--name", "n", "--end", moment
    )
    assert outcome.code == 0, outcome.err
    assert cloud.failed_events() == []
    requests = cloud.aws.metrics.distribution("Locust", "Requests", {"Test": "elsewhere@n"})
    assert requests.sum == 2 * 2 * run.requests
    assert cloud.objects_under("", "old-archive") == before


def test_a_run_of_over_five_hours(cloud: Replays, command: Command) -> None:
    copy_plainly(cloud, LONG, "copied")
    cloud.settle()
    failed = cloud.failed_events()
    assert failed
    for record in failed:
        assert record["responsePayload"]["errorType"] == "TimestampTooNew"
        assert "takes runs of up to 4 h 30 min" in record["responsePayload"]["errorMessage"]
        assert "python -m locust_hook replay" in record["responsePayload"]["errorMessage"]

    outcome = command("replay", f"s3://{cloud.bucket}", "--test", "soak", "--name", "whole")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("CloudWatch shows") == 2
    assert cloud.failed_events() == []
    shift_ms = cloud.shift_ms(LONG, "whole")
    found = cloud.minutes("soak@whole", shift_ms)
    requests = [
        total for (name, dimensions, _), (_, total, _) in found.items()
        if name == "Requests" and not dimensions
    ]  # fmt: skip
    assert sum(requests) == 16 * LONG.requests
    minutes = [minute for *_, minute in found]
    assert LONG.started_ms // MINUTE_MS <= min(minutes)
    assert max(minutes) <= LONG.end_ms // MINUTE_MS


def test_uploading_again_in_place_is_skipped(cloud: Replays) -> None:
    run = Run("again", "r", NOW_MS - HOUR_MS, length_ms=MINUTE_MS)
    cloud.publish(run)
    log, before = cloud.relay_log(), cloud.minutes("again")
    assert before
    cloud.publish(run)
    assert cloud.failed_events() == []
    assert cloud.minutes("again") == before
    skipped = cloud.relay_log().removeprefix(log)
    assert skipped.count("batch was relayed before: skipped. To publish it again, copy it to replays/") == 6


def test_an_old_live_batch_says_how_to_replay_it(cloud: Replays) -> None:
    old = Run("late", "r", NOW_MS - 15 * DAY_MS, length_ms=MINUTE_MS, sources=("host-local",))
    cloud.publish(old)
    failed = cloud.failed_events()
    assert len(failed) == 2
    for record in failed:
        assert record["responsePayload"]["errorType"] == "TimestampTooOld"
        assert "copy it to replays/<name>/<test>/<run>/<source>/" in record["responsePayload"]["errorMessage"]


def test_a_dry_run_changes_nothing(cloud: Replays, command: Command) -> None:
    before = cloud.objects_under("")
    outcome = command(
        "replay", f"s3://{cloud.bucket}/batches/checkout", "--run", OLD.run, "--name", "dry", "--dry-run"
    )
    assert outcome.code == 0, outcome.err
    assert "3 sources, 36 batches" in outcome.out
    assert "dry run: 36 batches would be copied, nothing was done" in outcome.out
    assert cloud.objects_under("") == before


def test_cold_batches_are_said_to_need_restoring(cloud: Replays, command: Command) -> None:
    cold = Run("cold", "r", NOW_MS - 100 * DAY_MS, length_ms=MINUTE_MS, sources=("host-local",))
    cloud.archive(cold, StorageClass="DEEP_ARCHIVE")
    arguments = (f"s3://{cloud.bucket}", "--test", "cold", "--name", "warm")
    outcome = command("replay", *arguments)
    assert outcome.code == 1
    assert "2 of 2 batches lie in cold storage (DEEP_ARCHIVE); 0 of them are being restored" in outcome.err
    assert "aws s3api restore-object --bucket" in outcome.err
    assert cloud.objects_under("replays/warm/") == {}

    for batch in cold.batches():
        cloud.s3.restore_object(Bucket=cloud.bucket, Key=batch.key, RestoreRequest={"Days": 3})
    if command("replay", *arguments).code:  # moto takes its time, as S3 does
        pytest.fail("restored batches are replayed")
    assert cloud.failed_events() == []
    requests = cloud.aws.metrics.distribution("Locust", "Requests", {"Test": "cold@warm"})
    assert requests.sum == 2 * cold.requests
    classes = {
        entry["StorageClass"]
        for entry in cloud.s3.list_objects_v2(Bucket=cloud.bucket, Prefix="replays/warm/")["Contents"]
    }
    assert classes == {"STANDARD"}


def test_an_anchor_that_is_none_is_said(cloud: Replays, command: Command) -> None:
    key = f"ledger/odd/checkout/{OLD.run}/anchor.json"
    cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=b'{"shift_ms": "soon"}')
    outcome = command(
        "replay", f"s3://{cloud.bucket}", "--test", "checkout", "--run", OLD.run, "--name", "odd"
    )
    assert outcome.code == 1
    assert f's3://{cloud.bucket}/{key}: expected {{"shift_ms": <integer>}}' in outcome.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--run", "none", "--name", "x"], "found none: `python -m locust_hook runs` lists what there is"),
        (["--test", "checkout", "--run", OLD.run, "--name", "x", "--keep-time"], "what CloudWatch takes now"),
        (
            ["--test", "checkout", "--run", OLD.run, "--name", "x", "--start", "2037-01-01"],
            "choose --end now",
        ),
        (["--test", "checkout", "--name", "x"], "select less (--test, --run, --since, --until)"),
        (["--since", "2036-01-01", "--name", "x"], "found none"),
        (
            ["--test", "checkout", "--run", OLD.run, "--name", "x", "--to", "s3://no-such-bucket"],
            "AccessDenied",
        ),
        (
            ["--test", "checkout", "--run", OLD.run, "--name", "x", "--to", "file:///tmp"],
            "expected the relay's bucket",
        ),
    ],
)
def test_what_cannot_be_is_said(cloud: Replays, command: Command, arguments: list[str], error: str) -> None:
    before = cloud.objects_under("replays/")
    outcome = command("replay", f"s3://{cloud.bucket}", *arguments)
    assert (outcome.code, cloud.objects_under("replays/")) == (1, before)
    assert error in outcome.err


@pytest.mark.parametrize("name", ["", "live", "x" * 129, "é" * 65, ".."])
def test_names_that_the_relay_would_not_take(command: Command, name: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as exit_:
        command("replay", tmp_path, "--name", name)
    assert exit_.value.code == 2


# Single steps -----------------------------------------------------------------------------------------


def test_a_copy_that_fails_says_how_far_it_came(
    cloud: Replays, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring = Target.bring

    def failing(self: Target, source: archive.Archive, item: Item) -> None:
        if item.source == "host-worker-2" and item.seq == 0:
            raise ArchiveError("s3://x: no more")
        bring(self, source, item)

    arguments = (f"s3://{cloud.bucket}", "--test", "checkout", "--run", OLD.run, "--name", "failing")
    monkeypatch.setattr(Target, "bring", failing)
    outcome = command("replay", *arguments, "--parallel", "1")
    assert outcome.code == 1
    assert "replay: s3://x: no more\n24 of 36 batches are copied: the same command goes on" in outcome.err
    monkeypatch.undo()


class Answers:
    """An S3 client that answers every write with the next of some HTTP statuses."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.calls: list[dict[str, Any]] = []

    def put_object(self, **arguments: Any) -> None:
        self.calls.append(arguments)
        if (status := self.statuses.pop(0)) != 200:
            answer: Any = {"Error": {"Code": "Code"}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(answer, "PutObject")


@pytest.mark.parametrize(
    ("statuses", "well"),
    [([200], True), ([412], True), ([409, 409, 200], True), ([409] * 3, False), ([403], False)],
)
def test_writes_are_conditional_and_conflicts_are_tried_again(
    tmp_path: Path, statuses: list[int], well: bool
) -> None:
    TODAY.write(tmp_path)
    source = Folder(tmp_path)
    item = source.items()[0]
    client = Answers(*statuses)
    target = Target(client, "b", "n", "ledger/")
    if well:
        target.bring(source, item)
    else:
        with pytest.raises(ArchiveError, match=r"s3://b/replays/n/checkout/.*/000000\.ndjson\.gz: "):
            target.bring(source, item)
    assert len(client.calls) == len(statuses) <= CONFLICTS
    assert {call["IfNoneMatch"] for call in client.calls} == {"*"}


def test_copies_are_conditional(cloud: Replays) -> None:
    client = cloud.aws.client("s3")
    source = archive.Bucket(client, "a", "")
    item = Item("t", "r", "s", 7, "batches/t/r/s/000007.ndjson.gz", 10)
    expected = {
        "Bucket": "b", "Key": "replays/n/t/r/s/000007.ndjson.gz", "IfNoneMatch": "*",
        "CopySource": {"Bucket": "a", "Key": item.key}, "StorageClass": "STANDARD",
        "TaggingDirective": "REPLACE",
    }  # fmt: skip
    with Stubber(client) as stub:
        stub.add_client_error("copy_object", "PreconditionFailed", "", 412, expected_params=expected)
        Target(client, "b", "n", "ledger/").bring(source, item)
        stub.assert_no_pending_responses()


def test_whoever_sets_the_anchor_first_decides(cloud: Replays, tmp_path: Path) -> None:
    TODAY.write(tmp_path)
    (run,) = by_run(Folder(tmp_path).items())
    target = Target(cloud.s3, cloud.bucket, "contested", "ledger/")
    assert target.anchor(run) is None
    target.set_anchor(run, MINUTE_MS)
    target.set_anchor(run, MINUTE_MS)
    with pytest.raises(ReplayError, match="moved by 60000 ms and not 120000 ms"):
        target.set_anchor(run, 2 * MINUTE_MS)
    assert target.anchor(run) == MINUTE_MS
