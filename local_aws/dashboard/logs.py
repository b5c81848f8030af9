"""Log widgets: their Logs Insights query, run to its end, becomes a table."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from local_aws.dashboard.body import BodyError, Widget
from local_aws.dashboard.clients import seconds

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import GetQueryResultsResponseTypeDef

MAX_ROWS = 1000
"""Rows of a table. CloudWatch gives up to 10,000, which nobody reads in a widget.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartQuery.html"""
QUERY_SECONDS = 60.0
"""How long a query may take."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
"""Seconds between two looks at a query's results; each wait is twice as long as the one before."""
MAX_GROUPS = 50
"""Log groups of a query, of the same source."""
HIDDEN = "@ptr"
"""A field that CloudWatch adds to each row, for its own use."""

NAMES = {
    *("detail", "error", "kind", "message", "method", "name", "run", "source", "status", "test", "traceback"),
    *("type", "@log", "@logStream", "@message", "@timestamp"),
}
"""Fields that name something: texts, even where they look like numbers."""

_GROUPED = re.compile(r"\|\s*stats\b[^|]*\bby\b([^|]*)", re.IGNORECASE)
_SOURCE = re.compile(r"\s*SOURCE\s+'([^']+)'\s*\|?", re.IGNORECASE)


def show(widget: Widget, client: CloudWatchLogsClient, start: datetime, end: datetime) -> dict[str, Any]:
    """What a log widget shows, as the page takes it: `columns` and `rows` of texts.

    Those columns that are `names` hold no numbers, whatever they look like.
    """
    view = widget.properties.get("view", "table")
    if view != "table":
        raise BodyError(f"view: expected table, the only one for logs that is drawn here, found {view!r}")
    groups, query = split(widget.properties)
    answer = run(client, groups, query, start, end)
    columns: dict[str, None] = {}
    rows = []
    results = answer.get("results", [])
    for found in results[:MAX_ROWS]:
        row = {one["field"]: one.get("value", "") for one in found if one["field"] != HIDDEN}
        columns.update(dict.fromkeys(row))
        rows.append(row)
    notes = [f"The first {MAX_ROWS:,} of {len(results):,} rows"] if len(results) > MAX_ROWS else []
    return {
        "view": "logTable",
        "columns": list(columns),
        "names": [column for column in columns if column in NAMES or column in grouped(query)],
        "rows": [[row.get(column, "") for column in columns] for row in rows],
        "notes": notes,
    }


def split(properties: Mapping[str, Any]) -> tuple[list[str], str]:
    """The log groups, which a dashboard's query names in SOURCE commands at its begin, and the rest of it."""
    query = properties.get("query")
    if not isinstance(query, str):
        raise BodyError(f"query: expected a Logs Insights query, found {query!r}")
    groups = []
    while match := _SOURCE.match(query):
        groups.append(match[1])
        query = query[match.end() :]
    if not groups or len(groups) > MAX_GROUPS:
        raise BodyError(
            f"query: expected 1 to {MAX_GROUPS} of SOURCE '<log group>' | at its begin, found {len(groups)}"
        )
    return groups, query.strip()


def grouped(query: str) -> set[str]:
    """The columns that a query's statistics are grouped by: each of their values is a name, not a number."""
    fields = (field for found in _GROUPED.findall(f"|{query}") for field in found.split(","))
    return {re.split(r"\s+as\s+", field, flags=re.IGNORECASE)[-1].strip(" `\n") for field in fields}


def run(
    client: CloudWatchLogsClient, groups: list[str], query: str, start: datetime, end: datetime
) -> GetQueryResultsResponseTypeDef:
    """Runs a query to its end; raises `TimeoutError`, or `RuntimeError` when CloudWatch gives up on it."""
    identifier = client.start_query(
        logGroupNames=groups,
        queryString=query,
        startTime=seconds(start),
        endTime=seconds(end),
    )["queryId"]
    limit = time.monotonic() + QUERY_SECONDS
    wait = FIRST_WAIT
    while True:
        answer = client.get_query_results(queryId=identifier)
        status = answer["status"]
        if status == "Complete":
            return answer
        if status not in ("Scheduled", "Running"):
            raise RuntimeError(f"expected the query to complete, found its status {status}")
        if time.monotonic() > limit:
            client.stop_query(queryId=identifier)
            raise TimeoutError(f"expected the query to complete in {QUERY_SECONDS:.0f} s, found it {status}")
        # CloudWatch tells nobody when a query is complete: it has to be asked.
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
