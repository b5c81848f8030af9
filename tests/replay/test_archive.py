"""Batches are found and read, in buckets and in folders; what is no batch is said to be none."""

from __future__ import annotations

import gzip
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from threading import Semaphore

import pytest
import zstandard

from locust_hook.commands import archive
from locust_hook.commands.archive import ArchiveError, Bucket, Folder, by_run, in_order, open_archive
from locust_hook.commands.archive_reader import BatchError, read_header, read_requests
from locust_hook.commands.progress import Progress
from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.replay.conftest import Replays
from tests.replay.recorded import MINUTE_MS, Run

DATA = Path(__file__).parents[1] / "data"
# What must be said of each bad batch. Its header may be well.
BAD = {
    "not-gzip": "expected gzip or zstd, found",
    "truncated": "expected a whole batch, found truncated gzip data",
    "missing-end": "expected an `end` line, found the end after line",
    "wrong-end": "expected {'records': ",
    "broken-json": "line 3: expected a JSON object, found",
    "unequal-columns": "expected columns of equal length, found the lengths",
    "unknown-version": "expected version 1, found 2",
    "empty": "expected gzip or zstd, found nothing",
    "missing-field": "line 1: expected `",
}
RUN = Run("a test/é", "20261012T110015Z-4f3a", 1_791_802_815_000, length_ms=MINUTE_MS)


# One batch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["idle.ndjson.gz", "oddities.ndjson.gz", "typical.ndjson.gz", "typical.ndjson.zst"]
)
def test_golden_batches_are_read_as_they_were_meant(name: str) -> None:
    expected = json.loads((DATA / f"{name.split('.')[0]}.expected.json").read_text())
    content = (DATA / name).read_bytes()
    header, groups = read_requests(content, name)
    assert read_header(content, name) == header
    assert (header.test, header.seq) == (expected["header"]["test"], expected["header"]["seq"])
    found: dict[tuple[str, str], list[int]] = {}
    for group in groups:
        counts = found.setdefault((group.method, group.name), [0, 0, 0])
        for index, more in enumerate((group.requests, len(group.times_us), sum(group.times_us))):
            counts[index] += more
    assert found == {
        (e["method"], e["name"]): [
            e["requests"],
            e["response_time_us"]["count"],
            e["response_time_us"]["sum"],
        ]
        for e in expected["endpoints"]
    }


@pytest.mark.parametrize("name", BAD)
def test_bad_batches_each_have_their_own_error(name: str) -> None:
    (path,) = (DATA / "bad").glob(f"{name}.*")
    with pytest.raises(BatchError) as error:
        list(read_requests(path.read_bytes(), "the batch")[1])
    assert str(error.value).startswith("the batch")
    assert BAD[name] in str(error.value)


def test_the_table_of_bad_batches_is_complete() -> None:
    assert {path.name.split(".")[0] for path in (DATA / "bad").iterdir()} == BAD.keys()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_what_grows_too_large_is_refused(monkeypatch: pytest.MonkeyPatch, compress: object) -> None:
    monkeypatch.setattr("locust_hook.commands.archive_reader.MAX_BATCH_BYTES", 100_000)
    assert callable(compress)
    lines = Batch("t", [{"padding": "x" * 100_000}]).lines()
    with pytest.raises(BatchError, match="expected at most 100,000 bytes after decompression, found more"):
        read_requests(compress(batches.text(lines)), "b")


def test_a_gzip_file_of_several_members_is_one_batch() -> None:
    lines = Batch("t", [batches.requests("GET", "/", [1, 2, None])]).lines()
    content = b"".join(gzip.compress(batches.text([line])) for line in lines)
    _, groups = read_requests(content, "b")
    assert [(group.requests, list(group.times_us)) for group in groups] == [(3, [1, 2])]


@pytest.mark.parametrize(
    ("line", "words"),
    [(b"", "found nothing"), (b"[]", "found '[]'"), (b'{"format":"other"}', "expected a batch")],
)
def test_what_is_no_header(line: bytes, words: str) -> None:
    with pytest.raises(BatchError, match="b") as error:
        read_header(gzip.compress(line + (b"\n" if line else b"")), "b")
    assert words in str(error.value)


def test_nothing_may_follow_the_end() -> None:
    lines = Batch("t").lines()
    _, groups = read_requests(gzip.compress(batches.text([*lines, lines[-1]])), "b")
    with pytest.raises(BatchError, match="line 3: expected nothing after the `end` line"):
        list(groups)


@pytest.mark.parametrize(
    ("field", "value"),
    [("response_time_us", [1.5]), ("response_time_us", ["1"]), ("response_time_us", [2**64]), ("name", 7),
     ("error", ["x"]), ("method", None), ("at_ms", 1)],
)  # fmt: skip
def test_columns_of_other_types_are_refused(field: str, value: object) -> None:
    record = batches.requests("GET", "/", [1])
    record["requests"][field] = value
    lines = Batch("t", [record]).lines() if field != "at_ms" else [Batch("t").header, record]
    with pytest.raises(BatchError, match="b, line 2: expected"):
        list(read_requests(gzip.compress(batches.text(lines)), "b")[1])


# Where batches are ------------------------------------------------------------------------------------


