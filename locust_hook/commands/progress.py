"""What commands say, and how far they are: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, TextIO

BAR: Final = 30
"""Characters of the bar."""

TERMINAL_SECONDS: Final = 0.1
LINE_SECONDS: Final = 10.0
"""Between two looks at a terminal, and between two lines elsewhere."""


def say(*lines: str, to: TextIO | None = None) -> None:
    """What a command has to say, on standard output if nothing else is named."""
    print(*lines, sep="\n", file=to or sys.stdout, flush=True)


class Progress:
    """Counts from 0 to `total` (None: unknown); use it with `with`."""

    def __init__(self, text: str, total: int | None, stream: TextIO | None = None) -> None:
        """`text` says what is done with what, as in `copied batches`."""
        self.count = 0
        self._text, self._total = text, total
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self._terminal:
            self._show("\r", "\x1b[K\n")
        elif kind is None and self.count:
            self._show("", "\n")

    def advance(self, by: int = 1) -> None:
        """Counts, and shows it if it is time."""
        self.count += by
        now = time.monotonic()
        if now - self._shown >= (TERMINAL_SECONDS if self._terminal else LINE_SECONDS):
            self._shown = now
            self._show(*(("\r", "\x1b[K") if self._terminal else ("", "\n")))

    def _show(self, before: str, after: str) -> None:
        if self._total is None:
            line = f"{self._text}: {self.count:,}"
        else:
            share = self.count / self._total if self._total else 1.0
            bar = "#" * round(share * BAR)
            line = f"{self._text}: [{bar:.<{BAR}}] {self.count:,} of {self._total:,} ({share:.0%})"
        print(before + line, end=after, file=self._stream, flush=True)
