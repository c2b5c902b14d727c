"""A source asked again: bounded attempts, a pause that doubles, and never again where that cannot help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from appliance.bundles.source import ReleaseSource
from appliance.errors import SourceUnavailable


@dataclass(frozen=True)
class RetryPolicy:
    """How often and after which pause."""

    attempts: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0

    def pauses_s(self) -> Iterator[float]:
        """The pauses between the attempts, one fewer than those."""
        pause_s = self.first_pause_s
        for _ in range(self.attempts - 1):
            yield min(pause_s, self.longest_pause_s)
            pause_s *= 2


class RetryingSource:
    """Reads each file whole and asks again where the source was unavailable.

    Args:
        source: what is asked.
        policy: how often.
        pause: waits, seconds; a test gives its own.
    """

    def __init__(
        self, source: ReleaseSource, policy: RetryPolicy, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._source = source
        self._policy = policy
        self._pause = pause

    @property
    def name(self) -> str:
        """That of the source."""
        return self._source.name

    def stream(self, path: str) -> Iterator[bytes]:
        """See `ReleaseSource.stream`; what was read before a break is not given twice."""
        given = 0
        pauses_s = self._policy.pauses_s()
        while True:
            try:
                skip = given
                for piece in self._source.stream(path):
                    fresh = piece[skip:]
                    skip = max(0, skip - len(piece))
                    if fresh:
                        given += len(fresh)
                        yield fresh
                return
            except SourceUnavailable:
                pause_s = next(pauses_s, None)
                if pause_s is None:
                    raise
                self._pause(pause_s)
