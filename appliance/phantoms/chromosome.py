"""One synthetic G-banded chromosome: a banded ribbon swept along a bent spine, with its exact truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.phantoms.staining import AxisProfile, StainStyle, axis_profile

Point = tuple[float, float]
"""x to the right and y down, in pixels; the centre of the first pixel is (0, 0)."""

_PADDING_PX = 5
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Ribbon:
    """A chromosome before it lies in a picture: absorbance that a field or a crop adds up."""

    label: str
    absorbance: NDArray[np.float32]  # (h, w) natural logarithm, 0 outside of the chromosome
    mask: NDArray[np.bool_]  # (h, w) the chromosome's pixels, exact, before the optics' blur
    spine: NDArray[np.float32]  # (n, 2) axis points one pixel apart, p telomere first
    centromere: Point
    p_arm_direction: Point  # unit vector from the middle of the q arm to the middle of the p arm


@dataclass(frozen=True)
class ChromosomePhantom:
    """A picture of one single chromosome with its truth."""

    label: str
    image: NDArray[np.uint8]  # (h, w) grey, dark stain on a light background
    mask: NDArray[np.bool_]  # (h, w)
    spine: NDArray[np.float32]  # (n, 2) p telomere first
    centromere: Point
    p_arm_direction: Point
    upright_degrees: float  # counter-clockwise turn that brings the p arm up, in (-180, 180]


def render_chromosome(
    label: str,
    rng: np.random.Generator,
    *,
    angle_degrees: float | None = None,
    bend_degrees: float | None = None,
    style: StainStyle | None = None,
    background: float | None = None,
) -> ChromosomePhantom:
    """Picture of one chromosome, nothing beside it; takes a few milliseconds.

    Args:
        label: "1" … "22", "X" or "Y".
        rng: source of everything that is not given; equal states give equal pictures.
        angle_degrees: counter-clockwise turn of the p arm's direction away from straight up; random if None.
        bend_degrees: how much the axis turns from one telomere to the other; mostly small and random if None.
        style: the slide; `StainStyle.sample` if None.
        background: grey level without stain, 0..255; random if None.
    """
    style = style or StainStyle.sample(rng)
    angle = float(rng.uniform(-180.0, 180.0)) if angle_degrees is None else angle_degrees
    ribbon = sweep(label, style, rng, angle_degrees=angle, bend_degrees=bend_degrees)
    level = float(rng.uniform(228.0, 252.0)) if background is None else background
    noise = rng.normal(0.0, float(rng.uniform(0.6, 2.2)), ribbon.absorbance.shape)
    grey = level * transmit(ribbon.absorbance) + noise
    return ChromosomePhantom(
        label=label,
        image=np.clip(np.rint(grey), 0, 255).astype(np.uint8),
        mask=ribbon.mask,
        spine=ribbon.spine,
        centromere=ribbon.centromere,
        p_arm_direction=ribbon.p_arm_direction,
        upright_degrees=upright_turn(ribbon.p_arm_direction),
    )


def transmit(absorbance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of the light that comes through, as a camera shows it.

    Thick stain saturates (stray light and the camera's toe), so two dark layers stay darker than one without
    turning black.
    """
    ceiling = 2.4
    return np.asarray(np.exp(-ceiling * (1.0 - np.exp(-absorbance / ceiling))), dtype=np.float32)


def upright_turn(direction: Point) -> float:
    """Counter-clockwise turn in degrees, in (-180, 180], that makes a direction (x, y down) point up."""
    turn = math.degrees(math.atan2(direction[0], -direction[1]))
    return 180.0 if turn <= -180.0 else turn


def sweep(
    label: str,
    style: StainStyle,
    rng: np.random.Generator,
    *,
    angle_degrees: float,
    bend_degrees: float | None = None,
) -> Ribbon:
    """Sweep one chromosome's bands along a random spine.

    Args:
        label: "1" … "22", "X" or "Y".
        style: the slide.
        rng: source of the spine, the bands' individuality and the chromatin's texture.
        angle_degrees: counter-clockwise turn of the p arm's direction away from straight up.
        bend_degrees: turn of the axis from telomere to telomere; random if None.
    """
    profile = axis_profile(label, style, rng)
    spine = _spine(profile, style, rng, bend_degrees)
    direction = _p_arm_direction(spine, profile)
    turn = math.radians(angle_degrees - -upright_turn(direction))
    spine = spine @ np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    reach = float(profile.half_width.max()) + _PADDING_PX + 2.0 * style.focus_blur_px
    offset = rng.uniform(0.0, 1.0, 2)
    spine = spine - np.floor(spine.min(axis=0)) + math.ceil(reach) + offset
    width, height = (int(v) for v in np.ceil(spine.max(axis=0) + reach))
    along = _paint_axis(spine, profile, width, height)
    absorbance, mask = _stain(along, spine, profile, style, rng)
    centromere = _at(spine, profile.centromere)
    return Ribbon(
        label=label,
        absorbance=absorbance,
        mask=mask,
        spine=spine[profile.first : profile.last + 1].astype(np.float32),
        centromere=centromere,
        p_arm_direction=_p_arm_direction(spine, profile),
    )


