"""A load test whose requests are unlike any other: names, times and sizes as no web server has them."""

from __future__ import annotations

import itertools

from locust import User, constant, task

LONG = "/" + "x" * 1500
serial = itertools.count()


class Odd(User):
    """Reports requests that it never made."""

    wait_time = constant(0.05)

    def report(
        self, name: str, time: float | None = 10.5, size: object = 100, error: str | None = None
    ) -> None:
        """Reports one request; time in milliseconds."""
        self.environment.events.request.fire(
            request_type="ODD",
            name=name,
            response_time=time,
            response_length=size,
            exception=OSError(error) if error else None,
            context={},
        )

    @task(5)
    def odd_names(self) -> None:
        """No name, a long name, and one that is not ASCII."""
        self.report("")
        self.report(LONG)
        self.report("/größe/日本")

    @task(5)
    def thousands_of_names(self) -> None:
        """A name of its own for each request, as when someone forgot to group them."""
        for _ in range(20):
            self.report(f"/item/{next(serial)}")

    @task(5)
    def odd_numbers(self) -> None:
        """No response time, none at all, an hour; sizes below zero and of a terabyte."""
        self.report("/numbers", time=None)
        self.report("/numbers", time=0)
        self.report("/numbers", time=3_600_000)
        self.report("/numbers", size=-1)
        self.report("/numbers", size=2**40)

    @task(5)
    def a_different_error_each_time(self) -> None:
        """Errors that hold a number of their own."""
        self.report("/errors", error=f"order {next(serial)} is lost")

    @task(1)
    def crash(self) -> None:
        """A mistake in the load test itself."""
        raise ValueError("the load test is wrong")
