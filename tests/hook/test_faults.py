"""What goes wrong around a run: S3, the disk, the process. Nothing sealed is lost, and losses are told."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from local_aws import LocalAws
from tests.hook.locusts import Bench, Locust, free_port, master_arguments, wait_for
from tests.hook.reader import Batch, counts, read, read_folder

BUCKET = "load-tests"


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    """S3 on this machine."""
    with LocalAws() as aws:
        aws.enforce_iam = False
        yield aws


@pytest.fixture
def s3(aws: LocalAws, bench: Bench) -> Iterator[S3]:
    """A bucket of its own for each test, without faults from the test before."""
    aws.faults.clear()
    aws.calls.clear()
    client = aws.client("s3")
    bucket = f"{BUCKET}-{bench.folder.name.lower().replace('_', '-')}"[:60].strip("-.")
    client.create_bucket(Bucket=bucket)
    bench.environment = aws.environment()
    yield S3(aws, client, bucket)
    aws.faults.clear()


class S3:
    """A bucket and what is in it."""

    def __init__(self, aws: LocalAws, client: Any, bucket: str) -> None:
        self.aws = aws
        self.client = client
        self.bucket = bucket

    @property
    def to(self) -> str:
        """The value of --relay-to."""
        return f"s3://{self.bucket}/some/prefix"

    def batches(self) -> list[Batch]:
        """All batches, each checked."""
        found = []
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for item in page.get("Contents", []):
                assert item["Key"].startswith("some/prefix/batches/visitors/")
                found.append(read(self.client.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read()))
        identities = {(b.header["run"], b.header["source"], b.header["seq"]) for b in found}
        assert len(identities) == len(found)
        return found


def gapless(batches: list[Batch]) -> None:
    """Checks that no batch of any source is missing in between."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for batch in batches:
        numbers.setdefault((batch.header["run"], batch.header["source"]), []).append(batch.header["seq"])
    for found in numbers.values():
        assert sorted(found) == list(range(len(found)))


def test_s3_is_down_for_half_of_the_run(bench: Bench, s3: S3) -> None:
    fault = s3.aws.faults.add(kind="error503", service="s3", operation="PutObject", times=None)
    locust = bench.leader(to=s3.to, run_time=4)
    fault.wait_hit(1)
    locust.says("relay: cannot upload, batches wait in")
    wait_for(lambda: len(bench.spooled) >= 3, "three waiting batches", locust)
    s3.aws.faults.clear()
    output = locust.ends()
    assert counts(s3.batches()) == bench.counted
    assert output.count("relay: cannot upload") == 1
    assert len(re.findall(r"relay: uploads to .* work again after \d+ s", output)) == 1
    assert "nothing lost" in output
    assert bench.spooled == []


@pytest.mark.parametrize("kind", ["cut_after", "cut_before", "throttle", "error500"])
def test_no_batch_is_stored_twice_or_lost_when_calls_fail_now_and_then(
    bench: Bench, s3: S3, kind: Any
) -> None:
    s3.aws.faults.add(kind=kind, service="s3", operation="PutObject", times=3, skip=1)
    locust = bench.leader(to=s3.to, run_time=2)
    output = locust.ends()
    assert counts(s3.batches()) == bench.counted
    assert "nothing lost" in output
    if kind == "cut_after":  # the second attempt finds the batch of the first
        assert 412 in [call.status for call in s3.aws.calls.of("s3", "PutObject")]


