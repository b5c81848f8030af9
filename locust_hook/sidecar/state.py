"""What the sidecar has to remember from one look at Locust to the next, and over its own end: plain data."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any, Final

from .totals import Endpoints, Texts, Totals

VERSION: Final = 1


@dataclass(frozen=True)
class Run:
    """Identity of a run, as in the header of its batches; `run_started_ms` since the epoch."""

    test: str
    run: str
    source: str
    run_started_ms: int
    host: str
    locust: str


@dataclass
class State:
    """Locust as it was at the last look (`at_ms`, since the epoch; 0: there was none), and what was told.

    `seconds`: from the statistics' start to the last request. `started`: that start, as Locust's report gives
    it. `seq`: number of the run's next batch. `ahead_ms`: when the run was seen
    to begin, as long as Locust's state does not say so yet.
    """

    run: Run | None = None
    seq: int = 0
    ahead_ms: int = 0
    at_ms: int = 0
    locust_state: str = ""
    users: int = 0
    workers: list[str] = field(default_factory=list)
    requests: int = 0
    failures: int = 0
    seconds: float | None = None
    started: str | None = None
    endpoints: Endpoints = field(default_factory=Endpoints)
    errors: Texts = field(default_factory=Texts)
    exceptions: Texts = field(default_factory=Texts)

    def clear(self) -> None:
        """Locust's statistics start anew."""
        self.requests = self.failures = 0
        self.seconds = None
        for told in (self.endpoints, self.errors, self.exceptions):
            told.clear()

    def copy(self) -> State:
        """A state of its own; what cannot change is shared."""
        return replace(
            self,
            workers=list(self.workers),
            endpoints=Endpoints(dict(self.endpoints.told)),
            errors=Texts(dict(self.errors.told)),
            exceptions=Texts(dict(self.exceptions.told)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = asdict(self)
        plain["version"] = VERSION
        plain["endpoints"] = [[*key, *astuple(totals)] for key, totals in self.endpoints.told.items()]
        plain["errors"], plain["exceptions"] = self.errors.told, self.exceptions.told
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> State:
        """The state of `as_dict`. Raises ValueError when it is something else."""
        try:
            values = dict(plain)
            if (version := values.pop("version")) != VERSION:
                raise ValueError(f"expected version {VERSION}, found {version!r}")
            run = values.pop("run")
            endpoints = {(row[0], row[1]): Totals(*row[2:]) for row in values.pop("endpoints")}
            errors, exceptions = (Texts(dict(values.pop(name))) for name in ("errors", "exceptions"))
            return cls(
                run=None if run is None else Run(**run),
                endpoints=Endpoints(endpoints),
                errors=errors,
                exceptions=exceptions,
                **values,
            )
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"expected the sidecar's state, found {error!r}") from error
