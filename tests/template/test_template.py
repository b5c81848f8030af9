"""Rules that the template keeps: what deploys, who may do what, and that it fits the relay it deploys."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
BIN = Path(sys.executable).parent


class NoManagedPolicies:
    """Stands where the translator would ask IAM for AWS's own policies: the template names none."""

    def load(self) -> dict[str, str]:
        return {}


def translate(template: dict[str, Any]) -> dict[str, Any]:
    """What CloudFormation makes of the SAM template. The code's place is given, as `sam package` does it."""
    template = deepcopy(template)
    template["Resources"]["RelayFunction"]["Properties"]["CodeUri"] = "s3://code/relay.zip"
    translated: dict[str, Any] = transform(template, {}, NoManagedPolicies())
    return translated


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return parsed


@pytest.fixture(scope="module")
def translated(template: dict[str, Any]) -> dict[str, Any]:
    return translate(template)


def properties(template: dict[str, Any], logical_id: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][logical_id]["Properties"]
    return found


# -- It is valid, and can be created ---------------------------------------------------------------


def test_sam_validates_and_lints_the_template() -> None:
    result = subprocess.run(
        [BIN / "sam", "validate", "--lint"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-southeast-2"])
def test_cfn_lint_accepts_the_translated_template(
    translated: dict[str, Any], tmp_path: Path, region: str
) -> None:
    path = tmp_path / "translated.json"
    path.write_text(json.dumps(translated))
    result = subprocess.run(
        [BIN / "cfn-lint", "--regions", region, "--", path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def references(value: object) -> Iterator[str]:
    """Everything that a part of a template names by Ref, Fn::GetAtt, Fn::Sub or DependsOn."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield item
            elif key == "Fn::GetAtt":
                yield item[0] if isinstance(item, list) else item.split(".")[0]
            elif key == "Fn::Sub":
                text, names = item if isinstance(item, list) else (item, {})
                used = {name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)}", text)}
                yield from used - names.keys()
                yield from references(names)
            elif key == "DependsOn":
                yield from [item] if isinstance(item, str) else item
            else:
                yield from references(item)


def creation_order(template: dict[str, Any]) -> list[str]:
    """The order in which CloudFormation can create the resources; raises CycleError when there is none."""
    resources = template["Resources"]
    graph = {name: set(references(resource)) & resources.keys() for name, resource in resources.items()}
    return list(TopologicalSorter(graph).static_order())


def test_resources_can_be_created_in_some_order(translated: dict[str, Any]) -> None:
    order = creation_order(translated)
    assert order.index("RelayRole") < order.index("RelayFunction") < order.index("Bucket")
    assert order.index("Bucket") < order.index("RelayBucketAccess")


def test_a_role_that_names_the_bucket_would_be_a_cycle(template: dict[str, Any]) -> None:
    broken = deepcopy(template)
    statements = properties(broken, "RelayRole")["Policies"][0]["PolicyDocument"]["Statement"]
    statements += properties(broken, "RelayBucketAccess")["PolicyDocument"]["Statement"]
    with pytest.raises(CycleError, match="Bucket"):
        creation_order(translate(broken))


def test_no_yaml_aliases() -> None:
    """CloudFormation does not read them, though SAM's own commands do."""
    assert not re.findall(r"^[^#\n]*(?:: |- )[&*][A-Za-z]", TEMPLATE.read_text(), re.MULTILINE)


def test_every_parameter_is_described_grouped_and_used(template: dict[str, Any]) -> None:
    parameters = template["Parameters"]
    assert [name for name, parameter in parameters.items() if not parameter.get("Description")] == []
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert [name for group in groups for name in group["Parameters"]] == list(parameters)
    used = set(references(template["Resources"])) | set(references(template["Conditions"]))
    assert parameters.keys() - used == set()


# -- Who may do what -------------------------------------------------------------------------------


def statements(template: dict[str, Any], role: str) -> dict[str, dict[str, Any]]:
    """All statements that hold for a role: its own, and those of policies attached to it."""
    documents = [policy["PolicyDocument"] for policy in properties(template, role)["Policies"]]
    for resource in template["Resources"].values():
        if {"Ref": role} in resource.get("Properties", {}).get("Roles", []):
            documents.append(resource["Properties"]["PolicyDocument"])
    return {statement["Sid"]: statement for document in documents for statement in document["Statement"]}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_function_may_do_what_it_needs_and_nothing_else(translated: dict[str, Any]) -> None:
    def arn(logical_id: str) -> dict[str, list[str]]:
        return {"Fn::GetAtt": [logical_id, "Arn"]}

    role = statements(translated, "RelayRole")
    granted = [
        (action, json.dumps(resource))
        for statement in role.values()
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]
    assert sorted(granted) == sorted(
        (action, json.dumps(resource))
        for action, resource in [
            ("cloudwatch:PutMetricData", "*"),
            ("logs:CreateLogStream", arn("LogGroup")),
            ("logs:CreateLogStream", arn("FunctionLogGroup")),
            ("logs:PutLogEvents", arn("LogGroup")),
            ("logs:PutLogEvents", arn("FunctionLogGroup")),
            ("s3:GetObject", {"Fn::Sub": "${Bucket.Arn}/batches/*"}),
            ("s3:GetObject", {"Fn::Sub": "${Bucket.Arn}/replays/*"}),
            ("s3:GetObject", {"Fn::Sub": "${Bucket.Arn}/ledger/*"}),
            ("s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/ledger/*"}),
            ("sqs:SendMessage", arn("OnFailureQueue")),
        ]
    )
    assert {statement["Effect"] for statement in role.values()} == {"Allow"}
    assert role["Metrics"]["Condition"] == {"StringEquals": {"cloudwatch:namespace": {"Ref": "Namespace"}}}
    assert "ManagedPolicyArns" not in properties(translated, "RelayRole")
    assert properties(translated, "RelayFunction")["Role"] == arn("RelayRole")


def test_only_lambda_may_take_the_role(translated: dict[str, Any]) -> None:
    (statement,) = properties(translated, "RelayRole")["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_load_generators_may_only_put_batches(translated: dict[str, Any]) -> None:
    (statement,) = properties(translated, "UploaderPolicy")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "s3:PutObject")
    assert statement["Resource"] == {"Fn::Sub": "${Bucket.Arn}/batches/*"}


def test_the_function_cannot_trigger_itself(translated: dict[str, Any]) -> None:
    triggers = properties(translated, "Bucket")["NotificationConfiguration"]["LambdaConfigurations"]
    rules = [rule for trigger in triggers for rule in trigger["Filter"]["S3Key"]["Rules"]]
    assert [rule["Name"] for rule in rules] == ["prefix", "prefix"]
    prefixes = {rule["Value"] for rule in rules}
    assert prefixes == {"batches/", "replays/"}
    written = [
        resource["Fn::Sub"].removeprefix("${Bucket.Arn}/")
        for statement in statements(translated, "RelayRole").values()
        if "s3:PutObject" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    ]
    assert written
    assert not [prefix for prefix in written if prefix.startswith((*prefixes, "*"))]


# -- Nothing is lost, nothing is open --------------------------------------------------------------


def test_the_bucket_is_private_encrypted_and_outlives_the_stack(translated: dict[str, Any]) -> None:
    bucket = properties(translated, "Bucket")
    assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"], True
    )
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert translated["Resources"]["Bucket"]["DeletionPolicy"] == "Retain"
    assert translated["Resources"]["Bucket"]["UpdateReplacePolicy"] == "Retain"
    assert "BucketName" not in bucket, (
        "a second stack could not be created beside the bucket that the first left"
    )


@pytest.mark.parametrize("policy", ["BucketPolicy", "OnFailureQueuePolicy"])
def test_only_tls_is_spoken(translated: dict[str, Any], policy: str) -> None:
    statement, *others = properties(translated, policy)["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert [list(other) for other in others] in ([], [["Fn::If"]]), "nobody else is named by default"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_lifecycle_covers_batches_replays_ledger_and_incomplete_uploads(translated: dict[str, Any]) -> None:
    rules = {rule["Id"]: rule for rule in properties(translated, "Bucket")["LifecycleConfiguration"]["Rules"]}
    assert rules["batches"]["Prefix"] == "batches/"
    assert rules["batches"]["ExpirationInDays"]["Fn::If"][0] == "BatchesExpire"
    assert (rules["replays"]["Prefix"], rules["replays"]["ExpirationInDays"]) == ("replays/", 15)
    assert (rules["ledger"]["Prefix"], rules["ledger"]["ExpirationInDays"]) == ("ledger/", 15)
    assert "Prefix" not in rules["incomplete-uploads"]


def test_events_that_fail_are_kept_for_two_weeks(translated: dict[str, Any]) -> None:
    (configuration,) = [
        resource["Properties"]
        for resource in translated["Resources"].values()
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig"
    ]
    assert configuration["FunctionName"] == {"Ref": "RelayFunction"}
    assert (configuration["MaximumRetryAttempts"], configuration["MaximumEventAgeInSeconds"]) == (2, 6 * 3600)
    destination = configuration["DestinationConfig"]["OnFailure"]["Destination"]
    assert destination == {"Fn::GetAtt": ["OnFailureQueue", "Arn"]}
    queue = properties(translated, "OnFailureQueue")
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert queue["SqsManagedSseEnabled"] is True


def test_every_log_group_forgets(translated: dict[str, Any]) -> None:
    groups = [
        resource["Properties"]
        for resource in translated["Resources"].values()
        if resource["Type"] == "AWS::Logs::LogGroup"
    ]
    assert len(groups) == 2
    assert all("Ref" in group["RetentionInDays"] for group in groups)


# -- It fits the relay -----------------------------------------------------------------------------


def test_sam_builds_this_crate_s_binary(template: dict[str, Any]) -> None:
    function = template["Resources"]["RelayFunction"]
    assert function["Metadata"]["BuildMethod"] == "rust-cargolambda"
    assert (
        f'name = "{function["Metadata"]["BuildProperties"]["Binary"]}"' in (ROOT / "Cargo.toml").read_text()
    )
    code = (TEMPLATE.parent / function["Properties"]["CodeUri"]).resolve()
    assert (code / "Cargo.toml").is_file()
    assert (function["Properties"]["Runtime"], function["Properties"]["Handler"]) == (
        "provided.al2023",
        "bootstrap",
    )


def test_dimension_sets_may_name_exactly_the_relay_s_dimensions(template: dict[str, Any]) -> None:
    known = set(re.findall(r'Self::([A-Z][a-z]+) => "\1"', (ROOT / "src" / "config.rs").read_text()))
    assert known
    pattern = template["Parameters"]["DimensionSets"]["AllowedPattern"]
    assert set(re.findall(r"[A-Z][a-z]+", pattern)) == known
    assert re.fullmatch(pattern, template["Parameters"]["DimensionSets"]["Default"])
    assert not re.fullmatch(pattern, "Test;Users")
    assert not re.fullmatch(pattern, "Test,;Run")
