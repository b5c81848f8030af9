"""The bytes of one batch → its header and its requests, checked (`docs/batch-format.md`)."""

from __future__ import annotations

import io
import json
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..recording.encode import FORMAT, VERSION

BEGINNING_BYTES: Final = 64 * 1024
"""Compressed bytes that hold a header: it is a few kilobytes long before compression."""

MAX_HEADER_BYTES: Final = 1 << 20
MAX_BATCH_BYTES: Final = 256 << 20
"""Decompressed sizes that are read; the latter is the relay's default limit (`RELAY_MAX_BATCH_MB`)."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
"""First bytes: RFC 1952 section 2.3.1, RFC 8878 section 3.1.1."""


class BatchError(Exception):
    """Not a batch, or not a whole one; the text says where, what was expected and what was found."""


@dataclass(frozen=True)
class Header:
    """Identity and interval of a batch; times in milliseconds since 1970."""

    test: str
    run: str
    source: str
    seq: int
    run_started_ms: int
    from_ms: int
    to_ms: int


class Group(NamedTuple):
    """A `requests` record: the requests of one endpoint with one status and one error."""

    method: str
    name: str
    status: int | None
    error: str | None
    requests: int
    times_us: array[int]
    """The response times of those requests that have one, in microseconds."""


def read_header(beginning: bytes, where: str) -> Header:
    """The header from a batch's first `BEGINNING_BYTES` bytes, or from all of it.

    `where` names the batch in errors. Raises `BatchError`.
    """
    text = _decompress(beginning, MAX_HEADER_BYTES, where, whole=False)
    line, end, _ = text.partition(b"\n")
    if not end:
        raise BatchError(f"{where}: expected a header line of a batch, found {_shown(line)}")
    return _header(line, where)


def read_requests(data: bytes, where: str) -> tuple[Header, Iterator[Group]]:
    """Header and requests of a whole batch; that it is whole shows when the iterator has ended.

    `where` names the batch in errors. Raises `BatchError`.
    """
    lines = io.BytesIO(_decompress(data, MAX_BATCH_BYTES, where, whole=True))
    return _header(lines.readline(), where), _groups(lines, where)


def _groups(lines: io.BytesIO, where: str) -> Iterator[Group]:
    requests = 0
    number = 1
    for number, line in enumerate(lines, 2):
        record = _object(line, f"{where}, line {number}")
        if "end" in record:
            counted = {"records": number - 2, "requests": requests}
            if record["end"] != counted:
                raise BatchError(f"{where}, line {number}: expected {counted}, found {record['end']!r:.120}")
            if after := lines.readline():
                at = f"{where}, line {number + 1}"
                raise BatchError(f"{at}: expected nothing after the `end` line, found {_shown(after)}")
            return
        if (columns := record.get("requests")) is not None:
            group = _group(columns, f"{where}, line {number}")
            requests += group.requests
            yield group
    raise BatchError(
        f"{where}: expected an `end` line, found the end after line {number}: the batch is truncated"
    )


def _group(columns: Any, where: str) -> Group:
    try:
        lengths = {len(columns[name]) for name in ("at_ms", "response_time_us", "response_bytes")}
        method, name, status, error, times = (
            columns[field] for field in ("method", "name", "status", "error", "response_time_us")
        )
        if None in times:
            times = [time for time in times if time is not None]
        group = Group(method, name, status, error, max(lengths), array("q", times))
    except (KeyError, TypeError, OverflowError) as mistake:
        raise BatchError(f"{where}: expected a `requests` record, found none: {mistake!r:.120}") from None
    if len(lengths) != 1:
        raise BatchError(f"{where}: expected columns of equal length, found the lengths {sorted(lengths)}")
    if not (isinstance(method, str) and isinstance(name, str) and isinstance(error, (str, type(None)))):
        raise BatchError(f"{where}: expected `method`, `name` and `error` as texts, found {group[:4]!r:.120}")
    return group


def _header(line: bytes, where: str) -> Header:
    found = _object(line, f"{where}, line 1")
    if found.get("format") != FORMAT:
        raise BatchError(f"{where}: expected a batch ({FORMAT!r}), found {_shown(line)}")
    if found.get("version") != VERSION:
        raise BatchError(f"{where}: expected version {VERSION}, found {found.get('version')!r}")
    values = {}
    for name, kind in Header.__annotations__.items():
        expected = str if kind == "str" else int
        if type(found.get(name)) is not expected:
            raise BatchError(
                f"{where}, line 1: expected `{name}` as {expected.__name__}, found {found.get(name)!r:.80}"
            )
        values[name] = found[name]
    return Header(**values)


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BatchError(f"{where}: expected a JSON object, found {_shown(line)}")
    return found


def _shown(line: bytes) -> str:
    return repr(line[:80].decode(errors="replace")) if line else "nothing"


def _decompress(data: bytes, limit: int, where: str, *, whole: bool) -> bytes:
    """At most `limit` bytes if only the beginning is wanted, else all of it; more is an error."""
    if data.startswith(_ZSTD):
        text = _unzstd(data, limit, where, whole=whole)
    elif data.startswith(_GZIP):
        text = _gunzip(data, limit, where, whole=whole)
    else:
        raise BatchError(f"{where}: expected gzip or zstd, found {_shown(data)}")
    if whole and len(text) > limit:
        raise BatchError(f"{where}: expected at most {limit:,} bytes after decompression, found more")
    return text


def _gunzip(data: bytes, limit: int, where: str, *, whole: bool) -> bytes:
    text = b""
    try:
        while data:  # a gzip file is any number of members
            member = zlib.decompressobj(wbits=31)
            text += member.decompress(data, limit + 1 - len(text))
            if not member.eof:
                if whole and len(text) <= limit:
                    raise BatchError(f"{where}: expected a whole batch, found truncated gzip data")
                break
            data = member.unused_data
            if not whole or len(text) > limit:
                break
    except zlib.error as error:
        raise BatchError(f"{where}: expected gzip data, found {error}") from None
    return text


def _unzstd(data: bytes, limit: int, where: str, *, whole: bool) -> bytes:
    try:
        import zstandard
    except ImportError:
        raise BatchError(
            f"{where}: this batch is compressed with zstd: install the package `zstandard` to read it"
        ) from None
    try:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return bytes(reader.read(limit + 1 if whole else limit))
    except zstandard.ZstdError as error:
        raise BatchError(f"{where}: expected zstd data, found {error}") from None
