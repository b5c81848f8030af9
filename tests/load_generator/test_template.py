"""The load generator's stack: what its machines may do, who reaches them, which parameters are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws, Stack, TemplateError
from tests.load_generator.generators import TEMPLATE, Generator, Generators

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def many(generators: Generators) -> Generator:
    return generators.deploy("gen", Workers=3, WebUiCidr="203.0.113.0/24", InstanceType="c7i.xlarge")


@pytest.mark.parametrize(
    "command",
    [("sam", "validate", "--lint", "--template"), ("cfn-lint", "--regions", "us-east-1", "eu-north-1", "--")],
)
def test_it_is_valid(command: tuple[str, ...]) -> None:
    program, *arguments = command
    done = subprocess.run(
        [BIN / program, *arguments, TEMPLATE],
        capture_output=True,
        text=True,
        check=False,
        cwd=TEMPLATE.parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_machines_hand_in_batches_fetch_their_bundle_and_nothing_else(
    aws: LocalAws, relay: Stack, many: Generator
) -> None:
    name = relay.outputs["BucketName"]
    root = aws.client("s3")
    for key in ("load-generator/bundle.tar.gz", "load-generator/other.tar.gz", "batches/other"):
        root.put_object(Bucket=name, Key=key, Body=b"x")
    role = many.stack.outputs["RoleArn"]
    s3, logs, cloudwatch = (aws.client(service, role) for service in ("s3", "logs", "cloudwatch"))
    s3.put_object(Bucket=name, Key="batches/checkout/run/source/000000.ndjson.gz", Body=b"x", IfNoneMatch="*")
    assert s3.get_object(Bucket=name, Key="load-generator/bundle.tar.gz")["Body"].read() == b"x"
    refused: list[Callable[[], object]] = [
        lambda: s3.get_object(Bucket=name, Key="load-generator/other.tar.gz"),
        lambda: s3.put_object(Bucket=name, Key="load-generator/bundle.tar.gz", Body=b"evil"),
        lambda: s3.get_object(Bucket=name, Key="batches/other"),
        lambda: s3.put_object(Bucket=name, Key="replays/x/batches/other", Body=b"x"),
        lambda: s3.list_objects_v2(Bucket=name),
        lambda: logs.describe_log_groups(),
        lambda: cloudwatch.put_metric_data(Namespace="Locust", MetricData=[{"MetricName": "m", "Value": 1}]),
    ]
    for attempt in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()


def test_beside_s3_the_role_allows_sessions_alone(many: Generator, relay: Stack) -> None:
    role = many.stack.resources["Role"].properties
    assert role["ManagedPolicyArns"] == [relay.outputs["UploaderPolicyArn"]]
    (policy,) = role["Policies"]
    allowed = {statement["Sid"]: statement["Action"] for statement in policy["PolicyDocument"]["Statement"]}
    assert allowed == {
        "Bundle": "s3:GetObject",
        "Sessions": [
            "ssm:UpdateInstanceInformation",
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        ],
    }


def test_for_a_relay_in_another_account_the_role_has_the_same_permission(
    aws: LocalAws, relay: Stack, generators: Generators
) -> None:
    role = generators.deploy("elsewhere", Workers=0, UploaderPolicyArn="").stack.outputs["RoleArn"]
    s3, name = aws.client("s3", role), relay.outputs["BucketName"]
    s3.put_object(Bucket=name, Key="batches/elsewhere", Body=b"x")
    for key in ("ledger/x", "load-generator/x.tar.gz"):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(Bucket=name, Key=key, Body=b"x")


@pytest.mark.parametrize("template", ["MasterTemplate", "WorkerTemplate"])
def test_machines_have_no_key_encrypted_disks_and_session_tokens(many: Generator, template: str) -> None:
    data = many.launch_data(template)
    assert "KeyName" not in data
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert [mapping["Ebs"]["Encrypted"] for mapping in data["BlockDeviceMappings"]] == [True]
    assert len(many.user_data(template)) < 16 * 1024, "EC2's limit"


def open_to(many: Generator, group: str) -> list[tuple[int, int, list[str], list[str]]]:
    """Ports of a security group, and the networks and groups that reach them."""
    physical_id = many.stack.resources[group].physical_id
    (found,) = many.aws.client("ec2").describe_security_groups(GroupIds=[physical_id])["SecurityGroups"]
    return sorted(
        (
            rule["FromPort"],
            rule["ToPort"],
            [item["CidrIp"] for item in rule["IpRanges"]],
            [item["GroupId"] for item in rule["UserIdGroupPairs"]],
        )
        for rule in found["IpPermissions"]
    )


def test_only_workers_and_the_given_network_reach_the_master_and_nobody_a_worker(many: Generator) -> None:
    workers = many.stack.resources["WorkerGroup"].physical_id
    assert open_to(many, "MasterGroup") == [(5557, 5557, [], [workers]), (8089, 8089, ["203.0.113.0/24"], [])]
    assert open_to(many, "WorkerGroup") == []


def test_by_default_nobody_reaches_a_machine_alone(generators: Generators) -> None:
    alone = generators.deploy("nobody", Workers=0)
    assert open_to(alone, "MasterGroup") == []
    assert not {"WorkerGroup", "WorkerTemplate", "WorkerMachines"} & set(alone.stack.resources)
    assert "./setup.sh --processes -1 " in alone.user_data("MasterTemplate")


def test_as_many_workers_as_asked_for_of_the_type_asked_for(aws: LocalAws, many: Generator) -> None:
    group = many.stack.resources["WorkerMachines"].physical_id
    (found,) = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])[
        "AutoScalingGroups"
    ]
    assert [machine["InstanceType"] for machine in found["Instances"]] == ["c7i.xlarge"] * 3
    image = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    wanted = aws.client("ssm").get_parameter(Name=image)["Parameter"]["Value"]
    assert many.launch_data("WorkerTemplate")["ImageId"] == wanted


def test_arm64_is_a_matter_of_two_parameters(aws: LocalAws, generators: Generators) -> None:
    image = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    arm = generators.deploy("arm", Image=image, InstanceType="c7g.large", Workers=1)
    wanted = aws.client("ssm").get_parameter(Name=image)["Parameter"]["Value"]
    assert arm.launch_data("WorkerTemplate")["ImageId"] == wanted
    described = aws.client("ec2").describe_instances(InstanceIds=[arm.stack.outputs["MasterId"]])
    (master,) = described["Reservations"][0]["Instances"]
    assert (master["ImageId"], master["InstanceType"]) == (wanted, "c7g.large")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("WebUiCidr", "0.0.0.0/0"),
        ("WebUiCidr", "203.0.113.7/0"),
        ("WebUiCidr", "128.0.0.0/1"),
        ("WebUiCidr", "10.0.0.0/7"),
        ("WebUiCidr", "10.0.0.0"),
        ("WebUiCidr", "256.0.0.0/8"),
        ("WebUiCidr", "::/0"),
        ("LocustOptions", "--host x; curl evil"),
        ("LocustOptions", "--host $(id)"),
        ("LocustOptions", "--host 'x"),
        ("LocustOptions", "--host x\n--users 5"),
        ("Bundle", "s3://bucket/batches/x"),
        ("Bundle", "s3://bucket/load-generator/../x"),
        ("Bundle", "s3://bucket/load-generator/*"),
        ("RelayTo", "s3://bucket/*"),
        ("RelayTo", "file:///tmp"),
        ("UploaderPolicyArn", "relay-UploaderPolicy"),
        ("Workers", -1),
        ("InstanceType", "large"),
    ],
)
def test_what_must_not_be_is_refused(generators: Generators, parameter: str, value: Any) -> None:
    with pytest.raises(TemplateError, match=f"parameter {parameter}: expected"):
        generators.deploy("refused", **{parameter: value})


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "203.0.113.7/32", "192.168.4.0/22"])
def test_networks_that_are_somebody_s_are_accepted(generators: Generators, cidr: str) -> None:
    name = f"cidr-{cidr.partition('/')[2]}"
    generator = generators.deploy(name, Workers=0, WebUiCidr=cidr)
    assert open_to(generator, "MasterGroup") == [(8089, 8089, [cidr], [])]


def test_the_web_interface_s_addresses_are_the_master_s(aws: LocalAws, many: Generator) -> None:
    outputs = many.stack.outputs
    described = aws.client("ec2").describe_instances(InstanceIds=[outputs["MasterId"]])
    (master,) = described["Reservations"][0]["Instances"]
    assert outputs["WebUi"] == f"http://{master['PrivateIpAddress']}:8089"
    assert outputs["PublicName"] == (
        f"aws ec2 describe-instances --region us-east-1 --instance-ids {outputs['MasterId']} "
        "--query Reservations[].Instances[].PublicDnsName --output text"
    )


def test_no_parameter_opens_the_web_interface_by_default() -> None:
    text = TEMPLATE.read_text()
    assert "0.0.0.0/0" not in text
    assert "::/0" not in text


def test_every_parameter_is_described_and_grouped(generators: Generators) -> None:
    from samtranslator.yaml_helper import yaml_parse

    template = yaml_parse(TEMPLATE.read_text())
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])
    assert all(parameter["Description"] for parameter in template["Parameters"].values())
    assert json.dumps(template["Resources"]).count("KeyName") == 0
