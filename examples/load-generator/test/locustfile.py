"""A test to begin with: visitors of one site, whose address is Locust's `--host`.

Everything in this file's folder comes along: further modules, data, `locust.conf` with Locust's options, and
`requirements.txt` with the packages that the test needs.
"""

from locust import FastHttpUser, between, task


class Visitor(FastHttpUser):
    """Opens the front page again and again."""

    wait_time = between(1, 3)

    @task
    def front_page(self) -> None:
        """Opens the front page."""
        self.client.get("/")
