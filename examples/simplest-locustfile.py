"""The smallest change to a locustfile: one line, and the results go where --relay-to says."""

from locust import HttpUser, task

import locust_hook  # noqa: F401 (importing it is all)


class Visitor(HttpUser):
    """Opens the front page."""

    @task
    def front_page(self) -> None:
        """Opens the front page."""
        self.client.get("/")
