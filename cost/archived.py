"""A recorded run from its archive, and the batches that another flush interval would have made of it."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from locust_hook.commands import archive
from locust_hook.commands.archive import Archive, Item, RunItems
from locust_hook.commands.archive_reader import BEGINNING_BYTES, MAX_BATCH_BYTES, Header, read_header
from locust_hook.commands.progress import Progress
from locust_hook.recording.encode import Chunk, compress, line

from .load import CostError, Load, Part

PARALLEL: Final = 16
"""Batches that are fetched at the same time."""

MAX_RUN_BYTES: Final = 4 << 30
"""Compressed size of a run, which is copied to this machine for the time of the estimate."""

HOUR_MS: Final = 3_600_000


class Batch(NamedTuple):
    """One batch of the run, in a file."""

    header: Header
    file: Path


class Archived:
    """A run, fetched from an archive into a folder."""

    def __init__(self, source: Archive, run: RunItems, folder: Path) -> None:
        """Raises `CostError` for too large a run, `ArchiveError` and `BatchError` for an unreadable one."""
        if run.size > MAX_RUN_BYTES:
            raise CostError(f"expected a run of at most {MAX_RUN_BYTES:,} bytes, found {run.size:,}")
        self.name = f"{run.test} / {run.run}"
        self.missing = run.missing()
        self._folder = folder
        self._batches = list(_fetch(source, run.items, folder))
        lengths = [batch.header.to_ms - batch.header.from_ms for batch in self._batches]
        self.flush_seconds = max(1, round(median(lengths) / 1000))

    def load(self, flush_seconds: int) -> Load:
        """See `Source`: the run as it was, or with its batches merged to longer ones."""
        batches = self._batches
        if flush_seconds > self.flush_seconds:
            batches = [batch for part in self._by_source() for batch in self._merged(part, flush_seconds)]
        elif flush_seconds < self.flush_seconds:
            raise CostError(
                f"expected at least the {self.flush_seconds} s of the recorded batches, found {flush_seconds}"
            )
        start_ms, end_ms = archive.span_ms(batch.header for batch in batches)
        # A batch is published when it ends; metrics are metered in the hours in which they are sent.
        by_hour: dict[int, list[Path]] = {}
        for batch in batches:
            by_hour.setdefault(batch.header.to_ms // HOUR_MS, []).append(batch.file)
        parts = [Part(files) for files in by_hour.values()]
        sources = {batch.header.source for batch in batches}
        return Load(max(1.0, (end_ms - start_ms) / 1000), len(parts), len(sources), parts, parts)

    def _by_source(self) -> Iterator[list[Batch]]:
        for _, batches in groupby(self._batches, key=lambda batch: batch.header.source):
            yield list(batches)

    def _merged(self, batches: Sequence[Batch], flush_seconds: int) -> Iterator[Batch]:
        """One source's batches, put together to about `flush_seconds` each."""
        most_ms = (flush_seconds + self.flush_seconds / 2) * 1000
        parts: list[list[Batch]] = []
        for batch in batches:
            if not parts or batch.header.to_ms - parts[-1][0].header.from_ms > most_ms:
                parts.append([])
            parts[-1].append(batch)
        for part in parts:
            first, last = part[0], part[-1]
            file = self._folder / f"merged-{flush_seconds}s-{first.file.name}"
            file.write_bytes(merge(part))
            yield Batch(replace(first.header, to_ms=last.header.to_ms), file)


def open_run(address: str, test: str | None, run: str | None, folder: Path) -> Archived:
    """The run at an address, which may also hold others when it is named.

    Raises `CostError`, `ArchiveError`, `BatchError`.
    """
    source = archive.open_archive(address, PARALLEL)
    runs = archive.by_run(source.items(test, run))
    if not runs:
        raise CostError(f"expected the batches of a run in {address}, found none")
    if len(runs) > 1:
        found = "\n".join(f"  --test {one.test} --run {one.run}" for one in runs[:20])
        raise CostError(f"expected one run in {address}, found {len(runs):,}: name one with\n{found}")
    return Archived(source, runs[0], folder)


def _fetch(source: Archive, items: Sequence[Item], folder: Path) -> Iterator[Batch]:
    def fetch(numbered: tuple[int, Item]) -> Batch:
        number, item = numbered
        data = source.read(item)
        file = folder / f"{number:06}"
        file.write_bytes(data)
        return Batch(read_header(data[:BEGINNING_BYTES], source.address(item)), file)

    with ThreadPoolExecutor(PARALLEL) as pool, Progress("read batches", len(items)) as progress:
        for batch in archive.in_order(pool, PARALLEL, fetch, enumerate(items)):
            progress.advance()
            yield batch


def merge(batches: Sequence[Batch]) -> bytes:
    """One batch of several that follow one another: their records, with times from when the first begins."""
    first = batches[0].header
    chunks: list[Chunk] = []
    records = requests = 0
    for batch in batches:
        head, *lines = _lines(batch.file)
        end = json.loads(lines.pop())["end"]
        records += end["records"]
        requests += end["requests"]
        later_ms = batch.header.from_ms - first.from_ms
        if not chunks:
            chunks.append(Chunk(line({**json.loads(head), "to_ms": batches[-1].header.to_ms}), False))
        chunks += [Chunk(_later(text, later_ms) if later_ms else text, False) for text in lines]
    return compress([*chunks, Chunk(line({"end": {"records": records, "requests": requests}}), False)])


def _later(text: bytes, later_ms: int) -> bytes:
    """A record with its times counted from so much earlier; all but those of requests count from 1970."""
    if not text.startswith(b'{"requests"'):
        return text
    record: dict[str, Any] = json.loads(text)
    if at_ms := record["requests"]["at_ms"]:
        at_ms[0] += later_ms
    return line(record)


def _lines(file: Path) -> list[bytes]:
    data, text = file.read_bytes(), io.BytesIO()
    while data:  # a gzip file is any number of members
        member = zlib.decompressobj(wbits=31)
        try:
            text.write(member.decompress(data, MAX_BATCH_BYTES + 1 - text.tell()))
        except zlib.error as error:
            raise CostError(f"another flush interval can be tried with gzip batches only: {error}") from None
        if text.tell() > MAX_BATCH_BYTES:
            raise CostError(f"expected at most {MAX_BATCH_BYTES:,} bytes in a batch, found more")
        data = member.unused_data
    return text.getvalue().splitlines(keepends=True)
