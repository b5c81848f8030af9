"""The policy evaluator: a table of policies and requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_aws.policy import Decision, PolicyError, evaluate, parse

ALLOW, DENY, NEITHER = Decision.ALLOW, Decision.EXPLICIT_DENY, Decision.IMPLICIT_DENY


def statement(
    action: Any = "s3:GetObject", resource: Any = "*", effect: str = "Allow", **more: Any
) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


BUCKET = "arn:aws:s3:::b"
OBJECT = f"{BUCKET}/in/a b/c.gz"
GET = "s3:GetObject"
NAMESPACE = {"cloudwatch:namespace": "Locust"}
TLS = {"aws:securetransport": "true"}
LOCAL = {"aws:sourceip": "127.0.0.1"}


def when(operator: str, key: str, value: Any) -> list[dict[str, Any]]:
    return [statement(Condition={operator: {key: value}})]


@pytest.mark.parametrize(
    ("policy", "action", "resource", "context", "expected"),
    [
        ([statement()], GET, OBJECT, {}, ALLOW),
        ([statement()], "s3:PutObject", OBJECT, {}, NEITHER),
        ([statement("S3:getobject")], GET, OBJECT, {}, ALLOW),
        ([statement("s3:Get*")], GET, OBJECT, {}, ALLOW),
        ([statement("s3:Get?bject")], GET, OBJECT, {}, ALLOW),
        ([statement("s3:*")], "sqs:SendMessage", OBJECT, {}, NEITHER),
        ([statement("*")], "sqs:SendMessage", OBJECT, {}, ALLOW),
        ([statement(["s3:PutObject", "s3:GetObject"])], GET, OBJECT, {}, ALLOW),
        ([statement(resource=f"{BUCKET}/in/*")], GET, OBJECT, {}, ALLOW),
        ([statement(resource=f"{BUCKET}/out/*")], GET, OBJECT, {}, NEITHER),
        ([statement(resource=[f"{BUCKET}/out/*", OBJECT])], GET, OBJECT, {}, ALLOW),
        ([statement(resource=OBJECT.upper())], GET, OBJECT, {}, NEITHER),
        ([statement(resource=f"{BUCKET}/in/[a] b/c.gz")], GET, OBJECT, {}, NEITHER),
        ([statement(), statement(effect="Deny")], GET, OBJECT, {}, DENY),
        ([statement(effect="Deny"), statement()], GET, OBJECT, {}, DENY),
        ([statement(), statement("s3:Put*", effect="Deny")], GET, OBJECT, {}, ALLOW),
        (when("StringEquals", "cloudwatch:namespace", "Locust"), GET, "*", NAMESPACE, ALLOW),
        (when("StringEquals", "cloudwatch:namespace", "Locust"), GET, "*", {}, NEITHER),
        (when("StringEqualsIfExists", "cloudwatch:namespace", "Locust"), GET, "*", {}, ALLOW),
        (when("StringEquals", "CloudWatch:Namespace", "Locust"), GET, "*", NAMESPACE, ALLOW),
        (when("StringEquals", "cloudwatch:namespace", ["A", "Locust"]), GET, "*", NAMESPACE, ALLOW),
        (when("StringEquals", "cloudwatch:namespace", "locust"), GET, "*", NAMESPACE, NEITHER),
        (when("StringNotEquals", "cloudwatch:namespace", "Locust"), GET, "*", NAMESPACE, NEITHER),
        (when("StringNotEquals", "cloudwatch:namespace", "Locust"), GET, "*", {}, ALLOW),
        (when("StringLike", "s3:prefix", "in/*"), GET, "*", {"s3:prefix": "in/x"}, ALLOW),
        (when("StringLike", "s3:prefix", "in/*"), GET, "*", {"s3:prefix": "out"}, NEITHER),
        (when("Bool", "aws:SecureTransport", True), GET, "*", TLS, ALLOW),
        (when("Bool", "aws:SecureTransport", "false"), GET, "*", TLS, NEITHER),
        (when("IpAddress", "aws:SourceIp", "127.0.0.0/8"), GET, "*", LOCAL, ALLOW),
        (when("IpAddress", "aws:SourceIp", "10.0.0.0/8"), GET, "*", LOCAL, NEITHER),
        (
            [statement(Condition={"StringEquals": NAMESPACE, "Bool": {"aws:SecureTransport": "true"}})],
            "s3:GetObject",
            "*",
            NAMESPACE,
            NEITHER,
        ),
    ],
)  # fmt: skip
def test_decisions(
    policy: list[dict[str, Any]], action: str, resource: str, context: dict[str, str], expected: Decision
) -> None:
    assert evaluate([document(*policy)], action, resource, context) is expected


@pytest.mark.parametrize(
    ("principal", "names", "expected"),
    [
        ("*", (), ALLOW),
        ({"AWS": "*"}, (), ALLOW),
        (
            {"AWS": "arn:aws:iam::1:role/r"},
            ("arn:aws:sts::1:assumed-role/r/s", "arn:aws:iam::1:role/r"),
            ALLOW,
        ),
        ({"AWS": ["arn:aws:iam::1:role/x"]}, ("arn:aws:iam::1:role/r",), NEITHER),
        ({"Service": "lambda.amazonaws.com"}, ("arn:aws:iam::1:role/r",), NEITHER),
    ],
)
def test_principals(principal: Any, names: tuple[str, ...], expected: Decision) -> None:
    policy = document(statement(Principal=principal))
    assert evaluate([policy], GET, OBJECT, {}, names) is expected


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{", "JSON"),
        ("{}", "Statement"),
        (document(statement(effect="Maybe")), "Effect"),
        (document({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}), "NotAction"),
        (document({"Effect": "Allow", "Action": "s3:*", "NotResource": "*"}), "NotResource"),
        (document({"Effect": "Allow", "Resource": "*"}), "Action"),
        (document(statement(resource="arn:aws:s3:::b/${aws:username}/*")), "variables"),
        (document(statement(Principal={"Federated": "x"})), "Federated"),
        (document(statement(Condition={"DateLessThan": {"aws:SourceIp": "x"}})), "DateLessThan"),
        (document(statement(Condition={"StringEquals": {"aws:CurrentTime": "x"}})), "aws:CurrentTime"),
    ],
)
def test_what_is_not_understood_is_refused(policy: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse(policy)
