"""What a C-STORE is answered: success only once the report, or failing that the film, is durable.

The daemon is asked while the sender waits, so that a refusal reaches the sender as a status with its reason,
and the film touches no disk. Only where the daemon is away, busy or slow does the film go into the queue.
Source: DICOM PS3.4, B.2.3 (statuses of the storage service).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.dicom_node.analyst import Analyst, Answer, Verdict
from appliance.dicom_node.spool import Spool
from appliance.errors import LimitExceeded, StorageUnavailable

LOG = logging.getLogger(__name__)
SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
OUT_OF_RESOURCES: Final = 0xA700
NOT_OF_ITS_CLASS: Final = 0xA900  # data set does not match SOP class: no chest film
CANNOT_UNDERSTAND: Final = 0xC000
MAX_COMMENT_CHARACTERS: Final = 64  # VR LO

_REFUSALS: Final = {
    Verdict.UNREADABLE: CANNOT_UNDERSTAND,
    Verdict.UNSUITABLE: NOT_OF_ITS_CLASS,
    Verdict.FAILED: PROCESSING_FAILURE,
}


@dataclass(frozen=True)
class StoreStatus:
    """The answer to a C-STORE request."""

    code: int
    comment: str = ""  # for the sender's log

    @property
    def stored(self) -> bool:
        """Whether the sender may forget the film."""
        return self.code == SUCCESS


class Intake:
    """Takes films.

    Args:
        analyst: asks the daemon.
        spool: keeps what has to wait.
        answer_s: how long the daemon may take while the sender waits.
        report_added, film_added: called after something new waits.
    """

    def __init__(
        self,
        analyst: Analyst,
        spool: Spool,
        answer_s: float,
        report_added: Callable[[], None],
        film_added: Callable[[], None],
    ) -> None:
        self._analyst = analyst
        self._spool = spool
        self._answer_s = answer_s
        self._report_added = report_added
        self._film_added = film_added

    def store(self, film: bytes, sender: str) -> StoreStatus:
        """Take one film.

        Args:
            film: a DICOM file.
            sender: who sent it, for the log.
        """
        try:
            self._spool.check_room(len(film))
            answer = self._analyst.ask(film, self._answer_s)
            status = self._keep(film, answer)
        except (LimitExceeded, StorageUnavailable) as exc:
            answer, status = Answer(Verdict.LATER, reason=str(exc)), _status(OUT_OF_RESOURCES, str(exc))
        log = LOG.info if status.stored else LOG.warning
        log(
            "C-STORE from %s: 0x%04X %s",
            sender,
            status.code,
            answer.reason or answer.verdict.value,
            extra={"verdict": answer.verdict.value, "kind": answer.kind, "result_id": answer.result_id},
        )
        return status

    def _keep(self, film: bytes, answer: Answer) -> StoreStatus:
        if answer.verdict is Verdict.ANSWERED:
            self._spool.add_report(answer.report)
            self._report_added()
            return StoreStatus(SUCCESS)
        if answer.verdict is Verdict.LATER:
            self._spool.add_film(film)
            self._film_added()
            return StoreStatus(SUCCESS)
        return _status(_REFUSALS[answer.verdict], answer.reason)


def _status(code: int, reason: str) -> StoreStatus:
    """With a comment that DICOM allows: 64 printable characters without a backslash.

    Where the sentence is longer, what was got says more than what was expected.
    """
    if len(reason) > MAX_COMMENT_CHARACTERS and " and got " in reason:
        reason = "got " + reason.rpartition(" and got ")[2]
    line = "".join(letter if 32 <= ord(letter) < 127 and letter != "\\" else "?" for letter in reason)
    return StoreStatus(code, line[:MAX_COMMENT_CHARACTERS].strip())
