"""A template becomes a stack: what moto creates, what is applied beside it, what is refused."""

from __future__ import annotations

import json
import uuid
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from local_aws import LocalAws, Stack, TemplateError

from .conftest import HERE

HEADER = "Transform: AWS::Serverless-2016-10-31\n"


def test_outputs_and_properties_are_resolved(stack: Stack) -> None:
    group = "arn:aws:logs:us-east-1:123456789012:log-group:/small/small:*"
    assert stack.outputs["LogGroupArn"] == f"arn is {group}"
    assert stack.outputs["AlarmName"] == stack.resources["Alarm"].physical_id
    role = stack.resources["Role"].properties["Policies"][0]["PolicyDocument"]["Statement"]
    assert role[1]["Resource"] == group
    settings = stack.functions["Function"]
    assert (settings.timeout, settings.memory, settings.max_retries) == (5, 128, 1)
    assert settings.variables == {"GREETING": "hello", "NUMBER": "3"}
    assert settings.on_failure_arn == stack.resources["Queue"].properties.get("Arn", settings.on_failure_arn)
    assert str(settings.on_failure_arn).startswith("arn:aws:sqs:us-east-1:123456789012:small-Queue-")


def test_what_moto_leaves_out_is_applied(aws: LocalAws, stack: Stack) -> None:
    s3, name = aws.client("s3"), stack.outputs["BucketName"]
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert (rule["ID"], rule["Filter"], rule["Transitions"]) == (
        "in",
        {"Prefix": "in/"},
        [{"Days": 90, "StorageClass": "GLACIER_IR"}],
    )
    assert "Expiration" not in rule
    assert json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"][0]["Effect"] == "Deny"
    (notification,) = s3.get_bucket_notification_configuration(Bucket=name)["LambdaFunctionConfigurations"]
    assert notification["LambdaFunctionArn"] == stack.functions["Function"].arn
    (group,) = aws.client("logs").describe_log_groups(logGroupNamePrefix="/small/small")["logGroups"]
    assert group["retentionInDays"] == 7
    (alarm,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[stack.outputs["AlarmName"]])[
        "MetricAlarms"
    ]
    assert (alarm["Namespace"], alarm["Threshold"]) == ("Small", 1)
    dashboard = aws.client("cloudwatch").get_dashboard(DashboardName="small")["DashboardBody"]
    assert json.loads(dashboard)["bucket"] == name
    attributes = aws.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["QueueUrl"], AttributeNames=["Policy"]
    )
    assert "sqs:PurgeQueue" in attributes["Attributes"]["Policy"]


def test_parameters_and_conditions_count(aws: LocalAws) -> None:
    stack = aws.deploy(
        HERE / "small.yaml", {"Expiry": 100, "Greeting": "goodbye", "Retention": 3}, name="other"
    )
    (rule,) = aws.client("s3").get_bucket_lifecycle_configuration(Bucket=stack.outputs["BucketName"])["Rules"]
    assert rule["Expiration"] == {"Days": 100}
    assert stack.functions["Function"].variables["GREETING"] == "goodbye"


def test_a_number_that_is_given_is_compared_as_a_default_is(aws: LocalAws) -> None:
    stack = aws.deploy(HERE / "small.yaml", {"Expiry": 0}, name="never")
    (rule,) = aws.client("s3").get_bucket_lifecycle_configuration(Bucket=stack.outputs["BucketName"])["Rules"]
    assert "Expiration" not in rule


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Greting": "hello"}, "found Greting"),
        ({"Greeting": "hi"}, "Greeting: expected one of hello, goodbye, found 'hi'"),
        ({"Retention": "many"}, "Retention: expected a number, found 'many'"),
        ({"Retention": 31}, "Retention: expected 1..30, found 31"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    aws: LocalAws, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(TemplateError, match=message):
        aws.deploy(HERE / "small.yaml", parameters, name="refused")


def template(tmp_path: Path, resources: dict[str, Any]) -> Path:
    path = tmp_path / "template.yaml"
    path.write_text(HEADER + yaml.safe_dump({"Resources": resources}))
    return path


ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
    },
}


def policy(**statement: Any) -> dict[str, Any]:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", **statement}]}
    properties = {"PolicyName": "p", "Roles": [{"Ref": "Role"}], "PolicyDocument": document}
    return {"Type": "AWS::IAM::Policy", "Properties": properties}


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (
            {"Table": {"Type": "AWS::DynamoDB::Table"}},
            "Table: local AWS does not know the resource type AWS::DynamoDB",
        ),
        (
            {"B": {"Type": "AWS::S3::Bucket", "Properties": {"CorsConfiguration": {"CorsRules": []}}}},
            "B: local AWS does not apply the bucket property CorsConfiguration",
        ),
        (
            {
                "B": {
                    "Type": "AWS::S3::Bucket",
                    "Properties": {
                        "NotificationConfiguration": {
                            "LambdaConfigurations": [
                                {
                                    "Event": "s3:ObjectCreated:*",
                                    "Function": "arn:aws:lambda:us-east-1:1:function:f",
                                }
                            ]
                        }
                    },
                }
            },
            "S3 may not invoke f",
        ),
        ({"Role": ROLE, "P": policy(NotResource="*")}, "P: .*NotResource"),
        (
            {
                "A": {"Type": "AWS::SQS::Queue", "DependsOn": "B"},
                "B": {
                    "Type": "AWS::SQS::Queue",
                    "Properties": {"QueueName": {"Fn::Sub": "x-${A.QueueName}"}},
                },
            },
            "Circular dependency between resources: A -> B -> A",
        ),
    ],
)
def test_what_nobody_handles_is_refused(
    aws: LocalAws, tmp_path: Path, resources: dict[str, Any], message: str
) -> None:
    name = f"refused-{uuid.uuid4().hex}"
    with pytest.raises(TemplateError, match=message):
        aws.deploy(template(tmp_path, resources), name=name)


