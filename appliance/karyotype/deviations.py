"""A spread against a normal cell: every difference with what may explain it, in words and place.

A class that has too few or too many members is rarely the cell's doing: more often two chromosomes were
outlined as one, one was overlooked, or a class was misread. What can be checked on the slide comes first, the
aneuploidy itself last; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from appliance.analysis import (
    CHROMOSOME_LABELS,
    Chromosome,
    Deviation,
    DeviationKind,
    Explanation,
    ExplanationKind,
)
from appliance.karyotype.sizes import size_ratios

NORMAL_COUNT = 46
_COPIES = {0: "nullisomy", 1: "monosomy", 3: "trisomy", 4: "tetrasomy"}
LEAST_WHOLE = 35
"""With fewer objects the field shows a part of a cell: single losses are not worth listing."""
MOST_SINGLE = 58
"""With more, two spreads lie together or the cell is polyploid (a triploid one has 69)."""


@dataclass(frozen=True)
class DeviationSettings:
    """From when on an object is suspected."""

    joined_ratio: float = 1.5  # area over the area that its class has in this spread: may be two
    piece_ratio: float = 0.6  # below it, and touching another one: may be a piece
    debris_detection: float = 0.6  # detection confidence below which an object may be debris
    least_runner_up: float = 0.02  # confidence of another class from which on it is named
    most_explanations: int = 4  # for one deviation


@dataclass(frozen=True)
class _Suspects:
    """Objects that can explain a deviation, each list with the most suspect first."""

    missing: tuple[Explanation, ...]  # what makes a count too small
    surplus: tuple[Explanation, ...]  # what makes it too large


def normal_number(label: str, members: dict[str, int]) -> int:
    """Members of a class in the normal cell that this one is nearest to: XY where there is a Y, else XX."""
    male = members.get("Y", 0) > 0
    if label == "X":
        return 1 if male else 2
    if label == "Y":
        return 1 if male else 0
    return 2


def explain(
    chromosomes: Sequence[Chromosome],
    image_size: tuple[int, int],
    unoutlined: Sequence[tuple[float, float]] = (),
    settings: DeviationSettings | None = None,
) -> tuple[Deviation, ...]:
    """Every difference from a normal cell: the count first, then the classes in ISCN order.

    Args:
        chromosomes: the classified objects.
        image_size: width and height in pixels.
        unoutlined: places of chromosome-like stain that no outline covers, largest first.
        settings: what makes an object suspect.
    """
    settings = settings or DeviationSettings()
    members = {label: sum(one.label == label for one in chromosomes) for label in CHROMOSOME_LABELS}
    differing = [label for label in CHROMOSOME_LABELS if members[label] != normal_number(label, members)]
    count = len(chromosomes)
    if count == NORMAL_COUNT and not differing:
        return ()
    suspects = _suspects(chromosomes, image_size, unoutlined, settings)
    found = []
    if count != NORMAL_COUNT:
        found.append(_count_deviation(count, members, differing, suspects, settings))
    if LEAST_WHOLE <= count <= MOST_SINGLE:
        found.extend(
            _class_deviation(label, members, differing, chromosomes, suspects, settings)
            for label in differing
        )
    return tuple(found)


def finding_doubt(deviations: Sequence[Deviation], chromosomes: Sequence[Chromosome]) -> str | None:
    """Why a deviation may be a fault of the finding and not the cell's own, or None where nothing says so.

    On validation spreads half of the abnormal karyotypes were wrong, each for one object overlooked or extra.
    So a gain is stated only where nothing else explains it, and a loss only where no chromosomes touch: the
    lost one may lie among them.
    """
    touching = any(one.touching for one in chromosomes)
    for deviation in deviations:
        if any(one.kind is not ExplanationKind.ANEUPLOIDY for one in deviation.explanations):
            return f"a fault of the finding is not ruled out: {deviation.words}"
        if deviation.kind is DeviationKind.LOSS and touching:
            return f"where chromosomes touch, one may have been overlooked: {deviation.words}"
    return None


def _count_deviation(
    count: int,
    members: dict[str, int],
    differing: Sequence[str],
    suspects: _Suspects,
    settings: DeviationSettings,
) -> Deviation:
    fewer = count < NORMAL_COUNT
    checks = list(suspects.missing if fewer else suspects.surplus)
    if count < LEAST_WHOLE:
        own = [Explanation(ExplanationKind.ANEUPLOIDY, "an incomplete or broken spread")]
    elif count > MOST_SINGLE:
        own = [Explanation(ExplanationKind.ANEUPLOIDY, "a polyploid cell or two spreads that lie together")]
    else:
        own = [
            _aneuploidy(label, members)
            for label in differing
            if (members[label] < normal_number(label, members)) == fewer
        ]
        if len(own) > abs(count - NORMAL_COUNT) + 1:
            own = [Explanation(ExplanationKind.ANEUPLOIDY, "losses or gains in the cell, see the classes")]
    kept = [*checks[: settings.most_explanations - 1], *own[: settings.most_explanations]]
    return Deviation(
        DeviationKind.COUNT,
        "",
        NORMAL_COUNT,
        count,
        tuple(kept),
        f"{count} objects: {_listed(kept)}",
    )


def _class_deviation(
    label: str,
    members: dict[str, int],
    differing: Sequence[str],
    chromosomes: Sequence[Chromosome],
    suspects: _Suspects,
    settings: DeviationSettings,
) -> Deviation:
    found, normal = members[label], normal_number(label, members)
    lost = found < normal
    own = _aneuploidy(label, members)
    if lost:
        opposite = [other for other in differing if members[other] > normal_number(other, members)]
        checks = [*_misread_as_others(label, opposite, chromosomes, settings), *suspects.missing]
    else:
        concerned = [one.index for one in chromosomes if one.label == label]
        surplus = [each for each in suspects.surplus if set(each.members) & set(concerned)]
        checks = [*_misread_as_this(label, chromosomes, settings), *surplus]
    kept = [*checks[: settings.most_explanations - 1], own]
    kind = DeviationKind.LOSS if lost else DeviationKind.GAIN
    words = f"chromosome {label}: {found} found, {normal} expected: {_listed(kept)}"
    return Deviation(kind, label, normal, found, tuple(kept), words)


def _misread_as_others(
    label: str, opposite: Sequence[str], chromosomes: Sequence[Chromosome], settings: DeviationSettings
) -> list[Explanation]:
    """Objects whose second choice is `label`; members of a class with too many come first."""
    candidates = [
        one
        for one in chromosomes
        if one.runner_up == label and one.runner_up_confidence >= settings.least_runner_up
    ]
    candidates.sort(key=lambda one: (one.label not in opposite, -one.runner_up_confidence))
    return [_misread(one) for one in candidates[:1]]


def _misread_as_this(
    label: str, chromosomes: Sequence[Chromosome], settings: DeviationSettings
) -> list[Explanation]:
    members = [one for one in chromosomes if one.label == label]
    least = min(members, key=lambda one: one.confidence - one.runner_up_confidence)
    return [_misread(least)] if least.runner_up_confidence >= settings.least_runner_up else []


def _misread(one: Chromosome) -> Explanation:
    words = f"the {one.label} may be a {one.runner_up} ({100 * one.runner_up_confidence:.0f} %)"
    return Explanation(ExplanationKind.MISREAD, words, _middle(one), (one.index,))


def _suspects(
    chromosomes: Sequence[Chromosome],
    image_size: tuple[int, int],
    unoutlined: Sequence[tuple[float, float]],
    settings: DeviationSettings,
) -> _Suspects:
    ratios = size_ratios(chromosomes)
    joined = [i for i in np.argsort(-ratios) if ratios[i] > settings.joined_ratio]
    missing = [
        Explanation(
            ExplanationKind.JOINED, "touching pair outlined as one", _middle(chromosomes[i]), (int(i),)
        )
        for i in joined[:2]
    ]
    missing += [
        Explanation(ExplanationKind.UNOUTLINED_STAIN, "stain without an outline", place)
        for place in unoutlined[:2]
    ]
    missing += [
        Explanation(ExplanationKind.CUT_AT_BORDER, "chromosome cut by the border", _middle(one), (one.index,))
        for one in chromosomes
        if at_border(one, *image_size)
    ][:1]
    surplus = []
    for i in np.argsort(ratios):
        one = chromosomes[i]
        if ratios[i] < settings.piece_ratio and one.touching:
            other = max(one.touching, key=lambda j: chromosomes[j].detection_confidence)
            surplus.append(
                Explanation(
                    ExplanationKind.PIECES, "pieces of one chromosome", _middle(one), (one.index, other)
                )
            )
        elif one.detection_confidence < settings.debris_detection:
            surplus.append(
                Explanation(
                    ExplanationKind.NOT_A_CHROMOSOME, "object that may be debris", _middle(one), (one.index,)
                )
            )
    return _Suspects(tuple(missing), tuple(surplus))


def at_border(one: Chromosome, width: int, height: int) -> bool:
    """Whether an object reaches the border of its image, so that a part of it may lie outside."""
    box = one.box
    return box.x <= 0 or box.y <= 0 or box.x + box.width >= width or box.y + box.height >= height


def _aneuploidy(label: str, members: dict[str, int]) -> Explanation:
    number = members[label]
    if label == "Y" or (label == "X" and members["Y"] > 0):
        words = f"sex chromosomes {'X' * members['X']}{'Y' * members['Y']}"
    else:
        words = f"{_COPIES[number]} {label}" if number in _COPIES else f"{number} copies of {label}"
    concerned: tuple[int, ...] = ()
    return Explanation(ExplanationKind.ANEUPLOIDY, words, None, concerned)


def _middle(one: Chromosome) -> tuple[float, float]:
    return one.box.x + one.box.width / 2.0, one.box.y + one.box.height / 2.0


def _listed(explanations: Sequence[Explanation]) -> str:
    parts = [
        each.words if each.at is None else f"{each.words} at ({each.at[0]:.0f}, {each.at[1]:.0f})"
        for each in explanations
    ]
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])}, or {parts[-1]}"
