"""A locustfile without the hook; what Locust counted goes to `STATS_FILE` at the end."""

# mypy: disable-error-code="no-untyped-call,untyped-decorator"
# Locust's own functions carry no annotations.

from __future__ import annotations

import itertools
import json
import os
from typing import Any

from flask import Blueprint, redirect, request
from flask_login import UserMixin, login_user  # type: ignore[import-untyped]
from locust import FastHttpUser, constant, events, runners, task
from locust.runners import WorkerRunner

runners.CPU_MONITOR_INTERVAL = 0.5  # ten seconds, else
PAGES = itertools.count(1)
PAUSE = float(os.environ.get("PAUSE", "0.01"))


class Visitor(FastHttpUser):
    """Visits pages, some of which are missing."""

    wait_time = constant(PAUSE)

    @task(3)
    def page(self) -> None:
        """A success."""
        self.client.get(f"/page/{next(PAGES)}", name="/page/[id]")

    @task
    def missing(self) -> None:
        """A failure by its status."""
        self.client.get("/missing")

    @task
    def raises(self) -> None:
        """An exception in the user's own code."""
        raise ValueError("boo <&>")


class Buyer(FastHttpUser):
    """Another class, with a protocol of its own."""

    wait_time = constant(PAUSE)

    @task
    def message(self) -> None:
        """Not HTTP, and without a response time."""
        self.environment.events.request.fire(
            request_type="MQTT", name='größe, "x"', response_time=None, response_length=0, exception=None
        )

    @task
    def message_with_time(self) -> None:
        """Not HTTP, with a response time that is no whole number."""
        self.environment.events.request.fire(
            request_type="MQTT", name="timed", response_time=0.1234 + next(PAGES) / 1000, response_length=3,
            exception=None,
        )  # fmt: skip


def write_statistics(environment: Any, path: str) -> None:
    """What Locust counted, by endpoint."""
    counted = [
        {
            "method": key[1],
            "name": key[0],
            "requests": entry.num_requests,
            "without_time": entry.num_none_requests,
            "failures": entry.num_failures,
            "sum_ms": entry.total_response_time,
            "min_ms": entry.min_response_time,
            "max_ms": entry.max_response_time,
            "bytes": entry.total_content_length,
        }
        for key, entry in environment.stats.entries.items()
        if entry.num_requests
    ]
    exceptions = [row["count"] for row in environment.runner.exceptions.values()]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"endpoints": counted, "exceptions": sum(exceptions)}, file)


class Account(UserMixin):  # type: ignore[misc]
    """Who is logged in."""

    def __init__(self, name: str) -> None:
        self.id = name


def add_login(environment: Any) -> None:
    """The login that `--web-login` needs from a locustfile."""
    web = environment.web_ui
    web.app.config["SECRET_KEY"] = "not a secret"
    web.login_manager.user_loader(Account)
    base = getattr(environment.parsed_options, "web_base_path", "") or ""
    web.auth_args = {"username_password_callback": f"{base}/login_submit"}
    blueprint = Blueprint("login", "visitors", url_prefix=base or None)

    @blueprint.route("/login_submit", methods=["POST"])
    def login_submit() -> Any:
        if (request.form["username"], request.form["password"]) == ("ann", "päss & word"):
            login_user(Account("ann"))
            return redirect(f"{base}/")
        return redirect(f"{base}/login")

    web.app.register_blueprint(blueprint)


@events.init.add_listener
def prepare(environment: Any, **_: Any) -> None:
    """Writes the statistics at the very end, where they are final."""
    path = os.environ.get("STATS_FILE")
    if path and not isinstance(environment.runner, WorkerRunner):
        events.quit.add_listener(lambda **_: write_statistics(environment, path))
    if environment.web_ui is not None and environment.parsed_options.web_login:
        add_login(environment)
