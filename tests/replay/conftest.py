"""Local AWS with the template deployed and four relays at work, and the replay command run beside it."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.demo import create_role
from local_aws import LocalAws
from tests.e2e.conftest import TEMPLATE, Cloud, aws, relay_binary
from tests.replay.recorded import Run

__all__ = ["aws", "relay_binary"]

DESCRIPTION = Path(__file__).parents[2] / "docs" / "replay.md"
RELAYS = 4
DELIVERY_SECONDS = 120

Minutes = dict[tuple[str, tuple[tuple[str, str], ...], int], tuple[float, float, dict[float, float]]]
"""(metric, dimensions without the test, minute) → samples, sum, and how often each value was published."""


@dataclass
class Replays(Cloud):
    """A deployed stack, seen by somebody who replays."""

    operator_role: str

    @property
    def s3(self) -> Any:
        """S3, as an administrator."""
        return self.aws.client("s3")

    def archive(self, run: Run, bucket: str | None = None, **arguments: str) -> None:
        """Puts a run where its batches are kept; relays nothing, as if that had been long ago."""
        function, self.aws.notifications._invoke = self.aws.notifications._invoke, lambda *_: None
        try:
            for batch in run.batches():
                self.s3.put_object(
                    Bucket=bucket or self.bucket, Key=batch.key, Body=batch.content(), **arguments
                )
        finally:
            self.aws.notifications._invoke = function

    def publish(self, run: Run) -> None:
        """Hands a run in, live."""
        for batch in run.batches():
            self.s3.put_object(Bucket=self.bucket, Key=batch.key, Body=batch.content())
        self.settle()

    def settle(self) -> None:
        """Waits until the relay has dealt with everything."""
        self.function.wait_idle(timeout=DELIVERY_SECONDS)

    def minutes(self, test: str, shift_ms: int = 0) -> Minutes:
        """What CloudWatch holds of a test, minute by minute, moved back by `shift_ms`."""
        assert shift_ms % 60_000 == 0, "whole minutes"
        found: Minutes = {}
        for key in self.aws.metrics.keys("Locust"):
            dimensions = dict(key.dimensions)
            if dimensions.pop("Test", None) != test:
                continue
            for cell, distribution in self.aws.metrics.cells(key):
                at = (key.name, tuple(sorted(dimensions.items())), cell.second // 60 - shift_ms // 60_000)
                count, total, values = found.get(at, (0.0, 0.0, {}))
                for value, weight in distribution.counts.items():
                    values[value] = values.get(value, 0.0) + weight
                found[at] = (count + distribution.sample_count, total + distribution.sum, values)
        return found

    def shift_ms(self, run: Run, name: str) -> int:
        """By how much a replay was moved, as its anchor says."""
        key = f"ledger/{name}/{run.test}/{run.run}/anchor.json"
        return int(json.load(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"])["shift_ms"])

    def objects_under(self, prefix: str, bucket: str | None = None) -> dict[str, tuple[str, Any]]:
        """Tag and time of each object."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket or self.bucket, Prefix=prefix)
        return {
            entry["Key"]: (entry["ETag"], entry["LastModified"])
            for page in pages
            for entry in page.get("Contents", [])
        }

    def relay_log(self) -> str:
        """What the relay has logged."""
        events = self.aws.log_events(self.function.settings.log_group)
        return "\n".join(event.message for event in events)


def same(found: Minutes, expected: Minutes) -> bool:
    """Whether two tests have the same metrics in the same minutes. Sums may differ by the order of adding."""
    return found.keys() == expected.keys() and all(
        found[at][0] == expected[at][0]
        and found[at][1] == pytest.approx(expected[at][1], rel=1e-9)
        and found[at][2] == expected[at][2]
        for at in found
    )


def documented_policy(bucket: str) -> str:
    """The policy that the documentation gives to who replays."""
    (policy,) = re.findall(r"```json\n(\{\s*\"Version\".*?)```", DESCRIPTION.read_text(), re.DOTALL)
    assert json.loads(policy)["Statement"]
    return str(policy).replace("<bucket>", bucket)


@pytest.fixture(scope="package")
def cloud(aws: LocalAws, relay_binary: Path) -> Iterator[Replays]:
    stack = aws.deploy(TEMPLATE, {}, name="replays")
    iam = aws.client("iam")
    bucket = stack.outputs["BucketName"]
    policy = iam.create_policy(PolicyName="operator", PolicyDocument=documented_policy(bucket))["Policy"]
    uploader = create_role(aws, "replays-load-generator", stack.outputs["UploaderPolicyArn"])
    operator = create_role(aws, "operator", policy["Arn"])
    with aws.run_function(
        stack, "RelayFunction", [str(relay_binary)], concurrency=RELAYS, retry_waits=(0, 0)
    ) as function:
        yield Replays(aws, stack, function, "", uploader, operator)


@dataclass
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(cloud: Replays, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, with the permissions that the documentation asks for."""
    for name, value in cloud.aws.environment(role_arn=cloud.operator_role).items():
        monkeypatch.setenv(name, value)

    def run(name: str, *arguments: object) -> Outcome:
        capsys.readouterr()
        main = importlib.import_module(f"locust_hook.commands.{name}").main
        code = main([str(argument) for argument in arguments])
        cloud.settle()
        return Outcome(code, *capsys.readouterr())

    return run
