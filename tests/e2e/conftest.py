"""One local AWS for all end-to-end tests, with the template deployed and the compiled relay running."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples import shop
from examples.demo import create_role
from examples.reconcile import Series, totals
from local_aws import Function, LocalAws, Stack

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

pytest.register_assert_rewrite("tests.e2e.followed", "tests.sidecar.bench", "tests.sidecar.reader")

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
DELIVERY_SECONDS = 120
"""How long the relay may take for everything that a test hands in, on a busy machine."""


@dataclass
class Cloud:
    """A deployed stack with the relay running, as load generators and people who look at results see it."""

    aws: LocalAws
    stack: Stack
    function: Function
    host: str
    uploader_role: str

    @property
    def relay_to(self) -> str:
        """The value of --relay-to."""
        return self.stack.outputs["RelayTo"]

    @property
    def bucket(self) -> str:
        """The bucket of the batches."""
        return self.stack.outputs["BucketName"]

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        """CloudWatch, as an administrator."""
        client: CloudWatchClient = self.aws.client("cloudwatch")
        return client

    @property
    def uploader_environment(self) -> dict[str, str]:
        """Environment of a load generator."""
        return self.aws.environment(role_arn=self.uploader_role)

    def put(self, key: str, content: bytes) -> None:
        """Hands an object in, with a load generator's permissions, and waits until it is dealt with."""
        s3 = self.aws.client("s3", role_arn=self.uploader_role)
        s3.put_object(Bucket=self.bucket, Key=key, Body=content, IfNoneMatch="*")
        self.function.wait_idle(timeout=DELIVERY_SECONDS)

    def objects(self, prefix: str) -> Iterator[bytes]:
        """The contents of all objects whose key begins so."""
        s3 = self.aws.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                yield s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read()

    def statistic(
        self, metric: str, statistic: str, start: datetime, end: datetime, **dimensions: str
    ) -> float | None:
        """One statistic of one metric over a time; None without data."""
        series = Series(metric, statistic, tuple(dimensions.items()))
        return totals(self.cloudwatch, "Locust", [series], start, end).get(series)

    @staticmethod
    def recent() -> tuple[datetime, datetime]:
        """From early enough for all requests of a batch made now, until now."""
        now = datetime.now(timezone.utc)
        return now - timedelta(minutes=2), now

    def recently(self, metric: str, statistic: str, **dimensions: str) -> float | None:
        """One statistic of the last minutes; None without data."""
        start, end = self.recent()
        return self.statistic(metric, statistic, start, end, **dimensions)

    def log_events(self) -> list[dict[str, Any]]:
        """The messages of the load tests' log group."""
        events = self.aws.log_events(self.stack.outputs["LogGroupName"])
        return [json.loads(event.message) for event in events]

    def failed_events(self) -> list[dict[str, Any]]:
        """Takes what the on-failure queue holds: Lambda's records."""
        sqs = self.aws.client("sqs")
        url = self.stack.outputs["OnFailureQueueUrl"]
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                found.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture(scope="package")
def relay_binary() -> Path:
    """The compiled relay. Nothing is built here."""
    path = Path(os.environ.get("RELAY_BINARY") or ROOT / "target" / "debug" / "locust-cloudwatch-relay")
    if not os.access(path, os.X_OK):
        pytest.fail(
            f"expected the compiled relay at {path}, found none: run `cargo build`, or set RELAY_BINARY"
        )
    return path


@pytest.fixture(scope="package")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture(scope="package")
def host() -> Iterator[str]:
    """The sample shop's address."""
    with shop.running() as address:
        yield address


@contextmanager
def deployed(
    aws: LocalAws, relay_binary: Path, name: str, template: Path = TEMPLATE, **parameters: str
) -> Iterator[Cloud]:
    """Deploys a template and runs the relay in it, without waiting between Lambda's retries."""
    stack = aws.deploy(template, parameters, name=name)
    role = create_role(aws, f"{name}-load-generator", stack.outputs["UploaderPolicyArn"])
    command = [str(relay_binary)]
    with aws.run_function(
        stack, "RelayFunction", command=command, concurrency=2, retry_waits=(0, 0)
    ) as function:
        yield Cloud(aws, stack, function, "", role)


@pytest.fixture(scope="package")
def cloud(aws: LocalAws, relay_binary: Path, host: str) -> Iterator[Cloud]:
    """The template as it is, with its default parameters."""
    with deployed(aws, relay_binary, "relay") as cloud:
        cloud.host = host
        yield cloud
