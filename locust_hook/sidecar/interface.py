"""Locust's web interface: one method per question that the sidecar asks."""

from __future__ import annotations

from . import answers
from .answers import Counted, Statistics, Status
from .client import Client
from .judge import Origin


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

    def origin(self) -> Origin:
        """What the test is and since when Locust counts; two large pages, so not to be asked often."""
        about = answers.read_about(self.client.get("/"))
        return Origin(about, answers.read_started(self.client.get("/stats/report")))
