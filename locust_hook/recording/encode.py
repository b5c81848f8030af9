"""Columns → the bytes of one batch object (`docs/batch-format.md`); pure, and in pieces.

`encode` yields `Chunk`s of text, each the work of less than a millisecond, so that the caller can let Locust
run in between; `compress` makes one gzip member of them (its time is spent in zlib, which releases the GIL).
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import repeat
from math import floor, isfinite
from operator import itemgetter, mul, sub
from typing import Any, Final, NamedTuple

from .columns import FAILURE_SLOTS, MAX_NAME, SLOTS, Columns, Taken, text, valid_status

FORMAT: Final = "locust-stats-batch"
VERSION: Final = 1

PIECE: Final = 4_096
"""Requests of one record at most: what is encoded without a pause (about a millisecond)."""

MAX_INT: Final = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 8259 section 6)."""

DECIMALS: Final = 20_000
"""Entries of the cache of decimal texts, for columns with few distinct values (about 2 MB)."""


class Chunk(NamedTuple):
    """A piece of a batch's text; `numbers` says that it is digits with little repetition."""

    data: bytes
    numbers: bool


@dataclass(frozen=True)
class Header:
    """The first line of a batch. Times are integer milliseconds since the epoch."""

    test: str
    run: str
    source: str
    seq: int
    run_started_ms: int
    from_ms: int
    to_ms: int
    host: str
    locust: str
    hook: str
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> bytes:
        """The header as JSON, with its line end."""
        return line({"format": FORMAT, "version": VERSION, **asdict(self)})


def line(record: dict[str, Any]) -> bytes:
    """One line of a batch."""
    string = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
    return string.encode("utf-8", "replace") + b"\n"


def encode(header: Header, taken: Taken, columns: Columns) -> Iterator[Chunk]:
    """The lines of a batch, in chunks; `columns` knows which endpoints are folded."""
    yield Chunk(header.line, False)
    records = 0
    for kind, entries in (
        ("event", taken.events),
        ("users", taken.users),
        ("exception", taken.exceptions),
    ):
        for entry in entries:
            records += 1
            yield Chunk(line({kind: entry}), False)
    requests = 0
    for name, flat in taken.by_name.items():
        for start in range(0, len(flat), PIECE * SLOTS):
            piece = flat[start : start + PIECE * SLOTS]
            for endpoint, status, parts in _by_endpoint(columns, name, piece):
                records += 1
                requests += len(parts[0])
                yield from _requests(header.from_ms, (*endpoint, status, None), *parts)
    for rows in taken.rows:
        endpoint = columns.known_endpoint(rows.method, rows.name)
        for start in range(0, len(rows), PIECE):
            stop = min(start + PIECE, len(rows))
            records += 1
            requests += stop - start
            yield from _record(
                (*endpoint, rows.status, None),
                rows.at_ms(start, stop, header.from_ms),
                rows.response_time_us(start, stop),
                rows.response_bytes(start, stop),
            )
    for key, flat in taken.failures.items():
        for start in range(0, len(flat), PIECE * FAILURE_SLOTS):
            piece = flat[start : start + PIECE * FAILURE_SLOTS]
            records += 1
            requests += len(piece) // FAILURE_SLOTS
            yield from _requests(header.from_ms, key, piece[0::3], piece[1::3], piece[2::3])
    yield Chunk(line({"end": {"records": records, "requests": requests}}), False)


Parts = tuple[list[float], list[Any], list[Any]]
"""Columns of equal length: completion times (s), response times (ms), bytes; as Locust's event gave them."""


def _by_endpoint(
    columns: Columns, name: str, flat: list[Any]
) -> Iterator[tuple[tuple[str, str], int | None, Parts]]:
    """Splits one name's requests by method and status; nearly always there is one of each."""
    times, methods, statuses, response_times, lengths = (flat[i::SLOTS] for i in range(SLOTS))
    count = len(times)
    if methods.count(methods[0]) == count and statuses.count(statuses[0]) == count:
        endpoint = columns.known_endpoint(text(methods[0], MAX_NAME), name)
        yield endpoint, valid_status(statuses[0]), (times, response_times, lengths)
        return
    rows_of: dict[tuple[tuple[str, str], int | None], list[int]] = {}
    for row, (method, status) in enumerate(zip(methods, statuses, strict=True)):
        endpoint = columns.known_endpoint(text(method, MAX_NAME), name)
        rows_of.setdefault((endpoint, valid_status(status)), []).append(row)
    for (endpoint, status), rows in rows_of.items():
        # itemgetter of a single index gives the item, not a tuple of one: hence the second, unused index.
        pick = itemgetter(*rows, rows[0])
        yield (
            endpoint,
            status,
            (list(pick(times)[:-1]), list(pick(response_times)[:-1]), list(pick(lengths)[:-1])),
        )


