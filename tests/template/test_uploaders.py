"""Other accounts hand in batches and can do nothing else: UploaderPrincipals, with IAM enforced."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws, Stack, TemplateError

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
OTHER, THIRD = "222222222222", "333333333333"


def create_role(aws: LocalAws, account: str, name: str, resource: str) -> str:
    """A role in another account, which its account allows everything in S3 on a resource; its ARN."""
    iam = aws.client("iam", f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole")
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": resource}
    version = {"Version": "2012-10-17"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({**version, "Statement": [trust]})
    )
    document = json.dumps({**version, "Statement": [allow]})
    iam.put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=document)
    return str(role["Role"]["Arn"])


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running


@pytest.fixture(scope="module")
def roles(aws: LocalAws) -> dict[str, str]:
    """Roles that may do everything, as far as their own accounts have a say."""
    return {
        "named": create_role(aws, OTHER, "load-generator", "*"),
        "not named": create_role(aws, OTHER, "somebody", "*"),
        "not allowed": create_role(aws, THIRD, "idle", "arn:aws:s3:::another-bucket/*"),
        "of a named account": create_role(aws, THIRD, "load-generator", "*"),
    }


@pytest.fixture(scope="module")
def stack(aws: LocalAws, roles: dict[str, str]) -> Stack:
    return aws.deploy(TEMPLATE, {"UploaderPrincipals": f"{roles['named']},{THIRD}"}, name="shared")


def put(s3: Any, stack: Stack, key: str) -> None:
    """As the hook does it."""
    s3.put_object(Bucket=stack.outputs["BucketName"], Key=key, Body=b"batch", IfNoneMatch="*")


@pytest.mark.parametrize("who", ["named", "of a named account"])
def test_named_principals_put_batches(aws: LocalAws, stack: Stack, roles: dict[str, str], who: str) -> None:
    key = f"batches/checkout/run/{who}/000000.ndjson.gz"
    put(aws.client("s3", roles[who]), stack, key)
    found = aws.client("s3").get_object(Bucket=stack.outputs["BucketName"], Key=key)
    assert found["Body"].read() == b"batch"


@pytest.mark.parametrize("who", ["named", "of a named account"])
def test_they_may_do_nothing_else(aws: LocalAws, stack: Stack, roles: dict[str, str], who: str) -> None:
    name = stack.outputs["BucketName"]
    aws.client("s3").put_object(Bucket=name, Key="batches/there", Body=b"x")
    s3 = aws.client("s3", roles[who])
    refused: list[Callable[[], object]] = [
        lambda: put(s3, stack, "replays/before/checkout/run/source/000000.ndjson.gz"),
        lambda: put(s3, stack, "ledger/live/checkout/run/source/000000.json"),
        lambda: put(s3, stack, "load-generator/bundle.tar.gz"),
        lambda: put(s3, stack, "batches.ndjson.gz"),
        lambda: s3.get_object(Bucket=name, Key="batches/there"),
        lambda: s3.delete_object(Bucket=name, Key="batches/there"),
        lambda: s3.copy_object(Bucket=name, Key="batches/copy", CopySource=f"{name}/batches/there"),
        lambda: s3.list_objects_v2(Bucket=name),
        lambda: s3.put_bucket_policy(Bucket=name, Policy="{}"),
        lambda: s3.put_object_acl(Bucket=name, Key="batches/there", ACL="private"),
    ]
    for attempt in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()


def test_both_accounts_have_to_agree(aws: LocalAws, stack: Stack, roles: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="no resource-based policy allows"):
        put(aws.client("s3", roles["not named"]), stack, "batches/a")
    with pytest.raises(ClientError, match="no identity-based policy allows"):
        put(aws.client("s3", roles["not allowed"]), stack, "batches/a")


def test_by_default_nobody_is_let_in(aws: LocalAws, roles: dict[str, str]) -> None:
    stack = aws.deploy(TEMPLATE, {"DashboardName": "closed"}, name="closed")
    for who in roles.values():
        with pytest.raises(ClientError, match="AccessDenied"):
            put(aws.client("s3", who), stack, "batches/a")
    policy = json.loads(aws.client("s3").get_bucket_policy(Bucket=stack.outputs["BucketName"])["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["TlsOnly"]


def test_without_tls_they_are_refused(stack: Stack) -> None:
    statements = stack.resources["BucketPolicy"].properties["PolicyDocument"]["Statement"]
    by_sid = {statement["Sid"]: statement for statement in statements}
    assert by_sid["TlsOnly"]["Effect"] == "Deny"
    assert by_sid["TlsOnly"]["Principal"] == "*"
    assert f"arn:aws:s3:::{stack.outputs['BucketName']}/*" in by_sid["TlsOnly"]["Resource"]
    assert by_sid["UploadFromOtherAccounts"]["Action"] == "s3:PutObject"


@pytest.mark.parametrize(
    "principals",
    [
        "*",
        "2222",
        "222222222222,*",
        "222222222222, 333333333333",
        "arn:aws:iam::222222222222:role/*",
        "arn:aws:iam::*:role/load-generator",
        "arn:aws:sts::222222222222:assumed-role/load-generator/session",
        "lambda.amazonaws.com",
    ],
)
def test_what_is_no_principal_is_refused(aws: LocalAws, principals: str) -> None:
    with pytest.raises(TemplateError, match="UploaderPrincipals: expected a match of"):
        aws.deploy(TEMPLATE, {"UploaderPrincipals": principals}, name="refused")
