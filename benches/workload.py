"""The load that everything is measured with: made from numbers alone, and the same on every machine.

20 endpoints that are asked equally often; log-normal response times (median 33 ms, p99 213 ms); 1 % failures.
Every other endpoint answers with one size, as files and small APIs do; the others with one of four.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

RATE = 4_000
"""Requests per second of one worker: about what one process of Locust makes on one processor."""
FLUSH_SECONDS = 10
"""The hook's default."""
ENDPOINTS = 20
FAILED = 0.01
MU, SIGMA = 3.5, 0.8
"""Of the logarithm of a response time in milliseconds."""


class Request(NamedTuple):
    """One finished request; its response time in milliseconds, its size in bytes."""

    method: str
    name: str
    failed: bool
    response_time: float
    size: int


def requests(seed: int = 1) -> Iterator[Request]:
    """Requests without end."""
    rng = random.Random(seed)  # noqa: S311  # repeatable, not secret
    shape = random.Random(1)  # noqa: S311  # the endpoints are the same for every seed
    endpoints = [("POST" if n % 4 == 0 else "GET", f"/shop/endpoint/{n}") for n in range(ENDPOINTS)]
    sizes = [shape.choices(range(200, 20_000), k=1 if n % 2 else 4) for n in range(ENDPOINTS)]
    while True:
        n = int(rng.random() * ENDPOINTS)
        failed = rng.random() < FAILED
        yield Request(*endpoints[n], failed, rng.lognormvariate(MU, SIGMA), rng.choice(sizes[n]))


def arrivals(start: float, rate: float, seed: int = 2) -> Iterator[float]:
    """Completion times in seconds, at random with a constant rate, from `start` on."""
    rng = random.Random(seed)  # noqa: S311
    while True:
        start += rng.expovariate(rate)
        yield start
