from __future__ import annotations

import math
import uuid

import pytest

from appliance.clock import Clock, Deadline, ManualClock, TimeOrderedIds
from appliance.errors import DeadlineExceeded


def test_a_deadline_passes() -> None:
    clock = ManualClock()
    deadline = Deadline.after(2.0, clock.monotonic_s)
    deadline.check()
    clock.advance(1.5)
    assert deadline.remaining_s() == pytest.approx(0.5)
    clock.advance(0.5)
    with pytest.raises(DeadlineExceeded, match="0 ms ago"):
        deadline.check()


def test_never_is_for_ever() -> None:
    Deadline.never().check()
    assert math.isinf(Deadline.never().remaining_s())


def test_the_sooner_of_two_deadlines() -> None:
    clock = ManualClock()
    deadline = Deadline.after(10.0, clock.monotonic_s)
    assert deadline.sooner(3.0).remaining_s() == pytest.approx(3.0)
    assert deadline.sooner(30.0).remaining_s() == pytest.approx(10.0)


def test_the_real_clock_agrees_with_itself() -> None:
    clock = Clock()
    assert clock.now_ms() > 1_700_000_000_000
    assert clock.monotonic_s() <= clock.monotonic_s()


def test_ids_are_version_7_and_carry_the_time() -> None:
    clock = ManualClock(now_ms=1_750_000_000_123)
    made = uuid.UUID(TimeOrderedIds(clock).next())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == 1_750_000_000_123


def test_ids_rise_within_a_millisecond_and_when_the_clock_is_set_back() -> None:
    clock = ManualClock()
    ids = TimeOrderedIds(clock)
    made = [ids.next() for _ in range(500)]
    clock.advance(-3600.0)
    made += [ids.next() for _ in range(500)]
    clock.advance(7200.0)
    made.append(ids.next())
    assert made == sorted(set(made))
