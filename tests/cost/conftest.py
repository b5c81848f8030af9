"""Local AWS with the template deployed, and one recorded run in it."""

from __future__ import annotations

from tests.e2e.conftest import aws, cloud, host, relay_binary

__all__ = ["aws", "cloud", "host", "relay_binary"]
