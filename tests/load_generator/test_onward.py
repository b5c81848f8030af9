"""The stack that carries metrics and log events on to other vendors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.load_generator.generators import ROOT

TEMPLATE = ROOT / "examples" / "onward.yaml"


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text())
    return parsed


def properties(template: dict[str, Any], logical_id: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][logical_id]["Properties"]
    return found


def test_it_is_valid() -> None:
    program = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run(
        [program, "--regions", "us-east-1", "eu-central-1", "--", TEMPLATE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_percentiles_are_asked_for_of_every_distribution_that_the_relay_publishes(
    template: dict[str, Any],
) -> None:
    (extra,) = properties(template, "MetricStream")["StatisticsConfigurations"]
    assert {item["MetricName"] for item in extra["IncludeMetrics"]} == {"ResponseTime", "ResponseSize"}
    published = set(re.findall(r'Self::(\w+) => "\1"', (ROOT / "src/plan/catalog.rs").read_text()))
    assert {item["MetricName"] for item in extra["IncludeMetrics"]} <= published
    assert len(extra["AdditionalStatistics"]) <= 5, "up to five count as one update"
    assert all(re.fullmatch(r"p\d+", name) for name in extra["AdditionalStatistics"]), "the only ones in OTel"


def test_only_the_relay_s_namespace_and_log_group_are_carried(template: dict[str, Any]) -> None:
    assert properties(template, "MetricStream")["IncludeFilters"] == [{"Namespace": {"Ref": "Namespace"}}]
    relay = yaml_parse((ROOT / "template.yaml").read_text())
    assert template["Parameters"]["Namespace"]["Default"] == relay["Parameters"]["Namespace"]["Default"]
    assert properties(template, "Subscription")["LogGroupName"] == {"Ref": "LogGroupName"}
    assert "LogGroupName" in relay["Outputs"]


def test_keys_are_secrets_and_addresses_are_tls(template: dict[str, Any]) -> None:
    for stream in ("Metrics", "Logs"):
        destination = properties(template, stream)["HttpEndpointDestinationConfiguration"]
        assert "AccessKey" not in destination["EndpointConfiguration"]
        assert destination["SecretsManagerConfiguration"]["Enabled"] is True
        assert destination["S3BackupMode"] == "FailedDataOnly"
    for name in ("MetricsUrl", "LogsUrl"):
        pattern = template["Parameters"][name]["AllowedPattern"]
        assert re.fullmatch(pattern, "https://aws-api.newrelic.com/cloudwatch-metrics/v1")
        assert not re.fullmatch(pattern, "http://aws-api.newrelic.com/")


def test_the_documentation_s_addresses_are_accepted(template: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "operations.md").read_text().partition("## Onward")[2]
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ") and "`https://" in line]
    assert len(rows) == 5
    for row in rows:
        for name, cell in zip(("MetricsUrl", "LogsUrl"), row[2:4], strict=True):
            address = re.sub(r"<[^>]*>", "x", cell.strip().strip("`"))
            assert re.fullmatch(template["Parameters"][name]["AllowedPattern"], address), address


def test_each_role_reaches_its_one_target(template: dict[str, Any]) -> None:
    for role, stream in (("StreamRole", "Metrics"), ("SubscriptionRole", "Logs")):
        (policy,) = properties(template, role)["Policies"]
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement["Action"] == ["firehose:PutRecord", "firehose:PutRecordBatch"]
        assert statement["Resource"] == {"Fn::GetAtt": [stream, "Arn"]}
    (policy,) = properties(template, "DeliveryRole")["Policies"]
    assert "*" not in [statement["Resource"] for statement in policy["PolicyDocument"]["Statement"]]
