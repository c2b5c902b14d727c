"""Detector's answer → instances: masks pasted at full resolution and fitted to the stain under them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box
from appliance.karyotype.settings import DetectionSettings
from appliance.karyotype.tiling import Window

_CUT_PENALTY = 0.5
_CRUMB_SHARE = 0.2
"""A part of a mask below this share of its largest part is a crumb."""
_OWN_SHARE = 0.8
"""A part is kept beside the largest one only if no other object claims more than the rest of its pixels."""
_HOLE_SHARE = 0.05
"""A hole below this share of the largest part is a pale band; a larger one is background inside a bend."""
_DUPLICATE_SLACK = 0.1
"""Two detections of one object differ by less than this and must not take pixels from each other."""
_OWN_STAIN_SHARE = 0.2
"""The threshold is at most this share of the mean stain of the object itself."""
_REACH = 0.08
"""Share of a box's side by which the mask is carried on beyond it: where a box cuts an end, stain decides."""
_OUTSIDE_TRUST = 0.8
"""Factor on probabilities carried on beyond the box, so that every object inside its own box comes first."""
_SLIVER = np.ones((5, 5), np.uint8)
"""What is thinner than this is a neighbour's edge: the thinnest chromosome is 15 pixels wide."""
_OTSU_LEVELS = 200.0
"""Levels of a stain of 1 where Otsu's threshold is looked for."""
_STAIN_SHARE = 0.4
"""Otsu's threshold is lowered to this share: end bands are pale, and boxes are drawn out to the pale rim."""


@dataclass(frozen=True)
class Candidate:
    """One detection of one window, in image pixels."""

    box: NDArray[np.float32]  # x0, y0, x1, y1
    score: float
    rank: float  # the score, lowered where a window's side cuts the object
    mask: NDArray[np.float32]  # (28, 28) probabilities inside the box
    window: Window | None = None  # that saw it


@dataclass(frozen=True)
class Instance:
    """One object at full resolution: `mask` lies with its first pixel at (left, top) of the image."""

    left: int
    top: int
    mask: NDArray[np.bool_]
    score: float
    rank: float
    found: Box | None = None
    """The detector's own box, with a little room round the stain, as people draw boxes."""

    @property
    def area_px(self) -> int:
        """Number of image pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def rows(self) -> slice:
        """Rows of the image that the mask's window covers."""
        return slice(self.top, self.top + self.mask.shape[0])

    @property
    def columns(self) -> slice:
        """Columns of the image that the mask's window covers."""
        return slice(self.left, self.left + self.mask.shape[1])


@dataclass(frozen=True)
class _Pasted:
    left: int
    top: int
    window: tuple[slice, slice]
    probability: NDArray[np.float32]
    candidate: Candidate


def read_candidates(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    masks: NDArray[np.float32],
    window: Window,
    field_size: tuple[int, int],
    settings: DetectionSettings,
) -> list[Candidate]:
    """Take the detections above the score limit and bring their boxes to image pixels.

    Args:
        boxes: (1, K, 4) x0, y0, x1, y1 in window pixels.
        scores: (1, K) 0..1, unused slots 0.
        masks: (1, K, 28, 28) probabilities inside the box.
        window: which the detector saw.
        field_size: width and height of the scaled field, in network pixels.
        settings: score limit.
    """
    found = []
    for slot in np.flatnonzero(scores[0] >= settings.min_score):
        x0, y0, x1, y1 = boxes[0, slot]
        if x1 - x0 < 1.0 or y1 - y0 < 1.0:
            continue
        score = float(scores[0, slot])
        rank = score * _CUT_PENALTY if window.cuts(boxes[0, slot], *field_size) else score
        corners = window.placement.to_image(boxes[0, slot].reshape(2, 2)).reshape(4)
        found.append(Candidate(corners, score, rank, masks[0, slot], window))
    return found


def fit_masks(
    candidates: Sequence[Candidate], stain: NDArray[np.float32], settings: DetectionSettings
) -> list[Instance]:
    """Paste each 28 × 28 mask to full resolution and keep the stained pixels that are this object's own.

    A pixel is kept where it is stained and either surely the object's, or on its rim and claimed more by no
    other object; so neighbours that touch are parted at equal probability and crossings stay shared.

    Args:
        candidates: detections of all windows.
        stain: (H, W) float32 of `normalise_stain`.
        settings: probabilities and smallest mask.
    """
    pasted = [paste for candidate in candidates if (paste := _paste(candidate, stain.shape)) is not None]
    strongest = np.zeros(stain.shape, dtype=np.float32)
    for one in pasted:
        np.maximum(strongest[one.window], one.probability, out=strongest[one.window])
    instances = []
    for one in pasted:
        own = one.probability >= strongest[one.window] - _DUPLICATE_SLACK
        sure = one.probability >= settings.sure_probability
        inside = sure | (own & (one.probability >= settings.rim_probability))
        window_stain = stain[one.window]
        mask = inside & (window_stain > _stain_threshold(window_stain, inside))
        instance = _instance(one, _solid(mask, own), settings.min_mask_px)
        if instance is not None:
            instances.append(instance)
    return instances


