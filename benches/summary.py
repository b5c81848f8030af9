"""`target/bench/summary.json`: each benchmark's numbers under a key of its own; smaller is better."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench"
FILE = FOLDER / "summary.json"


def say(text: str) -> None:
    """A line about what is being done."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def save(key: str, numbers: Mapping[str, Any]) -> None:
    """Puts a benchmark's numbers in, beside those of the others."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    saved = json.loads(FILE.read_text()) if FILE.exists() else {}
    saved[key] = numbers
    FILE.write_text(json.dumps(saved, indent=1) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; all columns but the first to the right."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        aligned = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(cells[0]), "| " + " | ".join(rule) + " |", *map(line, cells[1:])])


def number(value: float) -> str:
    """A number with three digits that count, and thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