def test_a_role_holds_the_policies_attached_to_it(aws: LocalAws, tmp_path: Path) -> None:
    allow = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [allow]}
    role: dict[str, Any] = deepcopy(ROLE)
    role["Properties"]["ManagedPolicyArns"] = [{"Ref": "Policy"}]
    policy = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
    stack = aws.deploy(template(tmp_path, {"Role": role, "Policy": policy}), name="attached")
    attached = aws.client("iam").list_attached_role_policies(RoleName=stack.resources["Role"].physical_id)
    (found,) = attached["AttachedPolicies"]
    assert found["PolicyArn"] == stack.resources["Policy"].physical_id


def test_lists_are_checked_item_by_item_and_leave_out_what_is_no_value(aws: LocalAws, tmp_path: Path) -> None:
    nobody = {"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Readers"}]}, ""]}
    reads = {"Effect": "Allow", "Principal": {"AWS": {"Ref": "Readers"}}, "Action": "s3:GetObject"}
    statements = [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket"},
        {"Fn::If": ["Nobody", {"Ref": "AWS::NoValue"}, reads]},
    ]
    policy = {"Bucket": {"Ref": "B"}, "PolicyDocument": {"Statement": statements}}
    path = tmp_path / "lists.yaml"
    content = {
        "Parameters": {
            "Readers": {"Type": "CommaDelimitedList", "Default": "", "AllowedPattern": r"(\d{12})?"}
        },
        "Conditions": {"Nobody": nobody},
        "Resources": {
            "B": {"Type": "AWS::S3::Bucket"},
            "P": {"Type": "AWS::S3::BucketPolicy", "Properties": policy},
        },
    }
    path.write_text(HEADER + yaml.safe_dump(content))

    def readers(stack: Stack) -> list[Any]:
        found = stack.resources["P"].properties["PolicyDocument"]["Statement"]
        return [statement["Principal"] for statement in found]

    assert readers(aws.deploy(path, name="nobody-reads")) == ["*"]
    two = aws.deploy(path, {"Readers": "111111111111,222222222222"}, name="two-read")
    assert readers(two) == ["*", {"AWS": ["111111111111", "222222222222"]}]
    with pytest.raises(TemplateError, match="found '2222'"):
        aws.deploy(path, {"Readers": "111111111111,2222"}, name="refused-list")


def test_a_stack_is_deployed_once(aws: LocalAws, stack: Stack) -> None:
    with pytest.raises(ClientError, match="AlreadyExists"):
        aws.deploy(HERE / "small.yaml", name="small")


def test_the_projects_template_deploys(aws: LocalAws) -> None:
    stack = aws.deploy(Path(__file__).parents[2] / "template.yaml")
    assert stack.outputs["RelayTo"] == f"s3://{stack.outputs['BucketName']}"
    assert stack.functions["RelayFunction"].on_failure_arn
    logs = aws.client("logs")
    saved = logs.describe_query_definitions(queryDefinitionNamePrefix="relay/")["queryDefinitions"]
    expected = [r for r in stack.resources.values() if r.type == "AWS::Logs::QueryDefinition"]
    assert {one["name"] for one in saved} == {r.properties["Name"] for r in expected}
    for one in saved:
        asked = {"queryString": one["queryString"], "logGroupNames": one["logGroupNames"]}
        started = logs.start_query(startTime=0, endTime=1, **asked)
        assert logs.get_query_results(queryId=started["queryId"])["results"] == []


def test_notifications_reach_queues_too(aws: LocalAws) -> None:
    sqs, s3 = aws.client("sqs"), aws.client("s3")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket="to-a-queue")
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:Put"]}]}
    s3.put_bucket_notification_configuration(Bucket="to-a-queue", NotificationConfiguration=configuration)
    s3.put_object(Bucket="to-a-queue", Key="a b", Body=b"")
    bodies = [
        json.loads(m["Body"]) for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    ]
    test_event, event = sorted(bodies, key=lambda body: "Records" in body)
    assert test_event["Event"] == "s3:TestEvent"
    assert event["Records"][0]["s3"]["object"]["key"] == "a+b"
