"""moto, reduced to what local AWS needs of it: answering calls, and a look at its state.

moto keeps its state in process-wide tables, so there can be one local AWS per process.
"""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.core.model_instances import reset_model_data
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import FakeBucket, FakeKey, s3_backends
from moto.sqs.models import sqs_backends
from moto.sts.models import sts_backends
from werkzeug.test import run_wsgi_app

from local_aws.calls import Call
from local_aws.http import HttpResponse

DEFAULT_ACCOUNT = "123456789012"
PARTITION = "aws"
# The role by which AWS Organizations administers other accounts; local AWS has it in each account.
ADMIN_ROLE = "OrganizationAccountAccessRole"
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
MAX_SESSION_NAME = 64
SESSION_SECONDS = 3600


@dataclass(frozen=True)
class Identity:
    """A user or an assumed role in moto's IAM; `owner_arn` is the user's or role's own ARN."""

    arn: str
    owner_arn: str
    account: str
    unique_id: str
    policies: tuple[str, ...]


class MotoBackend:
    """The services that moto plays. All but SQS' (whose long polls block) run one at a time.

    That makes S3's conditional writes atomic, which moto's own threads are not.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._app = DomainDispatcherApplication(create_backend_app)
        default_user_config["iam"] = {"load_aws_managed_policies": True}

    def reset(self) -> None:
        """Forget everything in all services."""
        with self.lock:
            BackendDict.reset()
            reset_model_data()

    def serve(self, call: Call) -> HttpResponse:
        """Let moto answer a call."""
        if call.service == "sqs":
            return self._run(call)
        with self.lock:
            return self._run(call)

    def _run(self, call: Call) -> HttpResponse:
        environ = call.http.environ
        environ["wsgi.input"] = io.BytesIO(call.http.body)
        body, status, headers = run_wsgi_app(self._app, environ, buffered=True)
        kept = [
            (name, value)
            for name, value in headers
            if name.lower() not in ("connection", "transfer-encoding")
        ]
        return HttpResponse(int(status.split(" ", 1)[0]), kept, b"".join(body))

    def identity(self, access_key: str) -> Identity | None:
        """Who signs with an access key; None if nobody does."""
        for account, partitions in list(sts_backends.items()):
            for session in reversed(list(partitions[PARTITION].assumed_roles)):
                if session.access_key_id == access_key:
                    role = self._role(account, session.role_arn)
                    unique_id = role.id if role else "AROANONE"
                    policies = self._policies(role) if role else []
                    return Identity(
                        session.arn,
                        session.role_arn,
                        account,
                        f"{unique_id}:{session.session_name}",
                        tuple(policies),
                    )
        for account, backends in list(iam_backends.items()):
            for user in list(backends[PARTITION].users.values()):
                if any(key.access_key_id == access_key for key in user.access_keys):
                    policies = self._policies(user)
                    for group in backends[PARTITION].get_groups_for_user(user.name):
                        policies += self._policies(group)
                    return Identity(user.arn, user.arn, account, user.id, tuple(policies))
        return None

    @staticmethod
    def _role(account: str, arn: str) -> Any:
        roles = iam_backends[account][PARTITION].roles.values()
        return next((role for role in list(roles) if role.arn == arn), None)

    @staticmethod
    def _policies(owner: Any) -> list[str]:
        versions = [
            next(v.document for v in policy.versions if v.version_id == policy.default_version_id)
            for policy in owner.managed_policies.values()
        ]
        # What came by CloudFormation is not text yet.
        return [p if isinstance(p, str) else json.dumps(p) for p in [*owner.policies.values(), *versions]]

    def role_policies(self, role_arn: str) -> list[str]:
        """The policies of a role; [] if there is no such role."""
        role = self._role(role_arn.split(":")[4], role_arn)
        return self._policies(role) if role else []

    def assume_role(self, role_arn: str, session: str, region: str) -> tuple[str, str, str]:
        """Credentials (access key, secret key, token) of a session, as root gets them: no call, no fault."""
        parts = role_arn.split(":")
        if len(parts) != 6 or not parts[5].startswith("role/"):
            raise ValueError(f"expected the ARN of a role, found {role_arn!r}")
        with self.lock:
            if self._role(parts[4], role_arn) is None and not role_arn.endswith(f":role/{ADMIN_ROLE}"):
                raise ValueError(f"expected a role that exists, found none at {role_arn}")
            assumed = sts_backends[parts[4]][PARTITION].assume_role(
                region_name=region,
                role_session_name=session[:MAX_SESSION_NAME],
                role_arn=role_arn,
                policy="",
                duration=SESSION_SECONDS,
                external_id="",
            )
        return assumed.access_key_id, assumed.secret_access_key, assumed.session_token

    def trust_policy(self, role_arn: str) -> str | None:
        """The trust policy of a role; None if there is no such role."""
        role = self._role(role_arn.split(":")[4], role_arn)
        document = role.assume_role_policy_document if role else None
        return document if document is None or isinstance(document, str) else json.dumps(document)

    @staticmethod
    def bucket(name: str) -> FakeBucket | None:
        """A bucket of any account."""
        if name not in s3_backends.bucket_accounts:
            return None
        partition, account = s3_backends.bucket_accounts[name]
        return s3_backends[account][partition].buckets.get(name)

    def s3_object(self, bucket_name: str, key: str) -> FakeKey | None:
        """The current version of an object; None if there is none (or only a delete marker)."""
        bucket = self.bucket(bucket_name)
        found = bucket.keys.get(key) if bucket else None
        return found if isinstance(found, FakeKey) else None

    @staticmethod
    def queue_policy(arn: str) -> str | None:
        """A queue's policy."""
        region, account, name = arn.split(":")[3:6]
        queue = sqs_backends[account][region].queues.get(name)
        return queue.policy if queue else None

    @staticmethod
    def queue_depth(arn: str) -> int | None:
        """How many messages can be received from a queue; None if there is none."""
        region, account, name = arn.split(":")[3:6]
        queue = sqs_backends[account][region].queues.get(name)
        return int(queue.approximate_number_of_messages) if queue else None

    @staticmethod
    def log_group(account: str, region: str, name: str) -> Any:
        """A log group; None if there is none."""
        return logs_backends[account][region].groups.get(name)

    def log_group_names(self, account: str, region: str) -> list[str]:
        """The names of all log groups."""
        with self.lock:
            return sorted(logs_backends[account][region].groups)
