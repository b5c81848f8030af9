"""IAM in front of the services, by the real boto3: who may what, and how a refusal looks."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_aws import LocalAws, Stack

ACCOUNT = "123456789012"
TRUST_ROOT = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "sts:AssumeRole",
}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def role(aws: LocalAws, name: str, *statements: dict[str, Any], admin: str | None = None) -> str:
    """Make a role (once per name) with these statements; its ARN."""
    iam = aws.client("iam", admin)
    try:
        arn = str(
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(TRUST_ROOT))["Role"]["Arn"]
        )
    except iam.exceptions.EntityAlreadyExistsException:
        arn = str(iam.get_role(RoleName=name)["Role"]["Arn"])
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
    return arn


def bucket(aws: LocalAws, name: str, *keys: str) -> str:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=name)
    for key in keys:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return f"arn:aws:s3:::{name}"


def denial(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int, str]:
    response = error.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return response["Error"]["Code"], status, response["Error"]["Message"]


def test_s3_by_action_and_resource(aws: LocalAws) -> None:
    arn = bucket(aws, "by-action", "in/a", "out/a")
    s3 = aws.client("s3", role(aws, "reader", allow("s3:GetObject", f"{arn}/in/*")))
    assert s3.get_object(Bucket="by-action", Key="in/a")["Body"].read() == b"in/a"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="by-action", Key="out/a")
    assert denial(error) == (
        "AccessDenied",
        403,
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/reader/local-aws is not authorized to perform:"
        ' s3:GetObject on resource: "arn:aws:s3:::by-action/out/a"'
        " because no identity-based policy allows the s3:GetObject action",
    )
    refusals: list[Callable[[], object]] = [
        lambda: s3.put_object(Bucket="by-action", Key="in/b", Body=b""),
        lambda: s3.list_objects_v2(Bucket="by-action"),
        lambda: s3.delete_object(Bucket="by-action", Key="in/a"),
        lambda: s3.copy_object(Bucket="by-action", Key="in/b", CopySource="by-action/out/a"),
        lambda: s3.list_buckets(),
        lambda: s3.delete_objects(Bucket="by-action", Delete={"Objects": [{"Key": "in/a"}]}),
        lambda: s3.create_multipart_upload(Bucket="by-action", Key="in/c"),
        lambda: s3.put_bucket_policy(Bucket="by-action", Policy=document(allow("s3:*", Principal="*"))),
    ]
    for refused in refusals:
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
    assert {call.error for call in aws.calls.of("s3") if "reader" in call.principal} == {None, "AccessDenied"}


def test_a_missing_key_is_only_told_to_those_who_may_list(aws: LocalAws) -> None:
    arn = bucket(aws, "missing-key")
    blind = aws.client("s3", role(aws, "blind", allow("s3:GetObject", f"{arn}/*")))
    with pytest.raises(ClientError) as error:
        blind.get_object(Bucket="missing-key", Key="none")
    assert denial(error)[:2] == ("AccessDenied", 403)
    assert "s3:ListBucket" in denial(error)[2]
    lister = aws.client(
        "s3", role(aws, "lister", allow("s3:GetObject", f"{arn}/*"), allow("s3:ListBucket", arn))
    )
    with pytest.raises(ClientError) as error:
        lister.get_object(Bucket="missing-key", Key="none")
    assert denial(error)[:2] == ("NoSuchKey", 404)


def test_listing_by_prefix(aws: LocalAws) -> None:
    arn = bucket(aws, "by-prefix", "in/a")
    condition = {"StringLike": {"s3:prefix": "in/*"}}
    s3 = aws.client("s3", role(aws, "prefix-lister", allow("s3:ListBucket", arn, Condition=condition)))
    assert s3.list_objects_v2(Bucket="by-prefix", Prefix="in/")["KeyCount"] == 1
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket="by-prefix", Prefix="out/")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket="by-prefix")


def test_if_match_needs_get_object_too(aws: LocalAws) -> None:
    arn = bucket(aws, "if-match", "a")
    etag = aws.client("s3").head_object(Bucket="if-match", Key="a")["ETag"]
    writer = aws.client("s3", role(aws, "writer", allow("s3:PutObject", f"{arn}/*")))
    writer.put_object(Bucket="if-match", Key="b", Body=b"", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        writer.put_object(Bucket="if-match", Key="b", Body=b"", IfNoneMatch="*")
    with pytest.raises(ClientError, match="s3:GetObject"):
        writer.put_object(Bucket="if-match", Key="a", Body=b"", IfMatch=etag)


def test_the_bucket_policy_counts(aws: LocalAws) -> None:
    arn = bucket(aws, "with-policy", "a")
    caller = role(aws, "nobody")
    s3 = aws.client("s3", caller)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket="with-policy", Key="a")
    root = aws.client("s3")
    root.put_bucket_policy(
        Bucket="with-policy", Policy=document(allow("s3:GetObject", f"{arn}/*", Principal={"AWS": caller}))
    )
    assert s3.get_object(Bucket="with-policy", Key="a")["Body"].read() == b"a"
    plain_http = {"Bool": {"aws:SecureTransport": "false"}}
    tls_only = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"{arn}/*",
        "Condition": plain_http,
    }
    root.put_bucket_policy(
        Bucket="with-policy",
        Policy=document(allow("s3:GetObject", f"{arn}/*", Principal={"AWS": caller}), tls_only),
    )
    assert s3.get_object(Bucket="with-policy", Key="a")["Body"].read() == b"a"  # local traffic counts as TLS
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn}/*"}
    root.put_bucket_policy(Bucket="with-policy", Policy=document(deny))
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
        s3.get_object(Bucket="with-policy", Key="a")
    root.delete_bucket_policy(Bucket="with-policy")
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        root.get_bucket_policy(Bucket="with-policy")


def test_another_account_needs_both_policies(aws: LocalAws) -> None:
    arn = bucket(aws, "shared")
    admin = "arn:aws:iam::111111111111:role/OrganizationAccountAccessRole"
    uploader = role(aws, "uploader", allow("s3:PutObject", f"{arn}/*"), admin=admin)
    idle = role(aws, "idle", admin=admin)
    assert uploader.startswith("arn:aws:iam::111111111111:")
    s3 = aws.client("s3", uploader)
    with pytest.raises(ClientError, match="no resource-based policy allows"):
        s3.put_object(Bucket="shared", Key="in/a", Body=b"")
    policy = allow("s3:PutObject", f"{arn}/*", Principal={"AWS": "arn:aws:iam::111111111111:root"})
    aws.client("s3").put_bucket_policy(Bucket="shared", Policy=document(policy))
    s3.put_object(Bucket="shared", Key="in/a", Body=b"")
    with pytest.raises(ClientError, match="no identity-based policy allows"):
        aws.client("s3", idle).put_object(Bucket="shared", Key="in/a", Body=b"")


def test_metrics_by_namespace(aws: LocalAws) -> None:
    condition = {"StringEquals": {"cloudwatch:namespace": ["Locust", "Locust/Relay"]}}
    cloudwatch = aws.client(
        "cloudwatch", role(aws, "metrics", allow("cloudwatch:PutMetricData", Condition=condition))
    )
    cloudwatch.put_metric_data(Namespace="Locust", MetricData=[{"MetricName": "m", "Value": 1}])
    with pytest.raises(ClientError) as error:
        cloudwatch.put_metric_data(Namespace="Other", MetricData=[{"MetricName": "m", "Value": 1}])
    code, status, message = denial(error)
    assert (code, status) == ("AccessDenied", 403)
    assert (
        "is not authorized to perform: cloudwatch:PutMetricData because no identity-based policy" in message
    )
    with pytest.raises(ClientError, match="cloudwatch:ListMetrics"):
        cloudwatch.list_metrics()


def test_logs_by_group(aws: LocalAws) -> None:
    root = aws.client("logs")
    for name in ("mine", "mine-not"):
        root.create_log_group(logGroupName=name)
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:mine:*"
    caller = role(aws, "logger", allow("logs:CreateLogStream", group), allow("logs:PutLogEvents", group))
    logs = aws.client("logs", caller)
    logs.create_log_stream(logGroupName="mine", logStreamName="s")
    with pytest.raises(ClientError) as error:
        logs.create_log_stream(logGroupName="mine-not", logStreamName="s")
    code, status, message = denial(error)
    assert (code, status) == ("AccessDeniedException", 400)
    assert f"on resource: arn:aws:logs:us-east-1:{ACCOUNT}:log-group:mine-not:log-stream:s because" in message
    with pytest.raises(ClientError, match="logs:DescribeLogStreams"):
        logs.describe_log_streams(logGroupName="mine")


def test_queues(aws: LocalAws) -> None:
    root = aws.client("sqs")
    url = root.create_queue(QueueName="failures")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:failures"
    sqs = aws.client("sqs", role(aws, "sender", allow("sqs:SendMessage", arn)))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    with pytest.raises(ClientError) as error:
        sqs.receive_message(QueueUrl=url)
    code, status, message = denial(error)
    assert (code, status) == ("AccessDenied", 403)
    assert f"sqs:receivemessage on resource: {arn} because" in message
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    root.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(deny)})
    with pytest.raises(ClientError, match="explicit deny in a resource-based policy"):
        sqs.send_message(QueueUrl=url, MessageBody="x")


def test_roles_are_assumed_only_where_both_sides_agree(aws: LocalAws) -> None:
    target = role(aws, "target")
    stranger = aws.client("sts", role(aws, "stranger"))
    assert stranger.get_caller_identity()["Arn"].endswith("assumed-role/stranger/local-aws")
    with pytest.raises(ClientError, match="not authorized to perform: sts:AssumeRole"):
        stranger.assume_role(RoleArn=target, RoleSessionName="session")
    friend = aws.client("sts", role(aws, "friend", allow("sts:AssumeRole", target)))
    assert friend.assume_role(RoleArn=target, RoleSessionName="session")["Credentials"]
    aws.client("iam").update_assume_role_policy(
        RoleName="target",
        PolicyDocument=document(
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ),
    )
    with pytest.raises(ClientError, match="not authorized to perform: sts:AssumeRole"):
        friend.assume_role(RoleArn=target, RoleSessionName="session")


def test_attached_policies_and_users_count(aws: LocalAws) -> None:
    arn = bucket(aws, "attached", "a")
    iam = aws.client("iam")
    policy = iam.create_policy(PolicyName="read", PolicyDocument=document(allow("s3:GetObject", f"{arn}/*")))
    caller = role(aws, "with-attached")
    iam.attach_role_policy(RoleName="with-attached", PolicyArn=policy["Policy"]["Arn"])
    aws.client("s3", caller).get_object(Bucket="attached", Key="a")
    iam.create_user(UserName="person")
    iam.attach_user_policy(UserName="person", PolicyArn=policy["Policy"]["Arn"])
    key = iam.create_access_key(UserName="person")["AccessKey"]
    person = boto3.client(
        "s3",
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name="us-east-1",
    )
    person.get_object(Bucket="attached", Key="a")
    with pytest.raises(ClientError, match="User: arn:aws:iam::123456789012:user/person is not authorized"):
        person.put_object(Bucket="attached", Key="b", Body=b"")


def test_unknown_keys_and_unsigned_calls_are_refused(aws: LocalAws) -> None:
    bucket(aws, "private", "a")
    stranger = boto3.client(
        "s3",
        endpoint_url=aws.endpoint_url,
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
        region_name="us-east-1",
    )
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        stranger.get_object(Bucket="private", Key="a")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{aws.endpoint_url}/private/a")  # noqa: S310
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{aws.endpoint_url}/moto-api/reset", data=b"")  # noqa: S310


def test_policies_that_are_not_understood_are_refused_loudly(aws: LocalAws) -> None:
    bucket(aws, "odd", "a")
    caller = role(aws, "odd", {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})
    with pytest.raises(ClientError, match="NotAction"):
        aws.client("s3", caller).get_object(Bucket="odd", Key="a")
    with pytest.raises(ClientError, match="no policies for iam"):
        aws.client("iam", caller).list_roles()


def test_enforcement_can_be_switched_off(aws: LocalAws) -> None:
    bucket(aws, "open", "a")
    s3 = aws.client("s3", role(aws, "nothing"))
    aws.enforce_iam = False
    try:
        assert s3.get_object(Bucket="open", Key="a")["Body"].read() == b"a"
    finally:
        aws.enforce_iam = True
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket="open", Key="a")


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls_carry_their_signer(aws: LocalAws, version: str) -> None:
    arn = bucket(aws, "presigned", "a") if version == "s3" else "arn:aws:s3:::presigned"
    caller = role(aws, "signer", allow("s3:GetObject", f"{arn}/*"))
    url = aws.client("s3", caller, config=Config(signature_version=version)).generate_presigned_url(
        "get_object", Params={"Bucket": "presigned", "Key": "a"}
    )
    with urllib.request.urlopen(url) as response:  # noqa: S310
        assert response.read() == b"a"


def test_the_deployed_roles_statements_hold(aws: LocalAws, stack: Stack) -> None:
    caller = stack.functions["Function"].role_arn
    name = stack.outputs["BucketName"]
    aws.client("s3").put_object(Bucket=name, Key="in/x", Body=b"x")
    s3 = aws.client("s3", caller)
    assert s3.get_object(Bucket=name, Key="in/x")["Body"].read() == b"x"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=name, Key="in/x", Body=b"")
