"""Who calls, and whether they may: IAM in front of everything.

Administrators are free: the root key of local AWS, and sessions of any account's `ADMIN_ROLE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from local_aws.calls import Call
from local_aws.errors import AwsError
from local_aws.log_queries import groups_of
from local_aws.moto_backend import ADMIN_ROLE, DEFAULT_ACCOUNT, MotoBackend
from local_aws.policy import Context, Decision, PolicyError, evaluate

ROOT_ACCESS_KEY = "AKIALOCALAWSROOT0000"
ROOT_SECRET_KEY = "local-aws-root"  # noqa: S105  # opens nothing but this process

_SOURCE_IP = "127.0.0.1"

# S3 operations whose permission is named otherwise.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_S3_ACTIONS = {
    "ListBuckets": "ListAllMyBuckets",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "HeadObject": "GetObject",
    "CopyObject": "PutObject",
    "PostObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
}
_DELETED_KEY = re.compile(rb"<Key>([^<]*)</Key>")


@dataclass(frozen=True)
class Principal:
    """The caller. `names` are all ARNs under which a resource's policy may name it."""

    arn: str
    account: str
    unique_id: str
    names: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    is_admin: bool = False


ROOT = Principal(f"arn:aws:iam::{DEFAULT_ACCOUNT}:root", DEFAULT_ACCOUNT, DEFAULT_ACCOUNT, is_admin=True)
ANONYMOUS = Principal("anonymous", "", "anonymous")


@dataclass(frozen=True)
class Demand:
    """One permission that a call needs; `owner` is the resource's account, `policy` its own policy."""

    action: str
    resource: str
    owner: str
    policy: str | None = None
    context: tuple[tuple[str, str], ...] = ()


class Access:
    """Decides on calls by moto's IAM and STS state and the resources' policies."""

    def __init__(self, moto: MotoBackend, bucket_policies: Mapping[str, str]) -> None:
        self._moto = moto
        self._bucket_policies = bucket_policies
        self.enforced = True

    def principal(self, call: Call) -> Principal:
        """Who signed a call; an unknown access key is an `AwsError`."""
        if call.access_key is None:
            return ANONYMOUS
        if call.access_key == ROOT_ACCESS_KEY:
            return ROOT
        identity = self._moto.identity(call.access_key)
        if identity is None:
            code = "InvalidAccessKeyId" if call.service == "s3" else "InvalidClientTokenId"
            raise AwsError(403, code, "The security token included in the request is invalid.")
        names = (identity.arn, identity.owner_arn, identity.account, f"arn:aws:iam::{identity.account}:root")
        is_admin = identity.owner_arn.endswith(f":role/{ADMIN_ROLE}")
        return Principal(
            identity.arn, identity.account, identity.unique_id, names, identity.policies, is_admin
        )

    def check(self, call: Call, principal: Principal, parameters: Mapping[str, Any]) -> None:
        """Raise the service's AccessDenied unless `principal` may make this call."""
        if principal.is_admin or not self.enforced:
            return
        try:
            for demand in self._demands(call, principal, parameters):
                self._require(call, principal, demand)
            if call.operation in ("GetObject", "HeadObject"):
                self._hide_missing(call, principal)
        except PolicyError as error:
            raise AwsError(501, "NotImplemented", f"{error} (asked by {principal.arn})") from error

    def role_may(self, role_arn: str, action: str, resource: str) -> bool:
        """Whether a role's own policies allow an action; for what a service does in the role's name."""
        return evaluate(self._moto.role_policies(role_arn), action, resource, {}) is Decision.ALLOW

    def _demands(self, call: Call, principal: Principal, parameters: Mapping[str, Any]) -> Iterable[Demand]:
        match call.service:
            case "s3":
                return self._s3_demands(call)
            case "cloudwatch":
                namespace = parameters.get("Namespace")
                has_key = call.operation == "PutMetricData" and isinstance(namespace, str)
                context = (("cloudwatch:namespace", str(namespace)),) if has_key else ()
                return [Demand(f"cloudwatch:{call.operation}", "*", principal.account, context=context)]
            case "logs":
                return self._logs_demands(call, principal, parameters)
            case "sqs":
                owner = call.resource.split(":")[4] if ":" in call.resource else principal.account
                policy = self._moto.queue_policy(call.resource) if ":" in call.resource else None
                return [Demand(f"sqs:{call.operation}", call.resource, owner, policy)]
            case "sts":
                return self._sts_demands(call)
        raise AwsError(
            501,
            "NotImplemented",
            f"local AWS evaluates no policies for {call.service}: use administrator credentials",
        )

    def _logs_demands(
        self, call: Call, principal: Principal, parameters: Mapping[str, Any]
    ) -> Iterable[Demand]:
        action = f"logs:{call.operation}"
        if call.operation != "StartQuery":
            return [Demand(action, call.resource, principal.account)]
        names = groups_of(parameters, self._moto.log_group_names(principal.account, call.region))
        arns = [log_stream_arn(call, principal.account, name, "") for name in names]
        return [Demand(action, arn, principal.account) for arn in arns]

    def _s3_demands(self, call: Call) -> Iterable[Demand]:
        action = f"s3:{_S3_ACTIONS.get(call.operation, call.operation)}"
        context: tuple[tuple[str, str], ...] = ()
        if "prefix" in call.query:
            context += (("s3:prefix", call.query["prefix"]),)
        headers = {name.lower(): value for name, value in call.http.headers.items()}
        context += tuple(
            (f"s3:{name}", headers[name])
            for name in ("x-amz-acl", "x-amz-server-side-encryption")
            if name in headers
        )
        if call.operation == "DeleteObjects":
            for key in _DELETED_KEY.findall(call.http.body):
                yield self._s3_demand("s3:DeleteObject", f"{call.bucket}/{key.decode()}")
            return
        path = f"{call.bucket}/{call.key}" if call.key else call.bucket or ""
        yield self._s3_demand(action, path, context)
        if source := headers.get("x-amz-copy-source"):
            yield self._s3_demand("s3:GetObject", unquote(source).lstrip("/").partition("?")[0])
        if call.operation == "PutObject" and "if-match" in headers:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
            yield self._s3_demand("s3:GetObject", path)

    def _s3_demand(self, action: str, path: str, context: tuple[tuple[str, str], ...] = ()) -> Demand:
        bucket_name = path.partition("/")[0]
        bucket = self._moto.bucket(bucket_name)
        resource = f"arn:aws:s3:::{path}" if path else "*"
        owner = bucket.account_id if bucket else ""
        return Demand(action, resource, owner, self._bucket_policies.get(bucket_name), context)

    def _sts_demands(self, call: Call) -> Iterable[Demand]:
        if call.operation == "GetCallerIdentity":
            return []  # needs no permission: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
        owner = call.resource.split(":")[4] if ":" in call.resource else ""
        policy = self._moto.trust_policy(call.resource) if owner else None
        return [Demand(f"sts:{call.operation}", call.resource, owner, policy)]

    def _require(self, call: Call, principal: Principal, demand: Demand) -> None:
        context = {
            "aws:securetransport": "true",
            "aws:sourceip": _SOURCE_IP,
            "aws:principalarn": _owner_arn(principal),
            "aws:principalaccount": principal.account,
            **dict(demand.context),
        }
        identity = evaluate(principal.policies, demand.action, demand.resource, context)
        of_resource = _resource_decision(demand, principal.names, context)
        if Decision.EXPLICIT_DENY in (identity, of_resource):
            kind = "identity" if identity is Decision.EXPLICIT_DENY else "resource"
            raise _denied(call, principal, demand, f"with an explicit deny in a {kind}-based policy")
        # A resource's policy that names the caller itself lets it in; one that names the account
        # (`names[2:]`) leaves
        # the decision to the account's own policies. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
        named = _resource_decision(demand, principal.names[:2], context)
        if call.service == "sts" or demand.owner not in (principal.account, ""):
            # Role assumption and other accounts' resources: both sides must allow.
            by_caller = identity is Decision.ALLOW or (
                demand.owner == principal.account and named is Decision.ALLOW
            )
            if by_caller and of_resource is Decision.ALLOW:
                return
            kind = "resource" if by_caller else "identity"
        else:
            if Decision.ALLOW in (identity, named):
                return
            kind = "identity"
        raise _denied(
            call, principal, demand, f"because no {kind}-based policy allows the {demand.action} action"
        )

    def _hide_missing(self, call: Call, principal: Principal) -> None:
        """Without s3:ListBucket, S3 does not tell whether an object exists."""
        if not call.bucket or not call.key or self._moto.bucket(call.bucket) is None:
            return
        if self._moto.s3_object(call.bucket, call.key) is None:
            self._require(call, principal, self._s3_demand("s3:ListBucket", call.bucket))


