"""Deploys a template: moto's CloudFormation creates what it can, the rest is applied here from resolved
properties.

A resource type, or a bucket's property, that neither does is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import clean_json

from local_aws.functions.invocation import FunctionSettings
from local_aws.moto_backend import DEFAULT_ACCOUNT
from local_aws.policy import parse as parse_policy
from local_aws.template import TemplateError, adapt, check_cycles, check_parameters, translate

Client = Callable[[str], Any]
"""A boto3 client of the named service with root's permissions."""

# Created by moto with all that templates here say about them.
_BY_MOTO = frozenset(
    {
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::CloudWatch::Dashboard",
        "AWS::EC2::Instance",
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::IAM::InstanceProfile",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::IAM::User",
        "AWS::Lambda::Function",
        "AWS::Lambda::Permission",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::SSM::Parameter",
    }
)


@dataclass(frozen=True)
class Resource:
    """A created resource; `properties` as resolved."""

    type: str
    physical_id: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class Stack:
    """A deployed template. `functions` maps logical ids to their settings."""

    name: str
    region: str
    outputs: dict[str, str]
    resources: dict[str, Resource]
    functions: dict[str, FunctionSettings] = field(default_factory=dict)


def deploy(client: Client, path: Path, parameters: Mapping[str, Any], name: str, region: str) -> Stack:
    """Create the template at `path` as stack `name`."""
    given = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in parameters.items()
    }
    template = translate(path, given, region)
    check_parameters(template, given)
    check_cycles(template)
    for logical_id, raw in template["Resources"].items():
        if raw["Type"] not in _BY_MOTO and raw["Type"] not in _APPLIERS:
            raise TemplateError(f"{logical_id}: local AWS does not know the resource type {raw['Type']}")
    elsewhere = {
        logical_id: f"{name}-{logical_id}"
        for logical_id, raw in template["Resources"].items()
        if raw["Type"] not in _BY_MOTO
    }
    _create(client("cloudformation"), name, adapt(template, elsewhere), given)

    stack = cloudformation_backends[DEFAULT_ACCOUNT][region].get_stack(name)
    resolved = adapt(template, {})["Resources"]
    resources: dict[str, Resource] = {}
    for logical_id, raw in resolved.items():
        condition = raw.get("Condition")
        if condition and not stack.resource_map.lazy_condition_map[condition]:
            continue
        properties = _present(clean_json(raw.get("Properties", {}), stack.resource_map))
        if logical_id in elsewhere:
            physical_id = elsewhere[logical_id]
        else:
            # moto's Permission has none.
            physical_id = getattr(
                stack.resource_map[logical_id], "physical_resource_id", f"{name}-{logical_id}"
            )
        resources[logical_id] = Resource(raw["Type"], str(physical_id), properties)
    for logical_id, resource in resources.items():
        if apply := _APPLIERS.get(resource.type):
            try:
                apply(client, resource, resources)
            except TemplateError as error:
                raise TemplateError(f"{logical_id}: {error}") from None
    _check_policies(resources)
    outputs = {output.key: str(output.value) for output in stack.output_map.values()}
    functions = {
        logical_id: _function(resource, resources, region)
        for logical_id, resource in resources.items()
        if resource.type == "AWS::Lambda::Function"
    }
    return Stack(name, region, outputs, resources, functions)


def _create(cloudformation: Any, name: str, template: dict[str, Any], parameters: Mapping[str, str]) -> None:
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    if status["StackStatus"] != "CREATE_COMPLETE":
        raise TemplateError(f"stack {name}: {status['StackStatus']}: {status.get('StackStatusReason', '')}")


def _present(node: Any) -> Any:
    """`node` without the list items that are AWS::NoValue, which moto leaves in as None."""
    if isinstance(node, list):
        return [_present(item) for item in node if item is not None]
    if isinstance(node, dict):
        return {key: _present(value) for key, value in node.items()}
    return node


