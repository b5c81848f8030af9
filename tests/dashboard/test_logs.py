"""Log widgets: their query, its end, and its rows."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from local_aws.dashboard import logs
from local_aws.dashboard.body import BodyError, Widget

START = datetime(2026, 11, 21, 10, 0, tzinfo=timezone.utc)
END = datetime(2026, 11, 21, 11, 0, tzinfo=timezone.utc)


class Logs:
    """Gives one answer after the other, the last for ever."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.started: dict[str, Any] = {}
        self.stopped = ""

    def start_query(self, **parameters: Any) -> dict[str, str]:
        self.started = parameters
        return {"queryId": "q"}

    def get_query_results(self, **_: Any) -> dict[str, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def stop_query(self, **parameters: Any) -> None:
        self.stopped = parameters["queryId"]


def shown(client: Logs, query: Any = "SOURCE 'g' | fields a", **properties: Any) -> dict[str, Any]:
    widget = Widget("log", 0, 0, 6, 6, {"query": query, **properties})
    return logs.show(widget, client, START, END)  # type: ignore[arg-type]


def row(**fields: str) -> list[dict[str, str]]:
    return [{"field": name, "value": value} for name, value in fields.items()]


def test_a_query_is_run_to_its_end_in_the_groups_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    rows = [row(name="/", count="3", **{"@ptr": "x"}), row(name="/cart", error="no")]
    client = Logs({"status": "Scheduled"}, {"status": "Running"}, {"status": "Complete", "results": rows})
    content = shown(client, "SOURCE 'one' | source 'two'\n| filter x = 'SOURCE'\n| limit 5")
    assert client.started == {
        "logGroupNames": ["one", "two"],
        "queryString": "filter x = 'SOURCE'\n| limit 5",
        "startTime": START.timestamp(),
        "endTime": END.timestamp(),
    }
    assert content["columns"] == ["name", "count", "error"]
    assert content["rows"] == [["/", "3", ""], ["/cart", "", "no"]]
    assert content["names"] == ["name", "error"]
    assert waits == [logs.FIRST_WAIT, 2 * logs.FIRST_WAIT]


def test_more_rows_than_anyone_reads_are_cut_and_said() -> None:
    content = shown(Logs({"status": "Complete", "results": [row(a="1")] * (logs.MAX_ROWS + 1)}))
    assert len(content["rows"]) == logs.MAX_ROWS
    assert content["notes"] == ["The first 1,000 of 1,001 rows"]


def test_a_query_that_fails_is_said() -> None:
    with pytest.raises(RuntimeError, match="expected the query to complete, found its status Failed"):
        shown(Logs({"status": "Failed"}))


def test_a_query_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUERY_SECONDS", -1.0)
    client = Logs({"status": "Running"})
    with pytest.raises(TimeoutError, match="found it Running"):
        shown(client)
    assert client.stopped == "q"


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"query": None}, "query: expected a Logs Insights query, found None"),
        ({"query": "fields a"}, "query: expected 1 to 50 of SOURCE"),
        ({"view": "bar"}, "view: expected table"),
    ],
)
def test_what_cannot_be_asked_is_said(properties: dict[str, Any], message: str) -> None:
    with pytest.raises(BodyError) as error:
        shown(Logs({"status": "Complete"}), **properties)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("fields run | limit 5", set()),
        ("stats sum(a) as b, max(c) by method, `user name` | sort b", {"method", "user name"}),
        ("filter x = 1\n| STATS count(*) BY bin(5m) as time, shop\n| limit 5", {"time", "shop"}),
        ("stats max(x) as standby", set()),
        ("stats sum(a) by b | stats sum(c) by d", {"b", "d"}),
    ],
)
def test_what_statistics_are_grouped_by_are_names(query: str, columns: set[str]) -> None:
    assert logs.grouped(query) == columns
