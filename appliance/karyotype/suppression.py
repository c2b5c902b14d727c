"""Which instances stay: duplicates, parts, composites and nuclei are told apart by what their masks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.karyotype.instances import Candidate, Instance
from appliance.karyotype.region import FieldMap
from appliance.karyotype.settings import DetectionSettings


def without_repeats(candidates: Sequence[Candidate], settings: DetectionSettings) -> list[Candidate]:
    """Drop detections that another window has made as well, before masks are pasted; the better one stays."""
    if len({candidate.window for candidate in candidates}) < 2:
        return list(candidates)
    boxes = np.stack([candidate.box for candidate in candidates]).astype(np.float64)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = np.diag(shared)
    alike = shared > settings.repeat_iou * (areas[:, None] + areas[None] - shared)
    kept: list[int] = []
    for index in sorted(range(len(candidates)), key=lambda i: -candidates[i].rank):
        mine = candidates[index]
        if not any(
            alike[index, other]
            and candidates[other].window != mine.window
            and np.abs(candidates[other].mask - mine.mask).mean() < settings.repeat_difference
            for other in kept
        ):
            kept.append(index)
    return [candidates[index] for index in kept]


def shared_pixels(first: Instance, second: Instance) -> int:
    """Number of image pixels that belong to both masks."""
    (height, width), (other_height, other_width) = first.mask.shape, second.mask.shape
    top, bottom = max(first.top, second.top), min(first.top + height, second.top + other_height)
    left, right = max(first.left, second.left), min(first.left + width, second.left + other_width)
    if top >= bottom or left >= right:
        return 0
    one = first.mask[top - first.top : bottom - first.top, left - first.left : right - first.left]
    other = second.mask[top - second.top : bottom - second.top, left - second.left : right - second.left]
    return int(np.count_nonzero(one & other))


def shared_matrix(instances: Sequence[Instance]) -> NDArray[np.int64]:
    """(N, N) pixels that each two masks share; the diagonal holds the areas."""
    number = len(instances)
    shared = np.zeros((number, number), dtype=np.int64)
    for first, second in _meeting(instances, 0):
        shared[first, second] = shared[second, first] = shared_pixels(instances[first], instances[second])
    shared[np.diag_indices(number)] = [instance.area_px for instance in instances]
    return shared


def _meeting(instances: Sequence[Instance], gap_px: int) -> list[tuple[int, int]]:
    """Pairs of instances whose boxes lie less than `gap_px` + 1 pixels apart, each pair once."""
    if not instances:
        return []
    boxes = np.array([(one.left, one.top, one.mask.shape[1], one.mask.shape[0]) for one in instances])
    start, stop = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    meet = (start[:, None] < stop[None] + gap_px).all(axis=2) & (start[None] < stop[:, None] + gap_px).all(
        axis=2
    )
    return [(int(first), int(second)) for first, second in np.argwhere(np.triu(meet, 1))]


def suppress(instances: Sequence[Instance], settings: DetectionSettings) -> list[Instance]:
    """Keep one instance for each object, best rank first.

    A composite (one detection over two chromosomes that were found singly as well) goes when its members are
    together more certain than itself; then each instance goes that is mostly the same as, or part of, a
    better one. Crossing chromosomes share few pixels and both stay.
    """
    shared = shared_matrix(instances)
    areas = np.maximum(np.diag(shared), 1)
    smaller = np.minimum(areas[:, None], areas[None])
    iou = shared / (areas[:, None] + areas[None] - shared)
    same = (iou > settings.duplicate_iou) | (shared / smaller > settings.contained_share)
    members = (shared / areas[None] > settings.contained_share) & (
        areas[None] < settings.contained_share * areas[:, None]
    )
    alive = [
        i for i in range(len(instances)) if not _is_composite(i, members[i], instances, shared, settings)
    ]
    alive.sort(key=lambda i: (-instances[i].rank, instances[i].top, instances[i].left))
    kept: list[int] = []
    for index in alive:
        if not same[index, kept].any():
            kept.append(index)
    return [instances[index] for index in kept]


def _is_composite(
    index: int,
    inside: NDArray[np.bool_],
    instances: Sequence[Instance],
    shared: NDArray[np.int64],
    settings: DetectionSettings,
) -> bool:
    """Whether smaller, better instances that do not share pixels make up this one."""
    if np.count_nonzero(inside) < 2:
        return False
    members: list[int] = []
    for other in sorted(np.flatnonzero(inside).tolist(), key=lambda i: -instances[i].rank):
        if all(shared[other, one] < 0.2 * min(shared[other, other], shared[one, one]) for one in members):
            members.append(other)
    if len(members) < 2 or shared[index, members].sum() < settings.contained_share * shared[index, index]:
        return False
    return float(np.mean([instances[member].rank for member in members])) > instances[index].rank


def without_nuclei(
    instances: Sequence[Instance], field: FieldMap, settings: DetectionSettings
) -> list[Instance]:
    """Drop the instances that lie mostly on what the segmenter calls nucleus or debris."""
    if not field.nucleus.any():
        return list(instances)
    kept = []
    for instance in instances:
        share = _share_on(instance, field)
        if share <= settings.max_nucleus_share:
            kept.append(instance)
    return kept


def _share_on(instance: Instance, field: FieldMap) -> float:
    """Share of a mask's pixels that the segmenter calls nucleus or debris."""
    height, width = field.nucleus.shape
    rows = np.arange(instance.top, instance.top + instance.mask.shape[0]) + 0.5
    columns = np.arange(instance.left, instance.left + instance.mask.shape[1]) + 0.5
    field_rows = np.minimum((rows * field.scale).astype(np.intp), height - 1)
    field_columns = np.minimum((columns * field.scale).astype(np.intp), width - 1)
    nucleus = field.nucleus[field_rows[0] : field_rows[-1] + 1, field_columns[0] : field_columns[-1] + 1]
    if not nucleus.any():
        return 0.0
    on_nucleus = nucleus[np.ix_(field_rows - field_rows[0], field_columns - field_columns[0])]
    return float(np.count_nonzero(on_nucleus & instance.mask)) / instance.area_px


def touching(instances: Sequence[Instance], gap_px: int = 1) -> list[tuple[int, ...]]:
    """For each instance the others that touch or overlap it: at most `gap_px` free pixels between them."""
    reach = gap_px + 1
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    links: list[set[int]] = [set() for _ in instances]
    for first, second in _meeting(instances, reach):
        one, other = instances[first], instances[second]
        # Only what lies within reach of the other's window can touch it.
        rows = slice(max(one.top, other.rows.start - reach), min(one.rows.stop, other.rows.stop + reach))
        columns = slice(
            max(one.left, other.columns.start - reach), min(one.columns.stop, other.columns.stop + reach)
        )
        near = one.mask[_within(rows, one.top), _within(columns, one.left)]
        grown = cv2.dilate(np.pad(near, reach).view(np.uint8), kernel).view(np.bool_)
        border = replace(one, left=columns.start - reach, top=rows.start - reach, mask=grown)
        if shared_pixels(border, other) > 0:
            links[first].add(second)
            links[second].add(first)
    return [tuple(sorted(link)) for link in links]


def _within(span: slice, start: int) -> slice:
    """A span of image pixels as indices into a window that begins at `start`."""
    return slice(span.start - start, span.stop - start)
