"""CloudWatch Logs Insights' operations: queries that run, and those that are saved.

A query runs as a whole when it is started, so that it is complete when anybody asks.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartQuery.html
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from local_aws import query_definitions
from local_aws.calls import Call
from local_aws.clock import Clock
from local_aws.errors import AwsError, request_id
from local_aws.http import HttpResponse
from local_aws.insights.compiler import Context
from local_aws.insights.engine import MAX_LIMIT, Event, Result, run
from local_aws.insights.language import parse
from local_aws.insights.syntax import Query
from local_aws.insights.values import QueryError
from local_aws.moto_backend import MotoBackend
from local_aws.query_definitions import QueryDefinitions, position, token

OPERATIONS = frozenset(
    {"StartQuery", "GetQueryResults", "StopQuery", "DescribeQueries"} | query_definitions.OPERATIONS
)
MAX_GROUPS = 50
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax-Source.html
MAX_PREFIXES = 5
MAX_PAGE = 10_000
# Results that are kept, the newest ones.
KEPT_QUERIES = 1000

# Times from here on are taken as milliseconds: in seconds they would be in the year 5138.
_MILLISECONDS_FROM = 100_000_000_000
_GROUP_PARAMETERS = ("logGroupName", "logGroupNames", "logGroupIdentifiers")


@dataclass(frozen=True)
class _Run:
    """A query that ran."""

    text: str
    groups: Sequence[str]
    created_ms: int
    result: Result


class LogQueries:
    """Answers queries over the log groups that moto keeps."""

    def __init__(self, moto: MotoBackend, clock: Clock) -> None:
        self._moto = moto
        self._clock = clock
        self._definitions = QueryDefinitions(clock)
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._lock = threading.Lock()

    def serve(self, call: Call, parameters: Mapping[str, Any], account: str) -> HttpResponse:
        """Answer one of `OPERATIONS`."""
        match call.operation:
            case "StartQuery":
                answer = self._start(call, parameters, account)
            case "GetQueryResults":
                answer = self._results(parameters)
            case "StopQuery":
                self._find(parameters)
                _refuse("Query is not in progress: it ended when it was started")
            case "DescribeQueries":
                answer = self._describe(parameters)
            case _:
                answer = self._definitions.answer(call.operation, parameters)
        headers = [("x-amzn-RequestId", request_id()), ("Content-Type", "application/x-amz-json-1.1")]
        return HttpResponse(200, headers, json.dumps(answer).encode())

    def _start(self, call: Call, parameters: Mapping[str, Any], account: str) -> dict[str, Any]:
        if parameters.get("queryLanguage", "CWLI") != "CWLI":
            _refuse(f"local AWS knows the query language CWLI, found {parameters['queryLanguage']}")
        start, end = (_milliseconds(parameters, name) for name in ("startTime", "endTime"))
        if start > end:
            _refuse("End time should not be before start time")
        limit = parameters.get("limit")
        if limit is not None and not 1 <= int(limit) <= MAX_LIMIT:
            _refuse(f"limit: expected 1 to {MAX_LIMIT:,}, found {limit}")
        text = str(parameters.get("queryString") or "")
        try:
            query = parse(text)
            names = _queried_groups(parameters, query, self._moto.log_group_names(account, call.region))
            events = self._events(account, call.region, names)
            # The last second is included.
            context = Context(start, end + 999, int(self._clock.seconds() * 1000))
            result = run(query, events, context, None if limit is None else int(limit))
        except QueryError as error:
            raise AwsError(400, "MalformedQueryException", str(error)) from None
        identifier = str(uuid.uuid4())
        with self._lock:
            self._runs[identifier] = _Run(text, names, context.now_ms, result)
            while len(self._runs) > KEPT_QUERIES:
                self._runs.popitem(last=False)
        return {"queryId": identifier}

    def _events(self, account: str, region: str, names: Sequence[str]) -> list[Event]:
        events = []
        for name in names:
            group = self._moto.log_group(account, region, name)
            if group is None:
                raise AwsError(400, "ResourceNotFoundException", f"Log group '{name}' does not exist")
            with self._moto.lock:
                events += [
                    Event(event.timestamp, event.message, stream, f"{account}:{name}", event.ingestion_time)
                    for stream, log_stream in group.streams.items()
                    for event in log_stream.events
                ]
        return events

    def _find(self, parameters: Mapping[str, Any]) -> _Run:
        identifier = str(parameters.get("queryId"))
        with self._lock:
            found = self._runs.get(identifier)
        if found is None:
            raise AwsError(400, "ResourceNotFoundException", f"Query '{identifier}' does not exist")
        return found

    def _results(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        result = self._find(parameters).result
        count = int(parameters.get("maxItems") or MAX_PAGE)
        if not 1 <= count <= MAX_PAGE:
            _refuse(f"maxItems: expected 1 to {MAX_PAGE:,}, found {count}")
        start = position(parameters.get("nextToken"))
        end = start + count
        more = {"nextToken": token(end)} if end < len(result.rows) else {}
        return {
            "queryLanguage": "CWLI",
            "status": "Complete",
            "results": [
                [{"field": name, "value": value} for name, value in row] for row in result.rows[start:end]
            ],
            "statistics": {
                "recordsMatched": float(result.matched),
                "recordsScanned": float(result.scanned),
                "bytesScanned": float(result.scanned_bytes),
                "resultCount": float(len(result.rows)),
            },
            **more,
        }

    def _describe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The newest queries first, up to 1,000: as many as are kept."""
        group, status = parameters.get("logGroupName"), parameters.get("status", "Complete")
        with self._lock:
            runs = list(self._runs.items())[::-1]
        return {
            "queries": [
                {
                    "queryId": identifier,
                    "queryString": ran.text,
                    "status": "Complete",
                    "createTime": ran.created_ms,
                    "logGroupName": next(iter(ran.groups), ""),
                }
                for identifier, ran in runs
                if status == "Complete" and (group is None or group in ran.groups)
            ]
        }


