"""Faults that strike one call of one batch's delivery: which call, and what happens to it."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from local_aws.calls import Call
from local_aws.faults import Kind

# The process that makes a call names itself in its User-Agent: the SDKs put AWS_SDK_UA_APP_ID there.
TRACEABLE = ["/bin/sh", "-c", 'AWS_SDK_UA_APP_ID=pid-$$ exec "$0"']
"""Command that runs the binary given as its next argument, so that its calls tell its process id."""
_PROCESS = re.compile(r"\bapp/pid-(\d+)")
_TEST = re.compile(rb"case-\d{4}")


def case_name(number: int) -> str:
    """The test's name of a case; all are of one length, so that all plans are alike."""
    return f"case-{number:04}"


@dataclass(eq=False)
class Strike:
    """Hits the `nth` call (from 1) at `point`, and with `forever` every one from then until `lifted`.

    `kind` is the fault of local AWS; with `kill`, the process that makes the call is killed as it is made.
    """

    point: str
    kind: Kind
    nth: int = 1
    kill: bool = False
    forever: bool = False
    latency_ms: int = 0
    lifted: bool = False
    seen: int = 0
    hits: int = 0

    def takes(self) -> bool:
        """Counts a call at the point, and says whether it is hit."""
        self.seen += 1
        if self.lifted or self.seen < self.nth or (self.hits and not self.forever):
            return False
        self.hits += 1
        return True


@dataclass(eq=False)
class Delivery:
    """The calls of one batch's delivery, as they arrive at AWS."""

    strikes: list[Strike]
    owners: dict[str, str] = field(default_factory=dict)
    """The attempts that took the batch over, with the tag of the entry that each of them found."""
    unrecorded: list[int] = field(default_factory=list)
    """At each take-over: how many calls the ledger did not know to be done."""
    log_calls: set[tuple[str, ...]] = field(default_factory=set)
    """The different calls of PutLogEvents, each as its messages."""

    def point(self, call: Call) -> str:
        """Which of the calls that a delivery makes this is."""
        if call.operation == "PutLogEvents":
            events = json.loads(call.http.body)["logEvents"]
            self.log_calls.add(tuple(event["message"] for event in events))
        if call.service != "s3":
            return {"PutMetricData": "metrics", "CreateLogStream": "stream", "PutLogEvents": "logs"}[
                call.operation
            ]
        ledger = str(call.key).startswith("ledger/")
        if call.operation == "GetObject":
            return "read" if ledger else "get"
        entry = json.loads(call.http.body)
        if entry["state"] != "claimed":
            return {"open": "release", "done": "complete"}[entry["state"]]
        headers = {name.lower(): value for name, value in call.http.headers.items()}
        tag = headers.get("if-match")
        if tag is None:
            return "claim"
        if entry["attempt"] > 1 and entry["owner"] not in self.owners:
            self.owners[entry["owner"]] = tag
            self.unrecorded.append(entry["calls"] - len(entry["done"]))
        return "take-over" if self.owners.get(entry["owner"]) == tag else "progress"


class Dispatcher:
    """Knows every case's delivery and picks the strike for a call, if there is one."""

    def __init__(self) -> None:
        self.deliveries: dict[str, Delivery] = {}
        self._lock = Lock()

    def expect(self, test: str, strikes: list[Strike]) -> None:
        """Adds a case."""
        self.deliveries[test] = Delivery(strikes)

    def matcher(self, kind: Kind, latency_ms: int = 0) -> Any:
        """What a fault of `kind` matches."""

        def match(call: Call) -> bool:
            strike = self._strike(call)
            if strike is None or (strike.kind, strike.latency_ms) != (kind, latency_ms):
                return False
            if strike.kill:
                kill_caller(call)
            return True

        return match

    def _strike(self, call: Call) -> Strike | None:
        # Asked once for each kind of fault: the answer is kept with the call.
        if "strike" not in call.http.environ:
            with self._lock:
                call.http.environ["strike"] = self._find(call)
        strike: Strike | None = call.http.environ["strike"]
        return strike

    def _find(self, call: Call) -> Strike | None:
        if caller(call) is None:
            return None  # not the relay's
        found = _TEST.search((call.key or "").encode()) or _TEST.search(call.http.body)
        delivery = self.deliveries.get(found[0].decode()) if found else None
        if delivery is None:
            return None
        point = delivery.point(call)
        hit = [strike for strike in delivery.strikes if strike.point == point and strike.takes()]
        return hit[0] if hit else None


def caller(call: Call) -> int | None:
    """The process that makes a call, if it was started by `TRACEABLE`."""
    found = _PROCESS.search(call.http.environ.get("HTTP_USER_AGENT", ""))
    return int(found[1]) if found else None


def kill_caller(call: Call) -> None:
    """Kills the process that makes a call, at once."""
    process = caller(call)
    if process is None:
        raise ValueError("expected a caller that tells its process id, found another")
    os.kill(process, signal.SIGKILL)
