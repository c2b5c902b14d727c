"""The two errands that run beside the listener: late films to the daemon, reports to their destination."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

from appliance.clock import Clock
from appliance.dicom_node.analyst import Analyst, Verdict
from appliance.dicom_node.retries import Retries, RetryPolicy
from appliance.dicom_node.spool import Kind, Spool
from appliance.errors import ApplianceError, StorageUnavailable, Unavailable

LOG = logging.getLogger(__name__)
LONGEST_NAP_S = 60.0
"""A waiting file may also grow too old: looked at this often."""


class Destination(Protocol):
    """Who takes reports."""

    def send(self, reports: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
        """Send them over one association; for each its id, and why it was not taken, or an empty text.

        Raises:
            Unavailable: no association, or it broke; what was not told about was not sent.
        """
        ...


class Errand(ABC):
    """Looks after the files of one kind, in a thread of its own, until `stop`.

    Args:
        kind: of the files.
        spool: where they wait.
        policy: pauses between tries.
        clock: for both.
    """

    kind: Kind

    def __init__(self, spool: Spool, policy: RetryPolicy, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self._retries = Retries(policy)
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"dicom-{self.kind.value}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something new waits."""
        self._news.set()

    def stop(self, timeout_s: float) -> None:
        """End after the file under way."""
        self._stopping.set()
        self._news.set()
        self._thread.join(timeout_s)

    def turn(self) -> float:
        """Try everything that is due once; seconds until the next turn makes sense."""
        now_ms = self._clock.now_ms()
        waiting = self._spool.waiting(self.kind)
        for name in [name for name in waiting if self._retries.expired(name, now_ms)]:
            self._spool.remove(self.kind, name)
            waiting.remove(name)
            LOG.error("gave up on a file among %s: it waited longer than the limit", self.kind.value)
        due = self._retries.due(waiting, self._clock.monotonic_s())
        if due:
            self.run_errand(due)
        return min(LONGEST_NAP_S, self._retries.next_in_s(self._clock.monotonic_s()))

    @abstractmethod
    def run_errand(self, due: Sequence[str]) -> None:
        """Try each of these once."""

    def again_later(self, names: Sequence[str], reason: str) -> None:
        """Note that it did not work this time."""
        pauses_s = [self._retries.failed(name, self._clock.monotonic_s()) for name in names]
        if pauses_s:
            LOG.warning(
                "%d of the %s have to wait, %.0f s at least: %s",
                len(pauses_s),
                self.kind.value,
                min(pauses_s),
                reason,
            )

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.clear()
            try:
                nap_s = self.turn()
            except ApplianceError as exc:
                LOG.error("the errand for %s failed: %s", self.kind.value, exc)
                nap_s = LONGEST_NAP_S
            except Exception:
                LOG.exception("the errand for %s failed", self.kind.value)
                nap_s = LONGEST_NAP_S
            self._news.wait(nap_s)


class LateFilms(Errand):
    """Brings films that could not be analysed at once to the daemon.

    Args:
        analyst: asks the daemon.
        answer_s: how long it may take.
        reports: woken when a film has become a report.
    """

    kind = Kind.FILM

    def __init__(
        self,
        spool: Spool,
        policy: RetryPolicy,
        clock: Clock,
        analyst: Analyst,
        answer_s: float,
        reports: Errand,
    ) -> None:
        super().__init__(spool, policy, clock)
        self._analyst = analyst
        self._answer_s = answer_s
        self._reports = reports

    def run_errand(self, due: Sequence[str]) -> None:
        """Ask about one film after the other; where the daemon is away, the rest waits with the first."""
        for place, name in enumerate(due):
            if self.stopping:
                return
            answer = self._analyst.ask(self._spool.read(self.kind, name), self._answer_s)
            if answer.verdict is Verdict.LATER:
                self.again_later(due[place:], answer.reason)
                return
            if answer.verdict is Verdict.ANSWERED:
                self._spool.add_report(answer.report, film=name)
                self._reports.wake()
                LOG.info("a film that had waited is analysed", extra={"result_id": answer.result_id})
            else:
                self._spool.remove(self.kind, name)
                LOG.error(
                    "a film that had waited was refused (%s), its sender was told success: %s",
                    answer.kind or answer.verdict.value,
                    answer.reason,
                )


class Reports(Errand):
    """Brings reports to their destination.

    Args:
        destination: who takes them.
    """

    kind = Kind.REPORT

    def __init__(self, spool: Spool, policy: RetryPolicy, clock: Clock, destination: Destination) -> None:
        super().__init__(spool, policy, clock)
        self._destination = destination

    def run_errand(self, due: Sequence[str]) -> None:
        """Send all over one association; a report goes from the queue once the destination has taken it."""
        left = list(due)
        try:
            for name, refusal in self._destination.send(self._read(due)):
                left.remove(name)
                if refusal:
                    self.again_later([name], refusal)
                else:
                    self._spool.remove(self.kind, name)
                    LOG.info("report delivered")
        except Unavailable as exc:
            self.again_later(left, str(exc))

    def _read(self, due: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for name in due:
            if self.stopping:
                return
            try:
                yield name, self._spool.read(self.kind, name)
            except StorageUnavailable as exc:
                self.again_later([name], str(exc))
