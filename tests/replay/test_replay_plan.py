"""When a replay takes place, when it is seen, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_hook.commands.archive import Item
from locust_hook.commands.replay_plan import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    TAKEN_FUTURE_MS,
    TAKEN_PAST_MS,
    PlanError,
    Span,
    When,
    check_taken,
    cost,
    duration,
    parse_time,
    visibility,
)

NOW_MS = 1_795_262_400_000 + 17_123
"""2026-11-21T12:00:17.123Z."""
OLD_MS = NOW_MS - 40 * DAY_MS + 5_456
LENGTHS = st.integers(0, 13 * DAY_MS)


@pytest.mark.parametrize(
    ("length_ms", "ends_ahead_ms"),
    [
        (0, 0),
        (HOUR_MS, 0),
        (170 * MINUTE_MS, 0),
        (171 * MINUTE_MS, MINUTE_MS),
        (4 * HOUR_MS, 70 * MINUTE_MS),
        (270 * MINUTE_MS, 100 * MINUTE_MS),
        (30 * HOUR_MS, 100 * MINUTE_MS),
    ],
)
def test_a_run_ends_now_or_as_little_ahead_as_it_can(length_ms: int, ends_ahead_ms: int) -> None:
    span = Span(OLD_MS, OLD_MS + length_ms)
    moved = span.later(When().shift_ms(span, NOW_MS))
    assert NOW_MS + ends_ahead_ms - MINUTE_MS < moved.end_ms <= NOW_MS + ends_ahead_ms
    check_taken(moved, NOW_MS)
    if length_ms <= 270 * MINUTE_MS:
        assert [text for _, text in visibility(moved, NOW_MS)] == ["within minutes"] * bool(length_ms)


@given(LENGTHS, st.integers(0, 10**13), st.integers(10**12, 10**13))
def test_shifts_are_whole_minutes_and_hit_their_minute(length_ms: int, start_ms: int, at_ms: int) -> None:
    span = Span(start_ms, start_ms + length_ms)
    for when in (When(), When(start_ms=at_ms), When(end_ms=at_ms), When(keep=True)):
        assert when.shift_ms(span, NOW_MS) % MINUTE_MS == 0
    started = span.later(When(start_ms=at_ms).shift_ms(span, NOW_MS)).start_ms
    assert started // MINUTE_MS == at_ms // MINUTE_MS
    assert 0 <= at_ms - span.later(When(end_ms=at_ms).shift_ms(span, NOW_MS)).end_ms < MINUTE_MS
    assert When(keep=True).shift_ms(span, NOW_MS) == 0
    check_taken(span.later(When().shift_ms(span, NOW_MS)), NOW_MS)


@given(LENGTHS, st.integers(-14 * DAY_MS, 2 * HOUR_MS))
def test_every_moment_is_seen_once_by_its_age(length_ms: int, offset_ms: int) -> None:
    span = Span(NOW_MS + offset_ms, NOW_MS + offset_ms + length_ms)
    parts = visibility(span, NOW_MS)
    assert sum(part.length_ms for part, _ in parts) == length_ms
    ages = {"after up to 48 hours": (DAY_MS, 10**12), "after up to 2 hours": (3 * HOUR_MS, DAY_MS),
            "within minutes": (-(10**12), 3 * HOUR_MS)}  # fmt: skip
    at_ms = span.start_ms
    for part, text in parts:
        assert part.start_ms == at_ms
        youngest_ms, oldest_ms = ages[text]
        assert youngest_ms <= NOW_MS - part.end_ms < NOW_MS - part.start_ms <= oldest_ms
        at_ms = part.end_ms


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "words"),
    [
        (-TAKEN_PAST_MS, TAKEN_FUTURE_MS, None),
        (-TAKEN_PAST_MS - 1, 0, "choose --end now"),
        (0, TAKEN_FUTURE_MS + 1, "choose --end now"),
        (-TAKEN_PAST_MS - 1, TAKEN_FUTURE_MS, "spans 14 d 1 h: select less"),
    ],
)
def test_what_cloudwatch_takes(start_ms: int, end_ms: int, words: str | None) -> None:
    span = Span(NOW_MS + start_ms, NOW_MS + end_ms)
    if words is None:
        check_taken(span, NOW_MS)
        return
    with pytest.raises(PlanError, match=words) as error:
        check_taken(span, NOW_MS)
    assert "from 2026-11-07 12:30:17 to 2026-11-21 13:40:17 UTC" in str(error.value)


def test_costs() -> None:
    items = [Item("t", "r", "s", seq, "k", 10**9, "GLACIER_IR") for seq in range(1000)]
    price = cost(items)
    assert price.copies == pytest.approx(0.0054 + 1000 * 0.03)
    assert price.relay == pytest.approx(0.02 + 0.0008 + 0.0002 + 1000 * 0.15 * 0.0000166667)
    assert price.calls == pytest.approx(0.02)
    assert price.total == pytest.approx(sum(price))
    assert cost([]).total == 0


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-11-21T12:00", 1_795_262_400_000),
        ("2026-11-21T12:00:00Z", 1_795_262_400_000),
        ("2026-11-21 13:00+01:00", 1_795_262_400_000),
        ("2026-11-21", 1_795_219_200_000),
    ],
)
def test_times(text: str, at_ms: int) -> None:
    assert parse_time(text) == at_ms


@pytest.mark.parametrize("text", ["", "noon", "21.11.2026", "2026-13-01"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time as 2026-11-21T12:00"):
        parse_time(text)


@pytest.mark.parametrize(
    ("length_ms", "text"),
    [(0, "0 s"), (59_400, "59 s"), (-61_000, "1 min 1 s"), (HOUR_MS, "1 h"), (DAY_MS + 60_000, "1 d 1 min"),
     (40 * DAY_MS + HOUR_MS + MINUTE_MS, "40 d 1 h")],
)  # fmt: skip
def test_durations(length_ms: int, text: str) -> None:
    assert duration(length_ms) == text
