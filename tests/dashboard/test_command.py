"""The command, with local AWS: a dashboard as it is deployed becomes a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from local_aws import LocalAws
from local_aws.dashboard.__main__ import main

SEARCH = {"expression": "SEARCH('{Shop,Test,Name} MetricName=\"Requests\" Test=\"TEST\"', 'Sum')"}
BODY = {
    "start": "-PT20M",
    "variables": [
        {
            "id": "test",
            "type": "pattern",
            "pattern": "TEST",
            "inputType": "select",
            "defaultValue": "__FIRST",
            "search": '{Shop,Test,Name} MetricName="Requests"',
            "populateFrom": "Test",
        },
        {
            "id": "period",
            "type": "property",
            "property": "period",
            "inputType": "radio",
            "defaultValue": "1",
            "values": [{"value": "1", "label": "second"}, {"value": "60", "label": "minute"}],
        },
    ],
    "widgets": [
        {
            "type": "metric",
            "properties": {
                "title": "Requests of TEST",
                "period": 60,
                "metrics": [
                    [{**SEARCH, "id": "all", "label": "${PROP('Dim.Name')}"}],
                    [{"expression": "SUM(all)", "label": "sum"}],
                ],
            },
        },
        {
            "type": "log",
            "properties": {
                "title": "Messages",
                "query": "SOURCE '/shop' | filter test = 'TEST' | stats count(*) as n by message",
            },
        },
    ],
}


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        now = datetime.now(timezone.utc)
        logs = aws.client("logs")
        logs.create_log_group(logGroupName="/shop")
        logs.create_log_stream(logGroupName="/shop", logStreamName="s")
        # The third is older than what the dashboard shows.
        for test, message, count, age in (("one", "no", 2, 5), ("two", "<b>", 3, 5), ("old", "x", 1, 3600)):
            text = json.dumps({"test": test, "message": message})
            events = [{"timestamp": int(now.timestamp() * 1000), "message": text}]
            logs.put_log_events(logGroupName="/shop", logStreamName="s", logEvents=events * count)
            for name in ("GET /", "PUT /"):
                dimensions = [{"Name": "Test", "Value": test}, {"Name": "Name", "Value": name}]
                metric = {"MetricName": "Requests", "Dimensions": dimensions, "StorageResolution": 1}
                times = [now - timedelta(seconds=age + at) for at in (0, 1)]
                data = [{**metric, "Value": count, "Timestamp": time} for time in times]
                aws.client("cloudwatch").put_metric_data(Namespace="Shop", MetricData=data)
        yield aws


@pytest.fixture
def environment(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of somebody who may see everything."""
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)


def deploy(aws: LocalAws, name: str, body: dict[str, Any]) -> None:
    aws.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=json.dumps(body))


def written(path: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


@pytest.mark.usefixtures("environment")
def test_the_page_holds_what_cloudwatch_and_logs_have(
    aws: LocalAws, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(aws, "Shop", BODY)
    out = tmp_path / "deep" / "page.html"
    assert main(["--name", "Shop", "--endpoint-url", aws.endpoint_url, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 2 widgets\n"
    data = written(out)
    assert data["to"] - data["from"] == 1200
    assert [selection["values"] for selection in data["selections"]] == [
        {"test": "one", "period": "1"},
        {"test": "two", "period": "1"},
        {"test": "one", "period": "60"},
        {"test": "two", "period": "60"},
    ]

    def shown(at: int) -> tuple[dict[str, Any], dict[str, Any]]:
        first, second = (data["contents"][number] for number in data["selections"][at]["contents"])
        return first, second

    requests, messages = shown(0)
    assert requests["title"] == "Requests of one"
    assert [(one["label"], one["values"]) for one in requests["series"]] == [
        ("GET /", [2, 2]),
        ("PUT /", [2, 2]),
        ("sum", [4, 4]),
    ]
    assert (messages["columns"], messages["rows"]) == (["message", "n"], [["no", "2"]])
    requests, messages = shown(3)
    assert sum(requests["series"][2]["values"]) == 12
    assert messages["rows"] == [["<b>", "3"]]


@pytest.mark.usefixtures("environment")
def test_a_time_and_values_can_be_chosen(aws: LocalAws, tmp_path: Path) -> None:
    deploy(aws, "Shop", BODY)
    out = tmp_path / "page.html"
    place = ["--name", "Shop", "--endpoint-url", aws.endpoint_url, "--out", str(out)]
    assert main([*place, "--from", "2m", "--set", "test=two", "--set", "period=60"]) == 0
    data = written(out)
    assert data["to"] - data["from"] == 120
    assert data["selections"][0]["values"] == {"test": "two", "period": "60"}
    assert main([*place, "--from", "2026-01-01", "--to", "2026-01-02T00:00:00Z"]) == 0
    assert written(out)["to"] - written(out)["from"] == 86_400


@pytest.mark.usefixtures("environment")
def test_a_widget_that_fails_shows_why_and_the_command_ends_with_an_error(
    aws: LocalAws, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"type": "metric", "properties": {"title": "Wrong", "metrics": [[{"expression": "SUM("}]]}}
    unknown = {"type": "custom", "properties": {"title": "Unknown"}}
    deploy(aws, "Wrong", {"widgets": [wrong, unknown, BODY["widgets"][0]]})
    out = tmp_path / "page.html"
    assert main(["--name", "Wrong", "--endpoint-url", aws.endpoint_url, "--out", str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(
        "  not shown: Wrong: An error occurred (ValidationError) when calling the GetMetricData"
    )
    assert lines[1:] == ["  not shown: Unknown: type: expected metric, log or text, found 'custom'"]
    assert [content["view"] for content in written(out)["contents"]] == ["error", "error", "timeSeries"]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--name", "Nowhere"],
            "the dashboard Nowhere cannot be shown: An error occurred (ResourceNotFound)",
        ),
        (["--set", "test=three"], "variable test: expected one of one, two, found 'three'"),
        (["--set", "tset=one"], "expected variables of the dashboard (test, period), found tset"),
    ],
)
def test_what_cannot_be_shown_is_said(aws: LocalAws, options: list[str], message: str) -> None:
    deploy(aws, "Shop", BODY)
    with pytest.raises(SystemExit) as ended:
        main(["--name", "Shop", "--endpoint-url", aws.endpoint_url, *options])
    assert message in str(ended.value)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "yesterday"], "expected a time like 2026-11-21T10:00:00Z or 30m, found 'yesterday'"),
        (["--from", "1m", "--to", "2m"], "expected --from before --to"),
        (["--set", "test"], "expected VARIABLE=VALUE, found 'test'"),
    ],
)
def test_options_that_are_wrong_are_said(
    aws: LocalAws, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy(aws, "Shop", BODY)
    with pytest.raises(SystemExit) as ended:
        main(["--name", "Shop", "--endpoint-url", aws.endpoint_url, *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