def _requests(
    from_ms: int,
    key: tuple[str, str, int | None, str | None],
    times: list[float],
    response_times: list[Any],
    lengths: list[Any],
) -> Iterator[Chunk]:
    """One `requests` record of values as Locust gave them."""
    return _record(key, _at_ms(from_ms, times), _response_time_us(response_times), _response_bytes(lengths))


def _record(
    key: tuple[str, str, int | None, str | None], at_ms: bytes, response_time_us: bytes, response_bytes: bytes
) -> Iterator[Chunk]:
    """One `requests` record of columns as text."""
    group = dict(zip(("method", "name", "status", "error"), key, strict=True))
    yield Chunk(line({"requests": group})[:-3] + b',"at_ms":[', False)
    yield Chunk(at_ms + b'],"response_time_us":[', True)
    yield Chunk(response_time_us, True)
    yield Chunk(b'],"response_bytes":[' + response_bytes + b"]}}\n", False)


def _at_ms(from_ms: int, times: list[float]) -> bytes:
    at = list(map(floor, map(mul, times, repeat(1000.0))))
    return _few(map(sub, at, [from_ms, *at[:-1]]))


def _response_time_us(values: list[Any]) -> bytes:
    try:
        # float.__round__ is the exact, half-even `round(x)` without its look-up: half the time.
        rounded = list(map(float.__round__, map(mul, values, repeat(1000.0))))
        array("i", rounded)  # refuses what is beyond 32 bits (36 minutes), at the speed of C
    except (TypeError, ValueError, OverflowError):
        return _any(map(_microseconds, values))
    return (b"%d," * len(rounded))[:-1] % tuple(rounded)


def _response_bytes(values: list[Any]) -> bytes:
    try:
        array("i", values)  # refuses None, fractions and what is beyond 32 bits
        return _few(values)
    except (TypeError, OverflowError):
        return _any(map(_bytes, values))


def _microseconds(milliseconds: Any) -> int | None:
    try:
        value = float(milliseconds) * 1000.0
    except (TypeError, ValueError, OverflowError):
        return None
    return _clamped(round(value)) if isfinite(value) else None


def _bytes(length: Any) -> int | None:
    try:
        return _clamped(int(length))
    except (TypeError, ValueError, OverflowError):
        return None


def _clamped(value: int) -> int:
    return max(-MAX_INT, min(MAX_INT, value))


def _any(values: Iterable[int | None]) -> bytes:
    return ",".join("null" if value is None else str(value) for value in values).encode()


class _Decimals(dict[int, str]):
    def __missing__(self, value: int) -> str:
        if len(self) >= DECIMALS:
            self.clear()
        string = self[value] = str(int(value))
        return string


_decimals = _Decimals()


def _few(values: Iterable[int]) -> bytes:
    """Integers of which most occur often: a look-up is a third of a conversion's time."""
    return ",".join(map(_decimals.__getitem__, values)).encode()


# One deflate strategy per kind of chunk (see docs/performance.md): digits with little repetition are only
# Huffman-coded, the rest is searched for repetitions. That is about as small as level 6 for everything, in a
# sixth of its time. The memory levels are those at which setting a compressor up costs little.
_NUMBERS: Final = (1, zlib.DEFLATED, -zlib.MAX_WBITS, 8, zlib.Z_HUFFMAN_ONLY)
_TEXT: Final = (4, zlib.DEFLATED, -zlib.MAX_WBITS, 6, zlib.Z_DEFAULT_STRATEGY)

_GZIP_HEADER: Final = (
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952 section 2.3: deflate, no time, unknown OS
)
_LAST_BLOCK: Final = b"\x03\x00"  # RFC 1951 section 3.2.6: an empty final block

NUMBERS_CHUNK: Final = 1_024
"""Bytes from which a chunk of numbers is worth a compressor of its own."""


def compress(chunks: Iterable[Chunk]) -> bytes:
    """One gzip member. Call it in a native thread: nearly all of its time is spent without the GIL."""
    out = [_GZIP_HEADER]
    crc = size = 0
    run: list[bytes] = []

    def flush(settings: tuple[int, int, int, int, int]) -> None:
        nonlocal crc, size
        data = b"".join(run)
        run.clear()
        if data:
            crc = zlib.crc32(data, crc)
            size += len(data)
            # Each piece ends on a byte boundary and refers to nothing before it, so pieces can be joined.
            compressor = zlib.compressobj(*settings)
            out.append(compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))

    for chunk in chunks:
        if chunk.numbers and len(chunk.data) >= NUMBERS_CHUNK:
            flush(_TEXT)
            run.append(chunk.data)
            flush(_NUMBERS)
        else:
            run.append(chunk.data)
    flush(_TEXT)
    out += [_LAST_BLOCK, struct.pack("<II", crc, size & 0xFFFFFFFF)]
    return b"".join(out)
