"""What is counted is multiplied by the right price."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cost import bill as billing
from cost import prices, stack
from cost.bill import Bill, Item, bill
from cost.counts import LAMBDA_LOG_BYTES, RELAY_LOG_BYTES, RELAY_METRICS, Counts
from cost.stack import Stack
from locust_hook.commands import replay_plan
from tests.template.intrinsics import resolver
from tests.template.names import names

STACK = Stack(
    settings={},
    memory_mb=1024,
    architecture="arm64",
    dashboards=1,
    alarms=5,
    alarms_high_resolution=2,
    queries=5,
    shown_metrics=50,
    endpoint_searches=6,
)
TWO_HOURS = Counts(
    seconds=7_200,
    hours=3,  # it began at half past
    processes=11,
    batches=8_000,
    requests=1e6,
    uploaded_bytes=2 * prices.GB,
    ledger_writes=16_000,
    metrics=93,
    metric_calls=10_000,
    metric_data=1e7,
    metric_bytes=1e9,
    log_calls=8_000,
    log_events=1e6,
    log_bytes=4 * prices.GB,
)


def items(of: Bill) -> dict[str, Item]:
    return {item.name: item for item in (*of.items, *of.monthly)}


def test_every_item_costs_what_the_price_lists_say() -> None:
    found = bill(TWO_HOURS, STACK, invocation_ms=500)
    dollars = {name: item.dollars for name, item in items(found).items()}
    function_gb = 8_000 * (RELAY_LOG_BYTES + LAMBDA_LOG_BYTES) / prices.GB
    assert dollars == pytest.approx(
        {
            "S3 PUT: batches": 0.04,
            "S3 PUT: ledger": 0.08,
            "S3 GET: batches": 0.0032,
            "Lambda: requests": 0.0016,
            "Lambda: GB-seconds": 4_000 * 0.0000133334,
            "CloudWatch: PutMetricData": 0.10,
            "CloudWatch: custom metrics": (93 + RELAY_METRICS) * 3 * 0.30 / 730,
            "Logs: of the test": 2.00,
            "Logs: of the function": function_gb * 0.50,
            "archive in S3": 0.046,
            "logs, compressed": (4 + function_gb) * 0.15 * 0.03,
            "dashboards": 3.00,
            "alarms": 0.50,
            "alarms below a minute": 0.60,
        }
    )
    assert found.dollars == pytest.approx(sum(item.dollars for item in found.items))


def test_each_look_at_the_dashboard_reads_the_logs_of_the_whole_test() -> None:
    found = bill(TWO_HOURS, STACK)
    scanned, metrics = 5 * 4 * 0.005, (50 + 6 * 93 / 4) * 0.01 / 1_000
    assert found.look.dollars == pytest.approx(scanned + metrics)
    assert found.look.during_test(720) == pytest.approx(720 * (scanned / 2 + metrics)), "logs grow"
    assert found.dollars == pytest.approx(sum(item.dollars for item in found.items)), "it is not in the sum"


def test_an_hour_costs_half_of_two_but_metrics_are_paid_by_hours_of_the_clock() -> None:
    found = bill(TWO_HOURS, STACK)
    by_name = items(found)
    assert by_name["S3 PUT: batches"].per_hour == pytest.approx(0.02)
    assert by_name["CloudWatch: custom metrics"].per_hour == pytest.approx(100 * 0.30 / 730)
    assert found.per_hour == pytest.approx(sum(item.per_hour for item in found.items))


@pytest.mark.parametrize(
    ("metrics", "dollars"),
    [
        (0, 0.0),
        (10_000, 3_000.0),
        (10_001, 3_000.1),
        (250_000, 3_000 + 24_000),
        (1_000_000, 3_000 + 24_000 + 37_500),
        (1_000_100, 3_000 + 24_000 + 37_500 + 2),
    ],
)
def test_many_metrics_are_cheaper(metrics: int, dollars: float) -> None:
    assert prices.metrics(metrics * 730) == pytest.approx(dollars)


def test_an_invocation_takes_longer_with_more_to_do_and_less_of_a_processor() -> None:
    idle = replace(TWO_HOURS, requests=0, metric_bytes=0)
    calls_ms = billing.CALLS_IN_TURN * billing.CALL_MS
    assert billing.lambda_ms(idle, 512) == calls_ms
    whole, less = (billing.lambda_ms(TWO_HOURS, memory_mb) for memory_mb in (1_769, 512))
    assert calls_ms < whole < less
    assert less - calls_ms == pytest.approx((whole - calls_ms) * 1_769 / 512)
    assert billing.lambda_ms(TWO_HOURS, 10_240) == whole, "its one thread has no use for more"
    nothing = replace(idle, batches=0, ledger_writes=0, metric_calls=0, log_bytes=0)
    assert bill(nothing, STACK).items[0].dollars == 0


def test_prices_are_shown_as_people_write_them() -> None:
    assert str(prices.S3_GET) == "$0.0004 per 1,000"
    assert str(prices.DASHBOARD) == "$3.00 per dashboard and month"
    assert str(prices.LAMBDA_GB_SECOND["x86_64"]) == "$0.0000166667 per GB-second"


def test_replays_are_estimated_with_the_same_prices() -> None:
    ours = [prices.S3_PUT, prices.S3_GET, prices.PUT_METRIC_DATA, prices.LAMBDA_REQUEST]
    ours.append(prices.LAMBDA_GB_SECOND["x86_64"])
    theirs = [replay_plan.WRITE, replay_plan.READ, replay_plan.METRIC_CALL, replay_plan.LAMBDA_RUN]
    theirs.append(replay_plan.LAMBDA_GB_SECOND)
    assert [price.of(1) for price in ours] == pytest.approx(theirs)


def test_the_stack_is_read_from_its_template(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("""
Parameters:
  Sets: {Type: String, Default: "Test;Test,Run"}
  Memory: {Type: Number, Default: 256}
  Often: {Type: Number, Default: 10}
