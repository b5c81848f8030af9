"""What the template deploys, as far as it decides about the bill."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse

TEMPLATE: Final = Path(__file__).parents[1] / "template.yaml"

HIGH_RESOLUTION_SECONDS: Final = 60
"""Alarms of shorter periods cost more.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"""

ENDPOINT_METRICS: Final = ("ResponseTime", "Requests", "Failures", "ResponseSize")
"""Published for each endpoint (`src/plan/catalog.rs`)."""

_QUERY = re.compile(r'"type": "log"')
_METRIC = re.compile(r'\["[^"]+", "[^"]+"')
_ENDPOINT_SEARCH = re.compile(rf'Test,Method,Name\}} MetricName=\\"(?:{"|".join(ENDPOINT_METRICS)})\\"')


@dataclass(frozen=True)
class Stack:
    """A template deployed with its default parameters."""

    settings: Mapping[str, str]
    """The function's environment: RELAY_*."""
    memory_mb: int
    architecture: str
    dashboards: int
    alarms: int
    """Metrics that alarms look at."""
    alarms_high_resolution: int
    queries: int
    """Of Logs Insights, in the dashboard."""
    shown_metrics: int
    """Metrics that the dashboard names, each time that it does."""
    endpoint_searches: int
    """The dashboard's searches that find one metric of each endpoint."""


def read(path: Path = TEMPLATE) -> Stack:
    """The stack of a template. Resources that exist only under a condition are not in it."""
    template = yaml_parse(path.read_text())
    parameters = template.get("Parameters", {})
    resources = [resource for resource in template["Resources"].values() if "Condition" not in resource]
    [function] = [r["Properties"] for r in resources if r["Type"] == "AWS::Serverless::Function"]
    alarms = [r["Properties"] for r in resources if r["Type"] == "AWS::CloudWatch::Alarm"]
    bodies = [_body(r.get("Properties", {})) for r in resources if r["Type"] == "AWS::CloudWatch::Dashboard"]
    fast = [alarm for alarm in alarms if _period(alarm, parameters) < HIGH_RESOLUTION_SECONDS]
    return Stack(
        settings={
            name: _value(value, parameters, name)
            for name, value in function["Environment"]["Variables"].items()
        },
        memory_mb=int(_value(function["MemorySize"], parameters, "MemorySize")),
        architecture=_value(function["Architectures"][0], parameters, "Architectures"),
        dashboards=len(bodies),
        alarms=sum(map(_metrics, alarms)) - sum(map(_metrics, fast)),
        alarms_high_resolution=sum(map(_metrics, fast)),
        queries=sum(len(_QUERY.findall(body)) for body in bodies),
        shown_metrics=sum(len(_METRIC.findall(body)) for body in bodies),
        endpoint_searches=sum(len(_ENDPOINT_SEARCH.findall(body)) for body in bodies),
    )


def _body(dashboard: Mapping[str, Any]) -> str:
    """A dashboard's source as the template has it, without what stands in it under a condition only."""
    body = dashboard.get("DashboardBody", "")
    if isinstance(body, dict):
        body = body["Fn::Sub"]
    return str(body[0] if isinstance(body, list) else body)


def _value(value: Any, parameters: Mapping[str, Any], name: str) -> str:
    """A value, or what it refers to: a parameter's default, or a resource, by its name in the template."""
    if not isinstance(value, dict):
        return str(value)
    referred = str(value.get("Ref", name))
    parameter = parameters.get(referred)
    return str(parameter["Default"]) if parameter else f"/{referred}"


def _stats(alarm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [query["MetricStat"] for query in alarm.get("Metrics", []) if "MetricStat" in query]


def _metrics(alarm: Mapping[str, Any]) -> int:
    return len(_stats(alarm)) or 1


def _period(alarm: Mapping[str, Any], parameters: Mapping[str, Any]) -> int:
    found = [stat["Period"] for stat in _stats(alarm)] or [alarm.get("Period", HIGH_RESOLUTION_SECONDS)]
    return min(int(_value(period, parameters, "Period")) for period in found)
