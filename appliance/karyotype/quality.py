"""What a person should know before trusting a spread, and which images hold no spread at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS, Chromosome, QualityFlag
from appliance.errors import UnsuitableImage
from appliance.karyotype.deviations import LEAST_WHOLE, MOST_SINGLE, NORMAL_COUNT, at_border
from appliance.karyotype.region import RegionSearch
from appliance.karyotype.settings import QualitySettings
from appliance.models.preprocessing import StainRange

_BLOCKING: dict[QualityFlag, str] = {
    QualityFlag.DETECTION_LIMIT: "the detector returned as many objects as it can, some may be missing",
    QualityFlag.SEVERAL_REGIONS: "the field holds more than one spread",
    QualityFlag.PARTIAL_SPREAD: "the field shows only a part of a spread",
    QualityFlag.MORE_THAN_ONE_CELL: "more chromosomes lie together than one cell has",
    QualityFlag.UNFAMILIAR_OBJECTS: "most objects are unlike human G-banded chromosomes, or blurred",
    QualityFlag.CROPPED_AT_EDGE: "a chromosome is cut by the border of the image",
}
"""Flags that make the count itself doubtful, so that no karyotype is stated."""


def require_contrast(grey: NDArray[np.uint8], levels: StainRange, settings: QualitySettings) -> None:
    """Refuse a blank image, and one without dark stain on a light background.

    Args:
        grey: (H, W) uint8.
        levels: its grey levels of background and darkest stain.
        settings: least contrast.

    Raises:
        UnsuitableImage: if background and darkest stain lie too close together.
    """
    if levels.contrast >= settings.min_contrast:
        return
    span = int(grey.max()) - int(grey.min())
    if span < settings.min_contrast:
        raise UnsuitableImage(
            "no metaphase spread found: the image is blank, expected grey levels at least"
            f" {settings.min_contrast:.0f} apart and got {span}"
        )
    raise UnsuitableImage(
        "no metaphase spread found: expected stain at least"
        f" {settings.min_contrast:.0f} grey levels darker than the background and got {levels.contrast:.0f}"
    )


def no_spread(search: RegionSearch) -> UnsuitableImage:
    """The refusal for a field in which the segmenter found no cluster of chromosomes."""
    if search.nucleus_px > search.chromosome_px:
        return UnsuitableImage("no metaphase spread found: only interphase nuclei or debris in the field")
    if search.chromosome_px > 0:
        return UnsuitableImage("no metaphase spread found: too few chromosome-like pixels in the field")
    return UnsuitableImage("no metaphase spread found: nothing in the field looks like a chromosome")


def require_spread(scores: Sequence[float], settings: QualitySettings) -> None:
    """Refuse a field with too few objects, or with objects that the detector itself doubts.

    Args:
        scores: detection score of each object.
        settings: least number, and smallest median of the scores.

    Raises:
        UnsuitableImage: if fewer than `min_chromosomes` were detected, or with too little certainty.
    """
    number = len(scores)
    if number < settings.min_chromosomes:
        raise UnsuitableImage(
            f"no metaphase spread found: expected at least {settings.min_chromosomes} chromosomes"
            f" and got {number} chromosome-like object{'' if number == 1 else 's'}"
        )
    median = float(np.median(scores))
    if median < settings.min_median_detection:
        raise UnsuitableImage(
            "no metaphase spread found: the objects in the field are hardly like chromosomes,"
            " expected a median detection confidence of at least"
            f" {settings.min_median_detection:.2f} and got {median:.2f}"
        )


def require_chromosomes(probabilities: NDArray[np.float64], settings: QualitySettings) -> None:
    """Refuse objects of which the classifier can make nothing.

    Args:
        probabilities: (N, 24) class probabilities.
        settings: smallest median of the best class's probability.

    Raises:
        UnsuitableImage: if the median is below it.
    """
    median = float(np.median(probabilities.max(axis=1)))
    if median < settings.min_median_confidence:
        raise UnsuitableImage(
            "no metaphase spread found: the objects in the field resemble no human chromosome, expected a"
            f" median class confidence of at least {settings.min_median_confidence:.2f} and got {median:.2f}"
        )


def require_cell(confidences: Sequence[float], settings: QualitySettings) -> None:
    """Refuse objects that only resemble a few classes, far more often than a cell has them.

    Args:
        confidences: the classifier's own, of each object's class once the classes were shared out as those
            of one cell.
        settings: smallest median of them.

    Raises:
        UnsuitableImage: if the median is below it.
    """
    median = float(np.median(confidences))
    if median < settings.min_median_assigned:
        raise UnsuitableImage(
            "no metaphase spread found: the objects in the field do not make up a human cell, expected a"
            f" median confidence of the shared-out classes of at least {settings.min_median_assigned:.2f}"
            f" and got {median:.2f}"
        )


def sharpness(stain: NDArray[np.float32], scale: float = 0.5) -> float:
    """Steepness of the stain's edges: the 99th percentile of the gradient at half scale, in stain per pixel.

    Args:
        stain: (H, W) float32 of `scaled_field`; relative to the contrast, so independent of exposure.
        scale: network pixels per image pixel of `stain`.
    """
    across = cv2.Sobel(stain, cv2.CV_32F, 1, 0, ksize=3)
    along = cv2.Sobel(stain, cv2.CV_32F, 0, 1, ksize=3)
    steepness = cv2.magnitude(across, along)[stain > 0.2]
    if steepness.size == 0:
        return 0.0
    return float(np.percentile(steepness, 99.0)) / 8.0 * (scale / 0.5)


def spread_flags(
    chromosomes: Sequence[Chromosome],
    search: RegionSearch,
    image_size: tuple[int, int],
    contrast: float,
    steepness: float,
    at_limit: bool,
    settings: QualitySettings,
) -> tuple[QualityFlag, ...]:
    """All flags of a spread, in the order of `QualityFlag`.

    Args:
        chromosomes: the classified objects.
        search: what the segmenter found.
        image_size: width and height in pixels.
        contrast: grey levels between background and darkest stain.
        steepness: of `sharpness`.
        at_limit: whether a window's detections filled all of the detector's slots.
        settings: limits.
    """
    width, height = image_size
    holds = {
        QualityFlag.COUNT_NOT_46: len(chromosomes) != NORMAL_COUNT,
        QualityFlag.TOUCHING_CHROMOSOMES: any(one.touching for one in chromosomes),
        QualityFlag.LOW_CONFIDENCE_CLASSES: any(one.needs_expert for one in chromosomes),
        QualityFlag.UNPAIRED_CLASSES: not _normal_set(chromosomes),
        QualityFlag.CROPPED_AT_EDGE: any(at_border(one, width, height) for one in chromosomes),
        QualityFlag.SEVERAL_REGIONS: search.spreads > 1,
        QualityFlag.LOW_CONTRAST: contrast < settings.low_contrast,
        QualityFlag.OUT_OF_FOCUS: steepness < settings.min_sharpness,
        QualityFlag.DETECTION_LIMIT: at_limit,
        QualityFlag.PARTIAL_SPREAD: len(chromosomes) < LEAST_WHOLE,
        QualityFlag.MORE_THAN_ONE_CELL: len(chromosomes) > MOST_SINGLE,
        QualityFlag.UNFAMILIAR_OBJECTS: _doubtful_share(chromosomes) > settings.max_doubtful_share,
    }
    return tuple(flag for flag in QualityFlag if holds.get(flag, False))


def count_doubt(flags: Sequence[QualityFlag], doubtful: int = 0) -> str | None:
    """Why the number of chromosomes itself is doubtful, or None.

    Args:
        flags: of the spread.
        doubtful: objects that are counted although they may be none (`Census.doubtful`).
    """
    blocking = next((reason for flag, reason in _BLOCKING.items() if flag in flags), None)
    if blocking is None and doubtful:
        noun = "object that may be none" if doubtful == 1 else "objects that may be none"
        return f"the count rests on {doubtful} {noun}"
    return blocking


def members_of(chromosomes: Sequence[Chromosome]) -> dict[str, int]:
    """Number of chromosomes of each label that occurs, in ISCN order."""
    counts = Counter(one.label for one in chromosomes)
    return {label: counts[label] for label in CHROMOSOME_LABELS if counts[label]}


def pairs_of(chromosomes: Sequence[Chromosome]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Labels that occur with the indices of their members, in ISCN order, the surest member first."""
    groups: dict[str, list[Chromosome]] = {label: [] for label in CHROMOSOME_LABELS}
    for one in chromosomes:
        groups[one.label].append(one)
    return tuple(
        (label, tuple(one.index for one in sorted(members, key=lambda one: (-one.confidence, one.index))))
        for label, members in groups.items()
        if members
    )


def _doubtful_share(chromosomes: Sequence[Chromosome]) -> float:
    """Share of the objects whose class a person has to confirm."""
    return sum(one.needs_expert for one in chromosomes) / max(len(chromosomes), 1)


def _normal_set(chromosomes: Sequence[Chromosome]) -> bool:
    members = members_of(chromosomes)
    autosomes = all(members.get(label, 0) == 2 for label in CHROMOSOME_LABELS[:22])
    return autosomes and (members.get("X", 0), members.get("Y", 0)) in {(2, 0), (1, 1)}
