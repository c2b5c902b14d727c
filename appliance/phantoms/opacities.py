"""Brushes for chest findings: clouds, nets, discs, plates, fluid levels and rims of air."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.phantoms.field import slow_noise

Canvas = NDArray[np.float32]


@dataclass(frozen=True)
class Patch:
    """A change to a window of a film, after smoothing.

    A positive shade moves the film by that share towards the brightness of the heart (of bone where
    `mineral`), a negative one by that share towards black.
    """

    left: int
    top: int
    alpha: Canvas  # (h, w) 0..1, where the finding is
    shade: Canvas  # (h, w) -1..1
    smooth_px: float = 0.0  # lung markings under alpha are blurred with this standard deviation first
    mineral: bool = False  # as bright as bone


def _step(value: NDArray[np.floating], softness: float) -> NDArray[np.floating]:
    """Logistic step from 0 (value < 0) to 1 (value > 0); unlike 1 / (1 + exp) it cannot overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(value / (2.0 * softness))))


def clipped(patch: Patch, lung: NDArray[np.bool_], softness_px: float) -> Patch:
    """Keep a patch inside of a lung (H, W), with a soft border."""
    height, width = patch.alpha.shape
    window = np.zeros((height, width), dtype=np.float32)
    top, left = max(patch.top, 0), max(patch.left, 0)
    bottom, right = min(patch.top + height, lung.shape[0]), min(patch.left + width, lung.shape[1])
    window[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left] = lung[
        top:bottom, left:right
    ]
    soft = cv2.GaussianBlur(window, (0, 0), max(softness_px, 0.5))
    # Full strength up to the border itself: the blur alone would leave a thin dark seam there.
    inside = np.minimum(1.8 * np.asarray(soft), 1.0)
    return replace(patch, alpha=np.asarray(patch.alpha * inside, dtype=np.float32))


def _grid(x: float, y: float, width: float, height: float) -> tuple[int, int, Canvas, Canvas]:
    """Corner of a window round (x, y) and its pixel coordinates relative to that point."""
    left, top = math.floor(x - width / 2.0), math.floor(y - height / 2.0)
    columns = np.arange(math.ceil(width) + 2, dtype=np.float32) + np.float32(left - x)
    rows = np.arange(math.ceil(height) + 2, dtype=np.float32) + np.float32(top - y)
    across, down = np.meshgrid(columns, rows)
    return left, top, across.astype(np.float32), down.astype(np.float32)


def _patch(left: int, top: int, alpha: NDArray[np.floating], shade: NDArray[np.floating]) -> Patch:
    return Patch(left, top, np.clip(alpha, 0.0, 1.0).astype(np.float32), shade.astype(np.float32))


def cloud(
    x: float,
    y: float,
    width: float,
    height: float,
    strength: float,
    roughness: float,
    rng: np.random.Generator,
) -> Patch:
    """A fluffy opacity without a sharp edge; `roughness` 0 is even, 1 is patchy."""
    left, top, across, down = _grid(x, y, 1.5 * width, 1.5 * height)
    wobble = 0.22 * slow_noise(across.shape, 0.45 * width, rng)
    radius = np.hypot(across / (width / 2.0), down / (height / 2.0)) + wobble
    alpha = _step(0.85 - radius, 0.10)
    patches = 1.0 + roughness * 0.45 * slow_noise(across.shape, 0.22 * width, rng)
    return _patch(left, top, alpha, strength * np.maximum(patches, 0.15))


def with_bronchograms(patch: Patch, rng: np.random.Generator) -> Patch:
    """Dark branching airways inside of a dense opacity."""
    height, width = patch.alpha.shape
    airways = np.zeros((height, width), dtype=np.float32)
    start = np.array([width * 0.5, height * 0.35])
    for _ in range(4):
        heading, at = float(rng.uniform(0.2, math.pi - 0.2)), start.copy()
        path = [at.copy()]
        for _ in range(6):
            heading += float(rng.normal(0.0, 0.25))
            at = at + 0.06 * width * np.array([math.cos(heading), math.sin(heading)])
            path.append(at.copy())
        points = np.rint(np.array(path) * 16).astype(np.int32)
        cv2.polylines(airways, [points], False, (1.0,), max(1, round(0.02 * width)), cv2.LINE_8, 4)
    soft = np.asarray(cv2.GaussianBlur(airways, (0, 0), max(0.008 * width, 0.5)), dtype=np.float32)
    return replace(patch, shade=np.asarray(patch.shade * (1.0 - 0.7 * soft), dtype=np.float32))


