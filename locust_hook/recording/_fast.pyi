"""The request listener in C."""

from collections.abc import Callable
from typing import Any

class Rows:
    """Requests of one endpoint and status."""

    @property
    def name(self) -> str:
        """Request name."""
    @property
    def method(self) -> str:
        """Request method."""
    @property
    def status(self) -> int | None:
        """HTTP status, or None without an HTTP response."""
    def __len__(self) -> int: ...
    def at_ms(self, start: int, stop: int, from_ms: int) -> bytes:
        """Completion times, the first as the difference to `from_ms`, each other to the one before."""
    def response_time_us(self, start: int, stop: int) -> bytes:
        """Response times in microseconds, or null, as decimals with commas."""
    def response_bytes(self, start: int, stop: int) -> bytes:
        """Sizes as decimals with commas."""

class Listener:
    """A listener for Locust's request event; what is not ordinary goes on to `slow`."""

    count: int
    """Requests since the last `take`."""
    def __init__(self, slow: Callable[..., None], now: Callable[[], float] | None = None) -> None: ...
    def __call__(self, **request: Any) -> None: ...
    def add(self, name: str, method: str, status: int | None) -> None:
        """Has requests of this name, method and status taken here."""
    def take(self) -> list[Rows]:
        """Hands over what came since the last `take`."""
    def forget(self) -> None:
        """Has all further requests taken by `slow`; what is here can still be taken."""
