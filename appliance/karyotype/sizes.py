"""How large an object is against what its class measures in the same spread: twice as large may be two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS, Chromosome, Polygon

_AREAS = (
    *(2.04, 1.93, 1.66, 1.55, 1.49, 1.41, 1.28, 1.14, 1.08, 1.09, 1.08, 1.09),  # 1 to 12
    *(0.89, 0.85, 0.81, 0.71, 0.68, 0.65, 0.49, 0.53, 0.38, 0.41, 1.17, 0.47),  # 13 to 22, X, Y
)
RELATIVE_AREAS: dict[str, float] = dict(zip(CHROMOSOME_LABELS, _AREAS, strict=True))
"""Area of each class over the median area of its spread: medians of the 174 validation spreads."""


def size_ratios(chromosomes: Sequence[Chromosome]) -> NDArray[np.float64]:
    """(N,) area of each object over the area that its class has in this spread; 1 is what is expected.

    Args:
        chromosomes: classified objects with outlines.
    """
    if not chromosomes:
        return np.zeros(0)
    areas = np.array([sum(map(polygon_area, one.mask)) for one in chromosomes])
    expected = np.array([RELATIVE_AREAS[one.label] for one in chromosomes])
    unit = float(np.median(areas / expected))
    return areas / np.maximum(expected * unit, 1e-9)


def polygon_area(polygon: Polygon) -> float:
    """Area of a closed outline in square pixels (shoelace formula)."""
    points = np.array(polygon, dtype=np.float64)
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2.0