def _owner_arn(principal: Principal) -> str:
    return principal.names[1] if principal.names else principal.arn


def _resource_decision(demand: Demand, names: tuple[str, ...], context: Context) -> Decision:
    if not demand.policy:
        return Decision.IMPLICIT_DENY
    return evaluate([demand.policy], demand.action, demand.resource, context, names)


def _denied(call: Call, principal: Principal, demand: Demand, reason: str) -> AwsError:
    if principal is ANONYMOUS:
        return AwsError(403, "AccessDenied", "Access Denied")
    who = f"User: {principal.arn} is not authorized to perform: {demand.action}"
    match call.service:
        case "s3":
            return AwsError(403, "AccessDenied", f'{who} on resource: "{demand.resource}" {reason}')
        case "cloudwatch":
            return AwsError(403, "AccessDenied", f"{who} {reason}", "AccessDeniedException")
        case "logs":
            return AwsError(400, "AccessDeniedException", f"{who} on resource: {demand.resource} {reason}")
        case "sqs":
            who = who.replace(demand.action, demand.action.lower())
            reason = reason.replace(demand.action, demand.action.lower())
            return AwsError(403, "AccessDenied", f"{who} on resource: {demand.resource} {reason}")
    return AwsError(403, "AccessDenied", f"{who} on resource: {demand.resource}")


def log_stream_arn(call: Call, account: str, group: str, stream: str) -> str:
    """The ARN of a log stream; with `stream` "", what a call about the whole group acts on."""
    return f"arn:aws:logs:{call.region}:{account}:log-group:{group}:log-stream:{stream}"


def resource_of(call: Call, parameters: Mapping[str, Any], account: str) -> str:
    """The ARN that a call of Logs, SQS or STS acts on."""
    match call.service:
        case "logs":
            group = parameters.get("logGroupName") or ""
            if not group and (identifier := parameters.get("logGroupIdentifier")):
                group = str(identifier).removesuffix(":*").rpartition(":log-group:")[2]
            stream = parameters.get("logStreamName") or ""
            return log_stream_arn(call, account, group, stream)
        case "sqs":
            if url := parameters.get("QueueUrl"):
                owner, name = (["", *str(url).rstrip("/").split("/")])[-2:]
                return f"arn:aws:sqs:{call.region}:{owner}:{name}"
            if parameters.get("QueueName"):
                return f"arn:aws:sqs:{call.region}:{account}:{parameters['QueueName']}"
        case "sts":
            return str(parameters.get("RoleArn") or "*")
    return call.resource
