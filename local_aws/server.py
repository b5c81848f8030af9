"""`LocalAws`: everything put together behind one port of this machine."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import boto3

from local_aws.access import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from local_aws.calls import DEFAULT_REGION
from local_aws.clock import Clock
from local_aws.cloudwatch.store import MetricStore
from local_aws.deploy import Stack, deploy
from local_aws.functions.function import Function
from local_aws.functions.invocation import Attempt, FunctionSettings
from local_aws.gateway import Gateway
from local_aws.http import HttpServer
from local_aws.moto_backend import DEFAULT_ACCOUNT, MotoBackend
from local_aws.notifications import Notifications

# What a function's process keeps of this process' environment.
_KEPT_VARIABLES = ("PATH", "RUST_LOG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE")
MAX_BACKLOG = 100_000


@dataclass(frozen=True)
class LogEvent:
    """An event of CloudWatch Logs; `timestamp` in milliseconds since the epoch."""

    timestamp: int
    message: str
    stream: str


class LocalAws:
    """S3, SQS, Logs, IAM, STS, CloudFormation, CloudWatch and Lambda on loopback, from `__enter__` to
    `__exit__`.

    `calls` records every call, `faults` makes calls fail, `clock` sets the time, `metrics` is CloudWatch's
    store, `notifications` delivers S3's events. State is lost at the end. One per process, as moto's state is
    the process'.
    """

    _running: ClassVar[LocalAws | None] = None

    def __init__(self, port: int = 0, region: str = DEFAULT_REGION) -> None:
        self.region = region
        self.clock = Clock()
        self.metrics = MetricStore()
        self._moto = MotoBackend()
        self._gateway = Gateway(self._moto, self.clock, self.metrics)
        self.calls = self._gateway.calls
        self.faults = self._gateway.faults
        self.notifications = Notifications(self.clock, self._on_notification)
        self._server = HttpServer(self._gateway, port)
        self._functions: dict[str, Function] = {}
        self._backlog: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._session = boto3.Session(region_name=region)
        self._session_lock = threading.Lock()
        self._files: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> LocalAws:
        if LocalAws._running is not None:
            self._server.server_close()
            raise RuntimeError("expected one local AWS per process, found another one running")
        LocalAws._running = self
        self._moto.reset()
        self.notifications.install()
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.faults.clear()
        for function in list(self._functions.values()):
            function.close()
        self._server.close()
        self.notifications.uninstall()
        self._moto.reset()
        if self._files:
            self._files.cleanup()
        LocalAws._running = None

    @property
    def endpoint_url(self) -> str:
        """Where all services answer."""
        return f"http://localhost:{self._server.bound_port}"

    @property
    def enforce_iam(self) -> bool:
        """Whether policies are enforced; on by default."""
        return self._gateway.access.enforced

    @enforce_iam.setter
    def enforce_iam(self, enforced: bool) -> None:
        self._gateway.access.enforced = enforced

    def environment(self, role_arn: str | None = None, *, profile: str | None = None) -> dict[str, str]:
        """The `AWS_*` variables for a child process: root's, or a session of `role_arn`.

        With `profile`, the credentials stand in a configuration file under that profile's name instead, and
        the role is assumed by the SDK itself.
        """
        common = {
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if profile is not None:
            return common | {"AWS_PROFILE": profile, **self._configuration(profile, role_arn)}
        # No file of this machine's user has a say.
        common |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        return common | self._credentials(role_arn)

    def _configuration(self, profile: str, role_arn: str | None) -> dict[str, str]:
        if self._files is None:
            self._files = tempfile.TemporaryDirectory(prefix="local-aws-")
        config, credentials = (
            Path(self._files.name, f"{profile}.config"),
            Path(self._files.name, "credentials"),
        )
        root = f"aws_access_key_id = {ROOT_ACCESS_KEY}\naws_secret_access_key = {ROOT_SECRET_KEY}\n"
        if role_arn:
            config.write_text(
                f"[profile {profile}]\nrole_arn = {role_arn}\nsource_profile = local-aws-root\n"
            )
        else:
            config.write_text(f"[profile {profile}]\n{root}")
        credentials.write_text(f"[local-aws-root]\n{root}")
        return {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}

    def _credentials(self, role_arn: str | None, session: str = "local-aws") -> dict[str, str]:
        if role_arn is None:
            return {"AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY}
        key, secret, token = self._moto.assume_role(role_arn, session, self.region)
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}

    def client(self, service: str, role_arn: str | None = None, **options: Any) -> Any:
        """A boto3 client as root, or in a session of `role_arn`; `options` go to boto3."""
        keys = self._credentials(role_arn)
        with self._session_lock:  # sessions are not safe for threads; one keeps the parsed service models
            return self._session.client(  # type: ignore[call-overload]
                service,
                endpoint_url=self.endpoint_url,
                aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
                aws_session_token=keys.get("AWS_SESSION_TOKEN"),
                **options,
            )

    def deploy(
        self, template: Path, parameters: Mapping[str, Any] | None = None, name: str = "relay"
    ) -> Stack:
        """Deploy a SAM template as stack `name`; what cannot be deployed raises `TemplateError`."""
        return deploy(self.client, Path(template), parameters or {}, name, self.region)

    @contextlib.contextmanager
    def run_function(
        self,
        stack: Stack,
        logical_id: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        concurrency: int = 1,
        retry_waits: tuple[float, float] = (60.0, 120.0),
        variables: Mapping[str, str] | None = None,
    ) -> Iterator[Function]:
        """Run a deployed function's binary; events that came before are delivered first.

        `variables` are further environment variables, for tests.
        """
        settings = stack.functions[logical_id]
        log_stream = f"{self.clock.now():%Y/%m/%d}/[$LATEST]{os.urandom(16).hex()}"
        function = Function(
            settings,
            [os.fspath(part) for part in command],
            lambda: self._function_environment(settings, log_stream) | dict(variables or {}),
            clock=self.clock,
            send=lambda arn, text: self._send(settings, arn, text),
            ended=lambda attempt, running: self._on_attempt(settings, log_stream, attempt, running),
            concurrency=concurrency,
            retry_waits=retry_waits,
        )
        with self._lock:
            if settings.arn in self._functions:
                function.close()
                raise RuntimeError(f"expected {settings.name} not to run yet, found it running")
            self._functions[settings.arn] = function
            for event in self._backlog.pop(settings.arn, []):
                function.invoke_async(event)
        try:
            yield function
        finally:
            with self._lock:
                del self._functions[settings.arn]
            unfinished = function.close()
            with self._lock:
                self._backlog.setdefault(settings.arn, []).extend(unfinished)

    def _on_notification(self, arn: str, event: dict[str, Any]) -> None:
        with self._lock:
            if function := self._functions.get(arn):
                function.invoke_async(event)
                return
            backlog = self._backlog.setdefault(arn, [])
            if len(backlog) >= MAX_BACKLOG:
                raise RuntimeError(
                    f"{arn} does not run and has {MAX_BACKLOG} events waiting, no more are taken"
                )
            backlog.append(event)

    def _function_environment(self, settings: FunctionSettings, log_stream: str) -> dict[str, str]:
        """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        reserved = {
            "_HANDLER": settings.handler,
            "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory),
            "AWS_LAMBDA_FUNCTION_NAME": settings.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": settings.log_format,
            "AWS_LAMBDA_LOG_GROUP_NAME": settings.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
        }
        if settings.log_format == "JSON":
            reserved["AWS_LAMBDA_LOG_LEVEL"] = settings.log_level
        credentials = self._credentials(settings.role_arn, settings.name)
        return {**kept, **settings.variables, **reserved, **self.environment(), **credentials}

    def _on_attempt(
        self, settings: FunctionSettings, log_stream: str, attempt: Attempt, running: int
    ) -> None:
        self._ship_logs(settings, log_stream, attempt.log)
        self._gateway.vended_metrics.attempted(settings.name, attempt, running)

    def _ship_logs(self, settings: FunctionSettings, log_stream: str, lines: list[str]) -> None:
        """Write a function's output to its log group; like Lambda, not if its role does not allow that."""
        group = f"arn:aws:logs:{self.region}:{DEFAULT_ACCOUNT}:log-group:{settings.log_group}"
        needed = ("logs:CreateLogStream", "logs:PutLogEvents")
        resource = f"{group}:log-stream:{log_stream}"
        if all(self._gateway.access.role_may(settings.role_arn, action, resource) for action in needed):
            self._gateway.logs.write(DEFAULT_ACCOUNT, self.region, settings.log_group, log_stream, lines)

    def _send(self, settings: FunctionSettings, arn: str, text: str) -> None:
        sqs = self.client("sqs", settings.role_arn)
        account, name = arn.split(":")[4:6]
        sqs.send_message(QueueUrl=f"{self.endpoint_url}/{account}/{name}", MessageBody=text)

    def log_events(self, group: str, stream: str | None = None) -> list[LogEvent]:
        """The events of a log group, or of one of its streams, by time; [] for an unknown one."""
        found = self._moto.log_group(DEFAULT_ACCOUNT, self.region, group)
        if found is None:
            return []
        with self._moto.lock:
            events = [
                LogEvent(event.timestamp, event.message, name)
                for name, log_stream in found.streams.items()
                if stream in (None, name)
                for event in log_stream.events
            ]
        return sorted(events, key=lambda event: event.timestamp)
