"""Quality flags in the words that a reader of a rendering sees."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.analysis import QualityFlag

_WORDS: dict[QualityFlag, str] = {
    QualityFlag.COUNT_NOT_46: "count is not 46",
    QualityFlag.TOUCHING_CHROMOSOMES: "some chromosomes touch or overlap",
    QualityFlag.LOW_CONFIDENCE_CLASSES: "some classes need confirmation",
    QualityFlag.UNPAIRED_CLASSES: "not the normal set of pairs",
    QualityFlag.CROPPED_AT_EDGE: "a chromosome is cut by the image border",
    QualityFlag.SEVERAL_REGIONS: "more than one spread in the field",
    QualityFlag.LOW_CONTRAST: "low stain contrast",
    QualityFlag.OUT_OF_FOCUS: "out of focus",
    QualityFlag.DETECTION_LIMIT: "detection limit reached, some may be missing",
    QualityFlag.PARTIAL_SPREAD: "only a part of a spread",
    QualityFlag.MORE_THAN_ONE_CELL: "more chromosomes than one cell has",
    QualityFlag.UNFAMILIAR_OBJECTS: "unlike human G-banded chromosomes, or blurred",
    QualityFlag.DEMONSTRATION_MODEL: "demonstration model",
}


def flag_words(flags: Sequence[QualityFlag]) -> list[str]:
    """One short phrase for each flag, in their order; a flag of films alone says its own name."""
    return [_WORDS.get(flag, flag.value.replace("_", " ")) for flag in flags]