def test_s3_away_at_the_end_is_waited_for_within_bounds_and_the_next_start_catches_up(
    bench: Bench, s3: S3
) -> None:
    s3.aws.faults.add(kind="error503", service="s3", operation="PutObject", times=None)
    locust = bench.leader("--relay-final-flush-seconds", "1", to=s3.to)
    output = locust.ends()
    waiting = len(bench.spooled)
    assert waiting >= 3
    assert re.search(rf"relay: run .* {waiting} batches wait in {bench.spool}; nothing lost", output)
    assert s3.batches() == []
    first = bench.counted
    s3.aws.faults.clear()
    output = bench.leader(to=s3.to, run_time=1).ends()
    assert f"relay: uploading {waiting} batches" in output
    assert bench.spooled == []
    runs = sorted({batch.header["run"] for batch in s3.batches()})
    assert counts(batch for batch in s3.batches() if batch.header["run"] == runs[0]) == first
    assert counts(batch for batch in s3.batches() if batch.header["run"] == runs[1]) == bench.counted
    assert list(bench.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        ("bucket", "NoSuchBucket"),
        ("credentials", "Unable to locate credentials"),
        ("endpoint", "Could not connect"),
    ],
)
def test_a_destination_that_never_works_does_not_disturb_the_test(
    bench: Bench, s3: S3, break_it: str, words: str
) -> None:
    to = "s3://no-such-bucket" if break_it == "bucket" else s3.to
    environment = {}
    if break_it == "credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            bench.environment[name] = ""
    if break_it == "endpoint":
        environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
    output = bench.leader("--relay-final-flush-seconds", "0.5", to=to, run_time=1, **environment).ends()
    assert output.count("relay: cannot upload") == 1
    assert words in output
    assert "nothing lost" in output
    assert bench.spooled != []
    assert "testing" not in output.replace("load-testing", ""), "no credentials in the log"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_local_runner_is_told_to_end(bench: Bench, s3: S3, number: signal.Signals) -> None:
    locust = bench.leader(to=s3.to, run_time=None)
    wait_for(s3.batches, "a stored batch", locust)
    locust.signal(number)
    output = locust.ends()
    assert "nothing lost" in output
    assert counts(s3.batches()) == bench.counted


def test_the_exit_code_of_the_user_stays(bench: Bench, s3: S3) -> None:
    bench.leader(to=s3.to, run_time=1, EXIT_CODE="3").ends(code=3)
    assert counts(s3.batches()) == bench.counted


def test_a_worker_is_told_to_end_and_another_joins_late(bench: Bench, s3: S3) -> None:
    port = free_port()
    master = bench.leader("--enable-rebalancing", *master_arguments(port, 2), to=s3.to, run_time=None)
    workers = [bench.worker(port), bench.worker(port)]
    wait_for(lambda: sources(s3) == {"master": 1, "worker": 2}, "batches of both workers", master)
    workers[0].signal(signal.SIGTERM)
    workers[0].ends()
    workers.append(bench.worker(port))
    wait_for(lambda: sources(s3) == {"master": 1, "worker": 3}, "batches of the new worker", master)
    master.signal(signal.SIGTERM)
    for process in (master, *workers[1:]):
        process.ends()
    found = s3.batches()
    assert sum(len(batch.rows) for batch in found) == sum(requests_told(p.output) for p in bench.processes)
    for endpoint, (count, _, _) in bench.counted.items():  # a worker that ends alone sends no last statistics
        assert counts(found)[endpoint][0] >= count
    # Locust itself starts the test anew when a worker leaves while users are being spawned.
    assert len({batch.header["run"] for batch in found}) == master.output.count("goes to s3://")
    gapless(found)


def sources(s3: S3) -> dict[str, int]:
    """How many masters and workers have stored batches with something in them."""
    kinds: dict[str, set[str]] = {}
    for batch in s3.batches():
        if batch.rows or batch.users:
            kind = "master" if batch.header["source"].endswith("-master") else "worker"
            kinds.setdefault(kind, set()).add(batch.header["source"])
    return {kind: len(names) for kind, names in kinds.items()}


def test_workers_whose_master_vanished_store_everything(bench: Bench, s3: S3) -> None:
    port = free_port()
    bench.environment["MASTER_TIMEOUT"] = "2"
    master = bench.leader(*master_arguments(port, 2), to=s3.to, run_time=None)
    workers = [bench.worker(port), bench.worker(port)]
    wait_for(lambda: sources(s3) == {"master": 1, "worker": 2}, "batches of both workers", master)
    master.signal(signal.SIGKILL)
    master.ends(code=-signal.SIGKILL)
    told = 0
    for worker in workers:
        output = worker.ends(code=None)
        assert "nothing lost" in output
        told += requests_told(output)
    found = s3.batches()
    assert sum(len(batch.rows) for batch in found if "-worker-" in batch.header["source"]) == told
    gapless(found)


