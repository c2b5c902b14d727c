"""Segmenter's answer → where the spread lies: chromosome pixels grouped, nuclei and debris left out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box
from appliance.karyotype.settings import RegionSettings
from appliance.models.preprocessing import Placement

_CHROMOSOME = 1
_NUCLEUS_OR_DEBRIS = 2


@dataclass(frozen=True)
class FieldMap:
    """The segmenter's classes, cut down to the image itself."""

    chromosome: NDArray[np.bool_]  # (h, w) network pixels
    nucleus: NDArray[np.bool_]  # (h, w) network pixels, nuclei and debris
    scale: float  # network pixels per image pixel


@dataclass(frozen=True)
class RegionSearch:
    """What the segmenter found in the field."""

    region: Box | None  # the spread's box with its margin, in image pixels; None where there is no spread
    spreads: int  # number of separate spreads, the one in `region` included
    chromosome_px: float  # chromosome pixels of the whole field, in image pixels
    nucleus_px: float  # nucleus and debris pixels of the whole field, in image pixels


def field_map(logits: NDArray[np.float32], placement: Placement, width: int, height: int) -> FieldMap:
    """Classify every network pixel that shows the image.

    Args:
        logits: (1, 3, S, S) float32: background, chromosome, nucleus or debris.
        placement: where the image lies in the S × S input.
        width: image width in pixels.
        height: image height in pixels.
    """
    rows = slice(placement.top, placement.top + max(1, round(height * placement.scale)))
    columns = slice(placement.left, placement.left + max(1, round(width * placement.scale)))
    background, chromosome, nucleus = logits[0, :, rows, columns]
    return FieldMap(
        chromosome=(chromosome > background) & (chromosome > nucleus),
        nucleus=(nucleus > background) & (nucleus >= chromosome),
        scale=placement.scale,
    )


def find_region(field: FieldMap, width: int, height: int, settings: RegionSettings) -> RegionSearch:
    """Group chromosome pixels into spreads and take the largest.

    Gaps are measured against the field's typical chromosome, so that the rule holds at any magnification.

    Args:
        field: of `field_map`.
        width: image width in pixels.
        height: image height in pixels.
        settings: distances and sizes.
    """
    area_unit = 1.0 / (field.scale * field.scale)
    nucleus_px = float(np.count_nonzero(field.nucleus)) * area_unit
    objects, kept_px, typical_length = _objects(field, settings)
    nothing = RegionSearch(None, 0, kept_px * area_unit, nucleus_px)
    if kept_px * area_unit < settings.min_spread_px:
        return nothing
    distance = np.asarray(cv2.distanceTransform((~objects).view(np.uint8), cv2.DIST_L2, 3), np.float32)
    number, groups = _groups(distance, settings.join_ratio * typical_length)
    sizes = np.bincount(groups[objects], minlength=number)
    sizes[0] = 0
    main = int(np.argmax(sizes))
    near = _groups(distance, settings.straggler_ratio * typical_length)[1]
    near_main = near == near[groups == main][0]
    members = groups == main
    spreads = 1
    for group in np.flatnonzero(sizes):
        if group == main:
            continue
        if sizes[group] < settings.straggler_share * sizes[main] and near_main[groups == group].all():
            members |= groups == group
        elif sizes[group] >= settings.other_spread_share * sizes[main]:
            spreads += 1
    if sizes[main] * area_unit < settings.min_spread_px:
        return nothing
    region = _bounds(objects & members, field.scale, width, height, settings.margin_px)
    return RegionSearch(region, spreads, kept_px * area_unit, nucleus_px)


def _objects(field: FieldMap, settings: RegionSettings) -> tuple[NDArray[np.bool_], float, float]:
    """Chromosome pixels without crumbs, their number, and the typical object's length in network pixels."""
    number, parts, stats, _ = cv2.connectedComponentsWithStats(field.chromosome.view(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    keep = areas >= settings.min_object_px * field.scale * field.scale
    keep[0] = False
    if number <= 1 or not keep.any():
        return np.zeros_like(field.chromosome), 0.0, 0.0
    sides = np.maximum(stats[keep, cv2.CC_STAT_WIDTH], stats[keep, cv2.CC_STAT_HEIGHT])
    return np.take(keep, np.asarray(parts, np.int32)), float(areas[keep].sum()), float(np.median(sides))


def _groups(distance: NDArray[np.float32], gap: float) -> tuple[int, NDArray[np.int32]]:
    """Label pixels so that objects at most `gap` network pixels apart share a label; 0 is far from all.

    Args:
        distance: (h, w) network pixels to the nearest object.
        gap: network pixels.
    """
    number, groups = cv2.connectedComponents((distance <= gap / 2.0).view(np.uint8))
    return number, np.asarray(groups, dtype=np.int32)


def _bounds(members: NDArray[np.bool_], scale: float, width: int, height: int, margin_px: int) -> Box:
    rows = np.flatnonzero(members.any(axis=1))
    columns = np.flatnonzero(members.any(axis=0))
    left = max(0.0, np.floor(columns[0] / scale) - margin_px)
    top = max(0.0, np.floor(rows[0] / scale) - margin_px)
    right = min(float(width), np.ceil((columns[-1] + 1) / scale) + margin_px)
    bottom = min(float(height), np.ceil((rows[-1] + 1) / scale) + margin_px)
    return Box(float(left), float(top), float(right - left), float(bottom - top))
