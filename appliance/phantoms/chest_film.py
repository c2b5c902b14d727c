"""A phantom frontal chest film: soft tissue, lungs with vessels, ribs, spine, heart, diaphragm, clavicles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.phantoms.chest_findings import PaintedFinding, paint_findings
from appliance.phantoms.thorax import Thorax, thorax_of

_SHIFT = 4
Canvas = NDArray[np.float32]
Vertices = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class ChestPhantom:
    """A phantom film and what is true of it."""

    image: NDArray[np.uint8]  # (size, size) grey, bone white
    findings: tuple[PaintedFinding, ...]
    thorax: Thorax


@dataclass(frozen=True)
class _Body:
    """One patient's proportions, as fractions of the film's side."""

    middle: float  # x of the spine
    half_chest: float  # from the spine to the outside of the lungs
    apex: float  # y of the lungs' tops
    dome: float  # y of the right diaphragm's dome
    heart: float  # relative size of the heart
    exposure: float  # brightness of the lungs


def chest_phantom(
    rng: np.random.Generator, size: int = 1024, findings: Sequence[str] | None = ()
) -> ChestPhantom:
    """Make one film; equal states of `rng` give equal pixels.

    Args:
        rng: source of everything random.
        size: side of the square film in pixels, at least 64.
        findings: labels to paint (see `FINDING_LABELS`); a random choice if None, none by default.

    Raises:
        ValueError: film too small, or unknown label.
    """
    if size < 64:
        raise ValueError(f"expected a film of at least 64 pixels and got {size}")
    body = _Body(
        middle=float(rng.normal(0.5, 0.012)),
        half_chest=float(rng.uniform(0.31, 0.36)),
        apex=float(rng.uniform(0.13, 0.18)),
        dome=float(rng.uniform(0.64, 0.73)),
        heart=float(rng.uniform(0.85, 1.05)),
        exposure=float(rng.uniform(0.17, 0.30)),
    )
    left, right = _lung_outlines(body, rng)
    left_cover, right_cover = _soft(left, size, 0.004), _soft(right, size, 0.004)
    film = _soft_tissue(body, size)
    lungs = np.maximum(left_cover, right_cover)
    film += (body.exposure - film) * lungs * 0.92
    film += _vessels(body, size, rng) * lungs
    film = _middle(film, body, size, rng)
    _bones(film, body, size, rng)
    film += rng.normal(0.0, 0.008, film.shape).astype(np.float32)
    grey = np.clip(255.0 * np.clip(film, 0.0, 1.0) ** 0.92, 0, 255).astype(np.uint8)
    thorax = thorax_of(left_cover > 0.5, right_cover > 0.5)
    painted: tuple[PaintedFinding, ...] = ()
    if findings is None or len(findings) > 0:
        grey, painted = paint_findings(grey, rng, findings, thorax=thorax)
    return ChestPhantom(image=grey, findings=painted, thorax=thorax)


def _fill(vertices: Vertices, size: int) -> Canvas:
    canvas = np.zeros((size, size), dtype=np.float32)
    points = np.rint(np.array(vertices) * size * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [points], (1.0,), cv2.LINE_8, _SHIFT)
    return canvas


def _soft(vertices: Vertices, size: int, sigma: float) -> Canvas:
    """Filled outline with a border as soft as `sigma`; wide blurs are made on a coarser grid."""
    coarse = 4 if sigma * size > 4.0 else 1
    blurred = cv2.GaussianBlur(_fill(vertices, size // coarse), (0, 0), max(sigma * size / coarse, 0.5))
    if coarse > 1:
        blurred = cv2.resize(blurred, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(blurred, dtype=np.float32)


def _stroke(canvas: Canvas, vertices: Vertices, size: int, width: float, value: float) -> None:
    points = np.rint(np.array(vertices) * size * (1 << _SHIFT)).astype(np.int32)
    thickness = max(1, round(width * size))
    cv2.polylines(canvas, [points], False, (value,), thickness, cv2.LINE_8, _SHIFT)


def _curve(points: Vertices, closed: bool, samples: int = 24) -> list[tuple[float, float]]:
    """Catmull-Rom spline through `points`."""
    knots = np.array(points)
    count = len(knots)
    out: list[tuple[float, float]] = []
    for i in range(count if closed else count - 1):
        pick = [(i + k) % count if closed else min(max(i + k, 0), count - 1) for k in (-1, 0, 1, 2)]
        a, b, c, d = knots[pick]
        for t in np.arange(samples) / samples:
            xy = 0.5 * (
                2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
            )
            out.append((float(xy[0]), float(xy[1])))
    return out


def _lung_outlines(body: _Body, rng: np.random.Generator) -> tuple[Vertices, Vertices]:
    m, w, top, dome = body.middle, body.half_chest, body.apex, body.dome
    lower = dome + float(rng.uniform(0.02, 0.04))
    left = [
        (m - 0.30 * w, top),
        (m - 0.17 * w, top + 0.09),
        (m - 0.20 * w, top + 0.27),
        (m - 0.24 * w, dome - 0.02),
        (m - 0.52 * w, dome - 0.005),
        (m - 0.93 * w, dome + 0.07),
        (m - 1.0 * w, dome - 0.10),
        (m - 0.92 * w, top + 0.22),
        (m - 0.66 * w, top + 0.05),
    ]
    right = [
        (m + 0.30 * w, top),
        (m + 0.66 * w, top + 0.05),
        (m + 0.92 * w, top + 0.22),
        (m + 1.0 * w, lower - 0.10),
        (m + 0.94 * w, lower + 0.06),
        (m + 0.70 * w, lower + 0.0),
        (m + 0.46 * w, lower - 0.015),
        (m + 0.34 * w, lower - 0.14),
        (m + 0.21 * w, top + 0.24),
        (m + 0.18 * w, top + 0.09),
    ]
    return _curve(left, closed=True), _curve(right, closed=True)


def _soft_tissue(body: _Body, size: int) -> Canvas:
    """Air outside, neck, shoulders, chest wall and the white abdomen."""
    m, w = body.middle, body.half_chest
    torso = [(m - 0.1, -0.05), (m - 0.13, 0.08), (m - 0.3, 0.14), (m - 0.52, 0.2), (m - 0.6, 0.4)]
    torso += [(m - 1.28 * w, 0.5), (m - 1.2 * w, 0.8), (m - 1.2 * w, 1.1)]
    outline = [*torso, *((2 * m - x, y) for x, y in reversed(torso))]
    film: Canvas = 0.02 + 0.46 * _soft(_curve(outline, closed=True), size, 0.02)
    film += 0.07 * _soft(
        _curve([(x + 0.14 * (m - x), y + 0.04) for x, y in outline], closed=True), size, 0.03
    )
    y = np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None]
    abdomen = 1.0 / (1.0 + np.exp(-(y - body.dome - 0.02) / 0.04))
    film += (0.28 * abdomen * np.clip(film * 2.0, 0.0, 1.0)).astype(np.float32)
    return film


def _vessels(body: _Body, size: int, rng: np.random.Generator) -> Canvas:
    """Branching vessels out of both hila, thinner towards the periphery."""
    canvas = np.zeros((size, size), dtype=np.float32)
    for side in (-1.0, 1.0):
        hilum = (body.middle + side * 0.24 * body.half_chest, body.apex + 0.24)
        for _ in range(13):
            heading = float(rng.uniform(-1.25, 1.45))
            _branch(canvas, hilum, heading, side, 0.011, 0, size, rng)
        _stroke(canvas, [hilum, (hilum[0] + side * 0.02, hilum[1] + 0.07)], size, 0.03, 0.12)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 0.0035 * size), dtype=np.float32)


def _branch(
    canvas: Canvas,
    start: tuple[float, float],
    heading: float,
    side: float,
    width: float,
    depth: int,
    size: int,
    rng: np.random.Generator,
) -> None:
    x, y = start
    path = [start]
    for _ in range(5):
        heading += float(rng.normal(0.0, 0.24))
        x += side * 0.016 * math.cos(heading)
        y += 0.016 * math.sin(heading)
        path.append((x, y))
    _stroke(canvas, path, size, width, 0.09 * (0.85**depth))
    if depth < 4:
        for turn in (-0.35, 0.35):
            if rng.random() < 0.72:
                child = heading + turn * float(rng.uniform(0.4, 1.5))
                _branch(canvas, path[-1], child, side, width * 0.66, depth + 1, size, rng)


def _middle(film: Canvas, body: _Body, size: int, rng: np.random.Generator) -> Canvas:
    """Mediastinum, aortic knob, heart, spine and trachea."""
    m, w, top, dome = body.middle, body.half_chest, body.apex, body.dome
    column = [(m - 0.14 * w, 0.0), (m + 0.14 * w, 0.0), (m + 0.2 * w, dome), (m - 0.2 * w, dome)]
    film = _cover(film, _soft(column, size, 0.012), 0.62, 0.75)
    knob = [(m + 0.1 * w, top + 0.1), (m + 0.3 * w, top + 0.13), (m + 0.3 * w, top + 0.19), (m, top + 0.26)]
    film = _cover(film, _soft(_curve(knob, closed=True), size, 0.006), 0.66, 0.7)
    k = body.heart
    heart = [
        (m - 0.12 * w, dome - 0.30),
        (m + 0.22 * w, dome - 0.30),
        (m + 0.44 * w * k, dome - 0.16),
        (m + 0.66 * w * k, dome - 0.015),
        (m + 0.40 * w, dome + 0.05),
        (m - 0.2 * w, dome + 0.04),
        (m - 0.36 * w * k, dome - 0.07),
        (m - 0.27 * w * k, dome - 0.19),
    ]
    film = _cover(film, _soft(_curve(heart, closed=True), size, 0.008), 0.70, 0.85)
    bodies = np.zeros((size, size), dtype=np.float32)
    height = float(rng.uniform(0.042, 0.05))
    for level in np.arange(0.02, 1.0, height):
        half = 0.032 + 0.012 * level
        block = [(m - half, level), (m + half, level), (m + half, level + 0.8 * height)]
        bodies += _fill([*block, (m - half, level + 0.8 * height)], size)
    film += 0.06 * np.asarray(cv2.GaussianBlur(bodies, (0, 0), 0.004 * size), dtype=np.float32)
    trachea = [(m - 0.022, 0.0), (m + 0.018, 0.0), (m + 0.014, top + 0.16), (m - 0.02, top + 0.16)]
    film -= 0.10 * _soft(trachea, size, 0.006)
    return film


def _cover(film: Canvas, alpha: Canvas, level: float, strength: float) -> Canvas:
    """Raise the film towards `level` under `alpha`; what is brighter already stays."""
    raised: Canvas = film + np.maximum(level - film, 0.0) * alpha * np.float32(strength)
    return raised


def _bones(film: Canvas, body: _Body, size: int, rng: np.random.Generator) -> None:
    """Ribs with bright rims, clavicles and shoulder blades, added to the film."""
    m, w = body.middle, body.half_chest
    pitch = float(rng.uniform(0.054, 0.062))
    for side in (-1.0, 1.0):
        for number in range(10):
            y = body.apex - 0.05 + number * pitch
            reach = w * 1.04 * math.sqrt(max(0.15, 1.0 - ((number - 6.5) / 8.0) ** 2))
            rear = [(m + side * 0.05, y + 0.01), (m + side * 0.5 * reach, y - 0.005)]
            rear += [(m + side * 0.85 * reach, y + 0.045), (m + side * reach, y + 0.10)]
            _rib(film, _curve(rear, closed=False), size, 0.021, 0.075)
            front = [(m + side * reach, y + 0.10), (m + side * 0.82 * reach, y + 0.17)]
            front += [(m + side * 0.55 * reach, y + 0.2), (m + side * 0.4 * reach, y + 0.2)]
            if number < 7:
                _rib(film, _curve(front, closed=False), size, 0.024, 0.05)
        clavicle = [(m + side * 0.05, body.apex + 0.05), (m + side * 0.2, body.apex + 0.005)]
        clavicle += [(m + side * 0.4, body.apex - 0.035)]
        _rib(film, _curve(clavicle, closed=False), size, 0.024, 0.13)
        blade = [(m + side * 1.02 * w, 0.2), (m + side * 1.3 * w, 0.17), (m + side * 1.12 * w, 0.47)]
        film += 0.05 * _soft(blade, size, 0.008)


def _rib(film: Canvas, path: Vertices, size: int, width: float, level: float) -> None:
    """Draw one bone in the rows that it crosses only: thirty full films of blur would take a second."""
    rows = [y for _, y in path]
    top = max(0, math.floor((min(rows) - 2.0 * width) * size))
    bottom = min(size, math.ceil((max(rows) + 2.0 * width) * size))
    if bottom <= top:
        return
    shifted = [(x, y - top / size) for x, y in path]
    whole = np.zeros((bottom - top, size), dtype=np.float32)
    _stroke(whole, shifted, size, width, 1.0)
    core = np.zeros((bottom - top, size), dtype=np.float32)
    _stroke(core, shifted, size, 0.62 * width, 1.0)
    shade = level * (whole - 0.45 * core)
    soft = cv2.GaussianBlur(shade, (0, 0), max(0.0022 * size, 0.5))
    film[top:bottom] += np.asarray(soft, dtype=np.float32)
