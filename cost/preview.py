"""The relay's own plan of batches: nothing is computed here that the relay decides."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from .load import CostError

ROOT: Final = Path(__file__).parents[1]
RELAY: Final = ROOT / "target" / "debug" / "locust-cloudwatch-relay"

MAX_FILES: Final = 50_000
"""Batches that are planned at once: their names are arguments of one command, bounded to 2 MB (execve(2))."""

MAX_SECONDS: Final = 1_800.0
"""For one preview."""


@dataclass(frozen=True)
class Preview:
    """What the relay would do with some batches, undisturbed."""

    batches: int
    requests: int
    compressed_bytes: int
    metrics: int
    """Different ones, by namespace, name and dimensions."""
    metric_calls: int
    metric_data: int
    metric_bytes: int
    """Of the calls' bodies, before compression; an upper bound."""
    log_calls: int
    log_events: int
    log_bytes: int
    """As CloudWatch Logs counts: UTF-8 and 26 bytes for each event."""
    ledger_writes: int


Planner = Callable[[Sequence[Path], Mapping[str, str]], Preview]
"""From batches in files and the relay's settings (RELAY_*) to what the relay would do."""


def relay(binary: Path = RELAY) -> Planner:
    """Plans with a compiled relay. Raises `CostError` when there is none."""
    if not os.access(binary, os.X_OK):
        raise CostError(
            f"expected the compiled relay at {binary}, found none: run `cargo build`, or say --relay"
        )

    def plan(files: Sequence[Path], settings: Mapping[str, str]) -> Preview:
        if len(files) > MAX_FILES:
            raise CostError(f"expected at most {MAX_FILES:,} batches an hour, found {len(files):,}")
        if not files:
            return Preview(*[0] * len(fields(Preview)))
        folders = {file.parent for file in files}
        # Names without their folder are short: as many as possible fit into one command.
        folder = folders.pop() if len(folders) == 1 else None
        names = [file.name if folder else str(file) for file in files]
        try:
            done = subprocess.run(  # noqa: S603  # a list of file names of our own, no shell
                [binary.absolute(), "preview", *names],
                cwd=folder,
                env={"PATH": os.defpath, **settings},
                capture_output=True,
                text=True,
                timeout=MAX_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CostError(
                f"{len(files):,} batches took the relay over {MAX_SECONDS:,.0f} s to plan"
            ) from None
        if done.returncode:
            raise CostError(f"the relay cannot plan this: {done.stderr.strip() or done.stdout.strip()}")
        return _read(done.stdout, binary)

    return plan


def _read(output: str, binary: Path) -> Preview:
    try:
        found: dict[str, Any] = json.loads(output)
        return Preview(**{field.name: int(found[field.name]) for field in fields(Preview)})
    except (ValueError, KeyError, TypeError) as error:
        raise CostError(
            f"expected a preview from {binary}, found {output!r:.200} ({error!r}): is it of this version? "
            "Run `cargo build`"
        ) from None
