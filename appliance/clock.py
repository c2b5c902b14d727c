"""Time as the daemon sees it: wall clock for records, monotonic for deadlines, ids that sort by time."""

from __future__ import annotations

import math
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.errors import DeadlineExceeded

UUID7_RANDOM_A_BITS = 12
UUID7_RANDOM_B_BITS = 62


class Clock:
    """The machine's clocks; a test gives `ManualClock` instead."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, from an arbitrary origin."""
        return time.monotonic()


class ManualClock(Clock):
    """A clock that moves only when told to: the second implementation, for tests."""

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic_s: float = 1000.0) -> None:
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary origin."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._monotonic_s += seconds
        self._now_ms += round(seconds * 1000)


@dataclass(frozen=True)
class Deadline:
    """The moment on the monotonic clock after which nobody waits for the answer any more."""

    at_s: float  # monotonic seconds; infinity means no deadline
    monotonic_s: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)

    @classmethod
    def never(cls) -> Deadline:
        """No deadline."""
        return cls(math.inf)

    @classmethod
    def after(cls, seconds: float, monotonic_s: Callable[[], float] = time.monotonic) -> Deadline:
        """`seconds` from now; zero or less has already passed."""
        return cls(monotonic_s() + seconds, monotonic_s)

    def remaining_s(self) -> float:
        """Seconds left, negative once it has passed, infinity without a deadline."""
        return self.at_s - self.monotonic_s()

    def sooner(self, seconds: float) -> Deadline:
        """This deadline, or `seconds` from now if that comes first."""
        return Deadline(min(self.at_s, self.monotonic_s() + seconds), self.monotonic_s)

    def check(self) -> None:
        """Raise DeadlineExceeded once the moment has passed."""
        remaining_s = self.remaining_s()
        if remaining_s <= 0:
            raise DeadlineExceeded(
                f"the deadline passed {-remaining_s * 1000:.0f} ms ago; the work was not done"
            )


class TimeOrderedIds:
    """UUID version 7 (RFC 9562, section 5.7), strictly increasing within a process.

    The first 48 bits are Unix milliseconds, so ids sort by creation and make good primary keys. Within one
    millisecond, or when the wall clock is set back, the random part counts up (section 6.2, method 2).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last_ms = 0
        self._last_random = 0

    def next(self) -> str:
        """A new id in canonical text form."""
        random_bits = UUID7_RANDOM_A_BITS + UUID7_RANDOM_B_BITS
        with self._lock:
            now_ms = self._clock.now_ms()
            if now_ms > self._last_ms:
                self._last_ms = now_ms
                self._last_random = secrets.randbits(random_bits - 1)  # top bit free: room to count up
            else:
                self._last_random += 1 + secrets.randbits(32)
            milliseconds, randomness = self._last_ms, self._last_random
        random_a = randomness >> UUID7_RANDOM_B_BITS
        random_b = randomness & ((1 << UUID7_RANDOM_B_BITS) - 1)
        value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
        return str(uuid.UUID(int=value))