def _check_policies(resources: Mapping[str, Resource]) -> None:
    """Refuse now, by name, what the evaluator would refuse at the first call."""
    for logical_id, resource in resources.items():
        documents = [
            resource.properties.get("PolicyDocument"),
            resource.properties.get("AssumeRolePolicyDocument"),
        ]
        documents += [policy["PolicyDocument"] for policy in resource.properties.get("Policies", [])]
        for document in documents:
            if document:
                try:
                    parse_policy(json.dumps(document))
                except ValueError as error:
                    raise TemplateError(f"{logical_id}: {error}") from None


def _apply_bucket(client: Client, resource: Resource, resources: Mapping[str, Resource]) -> None:
    s3, name = client("s3"), resource.physical_id
    for key, value in resource.properties.items():
        match key:
            case "BucketName" | "BucketEncryption" | "Tags":
                pass  # applied by moto
            case "PublicAccessBlockConfiguration":
                s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=_booleans(value))
            case "OwnershipControls":
                s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=value)
            case "VersioningConfiguration":
                s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=value)
            case "LifecycleConfiguration":
                rules = [_lifecycle_rule(rule) for rule in value["Rules"]]
                s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
            case "NotificationConfiguration":
                configuration = _notifications(value, resources)
                s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=configuration)
            case _:
                raise TemplateError(f"local AWS does not apply the bucket property {key}")


def _booleans(value: Mapping[str, Any]) -> dict[str, bool]:
    return {key: str(flag).lower() == "true" for key, flag in value.items()}


