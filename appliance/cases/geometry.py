"""Outlines that people draw ↔ masks: area, overlap, union, upright angle, and who touches whom."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box, Chromosome, Polygon
from appliance.errors import EditRefused
from appliance.karyotype.instances import Instance
from appliance.karyotype.outline import bounding_box, fill
from appliance.karyotype.suppression import shared_pixels, touching
from appliance.models.preprocessing import long_axis_angle

MIN_AREA_PX = 30
"""Half of what the machine itself drops as a crumb (`DetectionSettings.min_mask_px`)."""

MAX_BOX_PX = 1 << 20
"""Pixels of the box round one object: bounds the memory of a fold, and holds chromosomes 1000 pixels long."""

MAX_SAME = 0.8
"""Outlines that agree more than this (intersection over union) are one."""


def drawn_instance(polygons: tuple[Polygon, ...], width: int, height: int) -> Instance:
    """The mask inside an outline, without an empty border.

    Raises:
        EditRefused: it lies outside of the image, or holds less than a chromosome does.
    """
    xs = [x for polygon in polygons for x, _ in polygon]
    ys = [y for polygon in polygons for _, y in polygon]
    if min(xs) < 0 or min(ys) < 0 or max(xs) > width or max(ys) > height:
        raise EditRefused(
            f"expected an outline inside of the image, 0 to {width} and 0 to {height}, and got"
            f" {min(xs):g} to {max(xs):g} and {min(ys):g} to {max(ys):g}"
        )
    box = Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    _check_box(box.width, box.height)
    mask, left, top = fill(polygons, box)
    area = int(np.count_nonzero(mask))
    if area < MIN_AREA_PX:
        raise EditRefused(f"expected an outline round at least {MIN_AREA_PX} pixels and got {area}")
    return _tight(mask, left, top)


def instance_of(one: Chromosome) -> Instance:
    """The mask of an object that is there already."""
    xs = [x for polygon in one.mask for x, _ in polygon]
    ys = [y for polygon in one.mask for _, y in polygon]
    mask, left, top = fill(one.mask, Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)))
    return Instance(left, top, mask, one.detection_confidence, one.detection_confidence)


def union(instances: list[Instance]) -> Instance:
    """One mask that holds the pixels of all; EditRefused if they lie too far apart."""
    left, top = min(one.left for one in instances), min(one.top for one in instances)
    right = max(one.columns.stop for one in instances)
    bottom = max(one.rows.stop for one in instances)
    _check_box(right - left, bottom - top)
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    for one in instances:
        mask[one.top - top : one.rows.stop - top, one.left - left : one.columns.stop - left] |= one.mask
    return Instance(left, top, mask, 1.0, 1.0)


def cut_part(drawn: Instance, whole: Instance, number: int) -> Instance:
    """What a roughly drawn part holds of the object that is split; EditRefused if that is next to nothing."""
    mask = np.zeros_like(whole.mask)
    top, bottom = max(drawn.top, whole.top), min(drawn.rows.stop, whole.rows.stop)
    left, right = max(drawn.left, whole.left), min(drawn.columns.stop, whole.columns.stop)
    if top < bottom and left < right:
        rows, columns = (
            slice(top - whole.top, bottom - whole.top),
            slice(left - whole.left, right - whole.left),
        )
        mask[rows, columns] = drawn.mask[
            top - drawn.top : bottom - drawn.top, left - drawn.left : right - drawn.left
        ]
    mask &= whole.mask
    area = int(np.count_nonzero(mask))
    if area < MIN_AREA_PX:
        raise EditRefused(
            f"expected parts with at least {MIN_AREA_PX} pixels of object {number} and got one with {area}"
        )
    return _tight(mask, whole.left, whole.top)


def check_new(new: Instance, others: Mapping[int, Chromosome]) -> None:
    """EditRefused if a new object is one that is there already."""
    box = bounding_box(new)
    for number, other in others.items():
        if _meet(box, other.box) and _same(new, instance_of(other)):
            raise EditRefused(
                f"expected a chromosome that is not there yet and got the outline of object {number}"
            )


def check_different(parts: list[Instance], number: int) -> None:
    """EditRefused if two parts of an object are the same."""
    for index, part in enumerate(parts):
        for other in parts[:index]:
            if _same(part, other):
                raise EditRefused(f"expected different parts of object {number} and got one twice")


def upright_angle(instance: Instance) -> float:
    """Counter-clockwise turn in degrees, in (-90, 90], that brings the long axis upright."""
    return long_axis_angle(instance.mask)


def links(instances: list[Instance]) -> list[tuple[int, ...]]:
    """For each object the positions of the others that touch or overlap it."""
    return touching(instances)


def _meet(one: Box, other: Box) -> bool:
    across = one.x < other.x + other.width and other.x < one.x + one.width
    return across and one.y < other.y + other.height and other.y < one.y + one.height


def _same(one: Instance, other: Instance) -> bool:
    shared = shared_pixels(one, other)
    return shared > MAX_SAME * (one.area_px + other.area_px - shared)


def _check_box(width: float, height: float) -> None:
    if width * height > MAX_BOX_PX:
        raise EditRefused(
            f"expected an object in a box of at most {MAX_BOX_PX} pixels and got {width:.0f} × {height:.0f}"
        )


def _tight(mask: NDArray[np.bool_], left: int, top: int) -> Instance:
    """Cut the empty border off."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Instance(left + int(columns[0]), top + int(rows[0]), np.ascontiguousarray(tight), 1.0, 1.0)
