"""What the template deploys, as far as it decides about the bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse

TEMPLATE: Final = Path(__file__).parents[1] / "template.yaml"

HIGH_RESOLUTION_SECONDS: Final = 60
"""Alarms of shorter periods cost more.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"""


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


def read(path: Path = TEMPLATE) -> Stack:
    """The stack of a template. Resources that exist only under a condition are not in it."""
    template = yaml_parse(path.read_text())
    parameters = template.get("Parameters", {})
    resources = [resource for resource in template["Resources"].values() if "Condition" not in resource]
    [function] = [r["Properties"] for r in resources if r["Type"] == "AWS::Serverless::Function"]
    alarms = [r["Properties"] for r in resources if r["Type"] == "AWS::CloudWatch::Alarm"]
    fast = [alarm for alarm in alarms if _period(alarm, parameters) < HIGH_RESOLUTION_SECONDS]
    return Stack(
        settings={
            name: _value(value, parameters, name)
            for name, value in function["Environment"]["Variables"].items()
        },
        memory_mb=int(_value(function["MemorySize"], parameters, "MemorySize")),
        architecture=_value(function["Architectures"][0], parameters, "Architectures"),
        dashboards=sum(r["Type"] == "AWS::CloudWatch::Dashboard" for r in resources),
        alarms=sum(map(_metrics, alarms)) - sum(map(_metrics, fast)),
        alarms_high_resolution=sum(map(_metrics, fast)),
    )


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
