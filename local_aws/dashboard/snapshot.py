"""What all widgets of a dashboard show, for each selection of its variables: plain data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.dashboard import logs, metrics, text, variables
from local_aws.dashboard.body import Body, BodyError, Widget, parse
from local_aws.dashboard.clients import Clients, seconds

MAX_SELECTIONS = 24
"""Selections that a page holds; each may need all widgets' data anew."""
WORKERS = 8
"""Widgets that are asked for at the same time."""


@dataclass(frozen=True)
class Snapshot:
    """`data` is what the page takes; `errors` has one line for each widget that could not be shown."""

    data: dict[str, Any]
    errors: list[str]


def get_body(clients: Clients, name: str) -> Body:
    """The deployed dashboard of this name."""
    return parse(clients.cloudwatch().get_dashboard(DashboardName=name)["DashboardBody"])


def take(
    name: str,
    body: Body,
    clients: Clients,
    start: datetime,
    end: datetime,
    *,
    selected: variables.Selection | None = None,
    most: int = MAX_SELECTIONS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Snapshot:
    """Asks for everything between two moments.

    `selected` are variables' values to begin with; up to `most` selections are asked for, these first.
    `progress` is told how many of how many widgets are there. A widget that fails shows its error, and keeps
    no other from being shown; raises `BodyError` when a variable or a selected value does not exist.
    """
    body = variables.find_choices(body, clients.cloudwatch(), start, end)
    first = variables.default_selection(body.variables, selected)
    chosen = variables.selections(body.variables, first, most)
    # The same widget under two selections, which most often are two that it does not look at, is asked once.
    asked: dict[str, tuple[int, Widget]] = {}
    contents_of = []
    for selection in chosen:
        numbers = []
        for widget in body.widgets:
            applied = variables.apply(widget, body.variables, selection)
            key = json.dumps([applied.type, applied.properties], sort_keys=True)
            numbers.append(asked.setdefault(key, (len(asked), applied))[0])
        contents_of.append({"values": selection, "contents": numbers})
    contents = list(_show_all([widget for _, widget in asked.values()], clients, start, end, progress))
    data = {
        "name": name,
        "from": seconds(start),
        "to": seconds(end),
        "variables": [
            {
                "id": variable.id,
                "label": variable.label,
                "inputType": variable.input_type,
                "visible": variable.visible,
                "choices": [vars(choice) for choice in variable.choices],
            }
            for variable in body.variables
        ],
        "widgets": [
            {"x": widget.x, "y": widget.y, "width": widget.width, "height": widget.height}
            for widget in body.widgets
        ],
        "selections": contents_of,
        "contents": contents,
    }
    errors = [
        f"{content['title'] or 'a widget'}: {content['message']}"
        for content in contents
        if content["view"] == "error"
    ]
    return Snapshot(data, errors)


def _show_all(
    widgets: list[Widget],
    clients: Clients,
    start: datetime,
    end: datetime,
    progress: Callable[[int, int], None],
) -> Iterable[dict[str, Any]]:
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="widget") as pool:
        contents = pool.map(lambda widget: show(widget, clients, start, end), widgets)
        for done, content in enumerate(contents, 1):
            progress(done, len(widgets))
            yield content


def show(widget: Widget, clients: Clients, start: datetime, end: datetime) -> dict[str, Any]:
    """What one widget shows: `title`, `view`, `notes`, and what its view needs; `error` is a view as well."""
    region = widget.properties.get("region")
    try:
        match widget.type:
            case "metric":
                content = metrics.show(widget, clients.cloudwatch(region), start, end)
            case "log":
                content = logs.show(widget, clients.logs(region), start, end)
            case "text":
                content = text.show(widget)
            case _:
                raise BodyError(f"type: expected metric, log or text, found {widget.type!r}")
    except (BodyError, ClientError, BotoCoreError, TimeoutError, RuntimeError) as error:
        content = {"view": "error", "message": str(error), "notes": []}
    return {"title": str(widget.properties.get("title") or ""), **content}
