"""`python -m locust_hook redrive`: what could not be published is published, once, and leaves the queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local_aws import Function, LocalAws, Stack
from local_aws.calls import Call
from local_aws.faults import Fault
from local_aws.http import HttpRequest, HttpResponse, HttpServer
from locust_hook.commands.failed import Object, RedriveError, items_of_keys, objects_of
from locust_hook.commands.redeliver import entry_key
from tests.e2e.batches import Batch, requests
from tests.e2e.conftest import TEMPLATE, Cloud
from tests.faults.strikes import TRACEABLE, kill_caller

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"


@pytest.fixture(scope="module")
def cloud(aws: LocalAws, relay_binary: Path) -> Iterator[Cloud]:
    """The template, and the relay without time between Lambda's retries."""
    stack = aws.deploy(TEMPLATE, {}, name="redrive")
    with run(aws, stack, relay_binary) as function:
        yield Cloud(aws, stack, function, "", "")


@contextmanager
def run(aws: LocalAws, stack: Stack, relay_binary: Path) -> Iterator[Function]:
    with aws.run_function(
        stack, "RelayFunction", [*TRACEABLE, relay_binary], concurrency=2, retry_waits=(0, 0)
    ) as function:
        yield function


@pytest.fixture
def empty(cloud: Cloud) -> Iterator[None]:
    """Every test begins with an empty queue and no faults."""
    sqs, url = cloud.aws.client("sqs"), queue(cloud)[1]
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    yield
    cloud.aws.faults.clear()


