"""The load of the benchmarks is one that the hook could have written, and always the same."""

from collections import Counter

from benches.batches import FROM_MS, Batch
from benches.workload import ENDPOINTS, FAILED, requests
from tests.hook.reader import read


def test_a_batch_is_valid_and_holds_the_load() -> None:
    batch = read(Batch(20_000, 5).content())
    assert len(batch.rows) == 20_000
    assert len(Counter((row.method, row.name) for row in batch.rows)) == ENDPOINTS
    failures = sum(row.error is not None for row in batch.rows)
    assert 0.8 * FAILED < failures / 20_000 < 1.2 * FAILED
    times = sorted(row.response_time_us for row in batch.rows if row.response_time_us is not None)
    assert 31_000 < times[10_000] < 35_000
    assert 190_000 < times[19_800] < 240_000
    seconds = Counter((row.at_ms - FROM_MS) // 1000 for row in batch.rows)
    assert seconds == dict.fromkeys(range(5), 4_000)


def test_a_batch_is_as_small_as_those_of_the_hook() -> None:
    """docs/performance.md measures 3.80 bytes a request of the whole hook."""
    size = len(Batch(40_000, 10).content())
    assert 3.7 < size / 40_000 < 3.9


def test_the_load_is_the_same_every_time_and_another_one_for_another_batch() -> None:
    first, again, other = Batch(500, 1), Batch(500, 1), Batch(500, 1, seq=1)
    assert first.content() == again.content()
    assert [row.response_time_us for row in read(first.content()).rows] != [
        row.response_time_us for row in read(other.content()).rows
    ]


def test_half_of_the_endpoints_answer_with_one_size() -> None:
    load = requests()
    sizes: dict[str, set[int]] = {}
    for _ in range(5_000):
        request = next(load)
        sizes.setdefault(request.name, set()).add(request.size)
    assert Counter(map(len, sizes.values())) == {1: ENDPOINTS // 2, 4: ENDPOINTS // 2}
