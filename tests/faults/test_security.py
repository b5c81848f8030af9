"""The role allows what the relay does and nothing else; the bucket is closed; nothing secret is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from local_aws import Function, LocalAws, Stack
from local_aws.calls import Call
from local_aws.faults import Kind
from local_aws.policy import Decision, evaluate
from tests.e2e.batches import Batch, requests
from tests.e2e.conftest import TEMPLATE


@dataclass
class Everything:
    """A stack in which the relay did all that it ever does."""

    aws: LocalAws
    stack: Stack
    function: Function
    secrets: dict[str, str]

    def statements(self) -> Iterator[dict[str, Any]]:
        """What the template allows the relay's role."""
        resources = self.stack.resources
        documents = [policy["PolicyDocument"] for policy in resources["RelayRole"].properties["Policies"]]
        documents.append(resources["RelayBucketAccess"].properties["PolicyDocument"])
        assert "ManagedPolicyArns" not in resources["RelayRole"].properties
        for document in documents:
            yield from document["Statement"]

    def allowed(self) -> set[tuple[str, str]]:
        """Every pair of action and resource in them."""
        pairs = set()
        for statement in self.statements():
            assert statement["Effect"] == "Allow"
            for action in _list(statement["Action"]):
                pairs |= {(action, resource) for resource in _list(statement["Resource"])}
        return pairs

    def used(self) -> set[tuple[str, str]]:
        """Every pair of action and resource in the calls of the relay's role."""
        role = f":assumed-role/{self.stack.resources['RelayRole'].physical_id}/"
        return {
            (f"{record.service}:{record.operation}", record.resource)
            for record in self.aws.calls
            if role in record.principal
        }


def is_relay(call: Call) -> bool:
    """Whether a call comes from the relay, and not from a test."""
    return "aws-sdk-rust" in call.http.environ["HTTP_USER_AGENT"]


def _list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def everything(
    aws: LocalAws, relay_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Everything]:
    """Delivers a batch, twice; one that is replayed; one through every kind of failure; one that is none."""
    stack = aws.deploy(TEMPLATE, {}, name="security")
    variables = tmp_path_factory.mktemp("relay") / "environment"
    command = ["/bin/sh", "-c", f'env > {variables}; exec "$0"', str(relay_binary)]
    s3, bucket = aws.client("s3"), stack.outputs["BucketName"]
    with aws.run_function(stack, "RelayFunction", command, retry_waits=(0, 0)) as function:

        def put(key: str, content: bytes) -> None:
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            function.wait_idle(timeout=120)

        failing = [requests("GET", "/", [1000, 2000], status=500, error="HTTPError('500')")]
        made = Batch("security", failing)
        for _ in range(2):
            put(made.key, made.content())
        put(f"replays/again/{made.key.removeprefix('batches/')}", made.content())
        calls = (("cloudwatch", "PutMetricData"), ("logs", "PutLogEvents"), ("s3", "PutObject"))
        kinds: tuple[Kind, ...] = ("throttle", "error500", "cut_before", "cut_after")
        for service, operation in calls:
            for kind in kinds:
                aws.faults.add(kind=kind, service=service, operation=operation, match=is_relay)
        struck = Batch("security", failing, seq=1)
        put(struck.key, struck.content())
        aws.faults.clear()
        put("batches/bad", b"not a batch")
        lines = [line.partition("=") for line in variables.read_text().splitlines()]
        environment = {name: value for name, _, value in lines}
        secrets = {name: environment[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
        yield Everything(aws, stack, function, secrets)


def test_all_of_it_happened(everything: Everything) -> None:
    assert [invocation.status for invocation in everything.function.invocations] == [
        "succeeded", "succeeded", "succeeded", "succeeded", "failed",
    ]  # fmt: skip


def test_the_relay_calls_nothing_that_the_template_does_not_allow(everything: Everything) -> None:
    for action, resource in everything.used():
        assert any(
            action == allowed and fnmatchcase(resource, pattern) for allowed, pattern in everything.allowed()
        ), f"{action} on {resource}"


def test_the_template_allows_nothing_that_is_not_called(everything: Everything) -> None:
    used = everything.used()
    # Lambda itself writes the function's log, with the role's permissions.
    own_log = everything.stack.resources["FunctionLogGroup"].physical_id
    assert everything.aws.log_events(own_log)
    used |= {
        (action, f"arn:aws:logs:us-east-1:123456789012:log-group:{own_log}:log-stream:x")
        for action in ("logs:CreateLogStream", "logs:PutLogEvents")
    }
    never = {
        (action, pattern)
        for action, pattern in everything.allowed()
        if not any(action == called and fnmatchcase(resource, pattern) for called, resource in used)
    }
    assert never == set()


def test_metrics_go_to_one_namespace(everything: Everything) -> None:
    (statement,) = [s for s in everything.statements() if s["Action"] == "cloudwatch:PutMetricData"]
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": "Locust"}}
    assert [s for s in everything.statements() if s["Resource"] == "*"] == [statement]


@pytest.mark.parametrize("policy", ["BucketPolicy", "OnFailureQueuePolicy"])
def test_who_comes_without_tls_is_refused(everything: Everything, policy: str) -> None:
    resources = everything.stack.resources
    document = json.dumps(resources[policy].properties["PolicyDocument"])
    service = {"BucketPolicy": "s3", "OnFailureQueuePolicy": "sqs"}[policy]
    queue = resources["OnFailureQueue"].physical_id.rpartition("/")[2]
    target = {
        "s3": f"arn:aws:s3:::{everything.stack.outputs['BucketName']}/batches/x",
        "sqs": f"arn:aws:sqs:us-east-1:123456789012:{queue}",
    }[service]
    for action in ("GetObject", "PutObject") if service == "s3" else ("ReceiveMessage", "SendMessage"):
        for anybody in ("arn:aws:iam::123456789012:root", "arn:aws:iam::999999999999:user/x"):
            decisions = {
                tls: evaluate(
                    [document], f"{service}:{action}", target, {"aws:securetransport": tls}, (anybody,)
                )
                for tls in ("true", "false")
            }
            assert decisions["false"] is Decision.EXPLICIT_DENY
            assert decisions["true"] is not Decision.EXPLICIT_DENY


def test_the_bucket_is_closed_to_the_public(everything: Everything) -> None:
    s3, bucket = everything.aws.client("s3"), everything.stack.outputs["BucketName"]
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    assert len(block) == 4
    rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}], "no access control lists"
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_nothing_secret_is_said(everything: Everything) -> None:
    assert all(len(secret) > 20 for secret in everything.secrets.values())
    own_log = everything.stack.resources["FunctionLogGroup"].physical_id
    said = [line for invocation in everything.function.invocations for line in invocation.log]
    said += [event.message for group in (own_log, everything.stack.outputs["LogGroupName"])
             for event in everything.aws.log_events(group)]  # fmt: skip
    said += [json.dumps(invocation.on_failure) for invocation in everything.function.invocations]
    command = [sys.executable, "-m", "locust_hook", "redrive"]
    command += ["--queue", everything.stack.outputs["OnFailureQueueUrl"]]
    environment = everything.aws.environment() | everything.secrets | {"AWS_ACCESS_KEY_ID": "ASIAUNKNOWN"}
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, "these credentials do not belong together"
    said += [done.stdout, done.stderr]
    text = "\n".join(said)
    assert "batch relayed" in text
    for secret in (*everything.secrets.values(), "X-Amz-Signature", "Signature=", "Authorization"):
        assert secret not in text
