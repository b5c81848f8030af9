"""Customers of the sample shop (`shop.py`)."""

from __future__ import annotations

import random

from locust import FastHttpUser, User, between, constant_pacing, task

VOUCHERS = {"WELCOME": 5, "SPRING": 10, "SUMMER": 10, "STAFF": 30}
"""Discounts in percent."""


class Visitor(FastHttpUser):
    """Looks around: searches, opens items, some of which are gone, and waits for recommendations."""

    wait_time = between(0.1, 0.3)
    weight = 6

    @task(2)
    def front_page(self) -> None:
        """Opens the front page."""
        self.client.get("/")

    @task(3)
    def search(self) -> None:
        """Searches. A page that says it found nothing is a failure, though its status is 200."""
        words = random.choice(["shoes", "red shoes", "lamp", "tent"])
        with self.client.get(f"/search?q={words}", name="/search", catch_response=True) as response:
            if response.status_code == 200 and response.json()["found"] == 0:
                response.failure("nothing found")

    @task(5)
    def item(self) -> None:
        """Opens an item. All items count as one endpoint; a few do not exist and answer 404."""
        self.client.get(f"/item/{random.randint(1, 215)}", name="/item/[id]")

    @task(1)
    def recommendations(self) -> None:
        """Waits for the slowest page."""
        self.client.get("/recommendations")


class Buyer(FastHttpUser):
    """Logs in and buys; the checkout sometimes fails."""

    wait_time = between(0.2, 0.5)
    weight = 3

    def on_start(self) -> None:
        """Logs in once."""
        self.client.post("/login", json={"name": "buyer"})

    @task(6)
    def fill_cart(self) -> None:
        """Puts an item into the cart."""
        self.client.post("/cart", json={"item": random.randint(1, 200)})

    @task(3)
    def redeem_voucher(self) -> None:
        """Tries a voucher. This locustfile forgot one that customers have: an exception, not a failure."""
        code = random.choice([*VOUCHERS, "BIRTHDAY"])
        self.client.post("/cart", json={"voucher": code, "discount": VOUCHERS[code]})

    @task(2)
    def check_out(self) -> None:
        """Buys what is in the cart."""
        self.client.post("/checkout", json={})


class PriceFeed(User):
    """Receives price updates: not HTTP, and nobody waits for them, so they have no response time."""

    wait_time = constant_pacing(1)
    weight = 1

    @task
    def receive(self) -> None:
        """Reports one update."""
        self.environment.events.request.fire(
            request_type="PUSH",
            name="price update",
            response_time=None,
            response_length=random.randint(20, 40),
            exception=None,
            context={},
        )