def groups_of(parameters: Mapping[str, Any], existing: Sequence[str]) -> list[str]:
    """The names of the log groups that a StartQuery would read; [] for a query that cannot be read."""
    try:
        return _queried_groups(parameters, parse(str(parameters.get("queryString") or "")), existing)
    except QueryError:
        return []


def _queried_groups(parameters: Mapping[str, Any], query: Query, existing: Sequence[str]) -> list[str]:
    """The names of the log groups that a StartQuery is about, of which prefixes match `existing` ones."""
    given = [name for name in _GROUP_PARAMETERS if parameters.get(name)]
    from_text = bool(query.groups) or query.prefixes is not None
    if len(given) + from_text != 1:
        _refuse(
            f"expected log groups in exactly one of {', '.join(_GROUP_PARAMETERS)} and the query's SOURCE,"
            f" found {', '.join(given + ['SOURCE'] * from_text) or 'none'}"
        )
    if given:
        value = parameters[given[0]]
        names = [str(name) for name in (value if isinstance(value, list) else [value])]
        names = [name.partition(":log-group:")[2] or name for name in names]
    else:
        prefixes = query.prefixes or ()
        if len(prefixes) > MAX_PREFIXES:
            raise QueryError(f"SOURCE: expected at most {MAX_PREFIXES} prefixes, found {len(prefixes)}")
        names = [*query.groups, *[name for name in existing if name.startswith(prefixes)]]
    names = list(dict.fromkeys(names))
    if len(names) > MAX_GROUPS:
        _refuse(f"expected at most {MAX_GROUPS} log groups, found {len(names)}")
    return names


def _milliseconds(parameters: Mapping[str, Any], name: str) -> int:
    value = parameters.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        _refuse(f"{name}: expected seconds since the epoch, found {value!r}")
    return value if value >= _MILLISECONDS_FROM else value * 1000


def _refuse(message: str) -> NoReturn:
    raise AwsError(400, "InvalidParameterException", message)
