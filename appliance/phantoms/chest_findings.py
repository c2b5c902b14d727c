"""Paints the 14 VinDr-CXR findings onto a chest film, each at a plausible place, with its exact box.

They are drawings: they show that a chain from pixels to boxes works, and say nothing about disease.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box
from appliance.phantoms import opacities
from appliance.phantoms.opacities import Patch
from appliance.phantoms.thorax import Thorax, locate_thorax, lung_box

FINDING_LABELS: tuple[str, ...] = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Consolidation",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Nodule/Mass",
    "Other lesion",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
)
"""The local labels of VinDr-CXR (Nguyen et al., Scientific Data 9:429, 2022), in its order."""

_BOX_LEVEL = 0.25
"""A finding's box holds every pixel that it changes by at least this share of its strongest change."""


@dataclass(frozen=True)
class PaintedFinding:
    """What was painted and where, in pixels of the film."""

    label: str  # one of FINDING_LABELS
    box: Box


def paint_findings(
    film: NDArray[np.uint8],
    rng: np.random.Generator,
    labels: Sequence[str] | None = None,
    *,
    thorax: Thorax | None = None,
) -> tuple[NDArray[np.uint8], tuple[PaintedFinding, ...]]:
    """Paint findings onto a copy of a film.

    Args:
        film: (H, W) uint8, bone white, a phantom or a real frontal film.
        rng: source of everything random; equal states give equal pixels.
        labels: what to paint, in that order, repeats allowed; one to four random ones if None.
        thorax: the film's landmarks; `locate_thorax` of the film if None.

    Returns:
        The painted film and the findings in the order of `labels`.

    Raises:
        ValueError: a label that is none of FINDING_LABELS, or a film that is not (H, W) uint8.
    """
    if film.ndim != 2 or film.dtype != np.uint8:
        raise ValueError(f"expected a film (H, W) uint8 and got {film.shape} {film.dtype}")
    if labels is None:
        labels = [str(label) for label in rng.choice(FINDING_LABELS, int(rng.integers(1, 5)), replace=False)]
    unknown = sorted(set(labels) - set(FINDING_LABELS))
    if unknown:
        raise ValueError(f"expected labels out of FINDING_LABELS and got {unknown}")
    thorax = thorax or locate_thorax(film)
    canvas = film.astype(np.float32)
    heart = thorax.heart
    rows = slice(max(int(heart.y), 0), int(heart.y + heart.height))
    core = film[rows, max(int(heart.x), 0) : int(heart.x + heart.width)]
    heart_level = max(float(np.percentile(core, 70.0)) if core.size else 0.0, 110.0)
    used: list[Box] = []
    findings = []
    for label in labels:
        patch = _place(label, thorax, used, rng)
        box = _apply(canvas, patch, heart_level)
        used.append(box)
        findings.append(PaintedFinding(label=label, box=box))
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8), tuple(findings)


def _apply(canvas: NDArray[np.float32], patch: Patch, heart_level: float) -> Box:
    """Put a patch into the film (in place) and measure the box of what it changes."""
    height, width = patch.alpha.shape
    top, left = max(patch.top, 0), max(patch.left, 0)
    bottom, right = min(patch.top + height, canvas.shape[0]), min(patch.left + width, canvas.shape[1])
    rows = slice(top - patch.top, bottom - patch.top)
    columns = slice(left - patch.left, right - patch.left)
    alpha, shade = patch.alpha[rows, columns], patch.shade[rows, columns]
    window = canvas[top:bottom, left:right]
    if patch.smooth_px > 0.0:
        smooth = np.asarray(cv2.GaussianBlur(window, (0, 0), patch.smooth_px), dtype=np.float32)
        window += alpha * (smooth - window)
    # Fluid and tissue are no brighter than the heart; where the film already is, a trace stays visible.
    ceiling = 250.0 if patch.mineral else heart_level
    room = np.where(shade > 0.0, np.maximum(ceiling - window, 14.0), np.maximum(window, 14.0))
    window += alpha * shade * room
    x, y, w, h = cv2.boundingRect((alpha >= _BOX_LEVEL * float(alpha.max())).astype(np.uint8))
    return Box(x=left + x, y=top + y, width=w, height=h)


_Maker = Callable[[Thorax, np.random.Generator], Patch]


def _place(label: str, thorax: Thorax, used: list[Box], rng: np.random.Generator) -> Patch:
    """Make the patch; try again a few times where it would cover an earlier finding."""
    maker = _MAKERS[label]
    patch = maker(thorax, rng)
    for _ in range(8):
        if not any(_covers(patch, box) for box in used):
            break
        patch = maker(thorax, rng)
    return patch


def _covers(patch: Patch, box: Box) -> bool:
    height, width = patch.alpha.shape
    overlap_x = min(patch.left + width, box.x + box.width) - max(patch.left, box.x)
    overlap_y = min(patch.top + height, box.y + box.height) - max(patch.top, box.y)
    shared = max(overlap_x, 0.0) * max(overlap_y, 0.0)
    return bool(shared > 0.3 * min(box.width * box.height, float(width * height)))


def _spot(
    thorax: Thorax, rng: np.random.Generator, low: float, high: float
) -> tuple[NDArray[np.bool_], float, float]:
    """A random lung and a point in it whose height is between two fractions of that lung."""
    lung = thorax.lungs[int(rng.integers(2))]
    box = lung_box(lung)
    core = lung.copy()
    core[: int(box.y + low * box.height)] = False
    core[int(box.y + high * box.height) + 1 :] = False
    rows, columns = np.nonzero(core)
    if len(rows) == 0:
        return lung, box.x + box.width / 2.0, box.y + box.height * 0.5 * (low + high)
    pick = int(rng.integers(len(rows)))
    return lung, float(columns[pick]), float(rows[pick])


