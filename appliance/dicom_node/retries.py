"""When to try again: each waiting file has a pause of its own that doubles with every failure."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """The pauses."""

    first_s: float
    longest_s: float
    max_age_s: float  # what has waited longer than this is given up

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after so many failures, at least one."""
        return min(self.longest_s, self.first_s * math.pow(2.0, min(failures - 1, 60)))


class Retries:
    """Failures and pauses of the files that wait; forgotten at a restart, which is a fresh start for all."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failures: dict[str, int] = {}
        self._not_before_s: dict[str, float] = {}

    def failed(self, name: str, now_s: float) -> float:
        """Note a failure; seconds until the next try."""
        failures = self._failures.get(name, 0) + 1
        pause_s = self._policy.pause_s(failures)
        self._failures[name], self._not_before_s[name] = failures, now_s + pause_s
        return pause_s

    def due(self, names: Iterable[str], now_s: float) -> list[str]:
        """Those whose pause is over; what is not among `names` any more is forgotten."""
        present = list(names)
        for gone in self._failures.keys() - set(present):
            del self._failures[gone], self._not_before_s[gone]
        return [name for name in present if self._not_before_s.get(name, -math.inf) <= now_s]

    def next_in_s(self, now_s: float) -> float:
        """Seconds until a pause ends; infinity where none runs."""
        return max(0.0, min(self._not_before_s.values(), default=math.inf) - now_s)

    def expired(self, name: str, now_ms: int) -> bool:
        """Whether a file waits for too long; its id tells when it came (UUID version 7)."""
        came_ms = uuid.UUID(name).int >> 80
        return now_ms - came_ms > self._policy.max_age_s * 1000