def _lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as the S3 API has it, whose names are not CloudFormation's."""
    result: dict[str, Any] = {"Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    for key, value in rule.items():
        match key:
            case "Id":
                result["ID"] = value
            case "Status" | "Prefix":
                pass
            case "ExpirationInDays":
                result["Expiration"] = {"Days": int(value)}
            case "Transitions":
                result["Transitions"] = [
                    {"StorageClass": item["StorageClass"], "Days": int(item["TransitionInDays"])}
                    for item in value
                ]
            case "AbortIncompleteMultipartUpload":
                result[key] = {"DaysAfterInitiation": int(value["DaysAfterInitiation"])}
            case "NoncurrentVersionExpiration":
                result[key] = {"NoncurrentDays": int(value["NoncurrentDays"])}
            case "NoncurrentVersionExpirationInDays":
                result["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(value)}
            case _:
                raise TemplateError(f"local AWS does not apply the lifecycle property {key}")
    return result


def _notifications(value: Mapping[str, Any], resources: Mapping[str, Resource]) -> dict[str, Any]:
    targets = {
        "LambdaConfigurations": ("LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
        "QueueConfigurations": ("QueueConfigurations", "Queue", "QueueArn"),
    }
    if unknown := sorted(set(value) - set(targets)):
        raise TemplateError(f"local AWS does not deliver notifications by {', '.join(unknown)}")
    result: dict[str, Any] = {}
    for kind, configurations in value.items():
        api_kind, target, api_target = targets[kind]
        for configuration in configurations:
            arn = configuration[target]
            if kind == "LambdaConfigurations":
                _require_permission(arn, resources)
            item: dict[str, Any] = {api_target: arn, "Events": [configuration["Event"]]}
            if rules := configuration.get("Filter", {}).get("S3Key", {}).get("Rules"):
                item["Filter"] = {"Key": {"FilterRules": rules}}
            result.setdefault(api_kind, []).append(item)
    return result


def _require_permission(arn: str, resources: Mapping[str, Resource]) -> None:
    """S3 refuses a function that it may not invoke."""
    name = arn.rpartition(":")[2]
    for resource in resources.values():
        allowed = resource.properties
        if (
            resource.type == "AWS::Lambda::Permission"
            and allowed.get("FunctionName") in (name, arn)
            and allowed.get("Principal") == "s3.amazonaws.com"
            and allowed.get("Action") in ("lambda:InvokeFunction", "lambda:*")
        ):
            return
    raise TemplateError(
        f"Unable to validate the following destination configurations: S3 may not invoke {name}"
    )


def _apply_bucket_policy(client: Client, resource: Resource, _: Mapping[str, Resource]) -> None:
    document = json.dumps(resource.properties["PolicyDocument"])
    client("s3").put_bucket_policy(Bucket=resource.properties["Bucket"], Policy=document)


def _apply_queue_policy(client: Client, resource: Resource, _: Mapping[str, Resource]) -> None:
    document = json.dumps(resource.properties["PolicyDocument"])
    for url in resource.properties["Queues"]:
        client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": document})


def _apply_role(client: Client, resource: Resource, _: Mapping[str, Resource]) -> None:
    for arn in resource.properties.get("ManagedPolicyArns", []):
        client("iam").attach_role_policy(RoleName=resource.physical_id, PolicyArn=arn)


def _apply_log_group(client: Client, resource: Resource, _: Mapping[str, Resource]) -> None:
    if days := resource.properties.get("RetentionInDays"):
        client("logs").put_retention_policy(logGroupName=resource.physical_id, retentionInDays=int(days))


def _apply_query(client: Client, resource: Resource, _: Mapping[str, Resource]) -> None:
    properties = resource.properties
    client("logs").put_query_definition(
        name=properties["Name"],
        queryString=properties["QueryString"],
        logGroupNames=properties.get("LogGroupNames", []),
    )


def _apply_alarm(client: Client, resource: Resource, _: Mapping[str, Resource]) -> None:
    numbers = {"Threshold": float, "Period": int, "EvaluationPeriods": int, "DatapointsToAlarm": int}
    properties = {
        key: numbers.get(key, lambda same: same)(value) for key, value in resource.properties.items()
    }
    client("cloudwatch").put_metric_alarm(**{"AlarmName": resource.physical_id, **properties})


def _apply_nothing(*_: object) -> None:
    """An EventInvokeConfig is read by `_function`."""


_APPLIERS: dict[str, Callable[[Client, Resource, Mapping[str, Resource]], None]] = {
    "AWS::CloudWatch::Alarm": _apply_alarm,
    "AWS::IAM::Role": _apply_role,
    "AWS::Lambda::EventInvokeConfig": _apply_nothing,
    "AWS::Logs::LogGroup": _apply_log_group,
    "AWS::Logs::QueryDefinition": _apply_query,
    "AWS::S3::Bucket": _apply_bucket,
    "AWS::S3::BucketPolicy": _apply_bucket_policy,
    "AWS::SQS::QueuePolicy": _apply_queue_policy,
}


def _function(resource: Resource, resources: Mapping[str, Resource], region: str) -> FunctionSettings:
    properties, name = resource.properties, resource.physical_id
    logging = properties.get("LoggingConfig", {})
    variables = properties.get("Environment", {}).get("Variables", {})
    settings = FunctionSettings(
        name=name,
        arn=f"arn:aws:lambda:{region}:{DEFAULT_ACCOUNT}:function:{name}",
        role_arn=properties["Role"],
        handler=properties.get("Handler", "bootstrap"),
        timeout=float(properties.get("Timeout", 3)),
        memory=int(properties.get("MemorySize", 128)),
        variables={key: str(value) for key, value in variables.items()},
        log_group=logging.get("LogGroup", f"/aws/lambda/{name}"),
        log_format=logging.get("LogFormat", "Text"),
        log_level=logging.get("ApplicationLogLevel", "INFO"),
    )
    for other in resources.values():
        if other.type != "AWS::Lambda::EventInvokeConfig" or other.properties["FunctionName"] != name:
            continue
        config = other.properties
        settings = replace(
            settings,
            max_retries=int(config.get("MaximumRetryAttempts", settings.max_retries)),
            max_age=float(config.get("MaximumEventAgeInSeconds", settings.max_age)),
            on_failure_arn=config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
        )
    return settings
