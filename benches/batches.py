"""The load as batches, written by the hook's own listener, encoding and compression."""

from __future__ import annotations

import hashlib
import random
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

from benches import workload
from benches.workload import requests
from locust_hook.recording import columns, encode

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench" / "batches"

DAY = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
"""Today (UTC): CloudWatch takes nothing that is weeks old, so that batches cannot be of a fixed time."""
FROM_MS = int(DAY.timestamp() * 1000)
"""Start of a batch, milliseconds since the epoch: at a whole second, as the hook flushes."""

_OK, _BROKEN = SimpleNamespace(status_code=200), SimpleNamespace(status_code=500)
_ERROR = ValueError("500 Server Error")


@dataclass(frozen=True)
class Batch:
    """What one batch holds: `requests` that finish at random within `seconds`.

    With the requests of several workers it is what they saw together: what an invocation that merges their
    batches would publish.
    """

    requests: int
    seconds: float
    seq: int = 0

    def content(self) -> bytes:
        """The batch's bytes."""
        rng = random.Random(self.seq + 1_000_000)  # noqa: S311  # repeatable, not secret
        start, step = FROM_MS / 1000, self.seconds / self.requests
        at = (start + (number + rng.random()) * step for number in range(self.requests))
        made = columns.Columns(500, now=at.__next__)
        made.begin(500, [])
        listener = made.on_request
        for request in islice(requests(self.seq + 1), self.requests):
            listener(
                request_type=request.method,
                response_time=request.response_time,
                name=request.name,
                context={},
                response=_BROKEN if request.failed else _OK,
                exception=_ERROR if request.failed else None,
                response_length=request.size,
            )
        return encode.compress(encode.encode(self._header(), made.take(), made))

    def _header(self) -> encode.Header:
        return encode.Header(
            test="bench",
            run="20261121T103000Z-0000",
            source="bench-worker-0",
            seq=self.seq,
            run_started_ms=FROM_MS,
            from_ms=FROM_MS,
            to_ms=FROM_MS + round(self.seconds * 1000),
            host="https://shop.example",
            locust="2.47.0",
            hook="0.1.0",
        )

    @property
    def file(self) -> Path:
        """The batch as a file; made when it is not there yet. Those of other days are deleted."""
        folder = FOLDER / f"{DAY:%Y-%m-%d}-{_version()}"
        path = folder / f"{self.requests}-in-{self.seconds:g}s-{self.seq}.ndjson.gz"
        if not path.exists():
            for other in FOLDER.glob("*-*"):
                if other != folder:
                    shutil.rmtree(other)
            folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(self.content())
            part.rename(path)
        return path


def _version() -> str:
    """Changes with whatever decides what a batch's bytes are."""
    sources = [Path(module.__file__ or "") for module in (workload, encode, columns)]
    return hashlib.sha256(b"".join(source.read_bytes() for source in [*sources, Path(__file__)])).hexdigest()[
        :8
    ]