def requests_told(output: str) -> int:
    """How many requests a process says it recorded."""
    (count,) = re.findall(r"relay: run \S+: ([\d,]+) requests in", output)
    return int(count.replace(",", ""))


def has_spooled(bench: Bench, count: int) -> bool:
    """Whether so many batches wait."""
    return len(bench.spooled) >= count


def test_two_processes_are_killed_and_the_next_one_uploads_what_they_sealed(bench: Bench, s3: S3) -> None:
    fault = s3.aws.faults.add(kind="error503", service="s3", operation="PutObject", times=None)
    for _ in range(2):
        locust = bench.leader(to=s3.to, run_time=None)
        enough = len(bench.spooled) + 3
        wait_for(partial(has_spooled, bench, enough), "waiting batches", locust)
        locust.signal(signal.SIGKILL)
        locust.ends(code=-signal.SIGKILL)
        killed_ms = time.time() * 1000
        last = max(read(path.read_bytes()).header["to_ms"] for path in bench.spooled)
        assert killed_ms - last < 5_000, "only the last, unsealed interval is lost"
    assert fault.hits > 0
    sealed = [read(path.read_bytes()) for path in bench.spooled]
    s3.aws.faults.clear()
    bench.leader(to=s3.to, run_time=1).ends()
    found = s3.batches()
    assert len({batch.header["run"] for batch in found}) == 3
    gapless(found)
    now = max(batch.header["run"] for batch in found)
    old = [batch for batch in found if batch.header["run"] != now]
    assert counts(old) == counts(sealed)
    assert counts(batch for batch in found if batch.header["run"] == now) == bench.counted
    assert list(bench.spool.iterdir()) == []


def test_a_killed_worker_leaves_its_batches_to_its_successor(bench: Bench, s3: S3) -> None:
    port = free_port()
    master = bench.leader("--enable-rebalancing", *master_arguments(port, 2), to=s3.to, run_time=None)
    workers = [bench.worker(port), bench.worker(port)]
    wait_for(lambda: sources(s3) == {"master": 1, "worker": 2}, "batches of both workers", master)
    s3.aws.faults.add(kind="error503", service="s3", operation="PutObject", times=None)
    wait_for(lambda: len(bench.spooled) >= 6, "waiting batches", master)
    workers[0].signal(signal.SIGKILL)
    workers[0].ends(code=-signal.SIGKILL)
    s3.aws.faults.clear()
    workers.append(bench.worker(port))
    wait_for(lambda: sources(s3) == {"master": 1, "worker": 3}, "batches of the new worker", master)
    master.signal(signal.SIGTERM)
    for process in (master, *workers[1:]):
        process.ends()
    gapless(s3.batches())
    assert bench.spooled == []
    assert list(bench.spool.iterdir()) == []


def test_a_living_process_keeps_its_spool(bench: Bench, s3: S3) -> None:
    s3.aws.faults.add(kind="error503", service="s3", operation="PutObject", times=None)
    first = bench.leader(to=s3.to, run_time=None)
    wait_for(lambda: len(bench.spooled) >= 2, "waiting batches", first)
    output = bench.leader("--relay-final-flush-seconds", "0", to=s3.to, run_time=1).ends()
    assert "left by earlier processes" not in output
    s3.aws.faults.clear()
    first.signal(signal.SIGTERM)
    first.ends()
    gapless(s3.batches())


def test_the_spool_cannot_be_written(bench: Bench, s3: S3) -> None:
    bench.spool.write_text("not a folder")
    output = bench.leader(to=s3.to, run_time=2).ends()
    assert output.count(f"relay: cannot write the spool {bench.spool}, batches wait in memory") == 1
    assert counts(s3.batches()) == bench.counted
    assert "nothing lost" in output


