"""A test that knows nothing of the sidecar."""

from locust import FastHttpUser, constant_throughput, task


class Visitor(FastHttpUser):
    """Asks for the front page once a second."""

    wait_time = constant_throughput(1)

    @task
    def front_page(self) -> None:
        """The front page."""
        self.client.get("/")
