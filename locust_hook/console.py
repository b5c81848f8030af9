"""Links into the CloudWatch console."""

from __future__ import annotations

import time
from urllib.parse import quote


def _iso(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at_ms / 1000))


def dashboard_link(region: str, dashboard: str, from_ms: int, to_ms: int) -> str:
    """The dashboard's page for the time from `from_ms` to `to_ms` (since the epoch), and a minute on both
    sides."""
    return (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#dashboards/dashboard/"
        f"{quote(dashboard, safe='')}?start={_iso(from_ms - 60_000)}&end={_iso(to_ms + 60_000)}"
    )
