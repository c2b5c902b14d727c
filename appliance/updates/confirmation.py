"""When a model that serves unconfirmed is confirmed, and when it goes back; the same for one in the shadow.

Pure: counts in, decision out.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

MIN_FAILURES = 2
"""One failure may be the weather; the share counts from here on."""

MIN_COMPARED = 5
MIN_TIMED = 10
"""Observations from which on a mean or a percentile says something."""


class Decision(enum.Enum):
    """What follows from the counts."""

    WAIT = "wait"  # too little is known
    ACCEPT = "accept"  # confirmed; or, from the shadow, promoted
    REJECT = "reject"  # rolled back; or, from the shadow, discarded


@dataclass(frozen=True)
class Counts:
    """What was seen of one model; only counts are kept, never an image or a result."""

    answered: int = 0
    failed: int = 0
    latency_ms_p95: float = 0.0
    compared: int = 0  # requests that the other model saw too
    agreement: float = 1.0  # mean over those
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class ConfirmationRule:
    """The limits, from the configuration and the release."""

    requests: int
    seconds: float
    max_failures: float
    max_latency_ms: float
    min_agreement: float


def confirm(counts: Counts, rule: ConfirmationRule) -> tuple[Decision, str]:
    """Whether a serving model is borne out by live traffic, with a sentence that says why."""
    complaint = _complaint(counts, rule)
    if complaint:
        return Decision.REJECT, complaint
    if counts.answered >= rule.requests:
        return Decision.ACCEPT, f"{counts.answered} requests answered, {counts.failed} failed"
    if counts.elapsed_s >= rule.seconds:
        return Decision.ACCEPT, f"{counts.elapsed_s / 3600:.1f} h without a complaint"
    return Decision.WAIT, ""


def shadow(counts: Counts, rule: ConfirmationRule) -> tuple[Decision, str]:
    """Whether a model in the shadow is promoted; silence is no proof, so time alone discards it."""
    complaint = _complaint(counts, rule)
    if complaint:
        return Decision.REJECT, complaint
    if counts.compared >= rule.requests:
        return Decision.ACCEPT, f"agreement {counts.agreement:.3f} on {counts.compared} requests"
    if counts.elapsed_s >= rule.seconds:
        if counts.compared >= MIN_COMPARED:
            return Decision.ACCEPT, f"agreement {counts.agreement:.3f} on {counts.compared} requests"
        return Decision.REJECT, (
            f"expected at least {MIN_COMPARED} requests in the shadow within {rule.seconds / 3600:g} h"
            f" and got {counts.compared}"
        )
    return Decision.WAIT, ""


def _complaint(counts: Counts, rule: ConfirmationRule) -> str:
    calls = counts.answered + counts.failed
    if counts.failed >= MIN_FAILURES and counts.failed > rule.max_failures * calls:
        return f"expected at most {rule.max_failures:.0%} failed calls and got {counts.failed} of {calls}"
    if counts.answered >= MIN_TIMED and counts.latency_ms_p95 > rule.max_latency_ms:
        return (
            f"expected a p95 of at most {rule.max_latency_ms:.0f} ms in service"
            f" and got {counts.latency_ms_p95:.0f} ms"
        )
    if counts.compared >= MIN_COMPARED and counts.agreement < rule.min_agreement:
        return (
            f"expected an agreement of at least {rule.min_agreement:g} with the other model"
            f" and got {counts.agreement:.3f} on {counts.compared} requests"
        )
    return ""
