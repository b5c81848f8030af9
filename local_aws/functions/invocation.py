"""Invocations of a Lambda function, as data."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Outcome = Literal["success", "error", "timeout", "crash"]
Status = Literal["queued", "running", "waiting", "succeeded", "failed"]


@dataclass
class Attempt:
    """One try at an event. `response` is the function's answer or error object, `log` its output."""

    outcome: Outcome
    response: Any = None
    error_type: str | None = None
    error_message: str | None = None
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Invocation:
    """An event and what became of it. `on_failure` is the record that went to the on-failure destination."""

    event: Any
    kind: Literal["async", "sync"]
    accepted: datetime
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: Status = "queued"
    attempts: list[Attempt] = field(default_factory=list)
    on_failure: dict[str, Any] | None = None
    destination_error: str | None = None

    @property
    def last(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def response(self) -> Any:
        """What the latest attempt returned."""
        return self.last.response if self.last else None

    @property
    def error_type(self) -> str | None:
        """The latest attempt's error type; None after a success."""
        return self.last.error_type if self.last else None

    @property
    def error_message(self) -> str | None:
        """The latest attempt's error message; None after a success."""
        return self.last.error_message if self.last else None

    @property
    def log(self) -> list[str]:
        """The lines of all attempts."""
        return [line for attempt in self.attempts for line in attempt.log]


@dataclass(frozen=True)
class FunctionSettings:
    """A deployed function, as its resolved template describes it. Seconds, megabytes."""

    name: str
    arn: str
    role_arn: str
    handler: str = "bootstrap"
    timeout: float = 3.0
    memory: int = 128
    variables: dict[str, str] = field(default_factory=dict)
    log_group: str = ""
    log_format: str = "Text"
    log_level: str = "INFO"
    max_retries: int = 2
    max_age: float = 21_600.0
    on_failure_arn: str | None = None
