"""Who asks AWS: one client per service and region."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient


class Clients:
    """Has `make` make a client of a service and a region, each once; may be used by several threads.

    A region of None is the one that `make` prefers.
    """

    def __init__(self, make: Callable[[str, str | None], Any]) -> None:
        self._make = make
        self._clients: dict[tuple[str, str | None], Any] = {}
        self._lock = threading.Lock()

    def cloudwatch(self, region: str | None = None) -> CloudWatchClient:
        """Metrics and dashboards."""
        client: CloudWatchClient = self._get("cloudwatch", region)
        return client

    def logs(self, region: str | None = None) -> CloudWatchLogsClient:
        """Logs."""
        client: CloudWatchLogsClient = self._get("logs", region)
        return client

    def _get(self, service: str, region: str | None) -> Any:
        # Making clients is not safe in several threads of a session, using them is.
        with self._lock:
            key = (service, region)
            if key not in self._clients:
                self._clients[key] = self._make(service, region)
            return self._clients[key]


def seconds(moment: datetime) -> int:
    """Whole seconds since the epoch."""
    return int(moment.timestamp())


def moment(second: float) -> datetime:
    """The time so many seconds after the epoch, in UTC."""
    return datetime.fromtimestamp(second, timezone.utc)