def _cloud(
    low: float, high: float, size: tuple[float, float], strength: tuple[float, float], roughness: float
) -> _Maker:
    def make(thorax: Thorax, rng: np.random.Generator) -> Patch:
        lung, x, y = _spot(thorax, rng, low, high)
        box = lung_box(lung)
        across = float(rng.uniform(*size)) * box.width
        tall = across * float(rng.uniform(0.7, 1.3))
        patch = opacities.cloud(x, y, across, tall, float(rng.uniform(*strength)), roughness, rng)
        return opacities.clipped(patch, lung, 0.02 * box.width)

    return make


def _consolidation(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung, x, y = _spot(thorax, rng, 0.35, 0.85)
    box = lung_box(lung)
    across = float(rng.uniform(0.45, 0.75)) * box.width
    patch = opacities.cloud(x, y, across, 0.9 * across, float(rng.uniform(0.75, 0.95)), 0.35, rng)
    return opacities.clipped(opacities.with_bronchograms(patch, rng), lung, 0.015 * box.width)


def _net(low: float, high: float, cell: float, strength: tuple[float, float]) -> _Maker:
    def make(thorax: Thorax, rng: np.random.Generator) -> Patch:
        lung, x, y = _spot(thorax, rng, low, high)
        box = lung_box(lung)
        across, tall = float(rng.uniform(0.6, 0.95)) * box.width, float(rng.uniform(0.3, 0.5)) * box.height
        amount = float(rng.uniform(*strength))
        patch = opacities.net(x, y, across, tall, cell * box.width, amount, rng)
        return opacities.clipped(patch, lung, 0.03 * box.width)

    return make


def _nodule(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung, x, y = _spot(thorax, rng, 0.12, 0.85)
    diameter = float(rng.uniform(0.09, 0.32)) * lung_box(lung).width
    return opacities.disc(x, y, diameter, float(rng.uniform(0.6, 0.9)), rng)


def _ring(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung, x, y = _spot(thorax, rng, 0.1, 0.7)
    diameter = float(rng.uniform(0.22, 0.42)) * lung_box(lung).width
    return opacities.ring(x, y, diameter, float(rng.uniform(0.6, 0.85)), rng)


def _calcification(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung, x, y = _spot(thorax, rng, 0.1, 0.8)
    diameter = float(rng.uniform(0.07, 0.2)) * lung_box(lung).width
    return opacities.grains(x, y, diameter, float(rng.uniform(0.7, 0.95)), rng)


def _atelectasis(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung, x, y = _spot(thorax, rng, 0.55, 0.95)
    box = lung_box(lung)
    length = float(rng.uniform(0.45, 0.8)) * box.width
    thickness = float(rng.uniform(0.05, 0.16)) * box.width
    patch = opacities.plate(x, y, length, thickness, float(rng.uniform(0.6, 0.9)), rng)
    return opacities.clipped(patch, lung, 0.02 * box.width)


def _effusion(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung = thorax.lungs[int(rng.integers(2))]
    return opacities.meniscus(lung, float(rng.uniform(0.12, 0.45)), thorax.midline_x, rng)


def _thickening(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung = thorax.lungs[int(rng.integers(2))]
    box = lung_box(lung)
    start = float(rng.uniform(0.0, 0.5))
    stop = start + float(rng.uniform(0.2, 0.4))
    depth = float(rng.uniform(0.05, 0.11)) * box.width
    return opacities.rind(lung, start, stop, depth, thorax.midline_x, float(rng.uniform(0.6, 0.9)))


def _pneumothorax(thorax: Thorax, rng: np.random.Generator) -> Patch:
    lung = thorax.lungs[int(rng.integers(2))]
    box = lung_box(lung)
    depth = float(rng.uniform(0.14, 0.32)) * box.width
    return opacities.air_rim(lung, float(rng.uniform(0.45, 0.8)), depth, thorax.midline_x)


def _cardiomegaly(thorax: Thorax, rng: np.random.Generator) -> Patch:
    heart = thorax.heart
    grown = float(rng.uniform(1.15, 1.35))
    x, y = heart.x + heart.width * 0.52, heart.y + heart.height * 0.55
    return opacities.silhouette(x, y, heart.width * grown, heart.height * 1.12, float(rng.uniform(0.8, 0.95)))


def _aorta(thorax: Thorax, rng: np.random.Generator) -> Patch:
    box = lung_box(thorax.right_lung)
    across = float(rng.uniform(0.3, 0.48)) * box.width
    x = thorax.midline_x + 0.55 * across
    y = box.y + float(rng.uniform(0.27, 0.33)) * box.height
    return opacities.silhouette(
        x, y, across * 1.3, across * float(rng.uniform(1.1, 1.5)), float(rng.uniform(0.8, 0.95))
    )


_MAKERS: dict[str, _Maker] = {
    "Aortic enlargement": _aorta,
    "Atelectasis": _atelectasis,
    "Calcification": _calcification,
    "Cardiomegaly": _cardiomegaly,
    "Consolidation": _consolidation,
    "ILD": _net(0.3, 0.8, 0.045, (0.5, 0.7)),
    "Infiltration": _cloud(0.2, 0.8, (0.35, 0.6), (0.35, 0.5), 0.9),
    "Lung Opacity": _cloud(0.2, 0.8, (0.3, 0.55), (0.5, 0.75), 0.15),
    "Nodule/Mass": _nodule,
    "Other lesion": _ring,
    "Pleural effusion": _effusion,
    "Pleural thickening": _thickening,
    "Pneumothorax": _pneumothorax,
    "Pulmonary fibrosis": _net(0.05, 0.4, 0.12, (0.6, 0.85)),
}
