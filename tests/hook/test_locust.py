"""The hook in real Locust processes, in every way in which they can be arranged."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

import locust_hook
from tests.hook.locusts import VISITORS, Bench, free_port, master_arguments
from tests.hook.reader import Batch, counts, read_folder


def check_one_run(bench: Bench, kinds: list[str]) -> dict[tuple[str, str], list[Batch]]:
    """Checks that the batches tell exactly what Locust counted, in one run; returns them by source."""
    sources = read_folder(bench.out)
    batches = [batch for source in sources.values() for batch in source]
    assert counts(batches) == bench.counted
    assert sorted(name.split("-")[-2 if "-worker-" in name else -1] for _, name in sources) == kinds
    for key in ("run", "test", "run_started_ms", "host", "locust", "hook", "labels"):
        assert len({str(batch.header[key]) for batch in batches}) == 1, key
    for source in sources.values():
        for before, after in pairwise(source):
            assert before.header["to_ms"] <= after.header["from_ms"]
    assert bench.spooled == []
    return sources


def test_a_local_run(bench: Bench) -> None:
    output = bench.leader("--relay-labels", "commit=4f3a, stage=größe").ends()
    sources = check_one_run(bench, ["local"])
    (batches,) = sources.values()
    header = batches[0].header
    assert header["test"] == "visitors"
    assert header["labels"] == {"commit": "4f3a", "stage": "größe"}
    assert header["host"] == bench.host
    assert header["locust"] == bench.locust_version
    assert header["hook"] == locust_hook.__version__
    assert len(batches) >= 3
    assert ("SETUP", "before the test") not in bench.counted
    assert bench.counted["SETUP", "set up"] == bench.counted["SETUP", "tear down"] == (1, 0, 0)
    kinds = [event["kind"] for batch in batches for event in batch.events]
    assert kinds == ["test_start", "spawning_complete", "test_stop", "quitting"]
    users = [user for batch in batches for user in batch.users]
    assert users[-1]["total"] == 0
    assert {"at_ms": users[1]["at_ms"], "total": 8, "by_class": {"FastVisitor": 4, "Visitor": 4}} in users
    assert {exception["message"] for batch in batches for exception in batch.exceptions} == {
        "ValueError: boo"
    }
    rows = [row for batch in batches for row in batch.rows]
    assert {(row.status, row.error) for row in rows if row.name == "/disliked"} == {
        (200, "CatchResponseError('not what I wanted')")
    }
    assert {row.status for row in rows if row.name == "http://127.0.0.1:9/"} == {None}
    run = header["run"]
    assert f"relay: run {run} of test visitors goes to {bench.out.as_uri()}" in output
    total = sum(requests for requests, _, _ in bench.counted.values())
    assert f"relay: run {run}: {total:,} requests in {len(batches)} batches" in output
    assert "nothing lost" in output


@pytest.mark.parametrize("processes", ["2", "-1"])
def test_worker_processes_of_one_machine(bench: Bench, processes: str) -> None:
    bench.leader("--processes", processes).ends()
    count = int(processes) if processes != "-1" else os.cpu_count() or 1
    sources = check_one_run(bench, ["master", *["worker"] * count])
    for (_, name), batches in sources.items():
        is_master = name.endswith("-master")
        assert any(batch.users for batch in batches) == is_master
        assert not (is_master and any(batch.exceptions for batch in batches))


def test_workers_are_told_nothing(bench: Bench) -> None:
    port = free_port()
    master = bench.leader(*master_arguments(port, 2), "--relay-test", "a test/ä", "--relay-run", "nightly ~1")
    workers = [bench.worker(port), bench.worker(port)]
    for process in (master, *workers):
        process.ends()
    sources = read_folder_encoded(bench)
    assert {batch.header["test"] for batches in sources.values() for batch in batches} == {"a test/ä"}
    assert {batch.header["run"] for batches in sources.values() for batch in batches} == {"nightly ~1"}
    assert counts(batch for batches in sources.values() for batch in batches) == bench.counted
    assert len(sources) == 3
    assert (bench.out / "batches" / "a%20test%2F%C3%A4" / "nightly%20%7E1").is_dir()
    events = [event["kind"] for batches in sources.values() for batch in batches for event in batch.events]
    assert events.count("worker_connect") == 2


def read_folder_encoded(bench: Bench) -> dict[str, list[Batch]]:
    """Batches by source, where the key's parts are encoded."""
    from tests.hook.reader import read

    sources: dict[str, list[Batch]] = {}
    for path in sorted(bench.out.rglob("*.ndjson.gz")):
        batch = read(path.read_bytes())
        sources.setdefault(batch.header["source"], []).append(batch)
    return sources


