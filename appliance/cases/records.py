"""What is kept of a case, as it comes out of the database, and the text that goes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from appliance.analysis import Analysis
from appliance.cases.cell import Cell
from appliance.cases.edits import ReviewEvent
from appliance.cases.notation import CaseKind
from appliance.cases.tally import Touches
from appliance.errors import StorageUnavailable


@dataclass(frozen=True)
class CaseRecord:
    """One case, without its spreads."""

    case_id: str  # UUID version 7, made by the daemon
    reference: str  # the caller's own, no name
    kind: CaseKind
    exclude_share: float | None  # of a second line of cells, 0..1, that the case is to exclude
    opened_ms: int  # Unix time in milliseconds
    changed_ms: int
    closed_ms: int | None = None  # None while it is open
    spreads: int = 0  # number of them
    approved: int = 0  # of which an expert approved


@dataclass(frozen=True)
class Standing:
    """What the fold of a spread's events came to; kept beside them, so that a list need not fold them all."""

    cell: Cell
    touches: Touches


@dataclass(frozen=True)
class SpreadRecord:
    """One spread of a case, without its result."""

    number: int  # in the case, from 1
    result_id: str
    request_id: str  # the caller's own
    added_ms: int  # Unix time in milliseconds
    revision: int  # 0 as the machine left it
    standing: Standing


@dataclass(frozen=True)
class SpreadFile:
    """One spread of a case with all that it was made from."""

    analysis: Analysis  # as the machine left it
    events: tuple[ReviewEvent, ...]  # oldest first


_Kept = TypeVar("_Kept")
_STANDING = TypeAdapter(Standing)
_EVENT = TypeAdapter(ReviewEvent)


def encode_standing(standing: Standing) -> bytes:
    """JSON in UTF-8."""
    return _STANDING.dump_json(standing)


def decode_standing(body: bytes) -> Standing:
    """What `encode_standing` wrote; StorageUnavailable if it is something else."""
    return _decode(_STANDING, body, "the standing of a spread")


def encode_event(event: ReviewEvent) -> bytes:
    """JSON in UTF-8."""
    return _EVENT.dump_json(event)


def decode_event(body: bytes) -> ReviewEvent:
    """What `encode_event` wrote; StorageUnavailable if it is something else."""
    return _decode(_EVENT, body, "a set of edits")


def _decode(adapter: TypeAdapter[_Kept], body: bytes, what: str) -> _Kept:
    try:
        return adapter.validate_json(body)
    except ValidationError as exc:
        raise StorageUnavailable(f"expected {what} and got {exc.error_count()} mistakes in its text") from exc
