"""`LocalAws` itself: environments for child processes, one at a time, and the command."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from local_aws import LocalAws, Stack
from local_aws.__main__ import main

from .conftest import HERE

IDENTITY = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


def run(environment: dict[str, str]) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", IDENTITY],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_child_process_calls_as_root_as_a_role_or_by_a_profile(aws: LocalAws, stack: Stack) -> None:
    role_arn = stack.functions["Function"].role_arn
    role = role_arn.rpartition("/")[2]
    assert run(aws.environment()) == "arn:aws:iam::123456789012:root"
    assert run(aws.environment(role_arn)) == f"arn:aws:sts::123456789012:assumed-role/{role}/local-aws"
    assert run(aws.environment(profile="admin")) == "arn:aws:iam::123456789012:root"
    assert f":assumed-role/{role}/" in run(aws.environment(role_arn, profile="relay"))


@pytest.mark.parametrize("role_arn", ["relay", "arn:aws:iam::123456789012:role/none"])
def test_a_role_has_to_exist(aws: LocalAws, role_arn: str) -> None:
    with pytest.raises(ValueError, match=role_arn):
        aws.environment(role_arn)


def test_there_is_one_at_a_time(aws: LocalAws) -> None:
    with pytest.raises(RuntimeError, match="one local AWS per process"), LocalAws():
        pass


def test_large_objects_metadata_and_odd_keys_survive(aws: LocalAws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="odd-keys")
    body = os.urandom(5_000_000)
    for key in ("plain", "with space/ü+%20&?=#", "dots/../x", "//double"):
        s3.put_object(Bucket="odd-keys", Key=key, Body=body, Metadata={"some_key": "Value", "other-key": "2"})
        answer = s3.get_object(Bucket="odd-keys", Key=key)
        assert answer["Body"].read() == body
        assert answer["Metadata"] == {"some_key": "Value", "other-key": "2"}
    assert {o["Key"] for o in s3.list_objects_v2(Bucket="odd-keys")["Contents"]} == {
        "plain",
        "with space/ü+%20&?=#",
        "dots/../x",
        "//double",
    }


def test_a_chunked_body_is_read_to_its_end(aws: LocalAws) -> None:
    aws.client("s3").create_bucket(Bucket="chunked")
    url = aws.client("s3").generate_presigned_url("put_object", Params={"Bucket": "chunked", "Key": "k"})
    pieces = [os.urandom(700_000) for _ in range(4)]
    host, _, target = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    for _ in range(2):  # the connection is kept, so nothing may be left over in it
        connection.request("PUT", f"/{target}", iter(pieces), encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
    assert aws.client("s3").get_object(Bucket="chunked", Key="k")["Body"].read() == b"".join(pieces)


def test_buckets_can_be_named_by_the_host(aws: LocalAws) -> None:
    aws.client("s3").create_bucket(Bucket="by-host")
    aws.client("s3").put_object(Bucket="by-host", Key="a b", Body=b"content")
    url = aws.client("s3").generate_presigned_url("get_object", Params={"Bucket": "by-host", "Key": "a b"})
    port = aws.endpoint_url.rpartition(":")[2]
    request = urllib.request.Request(  # noqa: S310
        url.replace("/by-host/", "/", 1), headers={"Host": f"by-host.localhost:{port}"}
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        assert response.read() == b"content"


def test_conditional_writes_have_one_winner(aws: LocalAws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="claims")

    def claim(number: int) -> bool:
        try:
            s3.put_object(Bucket="claims", Key="one", Body=str(number).encode(), IfNoneMatch="*")
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"  # noqa: PT017
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(40))) == 1


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local_aws", "--template", str(HERE / "small.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if "LogGroupArn" in line:
            break
    exports = dict(re.findall(r"export (\w+)=(\S+)", "\n".join(lines)))
    (bucket,) = re.findall(r"# BucketName: (\S+)", "\n".join(lines))
    client = boto3.client(
        "s3",
        endpoint_url=exports["AWS_ENDPOINT_URL"],
        aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
        region_name=exports["AWS_REGION"],
    )
    assert client.list_buckets()["Buckets"][0]["Name"] == bucket
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, process.stderr.read() if process.stderr else ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--template", "nowhere.yaml"], "expected a file, found none at nowhere.yaml"),
        (["--function-binary", "x"], "--function-binary needs --template"),
    ],
)
def test_the_command_refuses_what_does_not_fit(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err