def _spine(
    profile: AxisProfile, style: StainStyle, rng: np.random.Generator, bend_degrees: float | None
) -> NDArray[np.float64]:
    """Axis points one pixel apart: a slow bend, a wave, and sometimes a kink where chromatin is thin."""
    count = len(profile.half_width)
    length = profile.last - profile.first
    position = (np.arange(count) - profile.first) / max(length, 1)
    # The longer a chromosome, the more it bends; a few are folded into a hook or a ring's part.
    slack = min(1.0, length / (6.5 * style.width_px))
    if bend_degrees is None:
        spread = 16.0 if rng.random() < 0.5 else 95.0
        total = math.radians(float(np.clip(rng.normal(0.0, spread), -190.0, 190.0))) * slack
    else:
        total = math.radians(bend_degrees)
    sharpness = float(rng.uniform(2.0, 7.0))
    middle = float(rng.uniform(0.25, 0.75))
    heading = 0.5 * total * np.tanh(sharpness * (position - middle)) / math.tanh(sharpness * 0.5)
    heading += (
        slack * float(rng.normal(0.0, 0.17)) * np.sin(2 * math.pi * position + rng.uniform(0, 2 * math.pi))
    )
    kink = float(rng.normal(0.0, 0.16)) * slack
    heading += kink * np.tanh((np.arange(count) - profile.centromere) / (0.35 * style.width_px))
    # The p telomere comes first and lies on top: the axis runs downwards, towards larger y.
    steps = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    return np.cumsum(steps, axis=0)


def _p_arm_direction(spine: NDArray[np.float64], profile: AxisProfile) -> Point:
    cut = round(profile.centromere)
    p_arm, q_arm = spine[profile.first : cut + 1], spine[cut : profile.last + 1]
    delta = p_arm.mean(axis=0) - q_arm.mean(axis=0)
    x, y = delta / np.linalg.norm(delta)
    return float(x), float(y)


def _at(spine: NDArray[np.float64], index: float) -> Point:
    indices = np.arange(len(spine))
    return float(np.interp(index, indices, spine[:, 0])), float(np.interp(index, indices, spine[:, 1]))


def _normals(spine: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    tangent = np.gradient(spine, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    return tangent, np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)


def _paint_axis(
    spine: NDArray[np.float64], profile: AxisProfile, width: int, height: int
) -> NDArray[np.int32]:
    """(height, width) index of the axis sample that each pixel belongs to, -1 outside of the ribbon."""
    _, normal = _normals(spine)
    reach = np.maximum(profile.half_width, 0.0)[:, None] + 1.5
    left, right = spine + normal * reach, spine - normal * reach
    quads = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    fixed = np.rint(quads * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    along = np.full((height, width), -1, dtype=np.int32)
    for i, quad in enumerate(fixed):
        cv2.fillConvexPoly(along, quad, (i,), lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    return along


def _stain(
    along: NDArray[np.int32],
    spine: NDArray[np.float64],
    profile: AxisProfile,
    style: StainStyle,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rows, columns = np.nonzero(along >= 0)
    index = along[rows, columns]
    tangent, normal = _normals(spine)
    offset = np.stack([columns, rows], axis=1) - spine[index]
    across = np.einsum("ij,ij->i", offset, normal[index])
    position = index + np.einsum("ij,ij->i", offset, tangent[index])
    samples = np.arange(len(spine))
    speckle = rng.standard_normal(along.shape, dtype=np.float32)
    fine = np.asarray(cv2.GaussianBlur(speckle, (0, 0), 1.1), dtype=np.float32)[rows, columns]
    coarse = np.asarray(cv2.GaussianBlur(speckle, (0, 0), 2.6), dtype=np.float32)[rows, columns]
    # 0.256 and 0.109 are what these blurs leave of a standard deviation of 1.
    fine, coarse = fine / np.float32(0.256), coarse / np.float32(0.109)
    half = np.interp(position, samples, profile.half_width) + style.ragged_px * coarse
    cover = np.clip(half - np.abs(across) + 0.5, 0.0, 1.0)
    relative = across / np.maximum(half, 1.0)
    # Bands bow, lean, and sit at slightly other heights on the two chromatids.
    bow, lean, step = rng.normal(0.0, (0.9, 0.05, 0.45))
    read = position + bow * relative**2 + lean * across + step * np.tanh(across)
    density = np.interp(read, samples, profile.absorbance)
    density *= 0.96 + 0.07 * np.minimum(relative**2, 1.0)
    density *= 1.0 - style.chromatid_gap * np.exp(-0.5 * (across / 1.2) ** 2)
    texture = np.maximum(1.0 + style.grain * (0.8 * fine + 0.8 * coarse), 0.3)
    canvas = np.zeros(along.shape, dtype=np.float32)
    canvas[rows, columns] = density * cover * texture
    mask = np.zeros(along.shape, dtype=np.bool_)
    mask[rows, columns] = cover >= 0.5
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), style.focus_blur_px), dtype=np.float32), mask
