"""The gate: a predetermined change control plan as code. One line for each promise, each able to fail alone.

It decides on measurements only; what makes them is `appliance.updates.trial`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.bundles.release import ReleaseFacts
from appliance.models.manifest import Precision
from appliance.updates.trial import Trial, p95

CONTRACT, GOLDEN, PARITY, METRIC, LATENCY, MEMORY, ENGINE = (
    "contract", "known answers", "INT8 parity", "metric", "latency", "memory", "engine",
)  # fmt: skip
BOOTSTRAP_ROUNDS = 2000
ONE_SIDED = 0.05
"""Level of the non-inferiority test (FDA, Non-Inferiority Clinical Trials, 2016, uses the bound of an
interval).
"""


@dataclass(frozen=True)
class GateLimits:
    """What a box asks of every candidate, whatever its release says."""

    margin: float  # by how much the mean score may be lower than the incumbent's
    min_parity: float  # smallest cosine of INT8 with float arithmetic


@dataclass(frozen=True)
class GateLine:
    """One promise, measured."""

    name: str
    passed: bool
    limit: str
    measured: str
    sentence: str  # which line failed by how much; empty where it passed


@dataclass(frozen=True)
class Verdict:
    """The gate's decision."""

    lines: tuple[GateLine, ...]

    @property
    def passed(self) -> bool:
        """Every line, and there are lines."""
        return bool(self.lines) and all(line.passed for line in self.lines)

    @property
    def complaint(self) -> str:
        """The lines that failed, in one sentence."""
        return "; ".join(line.sentence for line in self.lines if not line.passed)


def contract_line(contract_hash: str, complaint: str = "") -> GateLine:
    """Whether the pipeline was written for this order of labels, preprocessing and shapes.

    Args:
        contract_hash: of the pack.
        complaint: why the pipeline cannot follow it; empty where it can.
    """
    sentence = f"{CONTRACT}: {complaint}" if complaint else ""
    return GateLine(CONTRACT, not complaint, "known to the pipeline", contract_hash[:12], sentence)


def judge(
    facts: ReleaseFacts,
    precision: Precision,
    candidate: Trial,
    incumbent: Trial | None,
    floors: Mapping[str, float],
    limits: GateLimits,
) -> Verdict:
    """Hold the measurements against the limits.

    Args:
        facts: the release's own budgets.
        precision: of the pack; INT8 has a line of its own.
        candidate: its trial.
        incumbent: that of the pack that serves now; None where none does.
        floors: by exam, the mean score that is asked for where there is no incumbent.
        limits: of the box.
    """
    if candidate.fault:
        return Verdict((GateLine(ENGINE, False, "runs", "fault", f"engine: {candidate.fault}"),))
    lines = [_golden_line(candidate)]
    if precision is Precision.INT8:
        lines.append(_parity_line(candidate, limits.min_parity))
    lines.extend(
        _metric_line(name, scores, incumbent, floors.get(name, 0.0), limits.margin)
        for name, scores in candidate.scores.items()
    )
    lines.append(_at_most(LATENCY, "ms (p95)", facts.latency_ms_p95, p95(candidate.latency_ms)))
    lines.append(_at_most(MEMORY, "MiB", facts.memory_mib, candidate.memory_mib))
    return Verdict(tuple(lines))


def non_inferiority(candidate: Sequence[float], incumbent: Sequence[float], seed: int = 1) -> float:
    """Lower bound of the mean paired difference, candidate less incumbent, by bootstrap over the items.

    Percentile bootstrap, one-sided 95 % (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter
    13).

    Raises:
        ValueError: the two did not sit the same exam.
    """
    if len(candidate) != len(incumbent) or not candidate:
        raise ValueError(f"expected pairs of scores and got {len(candidate)} and {len(incumbent)}")
    differences = np.asarray(candidate, np.float64) - np.asarray(incumbent, np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(differences), (BOOTSTRAP_ROUNDS, len(differences)))
    return float(np.quantile(differences[drawn].mean(axis=1), ONE_SIDED))


def _golden_line(trial: Trial) -> GateLine:
    failed = [one.sentence for one in trial.known_answers if not one.passed]
    worst = min((one.cosine for one in trial.known_answers), default=-1.0)
    if not trial.known_answers:
        failed = ["expected known answers in the pack and got none"]
    sentence = f"{GOLDEN}: {'; '.join(failed)}" if failed else ""
    return GateLine(GOLDEN, not failed, "the pack's tolerances", f"cosine {worst:.5f}", sentence)


def _parity_line(trial: Trial, smallest: float) -> GateLine:
    worst = min(trial.parity, default=-1.0)
    passed = worst >= smallest
    sentence = "" if passed else f"{PARITY}: expected a cosine of at least {smallest:g} and got {worst:.5f}"
    return GateLine(PARITY, passed, f"at least {smallest:g}", f"{worst:.5f}", sentence)


def _metric_line(
    name: str, scores: Sequence[float], incumbent: Trial | None, floor: float, margin: float
) -> GateLine:
    title = f"{METRIC} ({name})"
    mean = float(np.mean(scores)) if scores else -1.0
    before = incumbent.scores.get(name) if incumbent is not None else None
    if not before or len(before) != len(scores):
        passed = bool(scores) and mean >= floor - margin
        sentence = "" if passed else f"{title}: expected at least {floor - margin:.4f} and got {mean:.4f}"
        return GateLine(title, passed, f"at least {floor - margin:.4f}", f"{mean:.4f}", sentence)
    low = non_inferiority(scores, before)
    passed = low >= -margin
    measured = (
        f"{mean:.4f} against {float(np.mean(before)):.4f}, difference at least {low:+.4f}, n {len(scores)}"
    )
    sentence = (
        "" if passed else f"{title}: expected a difference of at least {-margin:+.4f} and got {measured}"
    )
    return GateLine(title, passed, f"not lower by more than {margin:g}", measured, sentence)


def _at_most(name: str, unit: str, limit: float, measured: float) -> GateLine:
    passed = measured <= limit
    over = measured / limit - 1 if limit else float("inf")
    sentence = (
        ""
        if passed
        else f"{name}: expected at most {limit:g} {unit} and got {measured:.1f} {unit} ({over:+.0%})"
    )
    return GateLine(name, passed, f"at most {limit:g} {unit}", f"{measured:.1f} {unit}", sentence)
