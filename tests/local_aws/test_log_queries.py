"""Logs Insights' operations, by boto3."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
AT = int(NOW.timestamp())


@pytest.fixture
def logs(aws: LocalAws) -> Any:
    """Groups /q/a (three events, one a second) and /q/b (one event)."""
    aws.clock.set(NOW)
    client = aws.client("logs")
    for group in ("/q/a", "/q/b"):
        if not client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            client.create_log_group(logGroupName=group)
            client.create_log_stream(logGroupName=group, logStreamName="s")
            count = 3 if group == "/q/a" else 1
            events = [
                {"timestamp": (AT + at) * 1000, "message": json.dumps({"n": at, "group": group})}
                for at in range(count)
            ]
            client.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
    return client


def ask(client: Any, query: str, **options: Any) -> list[dict[str, str]]:
    if "SOURCE" not in query and not any(name.startswith("logGroup") for name in options):
        options["logGroupName"] = "/q/a"
    parameters = {"startTime": AT, "endTime": AT + 60, **options}
    started = client.start_query(queryString=query, **parameters)
    answer = client.get_query_results(queryId=started["queryId"])
    assert answer["status"] == "Complete"
    return [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]


def test_a_query_is_answered(logs: Any) -> None:
    rows = ask(logs, "fields @timestamp, n, @logStream, @log | sort n")
    assert len(rows[0].pop("@ptr")) > 10
    assert rows[0] == {
        "@timestamp": "2026-11-21 12:00:00.000",
        "n": "0",
        "@logStream": "s",
        "@log": "123456789012:/q/a",
    }
    started = logs.start_query(
        logGroupName="/q/a",
        startTime=AT,
        endTime=AT + 60,
        queryString="filter n > 0 | stats count(*) as c by n",
    )
    answer = logs.get_query_results(queryId=started["queryId"])
    assert answer["results"] == [
        [{"field": "n", "value": "2"}, {"field": "c", "value": "1"}],
        [{"field": "n", "value": "1"}, {"field": "c", "value": "1"}],
    ]
    size = sum(len(json.dumps({"n": at, "group": "/q/a"})) for at in range(3))
    assert answer["statistics"] == {
        "recordsMatched": 2,
        "recordsScanned": 3,
        "bytesScanned": size,
        "resultCount": 2,
    }


@pytest.mark.parametrize(
    ("query", "options", "expected"),
    [
        ("stats count(*) as c", {"logGroupNames": ["/q/a", "/q/b"]}, "4"),
        (
            "stats count(*) as c",
            {"logGroupIdentifiers": ["arn:aws:logs:us-east-1:123456789012:log-group:/q/b"]},
            "1",
        ),
        ("SOURCE '/q/a' | SOURCE \"/q/b\" | stats count(*) as c", {}, "4"),
        ("SOURCE logGroups(namePrefix: ['/q/b', '/nothing']) | stats count(*) as c", {}, "1"),
        ("stats count(*) as c", {"startTime": AT + 1}, "2"),
        ("stats count(*) as c", {"endTime": AT + 1}, "2"),
        ("stats count(*) as c", {"startTime": AT * 1000 + 1, "endTime": AT * 1000 + 1000}, "1"),
    ],
)
def test_groups_and_times(logs: Any, query: str, options: dict[str, Any], expected: str) -> None:
    assert ask(logs, query, **options) == [{"c": expected}]


def test_limits_and_pages(logs: Any) -> None:
    assert [row["n"] for row in ask(logs, "fields n", limit=2)] == ["2", "1"]
    assert [row["n"] for row in ask(logs, "fields n | limit 1", limit=2)] == ["2"]
    started = logs.start_query(logGroupName="/q/a", startTime=AT, endTime=AT + 9, queryString="fields n")
    first = logs.get_query_results(queryId=started["queryId"], maxItems=2)
    second = logs.get_query_results(queryId=started["queryId"], maxItems=2, nextToken=first["nextToken"])
    assert [len(first["results"]), len(second["results"])] == [2, 1]
    assert "nextToken" not in second


def test_a_query_has_ended_when_it_was_started(logs: Any) -> None:
    started = logs.start_query(logGroupName="/q/b", startTime=AT, endTime=AT, queryString="fields n")
    [known] = logs.describe_queries(logGroupName="/q/b", status="Complete")["queries"][:1]
    assert (known["queryId"], known["queryString"]) == (started["queryId"], "fields n")
    assert logs.describe_queries(logGroupName="/q/b", status="Running")["queries"] == []
    with pytest.raises(ClientError, match=r"InvalidParameterException.*not in progress"):
        logs.stop_query(queryId=started["queryId"])
    for operation in (logs.stop_query, logs.get_query_results):
        with pytest.raises(ClientError, match=r"ResourceNotFoundException.*'none' does not exist"):
            operation(queryId="none")


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("fields n", {"logGroupName": "/q/c"}, r"ResourceNotFoundException.*'/q/c' does not exist"),
        ("fields n", {"logGroupNames": []}, "InvalidParameterException.*found none"),
        (
            "SOURCE '/q/a' | fields n",
            {"logGroupName": "/q/a"},
            "InvalidParameterException.*found logGroupName, SOURCE",
        ),
        ("fields n", {"logGroupNames": [f"/{at}" for at in range(51)]}, "at most 50 log groups, found 51"),
        ("fields n", {"startTime": AT + 61}, "InvalidParameterException.*End time"),
        ("fields n", {"queryLanguage": "SQL"}, "InvalidParameterException.*found SQL"),
        ("fields n | pattern @message", {}, "MalformedQueryException.*does not evaluate the command pattern"),
        ("fields", {}, "MalformedQueryException.*unexpected end"),
        ("filter " + "not " * 2400 + "n", {}, "MalformedQueryException.*nested too deeply"),
        ("fields n" + " " * 10_000, {}, "at most 10000 characters"),
    ],
)
def test_what_is_wrong_is_refused(logs: Any, query: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        ask(logs, query, **options)


def test_a_role_needs_permission_for_each_group(aws: LocalAws, logs: Any) -> None:
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="viewer", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust})
    )["Role"]["Arn"]
    statements = [
        {
            "Effect": "Allow",
            "Action": "logs:StartQuery",
            "Resource": "arn:aws:logs:us-east-1:123456789012:log-group:/q/a:*",
        },
        {"Effect": "Allow", "Action": ["logs:GetQueryResults", "cloudwatch:GetMetricData"], "Resource": "*"},
    ]
    iam.put_role_policy(
        RoleName="viewer",
        PolicyName="view",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    viewer = aws.client("logs", role)
    assert len(ask(viewer, "fields n")) == len(ask(viewer, "SOURCE '/q/a' | fields n")) == 3
    for query in (
        "SOURCE '/q/a' | SOURCE '/q/b' | fields n",
        "SOURCE logGroups(namePrefix: ['/q']) | fields n",
    ):
        with pytest.raises(ClientError, match=r"AccessDeniedException.*logs:StartQuery.*/q/b"):
            ask(viewer, query)
    with pytest.raises(ClientError, match=r"AccessDeniedException.*logs:StopQuery"):
        viewer.stop_query(queryId="any")
    aws.client("cloudwatch", role).get_metric_data(
        MetricDataQueries=[{"Id": "e", "Expression": "TIME_SERIES(1)"}], StartTime=AT, EndTime=AT + 60
    )
    with pytest.raises(ClientError, match=r"AccessDenied.*cloudwatch:ListMetrics"):
        aws.client("cloudwatch", role).list_metrics()
    assert aws.calls.of("logs", "StartQuery")


def test_queries_are_saved(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    client = aws.client("logs")

    def saved(**options: Any) -> list[tuple[str, str]]:
        found = client.describe_query_definitions(**options)["queryDefinitions"]
        return [(one["name"], one["queryString"]) for one in found]

    first = client.put_query_definition(name="f/b", queryString="fields b", logGroupNames=["/q/a"])
    client.put_query_definition(name="f/a", queryString="fields a")
    client.put_query_definition(name="g/a", queryString="fields g")
    assert saved(queryDefinitionNamePrefix="f/") == [("f/a", "fields a"), ("f/b", "fields b")]
    page = client.describe_query_definitions(maxResults=2)
    rest = saved(nextToken=page["nextToken"])
    assert (len(page["queryDefinitions"]), rest) == (2, [("g/a", "fields g")])
    [one] = client.describe_query_definitions(queryDefinitionNamePrefix="f/b")["queryDefinitions"]
    assert (one["logGroupNames"], one["lastModified"] // 1000) == (["/q/a"], AT)
    identifier = first["queryDefinitionId"]
    client.put_query_definition(queryDefinitionId=identifier, name="f/c", queryString="fields c")
    assert saved(queryDefinitionNamePrefix="f/") == [("f/a", "fields a"), ("f/c", "fields c")]
    assert client.delete_query_definition(queryDefinitionId=identifier)["success"]
    assert len(saved()) == 2
    for operation in (client.put_query_definition, client.delete_query_definition):
        options = {} if operation == client.delete_query_definition else {"name": "x", "queryString": "x"}
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            operation(queryDefinitionId=identifier, **options)
    with pytest.raises(ClientError, match="1 to 255 characters, found 256"):
        client.put_query_definition(name="x" * 256, queryString="fields a")