def test_the_disk_is_full_and_s3_is_away(bench: Bench, s3: S3) -> None:
    """On 64 KiB the first batches fit; what stays in memory at the end is lost, and told to the last one."""
    bench.spool.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(bench.spool)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        s3.aws.faults.add(kind="error503", service="s3", operation="PutObject", times=None)
        locust = bench.leader("--relay-final-flush-seconds", "0", to=s3.to, run_time=None)
        locust.says("batches wait in memory")
        locust.signal(signal.SIGTERM)
        output = locust.ends()
        lost = int(re.findall(r"LOST ([\d,]+) requests", output)[0].replace(",", ""))
        counted = sum(row[0] for row in bench.counted.values())
        kept = [read(path.read_bytes()) for path in bench.spooled]
        assert lost > 0
        assert sum(len(batch.rows) for batch in kept) == counted - lost
    finally:
        subprocess.run(["umount", str(bench.spool)], check=True)


def test_expired_credentials_are_picked_up_when_renewed(bench: Bench, s3: S3) -> None:
    s3.aws.enforce_iam = True
    try:
        files = {"AWS_SHARED_CREDENTIALS_FILE": str(bench.folder / "credentials")}
        good = {key.lower(): bench.environment.pop(key) for key in list(bench.environment) if "KEY" in key}
        Path(files["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
            "[default]\naws_access_key_id = AKIAEXPIREDEXPIRED00\naws_secret_access_key = none\n"
        )
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.pop(key, None)
        locust = bench.leader(to=s3.to, run_time=None, **files)
        locust.says("relay: cannot upload")
        lines = "".join(f"{key} = {value}\n" for key, value in good.items())
        Path(files["AWS_SHARED_CREDENTIALS_FILE"]).write_text(f"[default]\n{lines}")
        locust.says("work again")
        locust.signal(signal.SIGTERM)
        locust.ends()
        assert counts(s3.batches()) == bench.counted
    finally:
        s3.aws.enforce_iam = False
        os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")


def post(url: str, **form: str) -> None:
    """A click in the web UI."""
    response = requests.post(url, data=form, timeout=10)
    if response.status_code == 405:  # older versions of Locust
        response = requests.get(url, timeout=10)
    response.raise_for_status()


def statistics(url: str) -> dict[tuple[str, str], tuple[int, int]]:
    """What the web UI shows: (method, name) → requests, failures."""
    text = requests.get(f"{url}/stats/requests/csv", timeout=10).content.decode()
    rows = csv.DictReader(text.splitlines())
    counted = {(r["Type"], r["Name"]): (int(r["Request Count"]), int(r["Failure Count"])) for r in rows}
    return {endpoint: numbers for endpoint, numbers in counted.items() if endpoint[0] and numbers[0]}


def without_none(batches: list[Batch]) -> dict[tuple[str, str], tuple[int, int]]:
    """Requests and failures by endpoint."""
    return {key: row[:2] for key, row in counts(batches).items()}


def test_several_runs_of_one_process_in_the_web_ui(bench: Bench) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    locust = bench.start(
        *("--locustfile", str(Path(__file__).parent / "visitors.py"), "--host", bench.host),
        *("--web-host", "127.0.0.1", "--web-port", str(port), "--exit-code-on-error", "0"),
        *("--relay-to", bench.out.as_uri(), "--relay-spool", str(bench.spool)),
        *("--relay-flush-seconds", "0.5"),
    )  # fmt: skip
    locust.says("Starting web interface")
    wait_for(lambda: answers(url), "an answer of the web UI", locust)
    page = requests.get(url, timeout=10).text
    assert "relay_test" in page
    assert "relay_spool" not in page, "what belongs to the machine is not for the web"
    shown = []
    for number, form in enumerate(({}, {"relay_test": "second", "relay_labels": "a=b"})):
        post(f"{url}/swarm", user_count="4", spawn_rate="100", **form)
        locust.says("goes to" if not number else "of test second goes to")
        wait_for(partial(has_runs, bench, number + 1), "a stored batch", locust)
        if number == 0:
            post(f"{url}/stats/reset")
        post(f"{url}/stop")
        wait_for(partial(has_ended, locust, number + 1), "the run's last line", locust)
        shown.append(statistics(url))
    post(f"{url}/swarm", user_count="4", spawn_rate="100", relay_labels="wrong")
    locust.says("relay: this run is not recorded: expected labels as name=value,name=value, found 'wrong'")
    locust.signal(signal.SIGTERM)
    locust.ends()
    found = runs(bench)
    assert len(found) == 2
    first, second = (
        found[run] for run in sorted(found, key=lambda run: found[run][0].header["run_started_ms"])
    )
    assert without_none(second) == shown[1]
    assert {batch.header["test"] for batch in second} == {"second"}
    assert second[0].header["labels"] == {"a": "b"}
    told = [int(count.replace(",", "")) for count in re.findall(r": ([\d,]+) requests in", locust.output)]
    assert sum(len(batch.rows) for batch in first) in told
    events = [event["kind"] for batch in first for event in batch.events]
    assert "reset_stats" in events
    assert sum(len(batch.rows) for batch in first) > sum(row[0] for row in shown[0].values()), (
        "a reset loses nothing"
    )


def test_two_runs_of_a_worker_under_one_id(bench: Bench) -> None:
    port, web_port = free_port(), free_port()
    url = f"http://127.0.0.1:{web_port}"
    master = bench.start(
        *("--locustfile", str(Path(__file__).parent / "visitors.py"), "--host", bench.host),
        *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)),
        *("--web-host", "127.0.0.1", "--web-port", str(web_port), "--exit-code-on-error", "0"),
        *("--relay-to", bench.out.as_uri(), "--relay-spool", str(bench.spool)),
        *("--relay-flush-seconds", "0.5", "--relay-run", "fixed"),
    )  # fmt: skip
    worker = bench.worker(port)
    master.says("Starting web interface")
    wait_for(lambda: answers(url), "an answer of the web UI", master)
    master.says("1 workers connected")
    for number in range(2):
        post(f"{url}/swarm", user_count="4", spawn_rate="100")
        wait_for(partial(has_sources, bench, "worker", number + 1), "a stored batch", worker)
        post(f"{url}/stop")
        wait_for(partial(has_stopped, master, number + 1), "the end of the run", master)
    master.signal(signal.SIGTERM)
    for process in (master, worker):
        process.ends()
    told = re.findall(r"relay: run fixed: ([\d,]+) requests in", worker.output)
    assert len(told) == 2
    assert worker.output.count("nothing lost") == 2
    batches = [batch for run in runs(bench).values() for batch in run]
    stored = sum(len(batch.rows) for batch in batches if "-worker-" in batch.header["source"])
    assert stored == sum(int(count.replace(",", "")) for count in told)


def has_sources(bench: Bench, kind: str, count: int) -> bool:
    """Whether batches of so many sources of a kind are stored."""
    found = {batch.header["source"] for batches in runs(bench).values() for batch in batches}
    return sum(f"-{kind}-" in source for source in found) >= count


def has_stopped(master: Locust, count: int) -> bool:
    """Whether the master has said the last line of so many runs."""
    return len(re.findall(r"relay: run fixed: .* nothing lost", master.output)) >= count


def has_runs(bench: Bench, count: int) -> bool:
    """Whether batches of so many runs are stored."""
    return len(runs(bench)) >= count


def has_ended(locust: Locust, count: int) -> bool:
    """Whether so many runs have said their last line."""
    return locust.output.count("nothing lost") >= count


def answers(url: str) -> bool:
    """Whether the web UI is there."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def runs(bench: Bench) -> dict[str, list[Batch]]:
    """Run → its batches."""
    found: dict[str, list[Batch]] = {}
    for batches in read_folder(bench.out).values():
        for batch in batches:
            found.setdefault(batch.header["run"], []).append(batch)
    return found