def net(
    x: float, y: float, width: float, height: float, cell_px: float, strength: float, rng: np.random.Generator
) -> Patch:
    """Reticular lines: the zero crossings of slow noise, a mesh with cells of about `cell_px`."""
    left, top, across, down = _grid(x, y, width, height)
    radius = np.hypot(across / (width / 2.0), down / (height / 2.0))
    alpha = _step(0.82 - radius, 0.07)
    cell = max(cell_px, 3.0)
    mesh = np.zeros(across.shape, dtype=np.float32)
    for _ in range(2):
        field = slow_noise(across.shape, cell, rng)
        mesh = np.maximum(mesh, np.exp(-((field / 0.22) ** 2)))
    return _patch(left, top, alpha, strength * (0.15 + 0.85 * mesh))


def disc(x: float, y: float, diameter: float, strength: float, rng: np.random.Generator) -> Patch:
    """A round, well defined opacity with a slightly lobed rim."""
    left, top, across, down = _grid(x, y, 1.5 * diameter, 1.5 * diameter)
    angle = np.arctan2(down, across)
    edge = (
        1.0
        + 0.06 * np.cos(3 * angle + rng.uniform(0, 6.28))
        + 0.04 * np.cos(5 * angle + rng.uniform(0, 6.28))
    )
    inside = edge * diameter / 2.0 - np.hypot(across, down)
    alpha = _step(inside, max(0.03 * diameter, 0.7))
    return _patch(left, top, alpha, np.full(alpha.shape, strength))


def ring(x: float, y: float, diameter: float, strength: float, rng: np.random.Generator) -> Patch:
    """A cavity: a bright wall round a dark middle."""
    left, top, across, down = _grid(x, y, 1.6 * diameter, 1.6 * diameter)
    stretched = np.hypot(across, down * float(rng.uniform(0.85, 1.15)))
    wall = max(0.07 * diameter, 1.2)
    shell = np.exp(-(((stretched - diameter / 2.0 + wall) / wall) ** 2))
    alpha = _step(diameter / 2.0 - stretched, max(0.3 * wall, 0.5))
    return _patch(left, top, np.maximum(alpha, shell), strength * (1.25 * shell - 0.25))


def grains(x: float, y: float, diameter: float, strength: float, rng: np.random.Generator) -> Patch:
    """A heap of very bright, sharp little grains."""
    left, top, across, _ = _grid(x, y, 1.5 * diameter, 1.5 * diameter)
    canvas = np.zeros(across.shape, dtype=np.float32)
    middle = np.array(across.shape[::-1]) / 2.0
    for _ in range(int(rng.integers(4, 11))):
        at = middle + rng.normal(0.0, 0.2 * diameter, 2)
        size = max(1.0, float(rng.uniform(0.06, 0.16)) * diameter)
        centre = (round(16 * float(at[0])), round(16 * float(at[1])))
        cv2.circle(canvas, centre, round(16 * size), (1.0,), -1, cv2.LINE_8, 4)
    soft = np.asarray(cv2.GaussianBlur(canvas, (0, 0), max(0.02 * diameter, 0.6)), dtype=np.float32)
    return replace(_patch(left, top, soft, np.full(soft.shape, strength)), mineral=True)


def plate(
    x: float, y: float, length: float, thickness: float, strength: float, rng: np.random.Generator
) -> Patch:
    """A band of collapsed lung, nearly level, sharper above than below."""
    left, top, across, down = _grid(x, y, 1.2 * length, 0.8 * length)
    tilt = float(rng.uniform(-0.35, 0.35))
    u = across * math.cos(tilt) + down * math.sin(tilt)
    v = down * math.cos(tilt) - across * math.sin(tilt) + float(rng.normal(0.0, 0.25)) * u**2 / length
    along = _step(0.46 * length - np.abs(u), 0.03 * length)
    fall = np.where(v < 0.0, 0.35, 0.65) * thickness
    return _patch(left, top, along * np.exp(-((v / fall) ** 2)), np.full(u.shape, strength))


