"""A locustfile: requests of every kind, as fast as they come; the statistics go to `STATS_FILE`."""

# mypy: disable-error-code="no-untyped-call,untyped-decorator"
# Locust's own functions carry no annotations.

from __future__ import annotations

import itertools
import json
import os
from typing import Any

from locust import FastHttpUser, HttpUser, constant, events, runners, task
from locust.env import Environment
from locust.runners import WorkerRunner

import locust_hook  # noqa: F401  # attaches

if "MASTER_TIMEOUT" in os.environ:
    runners.MASTER_HEARTBEAT_TIMEOUT = int(os.environ["MASTER_TIMEOUT"])

PAGES = itertools.count(1)
PAUSE = float(os.environ.get("PAUSE", "0.01"))


class Visitor(HttpUser):
    """Uses the slower client."""

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
    def disliked(self) -> None:
        """A failure by the user's choice."""
        with self.client.get("/page/0", name="/disliked", catch_response=True) as response:
            response.failure("not what I wanted")

    @task
    def raises(self) -> None:
        """An exception in the user's own code."""
        raise ValueError("boo")


class FastVisitor(FastHttpUser):
    """Uses the faster client, and a protocol of its own."""

    wait_time = constant(PAUSE)

    @task
    def page(self) -> None:
        """A success."""
        self.client.get("/page/1", name="/page/[id]")

    @task
    def unreachable(self) -> None:
        """No response at all."""
        self.client.get("http://127.0.0.1:9/")

    @task
    def message(self) -> None:
        """Not HTTP, and without a response time."""
        self.environment.events.request.fire(
            request_type="MQTT", name="größe", response_time=None, response_length=0, exception=None
        )


def fire(name: str) -> None:
    """A request outside of any user."""
    events.request.fire(request_type="SETUP", name=name, response_time=1.5, response_length=1, exception=None)


@events.init.add_listener
def before_everything(environment: Environment, **_: Any) -> None:
    """Locust does not count this one: it clears its statistics at the start."""
    if not isinstance(environment.runner, WorkerRunner):  # it may report this before the start
        fire("before the test")


@events.test_start.add_listener
def set_up(**_: Any) -> None:
    """Locust counts this one."""
    fire("set up")


@events.test_stop.add_listener
def tear_down(**_: Any) -> None:
    """And this one."""
    fire("tear down")


def write_statistics(environment: Environment, path: str) -> None:
    """What Locust counted, by endpoint."""
    counted = [
        [*reversed(key), entry.num_requests, entry.num_failures, entry.num_none_requests]
        for key, entry in environment.stats.entries.items()
        if entry.num_requests
    ]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(counted, file)


@events.quitting.add_listener
def choose_exit_code(environment: Environment, **_: Any) -> None:
    """Sets the exit code, where a test asks for one."""
    if "EXIT_CODE" in os.environ:
        environment.process_exit_code = int(os.environ["EXIT_CODE"])


@events.init.add_listener
def remember(environment: Environment, **_: Any) -> None:
    """Writes the statistics at the very end, where they are final."""
    path = os.environ.get("STATS_FILE")
    if path and not isinstance(environment.runner, WorkerRunner):
        events.quit.add_listener(lambda **_: write_statistics(environment, path))