def test_without_a_change_to_the_locustfile_and_attached_twice(bench: Bench) -> None:
    bench.start(
        *("run", "-f", str(VISITORS), "--host", bench.host, "--headless", "--users", "4", "--run-time", "1s"),
        *("--only-summary", "--exit-code-on-error", "0"),
        module="locust_hook",
        environment={
            "LOCUST_RELAY_TO": bench.out.as_uri(),
            "LOCUST_RELAY_SPOOL": str(bench.spool),
            "LOCUST_RELAY_FLUSH_SECONDS": "0.5",
        },
    ).ends()  # fmt: skip
    check_one_run(bench, ["local"])


def test_as_a_second_locustfile(bench: Bench) -> None:
    mine = bench.folder / "mine.py"
    mine.write_text(
        "from locust import HttpUser, task\n"
        "class Visitor(HttpUser):\n"
        "    @task\n"
        "    def page(self):\n"
        "        self.client.get('/page/1')\n"
    )
    plugin = Path(locust_hook.__file__).with_name("plugin.py")
    bench.start(
        *("-f", f"{mine},{plugin}", "--host", bench.host, "--headless", "--run-time", "1s"),
        *("--relay-to", bench.out.as_uri(), "--relay-spool", str(bench.spool)),
    ).ends()  # fmt: skip
    ((_, batches),) = read_folder(bench.out).items()
    assert {batch.header["test"] for batch in batches} == {"mine"}
    assert counts(batches).keys() == {("GET", "/page/1")}


def test_nothing_set_nothing_done(bench: Bench) -> None:
    output = bench.start(
        *("-f", str(VISITORS), "--host", bench.host, "--headless", "--users", "1", "--run-time", "1s"),
        *("--exit-code-on-error", "0"),
        environment={"XDG_CACHE_HOME": str(bench.folder / "cache")},
    ).ends()  # fmt: skip
    assert output.count("relay:") == 1
    assert "nothing is recorded, because --relay-to (or LOCUST_RELAY_TO) is not set" in output
    assert not (bench.folder / "cache").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("to", "http://bucket", "expected s3://bucket[/prefix] or file:///folder, found 'http://bucket'"),
        ("to", "s3://Bad_Bucket", "found the bucket name 'Bad_Bucket'"),
        ("to", "file://folder", "three slashes"),
        ("labels", "a", "expected labels as name=value,name=value, found 'a'"),
        ("flush-seconds", "soon", "expected a number from 0.1 to 3600, found 'soon'"),
        ("flush-seconds", "nan", "expected a number from 0.1 to 3600, found 'nan'"),
        ("spool-limit-mb", "1.5", "expected an integer from 1 to 1e+06, found '1.5'"),
        ("test", "ä" * 100, "expected a test name of at most 255 bytes"),
        ("run", "..", "expected a run id that is not only dots"),
    ],
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_setting_that_does_not_parse_stops_the_start(
    bench: Bench, way: str, name: str, value: str, words: str
) -> None:
    variable = "LOCUST_RELAY_" + name.replace("-", "_").upper()
    option = (f"--relay-{name}", value) if way == "option" else ()
    bench.environment = {} if way == "option" else {variable: value}
    process = bench.start("-f", str(VISITORS), "--headless", *option)
    output = process.ends(code=2)
    assert words in output
    assert f"(option --relay-{name}, environment {variable})" in output