def silhouette(x: float, y: float, width: float, height: float, strength: float) -> Patch:
    """An even bulge with a clear outer edge, as an enlarged heart or aorta throws it."""
    left, top, across, down = _grid(x, y, 1.2 * width, 1.2 * height)
    lean = across + 0.18 * down * (width / height)
    radius = (np.abs(lean / (width / 2.0)) ** 2.2 + np.abs(down / (height / 2.0)) ** 2.2) ** (1 / 2.2)
    alpha = _step(0.95 - radius, 0.025)
    return _patch(left, top, alpha, np.full(alpha.shape, strength))


def _depth_from_wall(lung: NDArray[np.bool_], midline_x: float) -> tuple[int, int, Canvas]:
    """Corner of a lung's box and, in that box, every pixel's distance from the outer wall along its row."""
    x, y, width, height = cv2.boundingRect(lung.astype(np.uint8))
    window = lung[y : y + height, x : x + width]
    columns = np.arange(width, dtype=np.float32)[None, :]
    if x + width / 2.0 > midline_x:
        wall = width - 1 - np.argmax(window[:, ::-1], axis=1)
        side = 1.0
    else:
        wall = np.argmax(window, axis=1)
        side = -1.0
    smooth = cv2.GaussianBlur(wall.astype(np.float32)[:, None], (1, 0), 1.0, sigmaY=max(0.01 * height, 0.3))
    depth = side * (np.asarray(smooth).reshape(-1, 1) - columns)
    return x, y, depth.astype(np.float32)


def meniscus(lung: NDArray[np.bool_], level: float, midline_x: float, rng: np.random.Generator) -> Patch:
    """Fluid in the lower part of a lung; its surface climbs towards the outer wall.

    `level` is the share of the lung's height that it fills.
    """
    x, y, depth = _depth_from_wall(lung, midline_x)
    height, width = depth.shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    surface = height * (1.0 - level) - 0.16 * height * np.exp(-np.maximum(depth, 0.0) / (0.16 * width))
    edge = max(0.012 * height, 1.0)
    filled = _step(rows - surface, edge)
    patch = _patch(x, y, filled, np.full(filled.shape, float(rng.uniform(0.7, 0.85))))
    return clipped(patch, lung, 0.012 * width)


def rind(
    lung: NDArray[np.bool_], start: float, stop: float, depth_px: float, midline_x: float, strength: float
) -> Patch:
    """A bright rind on the inside of the chest wall between two fractions of the lung's height."""
    x, y, depth = _depth_from_wall(lung, midline_x)
    height, width = depth.shape
    rows = np.arange(height, dtype=np.float32)[:, None] / height
    span = _step(rows - start, 0.02) * _step(stop - rows, 0.02)
    rim = _step(depth_px - depth, max(0.15 * depth_px, 0.6))
    patch = _patch(x, y, rim * span, np.full(depth.shape, strength))
    return clipped(patch, lung, 0.01 * width)


def air_rim(lung: NDArray[np.bool_], share: float, depth_px: float, midline_x: float) -> Patch:
    """Air between chest wall and lung: dark, without markings, behind a thin white pleural line.

    `share` is the part of the lung's height, from the apex, along which the air reaches.
    """
    x, y, depth = _depth_from_wall(lung, midline_x)
    rows = np.arange(len(depth), dtype=np.float32)[:, None] / len(depth)
    reach = depth_px * np.sqrt(np.clip(1.0 - (rows / share) ** 2, 0.0, 1.0)) + 1e-3
    inside = np.where(rows <= share, 1.0, 0.0)
    air = inside * _step(reach - depth, 1.2)
    line = inside * np.exp(-(((depth - reach) / max(0.05 * depth_px, 1.2)) ** 2))
    patch = _patch(x, y, np.maximum(air, line), 0.55 * line - 0.45 * air * (1.0 - line))
    return clipped(replace(patch, smooth_px=max(0.1 * depth_px, 1.0)), lung, 1.5)
