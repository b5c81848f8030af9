"""Locust's web interface: one method per question that the sidecar asks."""

from __future__ import annotations

from . import answers
from .answers import About, Counted, Statistics, Status
from .client import Client


class Interface:
    """Asks one Locust. All methods raise `ClientError` when it cannot be read, `AnswerError` when it answers
    something else."""

    def __init__(self, client: Client) -> None:
        """Asks with `client`."""
        self.client = client

    @property
    def url(self) -> str:
        """Where it is."""
        return self.client.address.url

    def status(self) -> Status:
        """State, users, workers; up to two seconds old."""
        return answers.read_status(self.client.get("/stats/requests"))

    def statistics(self) -> Statistics:
        """The totals of all endpoints."""
        return answers.read_statistics(self.client.get("/stats/requests/csv"))

    def errors(self) -> list[Counted]:
        """How often requests failed, by error."""
        return answers.read_errors(self.client.get("/stats/failures/csv"))

    def exceptions(self) -> list[Counted]:
        """How often users raised exceptions."""
        return answers.read_exceptions(self.client.get("/exceptions/csv"))

    def users_by_class(self, users: int) -> dict[str, int]:
        """How many of the `users` are of each class."""
        return answers.read_users_by_class(self.client.get("/tasks"), users)

    def about(self) -> About:
        """What the test is; a large page, so not to be asked often."""
        return answers.read_about(self.client.get("/"))

    def started(self) -> str | None:
        """The statistics' start, UTC, ISO 8601, to the second; the largest page."""
        return answers.read_started(self.client.get("/stats/report"))