def redrive(cloud: Cloud, *arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    """Runs the command as an operator; returns its exit code, output and error output."""
    done = subprocess.run(
        [sys.executable, "-m", "locust_hook", "redrive", *arguments],
        env={**os.environ, **cloud.aws.environment(), **environment},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def queue(cloud: Cloud) -> tuple[str, str]:
    return "--queue", cloud.stack.outputs["OnFailureQueueUrl"]


def waiting(cloud: Cloud) -> int:
    """Messages that anybody can take from the queue now."""
    attributes = cloud.aws.client("sqs").get_queue_attributes(
        QueueUrl=cloud.stack.outputs["OnFailureQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def batch(test: str, seq: int = 0) -> Batch:
    failing = requests("GET", "/", [1000] * 5, status=500, error="HTTPError('500')")
    return Batch(test, [failing], seq=seq)


def hand_in(cloud: Cloud, *batches: Batch, **metadata: Any) -> None:
    for made in batches:
        cloud.aws.client("s3").put_object(Bucket=cloud.bucket, Key=made.key, Body=made.content(), **metadata)
    cloud.function.wait_idle(timeout=120)


def fail(cloud: Cloud, *batches: Batch, **metadata: Any) -> None:
    """Hands batches in while the relay dies on every one: they end in the queue."""
    kill_on(cloud, *(made.key for made in batches))
    hand_in(cloud, *batches, **metadata)
    cloud.aws.faults.clear()
    assert waiting(cloud) == len(batches)


def kill_on(cloud: Cloud, *keys: str) -> Fault:
    """Kills the relay whenever it reads one of these objects."""

    def match(call: Call) -> bool:
        if call.key not in keys or "aws-sdk-rust" not in call.http.environ["HTTP_USER_AGENT"]:
            return False
        kill_caller(call)
        return True

    return cloud.aws.faults.add(
        kind="cut_before", service="s3", operation="GetObject", times=None, match=match
    )


def published(cloud: Cloud, test: str) -> float | None:
    return cloud.recently("Requests", "Sum", Test=test)


@pytest.mark.usefixtures("empty")
def test_what_is_in_the_queue_is_published_once_and_leaves_it(cloud: Cloud) -> None:
    fail(cloud, *(batch("redriven", seq) for seq in range(12)))
    code, output, errors = redrive(cloud, *queue(cloud))
    assert code == 0
    assert "12 of 12 (100%)" in errors
    assert output == "redrive: 12 taken, 12 published, 0 not published\n"
    assert published(cloud, "redriven") == 12 * 5
    assert waiting(cloud) == 0


@pytest.mark.usefixtures("empty")
def test_doing_it_twice_does_no_harm(cloud: Cloud) -> None:
    made = batch("twice")
    fail(cloud, made)
    address = f"s3://{cloud.bucket}/{made.key}"
    assert redrive(cloud, "--keys", address)[0] == 0
    before = len(cloud.function.invocations)
    code, output, _ = redrive(cloud, *queue(cloud))
    assert (code, output) == (0, "redrive: 1 taken, 1 published, 0 not published\n")
    assert redrive(cloud, "--keys", "-", stdin=f"{address}\n\n{address}\n")[0] == 0
    cloud.function.wait_idle()
    assert len(cloud.function.invocations) == before, "what is published is not even copied"
    assert published(cloud, "twice") == 5
    assert waiting(cloud) == 0


@pytest.mark.usefixtures("empty")
def test_the_archive_stays_as_it_was(cloud: Cloud) -> None:
    made = batch("kept")
    metadata = {
        "Metadata": {"by": "a load generator"},
        "ContentType": "application/x-ndjson",
        "ContentEncoding": "gzip",
        "CacheControl": "no-store",
        "StorageClass": "STANDARD_IA",
        "Tagging": "team=shop",
    }
    fail(cloud, made, **metadata)
    s3 = cloud.aws.client("s3")

    def facts() -> tuple[dict[str, Any], bytes, Any]:
        found = s3.get_object(Bucket=cloud.bucket, Key=made.key)
        tags = s3.get_object_tagging(Bucket=cloud.bucket, Key=made.key)["TagSet"]
        names = ["Metadata", "ContentType", "ContentEncoding", "CacheControl", "StorageClass", "ETag"]
        return {name: found.get(name) for name in names}, found["Body"].read(), tags

    before = facts()
    assert redrive(cloud, *queue(cloud))[0] == 0
    assert facts() == before
    assert before[0]["Metadata"] == metadata["Metadata"]
    assert published(cloud, "kept") == 5


@pytest.mark.usefixtures("empty")
def test_a_dry_run_changes_nothing(cloud: Cloud) -> None:
    made, done = batch("dry"), batch("dry", seq=1)
    fail(cloud, made)
    hand_in(cloud, done)
    calls = len(cloud.aws.calls)
    code, output, _ = redrive(cloud, *queue(cloud), "--dry-run")
    assert code == 0
    assert f"{made.key} (Runtime.ExitError): would be delivered again" in output
    assert waiting(cloud) == 1
    operations = {record.operation for record in list(cloud.aws.calls)[calls:]}
    assert not operations & {"CopyObject", "DeleteMessageBatch", "PutObject"}
    code, output, _ = redrive(cloud, "--keys", f"s3://{cloud.bucket}/{done.key}", "--dry-run")
    assert "is published already" in output


@pytest.mark.usefixtures("empty")
def test_what_fails_again_stays_in_the_queue(cloud: Cloud) -> None:
    good, bad = batch("mixed"), batch("mixed", seq=1)
    fail(cloud, good, bad)
    fault = kill_on(cloud, bad.key)
    code, output, _ = redrive(cloud, *queue(cloud), "--wait-seconds", "5")
    cloud.function.wait_idle()
    assert fault.hits > 0
    assert code == 1
    assert "redrive: 2 taken, 1 published, 1 not published" in output
    assert f"s3://{cloud.bucket}/{bad.key}: copied, but after 5 s s3://{cloud.bucket}/ledger/live/" in output
    assert waiting(cloud) == 2, "the old message, and that of the new failure"
    cloud.aws.faults.clear()
    assert redrive(cloud, *queue(cloud))[0] == 0
    assert published(cloud, "mixed") == 10
    assert waiting(cloud) == 0


@pytest.mark.usefixtures("empty")
def test_what_is_no_batch_is_said_and_kept(cloud: Cloud) -> None:
    cloud.aws.client("s3").put_object(Bucket=cloud.bucket, Key="batches/no/batch", Body=b"nothing")
    cloud.function.wait_idle()
    cloud.aws.client("sqs").send_message(QueueUrl=queue(cloud)[1], MessageBody="garbage")
    code, output, _ = redrive(cloud, *queue(cloud))
    assert code == 1
    assert f"s3://{cloud.bucket}/batches/no/batch (NotCompressed): " in output
    assert "not a batch: no delivery can publish it" in output
    assert "not an event of the relay" in output
    assert waiting(cloud) == 2


@pytest.mark.usefixtures("empty")
def test_a_queue_that_cannot_be_read_is_said(cloud: Cloud) -> None:
    code, _, errors = redrive(cloud, *queue(cloud)[:1], queue(cloud)[1] + "-other")
    assert code == 1
    assert errors.startswith("redrive: ")
    assert "NonExistentQueue" in errors


@pytest.mark.usefixtures("empty")
def test_an_unreadable_ledger_is_said(cloud: Cloud) -> None:
    fail(cloud, batch("blind"))
    code, output, _ = redrive(cloud, *queue(cloud), "--wait-seconds", "2", "--ledger-prefix", "elsewhere/")
    assert code == 1
    assert "there is no entry, or these credentials may not read it (s3:GetObject on the ledger)" in output
    cloud.function.wait_idle()
    assert published(cloud, "blind") == 5
    assert waiting(cloud) == 1
    assert redrive(cloud, *queue(cloud))[0] == 0
    assert waiting(cloud) == 0


# -- The function directly -----------------------------------------------------------------------------


@contextmanager
def lambda_api(cloud: Cloud) -> Iterator[str]:
    """Lambda's Invoke in front of the running function; yields its address."""

    def serve(http: HttpRequest) -> HttpResponse:
        name = http.target.split("/")[3]
        if not http.target.endswith("/invocations") or name != cloud.stack.outputs["FunctionName"]:
            body = json.dumps({"Message": f"Function not found: {name}"}).encode()
            return HttpResponse(404, [("x-amzn-ErrorType", "ResourceNotFoundException")], body)
        invocation = cloud.function.invoke(json.loads(http.body))
        failed = [("X-Amz-Function-Error", "Unhandled")] if invocation.error_type else []
        return HttpResponse(200, failed, json.dumps(invocation.response).encode())

    server = HttpServer(serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.bound_port}"
    finally:
        server.close()


@pytest.mark.usefixtures("empty")
def test_the_function_can_be_invoked_directly(cloud: Cloud) -> None:
    fail(cloud, *(batch("direct", seq) for seq in range(3)))
    name = cloud.stack.outputs["FunctionName"]
    with lambda_api(cloud) as address:
        code, output, _ = redrive(cloud, *queue(cloud), "--function", name, AWS_ENDPOINT_URL_LAMBDA=address)
        assert (code, output) == (0, "redrive: 3 taken, 3 published, 0 not published\n")
        assert published(cloud, "direct") == 15
        assert waiting(cloud) == 0
        key = f"s3://{cloud.bucket}/{batch('direct', 7).key}"
        code, output, _ = redrive(cloud, "--keys", key, "--function", name, AWS_ENDPOINT_URL_LAMBDA=address)
        assert code == 1
        assert f"{key}: ObjectMissing: {key}: " in output


@pytest.mark.usefixtures("empty")
def test_a_function_that_is_not_there_or_not_the_relay_deletes_nothing(cloud: Cloud) -> None:
    fail(cloud, batch("misdirected"))
    with lambda_api(cloud) as address:
        code, output, _ = redrive(
            cloud, *queue(cloud), "--function", "other", AWS_ENDPOINT_URL_LAMBDA=address
        )
        assert code == 1
        assert "other cannot be invoked" in output
    assert waiting(cloud) == 1


# -- What needs no AWS ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_envelope_is_taken_apart(path: Path) -> None:
    objects = list(objects_of(json.loads(path.read_text())))
    assert bool(objects) != ("test-event" in path.stem)
    assert all(found.bucket and found.key.startswith("batches/") for found in objects)


def test_keys_are_decoded_as_s3_encodes_them(tmp_path: Path) -> None:
    listed = tmp_path / "keys"
    listed.write_text("s3://b/batches/é + x%41.gz\n")
    (item,) = items_of_keys([str(listed)])
    assert item.objects == [Object("b", "batches/é + x%41.gz")]
    assert list(objects_of(item.event)) == item.objects


@pytest.mark.parametrize("event", [{}, [], None, {"Records": []}, {"Records": [{"body": "{}"}]}])
def test_anything_else_is_refused(event: Any) -> None:
    with pytest.raises(RedriveError, match="expected an S3 notification"):
        list(objects_of(event))


def test_the_ledger_entry_is_that_of_the_header_not_of_the_key() -> None:
    made = Batch("a b/é", source="host-worker-1", seq=12)
    expected = f"ledger/live/a%20b%2F%C3%A9/{made.run}/host-worker-1/000012.json"
    assert entry_key("ledger/", "anywhere", made.content()) == expected


def test_a_replayed_batch_has_an_entry_under_the_replays_name() -> None:
    made = batch("checkout")
    key = f"replays/last%20month/checkout/{made.run}/{made.source}/000000.ndjson.gz"
    expected = f"ledger/last%20month/checkout/{made.run}/{made.source}/000000.json"
    assert entry_key("ledger/", key, made.content()) == expected
    assert entry_key("ledger/", key, b"\x28\xb5\x2f\xfd") == expected


def test_a_zstd_batch_is_found_by_its_key() -> None:
    beginning = b"\x28\xb5\x2f\xfd rest"
    key = "prefix/batches/a%20b/run/source/000012.ndjson.zst"
    assert entry_key("ledger/", key, beginning) == "ledger/live/a%20b/run/source/000012.json"
    with pytest.raises(RedriveError, match="--function"):
        entry_key("ledger/", "elsewhere.zst", beginning)