Conditions:
  Wanted: !Equals [a, b]
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties:
      MemorySize: !Ref Memory
      Architectures: [arm64]
      Environment:
        Variables: {RELAY_DIMENSION_SETS: !Ref Sets, RELAY_LOG_GROUP: !Ref Group, RELAY_LEASE_SECONDS: 45}
  Group: {Type: AWS::Logs::LogGroup}
  Dashboard:
    Type: AWS::CloudWatch::Dashboard
    Properties:
      DashboardBody: !Sub
        - |-
          {"widgets": [{"type": "log"}, {"type": "metric", "properties": {"metrics": [
            ["${Sets}", "Requests", {}], [{"expression":
            "SEARCH('{\\"X\\",Test,Method,Name} MetricName=\\"Failures\\"', 'Sum')"}], [{"expression":
            "SEARCH('{\\"X\\",Test,Method,Name} MetricName=\\"LocustP50\\"', 'Sum')"}]]}}${More}]}
        - More: !If [Wanted, ', {"type": "log"}', ""]
  Plain: {Type: AWS::CloudWatch::Alarm, Properties: {Period: 60}}
  Fast: {Type: AWS::CloudWatch::Alarm, Properties: {Period: !Ref Often}}
  Optional: {Type: AWS::CloudWatch::Alarm, Condition: Wanted, Properties: {Period: 60}}
  Ratio:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Metrics:
        - {Id: ratio, Expression: failures / requests}
        - {Id: failures, MetricStat: {Period: 300}}
        - {Id: requests, MetricStat: {Period: 300}}
""")
    settings = {
        "RELAY_DIMENSION_SETS": "Test;Test,Run",
        "RELAY_LOG_GROUP": "/Group",
        "RELAY_LEASE_SECONDS": "45",
    }
    assert stack.read(template) == Stack(settings, 256, "arm64", 1, 3, 1, 1, 1, 1)


def test_the_project_s_own_template_can_be_read() -> None:
    found = stack.read()
    assert found.settings["RELAY_DIMENSION_SETS"] == "Test;Test,Method,Name;Test,Run"
    assert found.settings["RELAY_LOG_GROUP"]
    assert (found.memory_mb, found.architecture, found.dashboards) == (512, "x86_64", 1)
    assert found.alarms >= 1


def test_what_the_dashboard_asks_for_is_what_its_source_says() -> None:
    body = json.loads(resolver().resources["Dashboard"]["Properties"]["DashboardBody"])
    rows = [row for widget in body["widgets"] for row in widget["properties"].get("metrics", [])]
    searched = [
        re.search(r"Test,Method,Name\} MetricName=\"(\w+)\"", row[0].get("expression", ""))
        for row in rows
        if isinstance(row[0], dict)
    ]
    found = stack.read()
    assert found.queries == sum(widget["type"] == "log" for widget in body["widgets"]) > 1
    assert found.shown_metrics == sum(isinstance(row[0], str) for row in rows) > 1
    of_endpoints = [match for match in searched if match and match[1] in stack.ENDPOINT_METRICS]
    assert found.endpoint_searches == len(of_endpoints) > 1


def test_the_metrics_of_an_endpoint_are_those_that_the_relay_publishes() -> None:
    published = {
        name
        for name, sets in names().metrics.items()
        if {("Test", "Run"), ("Test", "Method", "Name")} <= sets
    }
    assert set(stack.ENDPOINT_METRICS) == published
