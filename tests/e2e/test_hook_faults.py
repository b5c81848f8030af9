"""Faults on the load generator's side: CloudWatch shows what Locust counted, less what the hook says is lost.

Only uploads of batches are struck, by their keys: the relay's own objects and calls are left alone.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pytest

from examples.reconcile import Endpoint, Numbers, differences, from_locust
from local_aws.faults import Fault, Kind
from tests.e2e.batches import Request, each_request, read
from tests.e2e.conftest import DELIVERY_SECONDS, Cloud
from tests.e2e.runs import SHOP, STATISTICS, USERS, Run
from tests.hook.locusts import Bench, Locust, wait_for

pytestmark = pytest.mark.timeout(300)


class LoadGenerator:
    """A machine that runs Locust in one process at a time, always with the same spool."""

    def __init__(self, cloud: Cloud, bench: Bench) -> None:
        self.cloud = cloud
        self.bench = bench
        self.began = datetime.now(timezone.utc)

    def statistics(self, test: str) -> Path:
        """Where Locust writes what it counted in a test; not when it is killed."""
        return self.bench.folder / f"{test}.json"

    def locust(self, test: str, *arguments: str) -> Locust:
        """Starts a test that seals a batch each half second, until it is told to end."""
        return self.bench.start(
            *("run", "--locustfile", f"{SHOP},{STATISTICS}", "--host", self.bench.host),
            *("--headless", "--only-summary", "--exit-code-on-error", "0"),
            *("--users", str(USERS), "--spawn-rate", "100"),
            *("--statistics-file", str(self.statistics(test))),
            *("--relay-to", self.cloud.relay_to, "--relay-test", test, "--relay-flush-seconds", "0.5"),
            *("--relay-spool", str(self.bench.spool), *arguments),
            module="locust_hook",
        )  # fmt: skip

    def fault(self, test: str, kind: Kind, times: int | None) -> Fault:
        """Strikes the next uploads of a test's batches; `times`: how many, None for all."""
        return self.cloud.aws.faults.add(
            kind=kind, service="s3", operation="PutObject", match=f"/batches/{test}/", times=times
        )

    def answers(self, test: str) -> list[int | None]:
        """The status of each upload of a test so far; None where the connection was cut."""
        calls = self.cloud.aws.calls.of("s3", "PutObject")
        return [call.status for call in calls if f"/batches/{test}/" in call.resource]

    def await_stored(self, test: str, locust: Locust) -> None:
        """Waits until one more batch of a test is stored."""
        before = self.answers(test).count(200)
        wait_for(lambda: self.answers(test).count(200) > before, "a stored batch", locust)

    def await_spooled(self, count: int, locust: Locust) -> None:
        """Waits until so many batches wait in the spool."""
        wait_for(lambda: len(self.bench.spooled) >= count, f"{count} waiting batches", locust)

    def relayed(self, test: str, counted: dict[Endpoint, Numbers]) -> Run:
        """A test of which all that was stored is relayed, beside what was counted of it."""
        self.cloud.function.wait_idle(timeout=DELIVERY_SECONDS)
        assert self.cloud.failed_events() == []
        return Run(self.cloud, test, self.began, datetime.now(timezone.utc), counted)

    def counted(self, test: str) -> Run:
        """The same of a test that ended by itself, with what Locust counted."""
        return self.relayed(test, from_locust(self.statistics(test)))

    def agrees(self, test: str) -> None:
        """Checks that CloudWatch shows all that Locust counted in a test."""
        run = self.counted(test)
        assert total(run.locust) > 0
        assert differences(run.locust, run.cloudwatch) == []

    def catches_up(self, test: str, words: str) -> None:
        """Starts Locust for a test, which says that it uploads what was left, and ends it when it did."""
        locust = self.locust(test)
        locust.says(words)
        self.await_stored(test, locust)
        assert lost(ended(locust)) == 0
        assert list(self.bench.spool.iterdir()) == []
        self.agrees(test)


@pytest.fixture
def generator(cloud: Cloud, tmp_path: Path) -> Iterator[LoadGenerator]:
    bench = Bench(tmp_path, cloud.host, cloud.uploader_environment)
    yield LoadGenerator(cloud, bench)
    bench.end_all()
    cloud.aws.faults.clear()


def ended(locust: Locust) -> str:
    """Tells Locust to end and waits for it; its output."""
    locust.signal(signal.SIGTERM)
    return locust.ends()


def lost(output: str) -> int:
    """How many requests the hook says are lost, in the one line that it ends with."""
    assert "the last flush did not end in time" not in output, "how many, it does not know"
    ((nothing, number),) = re.findall(
        r"relay: run \S+: .*; (?:(nothing lost)|LOST ([\d,]+) requests)", output
    )
    return 0 if nothing else int(number.replace(",", ""))


