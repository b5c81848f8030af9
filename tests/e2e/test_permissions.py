"""The template's permissions are enough, and each of them is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws
from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.e2e.conftest import TEMPLATE, Cloud, deployed

# What is taken away: text of the template, what stands there instead, and the call that then fails.
REMOVALS = {
    "metrics": ("Action: cloudwatch:PutMetricData", "Action: cloudwatch:GetMetricData", "PutMetricData"),
    "namespace": ("cloudwatch:namespace: !Ref Namespace", "cloudwatch:namespace: Elsewhere", "PutMetricData"),
    "streams": ("logs:CreateLogStream, logs:PutLogEvents", "logs:PutLogEvents", "CreateLogStream"),
    "logs": ("logs:CreateLogStream, logs:PutLogEvents", "logs:CreateLogStream", "PutLogEvents"),
    "batches": (
        "Action: s3:GetObject\n            Resource",
        "Action: s3:GetObjectAcl\n            Resource",
        "s3",
    ),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_without_a_permission_the_event_ends_in_the_queue_with_access_denied(
    aws: LocalAws, relay_binary: Path, tmp_path: Path, removal: str
) -> None:
    before, after, operation = REMOVALS[removal]
    text = TEMPLATE.read_text()
    assert text.count(before) == 1
    template = tmp_path / "template.yaml"
    template.write_text(text.replace(before, after))
    with deployed(aws, relay_binary, f"without-{removal}", template) as cloud:
        failing = batches.requests("GET", "/", [1000], status=500, error="HTTPError('500')")
        batch = Batch(f"without-{removal}", [failing])
        cloud.put(batch.key, batch.content())
        (record,) = cloud.failed_events()
    assert record["requestPayload"]["Records"][0]["s3"]["object"]["key"] == batch.key
    message = record["responsePayload"]["errorMessage"]
    assert operation in message
    assert "AccessDenied" in message or "not authorized" in message


def test_without_leave_to_use_the_queue_nothing_arrives_there(
    aws: LocalAws, relay_binary: Path, tmp_path: Path
) -> None:
    text = TEMPLATE.read_text()
    assert text.count("Action: sqs:SendMessage") == 1
    template = tmp_path / "template.yaml"
    template.write_text(text.replace("Action: sqs:SendMessage", "Action: sqs:GetQueueUrl"))
    with deployed(aws, relay_binary, "without-queue", template) as cloud:
        cloud.put("batches/bad", b"bad")
        assert cloud.failed_events() == []
        assert "not authorized" in str(cloud.function.invocations[-1].destination_error)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("put_object", {"Key": "ledger/x", "Body": b""}),
        ("put_object", {"Key": "x", "Body": b""}),
        ("get_object", {"Key": "batches/x"}),
        ("delete_object", {"Key": "batches/x"}),
        ("list_objects_v2", {"Prefix": "batches/"}),
    ],
)
def test_a_load_generator_may_do_nothing_but_put_batches(
    cloud: Cloud, operation: str, arguments: dict[str, object]
) -> None:
    client = cloud.aws.client("s3", role_arn=cloud.uploader_role)
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(Bucket=cloud.bucket, **arguments)
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
