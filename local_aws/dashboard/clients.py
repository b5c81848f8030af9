"""Who asks AWS: one client per service and region."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient

CONNECTIONS = 16
"""Connections that a client keeps, for as many widgets at the same time."""


class Clients:
    """Makes clients on demand; may be used by several threads.

    Credentials and region are found as every AWS tool finds them; `session` holds others. `endpoint_url` is
    where local AWS listens.
    """

    def __init__(self, session: boto3.Session | None = None, endpoint_url: str | None = None) -> None:
        self._session = session or boto3.Session()
        self._endpoint_url = endpoint_url
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._lock = threading.Lock()

    def cloudwatch(self, region: str | None = None) -> CloudWatchClient:
        """Metrics and dashboards of a region; None is the session's own."""
        client: CloudWatchClient = self._get("cloudwatch", region)
        return client

    def logs(self, region: str | None = None) -> CloudWatchLogsClient:
        """Logs of a region; None is the session's own."""
        client: CloudWatchLogsClient = self._get("logs", region)
        return client

    def _get(self, service: str, region: str | None) -> Any:
        # Making clients is not safe in several threads of a session, using them is.
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._session.client(
                    service,  # type: ignore[call-overload]  # a variable, where the stubs list each service
                    region_name=region,
                    endpoint_url=self._endpoint_url,
                    config=Config(max_pool_connections=CONNECTIONS),
                )
            return self._clients[key]


def seconds(moment: datetime) -> int:
    """Whole seconds since the epoch."""
    return int(moment.timestamp())


def moment(second: float) -> datetime:
    """The time so many seconds after the epoch, in UTC."""
    return datetime.fromtimestamp(second, timezone.utc)