def recovered(locust: Locust, times: int) -> bool:
    """Whether uploads came back so often."""
    return locust.output.count("work again") == times


def by_endpoint(requests: Iterable[Request]) -> dict[Endpoint, Numbers]:
    """Single requests, counted as Locust's statistics count them."""
    total: Counter[Endpoint] = Counter()
    failed: Counter[Endpoint] = Counter()
    timed: Counter[Endpoint] = Counter()
    for request in requests:
        endpoint = Endpoint(request.method, request.name)
        total[endpoint] += 1
        failed[endpoint] += request.error is not None
        timed[endpoint] += request.time_us is not None
    return {key: Numbers(total[key], failed[key], timed[key], None, {}) for key in total}


def total(numbers: dict[Endpoint, Numbers]) -> int:
    """The requests of all endpoints."""
    return sum(number.requests for number in numbers.values())


def test_s3_is_down_in_the_middle_of_a_run(generator: LoadGenerator) -> None:
    locust = generator.locust("down-in-the-middle")
    generator.await_stored("down-in-the-middle", locust)
    cut = generator.fault("down-in-the-middle", "cut_before", times=1)
    away = generator.fault("down-in-the-middle", "error503", times=None)
    cut.wait_hit()
    away.wait_hit()
    generator.await_spooled(3, locust)
    generator.cloud.aws.faults.clear()
    locust.says("work again")
    assert lost(ended(locust)) == 0
    assert generator.bench.spooled == []
    generator.agrees("down-in-the-middle")


def test_batches_are_stored_but_the_answers_get_lost(generator: LoadGenerator) -> None:
    locust = generator.locust("answers-lost")
    for times in (1, 2):
        generator.await_stored("answers-lost", locust)
        cut = generator.fault("answers-lost", "cut_after", times=1)
        storm = generator.fault("answers-lost", "error503", times=1)
        cut.wait_hit()
        storm.wait_hit()
        wait_for(partial(recovered, locust, times), "an upload", locust)
    assert lost(ended(locust)) == 0
    answers = generator.answers("answers-lost")
    assert (answers.count(None), answers.count(503), answers.count(412)) == (2, 2, 2)
    generator.agrees("answers-lost")


def test_s3_is_down_until_the_end_and_the_next_start_catches_up(generator: LoadGenerator) -> None:
    locust = generator.locust("down-at-the-end", "--relay-final-flush-seconds", "0.5")
    generator.await_stored("down-at-the-end", locust)
    generator.fault("down-at-the-end", "error503", times=None)
    generator.await_spooled(3, locust)
    output = ended(locust)
    waiting = len(generator.bench.spooled)
    assert f"; {waiting} batches wait in {generator.bench.spool}; nothing lost" in output
    before = generator.counted("down-at-the-end")
    assert total(before.cloudwatch) < total(before.locust)
    generator.cloud.aws.faults.clear()
    generator.catches_up("down-at-the-end-next", f"relay: uploading {waiting} batches")
    generator.agrees("down-at-the-end")


def test_a_killed_process_leaves_what_it_sealed_to_the_next_start(generator: LoadGenerator) -> None:
    """The first batch is stored, though the process never hears of it; the others wait in its spool."""
    cut = generator.fault("killed", "cut_after", times=1)
    generator.fault("killed", "error503", times=None)
    locust = generator.locust("killed")
    cut.wait_hit()
    generator.await_spooled(3, locust)
    locust.signal(signal.SIGKILL)
    locust.ends(code=-signal.SIGKILL)
    generator.cloud.aws.faults.clear()
    left = [read(path.read_bytes()) for path in generator.bench.spooled]
    sealed = by_endpoint(request for batch in left for request in each_request(*batch))
    assert total(generator.relayed("killed", sealed).cloudwatch) < total(sealed)
    words = f"relay: uploading {len(left)} batches ({total(sealed)} requests) left by earlier processes"
    generator.catches_up("killed-next", words)
    run = generator.relayed("killed", sealed)
    assert generator.answers("killed").count(412) == 1, "the first batch was there already"
    assert differences(sealed, by_endpoint(run.requests)) == []
    assert differences(sealed, run.cloudwatch) == []


def test_what_is_missing_is_what_the_hook_says_is_lost(generator: LoadGenerator) -> None:
    """No spool, and no S3 at the end: what waits in memory goes with the process."""
    generator.bench.spool.write_text("not a folder")
    locust = generator.locust("lost", "--relay-final-flush-seconds", "0.5")
    generator.await_stored("lost", locust)
    generator.fault("lost", "error503", times=None).wait_hit(2)
    missing = lost(ended(locust))
    run = generator.counted("lost")
    assert missing > 0
    assert total(run.cloudwatch) == total(run.locust) - missing
    assert differences(by_endpoint(run.requests), run.cloudwatch) == []
    for endpoint, shown in run.cloudwatch.items():
        assert shown.requests <= run.locust[endpoint].requests