def identities(
    source: archive.Archive, test: str | None = None, run: str | None = None
) -> list[tuple[object, ...]]:
    return [archive.identity(item) for item in source.items(test, run)]


def wanted(*runs: Run) -> list[tuple[object, ...]]:
    heads = [batch.head for run in runs for batch in run.batches()]
    return sorted((head.test, head.run, head.source, head.seq) for head in heads)


def test_a_folder_in_any_layout(tmp_path: Path) -> None:
    other = RUN.at(RUN.started_ms, test="other")
    for run in (RUN, other):
        run.write(tmp_path / "whole")
    assert identities(open_archive(str(tmp_path / "whole"))) == wanted(RUN, other)
    assert identities(open_archive(f"file://{tmp_path}/whole"), "other") == wanted(other)
    assert identities(Folder(tmp_path / "whole"), "other", "no such run") == []
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate((tmp_path / "whole" / "batches" / "other").rglob("*.gz")):
        shutil.copy(path, flat / f"{number}.ndjson.gz")
    (flat / "notes.txt").write_text("no batch")
    (flat / ".hidden.ndjson.gz").write_text("no batch")
    assert identities(Folder(flat)) == wanted(other)


def test_a_batch_that_is_there_twice_is_said(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    RUN.write(tmp_path / "batches" / "copy")
    with pytest.raises(ArchiveError, match="expected each batch once, found it twice"):
        Folder(tmp_path).items()


def test_a_file_that_is_no_batch_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.ndjson.gz").write_bytes(b"text")
    with pytest.raises(BatchError, match=r"1\.ndjson\.gz: expected gzip or zstd, found 'text'"):
        Folder(tmp_path).items()


@pytest.mark.parametrize("address", ["/no/such/folder", "s3://", "https://bucket", "file://x/y"])
def test_what_is_no_archive(address: str) -> None:
    with pytest.raises(ArchiveError, match=r"expected .*folder"):
        open_archive(address)


def test_a_bucket(cloud: Replays) -> None:
    cloud.s3.create_bucket(Bucket="an-archive")
    other = RUN.at(RUN.started_ms, test="other")
    for run in (RUN, other):
        cloud.archive(run, "an-archive")
        for batch in run.batches():
            cloud.s3.put_object(Bucket="an-archive", Key=f"copy/{batch.key}", Body=batch.content())
    cloud.s3.put_object(Bucket="an-archive", Key="batches/notes.txt", Body=b"no batch")
    cloud.s3.put_object(Bucket="an-archive", Key="ledger/live/other/r/s/000001.json", Body=b"{}")

    def bucket(prefix: str = "") -> Bucket:
        return Bucket(cloud.s3, "an-archive", prefix)

    assert identities(bucket()) == wanted(RUN, other)
    assert identities(bucket(), RUN.test, RUN.run) == wanted(RUN)
    assert identities(bucket("copy"), "other") == wanted(other)
    assert identities(bucket("batches/other"), run=other.run) == wanted(other)
    assert identities(bucket("batches/other"), RUN.test) == []
    (found,) = by_run(bucket().items(RUN.test))
    assert (found.size, found.missing()) == (sum(len(batch.content()) for batch in RUN.batches()), 0)
    headers = [bucket().header(item) for item in found.edges()]
    assert archive.span_ms(headers) == (RUN.started_ms, RUN.end_ms)
    assert bucket().read(found.items[0]) == next(RUN.batches()).content()
    assert archive.started_ms(bucket(), found) == RUN.started_ms

    key = next(RUN.batches()).key.replace("%2F", "-")
    cloud.s3.put_object(Bucket="an-archive", Key=key, Body=next(RUN.batches()).content())
    (item,) = bucket().items("a test-é")
    with pytest.raises(ArchiveError, match=r"by its key, found .* in its header"):
        bucket().header(item)
    with pytest.raises(ArchiveError, match=r"s3://no-bucket/batches/: .*NoSuchBucket"):
        Bucket(cloud.s3, "no-bucket", "").items()


def test_missing_batches_are_counted(tmp_path: Path) -> None:
    RUN.write(tmp_path)
    for path in tmp_path.rglob("000000.ndjson.gz"):
        path.unlink()
    (run,) = by_run(Folder(tmp_path).items())
    assert run.missing() == 3


# Doing much at once -----------------------------------------------------------------------------------


def test_work_is_done_in_order_and_not_far_ahead() -> None:
    begun = Semaphore(0)

    def work(number: int) -> int:
        begun.release()
        return number

    with ThreadPoolExecutor(4) as pool:
        results = in_order(pool, 4, work, range(1000))
        assert [next(results) for _ in range(10)] == list(range(10))
        results.close()  # type: ignore[attr-defined]
    count = 0
    while begun.acquire(blocking=False):
        count += 1
    assert 10 <= count <= 10 + 4 * archive.AHEAD


def test_progress_on_a_terminal_and_elsewhere() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in [
        (StringIO(), f"copied: [{'#' * 30}] 2 of 2 (100%)\n"),
        (Terminal(), f"\rcopied: [{'#' * 30}] 2 of 2 (100%)\x1b[K\n"),
    ]:
        with Progress("copied", 2, stream) as progress:
            progress.advance(2)
        assert stream.getvalue() == shown
