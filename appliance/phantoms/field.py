"""The microscope's field around a spread: light, mottled background, nuclei and debris, as absorbance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_COARSE = 8
"""Slow fields are made on a grid this many times coarser and interpolated."""


@dataclass(frozen=True)
class FieldStyle:
    """Light, camera and dirt of one field."""

    background: float = 243.0  # grey level of the empty field, 0..255
    gradient: float = 7.0  # grey levels between the brightest and the darkest corner
    mottle: float = 1.2  # grey levels, standard deviation of slow stains of the glass
    noise: float = 1.2  # grey levels, standard deviation of the camera's grain
    nuclei: int = 1
    debris: int = 12  # clusters of dark specks
    ghosts: int = 6  # pale discs of dirt far out of focus

    @staticmethod
    def sample(rng: np.random.Generator) -> FieldStyle:
        """A plausible field, from clean to dirty."""
        return FieldStyle(
            background=float(np.clip(rng.normal(246.0, 8.0), 215.0, 256.0)),
            gradient=float(abs(rng.normal(0.0, 9.0))),
            mottle=float(rng.uniform(0.2, 2.2)),
            noise=float(rng.uniform(0.5, 3.0)),
            nuclei=int(rng.choice([0, 1, 2, 4, 8], p=[0.3, 0.25, 0.2, 0.15, 0.1])),
            debris=int(rng.integers(0, 40)),
            ghosts=int(rng.integers(0, 14)),
        )


@dataclass(frozen=True)
class Stamp:
    """A stained thing that is no chromosome, in a window of the field."""

    left: int
    top: int
    absorbance: NDArray[np.float32]  # (h, w)
    mask: NDArray[np.bool_]  # (h, w)


def slow_noise(shape: tuple[int, int], cell_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W) smooth noise of standard deviation about 1 whose blobs are about `cell_px` wide."""
    height, width = shape
    # Three cells a blob and a blur: cubic interpolation of bare cells would show the grid's axes.
    coarse = (math.ceil(3.0 * height / cell_px) + 4, math.ceil(3.0 * width / cell_px) + 4)
    grid = rng.standard_normal(coarse, dtype=np.float32)
    soft = cv2.GaussianBlur(grid, (0, 0), 1.3)
    # 0.217 is what this blur leaves of a standard deviation of 1.
    return np.asarray(
        cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC) / 0.217, dtype=np.float32
    )


def empty_field(shape: tuple[int, int], style: FieldStyle, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W) float32 grey levels of the field without anything on it (uneven light, stains of the glass)."""
    height, width = shape
    small = (max(2, height // _COARSE), max(2, width // _COARSE))
    y, x = np.mgrid[-0.5 : 0.5 : small[0] * 1j, -0.5 : 0.5 : small[1] * 1j]
    direction = float(rng.uniform(0.0, 2.0 * math.pi))
    centre = rng.uniform(-0.3, 0.3, 2)
    slope = x * math.cos(direction) + y * math.sin(direction)
    vignette = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    light = style.background - style.gradient * (0.5 * slope + 0.8 * vignette)
    light += style.mottle * (0.7 * slow_noise(small, 14.0, rng) + 0.7 * slow_noise(small, 4.0, rng))
    return np.asarray(
        cv2.resize(light.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32
    )


def nucleus(diameter_px: float, rng: np.random.Generator) -> Stamp:
    """An interphase nucleus: a large dark disc with a soft rim and coarse chromatin, at (0, 0)."""
    side = math.ceil(diameter_px * 1.5)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    y -= side / 2.0
    x -= side / 2.0
    angle = np.arctan2(y, x)
    stretch = float(rng.uniform(0.0, 0.16))
    edge = np.full(angle.shape, 0.5 * diameter_px, dtype=np.float32)
    edge *= 1.0 + stretch * np.cos(2.0 * (angle - float(rng.uniform(0.0, math.pi))))
    for harmonic in (3, 4, 5):
        amplitude = float(rng.normal(0.0, 0.05 / (harmonic - 1)))
        edge *= 1.0 + amplitude * np.cos(harmonic * angle + float(rng.uniform(0.0, 2.0 * math.pi)))
    inside = edge - np.hypot(x, y)
    softness = float(rng.uniform(2.5, 7.0))
    cover = np.clip(inside / softness + 0.5, 0.0, 1.0)
    density = float(rng.uniform(0.5, 1.15))
    texture = 0.11 * slow_noise((side, side), diameter_px / 3.0, rng)
    texture += 0.06 * slow_noise((side, side), 12.0, rng) + 0.10 * slow_noise((side, side), 4.5, rng)
    # One or two dark clumps of chromatin.
    for _ in range(int(rng.integers(0, 3))):
        at = rng.normal(0.0, 0.17 * diameter_px, 2)
        reach = float(rng.uniform(0.06, 0.13)) * diameter_px
        texture += 0.32 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2.0 * reach**2))
    rim = 0.04 * np.exp(-(((inside - 4.0) / 5.0) ** 2))
    absorbance = density * cover * np.maximum(1.0 + texture + rim, 0.3)
    return Stamp(left=0, top=0, absorbance=absorbance.astype(np.float32), mask=cover >= 0.5)


def speck_cluster(rng: np.random.Generator) -> Stamp:
    """A little heap of dark grains, or a lone rod such as a bacterium, at (0, 0)."""
    lone = rng.random() < 0.6
    count = 1 if lone else int(rng.integers(3, 22))
    spread = 0.0 if lone else float(rng.uniform(3.0, 11.0))
    side = math.ceil(8.0 * spread) + 30
    canvas = np.zeros((side, side), dtype=np.float32)
    for _ in range(count):
        at = side / 2.0 + np.clip(rng.normal(0.0, spread, 2), -2.2 * spread, 2.2 * spread)
        long = float(rng.uniform(0.8, 3.2))
        axes = (round(16 * long * float(rng.uniform(1.0, 2.2))), round(16 * long * 0.8))
        centre = (round(16 * float(at[0])), round(16 * float(at[1])))
        angle = float(rng.uniform(0.0, 180.0))
        strength = float(rng.uniform(0.5, 1.7))
        cv2.ellipse(canvas, centre, axes, angle, 0.0, 360.0, (strength,), -1, cv2.LINE_8, 4)
    mask = canvas > 0.25
    soft = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.6, 1.3)))
    return Stamp(left=0, top=0, absorbance=np.asarray(soft, dtype=np.float32), mask=mask)


def ghost(rng: np.random.Generator) -> Stamp:
    """Dirt far out of focus: a pale grey blot without an edge, at (0, 0); it counts as background."""
    radius = float(rng.uniform(5.0, 16.0))
    side = math.ceil(6.0 * radius)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) - side / 2.0
    blot = float(rng.uniform(0.03, 0.16)) * np.exp(-((x**2 + y**2) / (2.0 * radius**2)))
    return Stamp(
        left=0, top=0, absorbance=blot.astype(np.float32), mask=np.zeros((side, side), dtype=np.bool_)
    )
