"""Asks the daemon about a film, and says what its answer means for the film."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from appliance.client import CallError
from appliance.pb import analysis_pb2, chest_xray_pb2


class Verdict(enum.Enum):
    """What became of a film."""

    ANSWERED = "answered"  # there is a report
    UNREADABLE = "unreadable"  # no image that is read here: sending it again will not help
    UNSUITABLE = "unsuitable"  # readable, but no frontal chest film
    LATER = "later"  # the daemon is away or busy: the film may wait
    FAILED = "failed"  # the daemon failed, or may not answer, on this film


@dataclass(frozen=True)
class Answer:
    """What the daemon said."""

    verdict: Verdict
    report: bytes = b""  # DICOM file, with ANSWERED
    result_id: str = ""  # the daemon's, with ANSWERED
    kind: str = ""  # the daemon's name of the error
    reason: str = ""  # in its words, which never quote the film


class FilmService(Protocol):
    """What is needed of `ApplianceClient`."""

    def analyze_chest_film(
        self, request: chest_xray_pb2.AnalyzeChestXrayRequest, timeout_s: float
    ) -> chest_xray_pb2.AnalyzeChestXrayResponse:
        """Analyse one chest film; CallError with the daemon's reason if it cannot."""
        ...


_VERDICTS = {
    "INVALID_ARGUMENT": Verdict.UNREADABLE,
    "OUT_OF_RANGE": Verdict.UNREADABLE,
    "FAILED_PRECONDITION": Verdict.UNSUITABLE,
    "UNAVAILABLE": Verdict.LATER,
    "DEADLINE_EXCEEDED": Verdict.LATER,
    "RESOURCE_EXHAUSTED": Verdict.LATER,
    "CANCELLED": Verdict.LATER,
}


class Analyst:
    """Asks for the report of one film at a time from each thread.

    Args:
        daemon: the client.
    """

    def __init__(self, daemon: FilmService) -> None:
        self._daemon = daemon

    def ask(self, film: bytes, timeout_s: float) -> Answer:
        """The daemon's answer about a DICOM file, at the latest after `timeout_s`."""
        request = chest_xray_pb2.AnalyzeChestXrayRequest(
            encoded=film, render=analysis_pb2.RenderOptions(structured_report=True)
        )
        try:
            reply = self._daemon.analyze_chest_film(request, timeout_s)
        except CallError as exc:
            return Answer(_VERDICTS.get(exc.status, Verdict.FAILED), kind=exc.kind, reason=str(exc))
        if not reply.renderings.structured_report_dicom:
            return Answer(Verdict.FAILED, reason="the daemon wrote no report: it is older than this node")
        return Answer(
            Verdict.ANSWERED, report=reply.renderings.structured_report_dicom, result_id=reply.result_id
        )