def _paste(candidate: Candidate, shape: tuple[int, ...]) -> _Pasted | None:
    height, width = shape
    x0, y0, x1, y1 = (float(value) for value in candidate.box)
    reach_x, reach_y = _REACH * (x1 - x0) + 1.0, _REACH * (y1 - y0) + 1.0
    left, top = max(0, math.floor(x0 - reach_x)), max(0, math.floor(y0 - reach_y))
    right, bottom = min(width, math.ceil(x1 + reach_x)), min(height, math.ceil(y1 + reach_y))
    if right <= left or bottom <= top:
        return None
    side = candidate.mask.shape[0]
    step_x, step_y = side / (x1 - x0), side / (y1 - y0)
    # Centre of image pixel i lies at i + 0.5; the mask's grid has its own centres at k + 0.5.
    matrix = np.array(
        [
            [step_x, 0.0, (left + 0.5 - x0) * step_x - 0.5],
            [0.0, step_y, (top + 0.5 - y0) * step_y - 0.5],
        ]
    )
    probability: NDArray[np.float32] = np.asarray(
        cv2.warpAffine(
            candidate.mask,
            matrix,
            (right - left, bottom - top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.float32,
    )
    # Pixels whose centre lies beyond the box; where two sides meet, both factors apply.
    probability[:, : max(0, math.ceil(x0 - 0.5) - left)] *= _OUTSIDE_TRUST
    probability[:, max(0, math.floor(x1 - 0.5) + 1 - left) :] *= _OUTSIDE_TRUST
    probability[: max(0, math.ceil(y0 - 0.5) - top)] *= _OUTSIDE_TRUST
    probability[max(0, math.floor(y1 - 0.5) + 1 - top) :] *= _OUTSIDE_TRUST
    window = (slice(top, bottom), slice(left, right))
    return _Pasted(left, top, window, probability, candidate)


def _stain_threshold(stain: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Otsu's threshold (1979) between object and background, at most a third of the object's own stain."""
    values = cv2.convertScaleAbs(stain, alpha=_OTSU_LEVELS)
    otsu = float(cv2.threshold(values, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0])
    own = float(cv2.mean(stain, inside.view(np.uint8))[0])
    return max(0.05, min(_STAIN_SHARE * otsu / _OTSU_LEVELS, own * _OWN_STAIN_SHARE))


def _solid(mask: NDArray[np.bool_], own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask's main part and further large parts that no other object claims, without slivers and holes.

    A chromosome that lies under another one is seen in two pieces; a piece of a neighbour looks the same, but
    the neighbour's own mask claims it.
    """
    opened = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, _SLIVER)
    kept = opened.view(np.bool_)
    contours, _ = cv2.findContours(opened, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if len(contours) < 2:  # one part without a hole, as most are: nothing to choose and nothing to fill
        return kept
    number, parts = cv2.connectedComponents(opened)
    areas = np.bincount(parts.ravel(), minlength=number)
    owned = np.bincount(parts[own], minlength=number)
    areas[0] = owned[0] = 0
    main = int(np.argmax(owned)) or int(np.argmax(areas))
    keep = (areas >= _CRUMB_SHARE * areas[main]) & (owned >= _OWN_SHARE * areas)
    keep[0], keep[main] = False, True
    kept = np.asarray(keep[parts], dtype=np.bool_)
    _fill_holes(kept, _HOLE_SHARE * float(areas[main]))
    return kept


def _fill_holes(mask: NDArray[np.bool_], most_px: float) -> None:
    """Fill, in place, gaps of at most `most_px` pixels that the mask encloses."""
    number, gaps = cv2.connectedComponents((~mask).view(np.uint8), connectivity=4)
    if number <= 2:
        return
    hole = np.bincount(gaps.ravel(), minlength=number) <= most_px
    for border in (gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]):
        hole[border] = False
    mask |= hole[gaps]


def _instance(pasted: _Pasted, mask: NDArray[np.bool_], min_mask_px: int) -> Instance | None:
    if np.count_nonzero(mask) < min_mask_px:
        return None
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    tight = mask[top : top + height, left : left + width]
    candidate = pasted.candidate
    return Instance(
        left=pasted.left + left,
        top=pasted.top + top,
        mask=np.ascontiguousarray(tight),
        score=candidate.score,
        rank=candidate.rank,
        found=_inside(candidate.box, pasted.window),
    )


def _inside(box: NDArray[np.float32], window: tuple[slice, slice]) -> Box:
    """A detector's box inside the image; it holds every pixel that its mask was pasted to."""
    rows, columns = window
    left, top = max(float(box[0]), float(columns.start)), max(float(box[1]), float(rows.start))
    right, bottom = min(float(box[2]), float(columns.stop)), min(float(box[3]), float(rows.stop))
    return Box(left, top, right - left, bottom - top)
