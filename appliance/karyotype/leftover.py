"""Chromosome-like stain that no outline covers: where a missing chromosome may lie."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from appliance.analysis import Box
from appliance.karyotype.instances import Instance
from appliance.karyotype.region import FieldMap

_LEAST_SHARE = 0.4
"""Of the median object's area: smaller leftovers are rims and crumbs."""
_RIM = np.ones((5, 5), np.uint8)
"""Network pixels round an outline that still belong to it: the segmenter sees a quarter of the detail."""


def unoutlined_stain(
    field: FieldMap, instances: Sequence[Instance], region: Box
) -> tuple[tuple[float, float], ...]:
    """Middles of the leftovers inside the spread's region, largest first, in image pixels.

    Args:
        field: of the segmenter.
        instances: the objects of the spread, at least one.
        region: the spread's box.
    """
    height, width = field.chromosome.shape
    covered = np.zeros((height, width), dtype=np.uint8)
    for one in instances:
        rows = ((np.arange(one.mask.shape[0]) + one.top) * field.scale).astype(np.intp)
        columns = ((np.arange(one.mask.shape[1]) + one.left) * field.scale).astype(np.intp)
        inside = np.ix_(rows < height, columns < width)
        part = one.mask[inside]
        set_rows, set_columns = np.nonzero(part)
        covered[rows[rows < height][set_rows], columns[columns < width][set_columns]] = 1
    left = field.chromosome & (cv2.dilate(covered, _RIM) == 0)
    number, _, stats, middles = cv2.connectedComponentsWithStats(left.astype(np.uint8))
    least = _LEAST_SHARE * float(np.median([one.area_px for one in instances])) * field.scale**2
    found = []
    for part_number in range(1, number):
        x, y = ((middles[part_number] + 0.5) / field.scale).tolist()
        inside_region = region.x <= x <= region.x + region.width and region.y <= y <= region.y + region.height
        if stats[part_number, cv2.CC_STAT_AREA] >= least and inside_region:
            found.append((int(stats[part_number, cv2.CC_STAT_AREA]), x, y))
    return tuple((x, y) for _, x, y in sorted(found, reverse=True))
