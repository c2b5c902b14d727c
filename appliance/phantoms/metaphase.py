"""A synthetic G-banded metaphase spread with exact truth: any karyotype, any mess, the same for a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box
from appliance.phantoms.cells import cell_labels
from appliance.phantoms.chromosome import Point, Ribbon, sweep, transmit, upright_turn
from appliance.phantoms.field import FieldStyle, Stamp, empty_field, ghost, nucleus, speck_cluster
from appliance.phantoms.layout import Contact, Position, SpreadLayout
from appliance.phantoms.staining import StainStyle

DEFAULT_SIZE = (1360, 1024)
"""Width and height in pixels of a common metaphase camera's full field."""


@dataclass(frozen=True)
class SpreadStyle:
    """How one phantom spread looks: slide, field, and how its chromosomes lie."""

    stain: StainStyle = field(default_factory=StainStyle)
    field: FieldStyle = field(default_factory=FieldStyle)
    touching_share: float = 0.15  # share of the chromosomes laid against another one
    overlapping_share: float = 0.08  # share of the chromosomes laid across another one
    radius_px: float = 270.0  # of the disc that the spread is thrown on; grows when it is full

    @staticmethod
    def sample(rng: np.random.Generator) -> SpreadStyle:
        """A plausible spread, from easy to hard."""
        stain = StainStyle.sample(rng)
        return SpreadStyle(
            stain=stain,
            field=FieldStyle.sample(rng),
            touching_share=float(rng.uniform(0.0, 0.4)),
            overlapping_share=float(rng.uniform(0.0, 0.25)),
            radius_px=float(np.clip(rng.normal(1.75, 0.25), 1.35, 2.6)) * stain.length_px,
        )


@dataclass(frozen=True)
class ChromosomeTruth:
    """What is true of one chromosome of a phantom spread; coordinates in pixels of the field."""

    label: str
    box: Box  # tight around the mask
    mask: NDArray[np.bool_]  # (box.height, box.width); an overlapped pixel belongs to both chromosomes
    spine: NDArray[np.float32]  # (n, 2) x, y along the axis, p telomere first
    centromere: Point
    p_arm_direction: Point  # unit vector (x, y down) from the middle of the q arm to the middle of the p arm
    upright_degrees: float  # counter-clockwise turn that brings the p arm up, in (-180, 180]
    touching: tuple[int, ...]  # indices of chromosomes whose masks meet or overlap this one

    def full_mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """(height, width) mask of the chromosome in the field."""
        full = np.zeros((height, width), dtype=np.bool_)
        top, left = int(self.box.y), int(self.box.x)
        full[top : top + self.mask.shape[0], left : left + self.mask.shape[1]] = self.mask
        return full


@dataclass(frozen=True)
class MetaphasePhantom:
    """A phantom field and everything that is true of it."""

    image: NDArray[np.uint8]  # (H, W) grey, dark stain on a light background
    chromosomes: tuple[ChromosomeTruth, ...]  # in ISCN order
    nuclei_mask: NDArray[np.bool_]  # (H, W)
    debris_mask: NDArray[np.bool_]  # (H, W)
    karyotype: tuple[str, ...]  # labels, one per chromosome
    style: SpreadStyle

    def chromosome_mask(self) -> NDArray[np.bool_]:
        """(H, W) all pixels that belong to any chromosome."""
        union = np.zeros(self.image.shape, dtype=np.bool_)
        for truth in self.chromosomes:
            top, left = int(truth.box.y), int(truth.box.x)
            union[top : top + truth.mask.shape[0], left : left + truth.mask.shape[1]] |= truth.mask
        return union


def metaphase_phantom(
    seed: int,
    karyotype: str | Mapping[str, int] | Sequence[str] = "46,XY",
    *,
    size: tuple[int, int] = DEFAULT_SIZE,
    style: SpreadStyle | None = None,
) -> MetaphasePhantom:
    """Make one spread; equal arguments give equal pixels.

    Args:
        seed: of everything random.
        karyotype: see `cell_labels`.
        size: width and height of the field in pixels; it must hold the spread.
        style: `SpreadStyle.sample` of the seed if None.

    Raises:
        ValueError: unreadable karyotype, or a field too small for one chromosome.
    """
    rng = np.random.default_rng(seed)
    labels = cell_labels(karyotype)
    style = style or SpreadStyle.sample(rng)
    width, height = size
    margin = 0.5 * style.stain.length_px
    radius = min(style.radius_px, max(1.0, 0.5 * min(width, height) - margin))
    slack = np.maximum(np.array([width, height]) / 2.0 - radius - margin, 0.0)
    centre = np.array([width, height]) / 2.0 + slack * rng.uniform(-1.0, 1.0, 2) * 0.8
    layout = SpreadLayout((height, width), (float(centre[0]), float(centre[1])), radius, rng)
    stain = np.zeros((height, width), dtype=np.float32)
    nuclei = np.zeros((height, width), dtype=np.bool_)
    for stamp in _nuclei(style, (height, width), centre, radius, rng):
        _add(stain, nuclei, stamp)
    layout.block(nuclei, Position(0, 0))
    placed = _lay_out(labels, style, layout, rng)
    for ribbon, position in placed:
        _add(stain, None, Stamp(position.left, position.top, ribbon.absorbance, ribbon.mask))
    debris = np.zeros((height, width), dtype=np.bool_)
    for stamp in _dirt(style, (height, width), centre, radius, rng):
        _add(stain, debris, stamp)
    light = empty_field((height, width), style.field, rng)
    grain = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), 0.6)
    # 0.47 is what this blur leaves of a standard deviation of 1.
    grey = light * transmit(stain) + grain * (style.field.noise / 0.47)
    return MetaphasePhantom(
        image=np.clip(np.rint(grey), 0, 255).astype(np.uint8),
        chromosomes=_truths(placed),
        nuclei_mask=nuclei,
        debris_mask=debris,
        karyotype=labels,
        style=style,
    )


def _lay_out(
    labels: tuple[str, ...], style: SpreadStyle, layout: SpreadLayout, rng: np.random.Generator
) -> list[tuple[Ribbon, Position]]:
    """Place the chromosomes in random order; the answer is in the order of `labels`."""
    placed: dict[int, tuple[Ribbon, Position]] = {}
    for index in rng.permutation(len(labels)):
        ribbon = sweep(labels[index], style.stain, rng, angle_degrees=float(rng.uniform(-180.0, 180.0)))
        chance = float(rng.random())
        if chance < style.overlapping_share:
            contact = Contact.OVERLAPPING
        elif chance < style.overlapping_share + style.touching_share:
            contact = Contact.TOUCHING
        else:
            contact = Contact.APART
        placed[int(index)] = (ribbon, layout.place(ribbon.mask, contact))
    return [placed[i] for i in range(len(labels))]


def _nuclei(
    style: SpreadStyle,
    shape: tuple[int, int],
    centre: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> list[Stamp]:
    """Nuclei beside the spread: most of each lies off the disc that holds the chromosomes."""
    stamps = []
    for _ in range(style.field.nuclei):
        diameter = float(rng.uniform(0.85, 1.7)) * style.stain.length_px
        stamp = nucleus(diameter, rng)
        for _ in range(60):
            at = rng.uniform(0.0, 1.0, 2) * np.array([shape[1], shape[0]])
            if float(np.linalg.norm(at - centre)) > radius + 0.45 * diameter:
                side = stamp.mask.shape[0] / 2.0
                left, top = round(float(at[0]) - side), round(float(at[1]) - side)
                stamps.append(Stamp(left, top, stamp.absorbance, stamp.mask))
                break
    return stamps


def _dirt(
    style: SpreadStyle,
    shape: tuple[int, int],
    centre: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> list[Stamp]:
    """Specks all over the field, some of them among the chromosomes, and ghosts out of focus."""
    stamps = []
    for number in range(style.field.debris + style.field.ghosts):
        stamp = speck_cluster(rng) if number < style.field.debris else ghost(rng)
        at = rng.uniform(0.0, 1.0, 2) * np.array([shape[1], shape[0]])
        if rng.random() < 0.35:
            at = centre + rng.normal(0.0, 0.6 * radius, 2)
        half = stamp.mask.shape[0] / 2.0
        left, top = round(float(at[0]) - half), round(float(at[1]) - half)
        stamps.append(Stamp(left, top, stamp.absorbance, stamp.mask))
    return stamps


def _add(stain: NDArray[np.float32], mask: NDArray[np.bool_] | None, stamp: Stamp) -> None:
    """Add a stamp's absorbance to the field's, and its pixels to a mask; what lies outside is cut off."""
    height, width = stamp.mask.shape
    top, left = max(stamp.top, 0), max(stamp.left, 0)
    bottom, right = min(stamp.top + height, stain.shape[0]), min(stamp.left + width, stain.shape[1])
    if bottom <= top or right <= left:
        return
    rows = slice(top - stamp.top, bottom - stamp.top)
    columns = slice(left - stamp.left, right - stamp.left)
    stain[top:bottom, left:right] += stamp.absorbance[rows, columns]
    if mask is not None:
        mask[top:bottom, left:right] |= stamp.mask[rows, columns]


def _truths(placed: list[tuple[Ribbon, Position]]) -> tuple[ChromosomeTruth, ...]:
    tight = [_tight(ribbon, position) for ribbon, position in placed]
    truths = []
    for i, (ribbon, position) in enumerate(placed):
        offset = np.array([position.left, position.top], dtype=np.float32)
        box, mask = tight[i]
        truths.append(
            ChromosomeTruth(
                label=ribbon.label,
                box=box,
                mask=mask,
                spine=ribbon.spine + offset,
                centromere=(ribbon.centromere[0] + position.left, ribbon.centromere[1] + position.top),
                p_arm_direction=ribbon.p_arm_direction,
                upright_degrees=upright_turn(ribbon.p_arm_direction),
                touching=tuple(j for j, other in enumerate(tight) if j != i and _meet(tight[i], other)),
            )
        )
    return tuple(truths)


def _tight(ribbon: Ribbon, position: Position) -> tuple[Box, NDArray[np.bool_]]:
    x, y, width, height = cv2.boundingRect(ribbon.mask.astype(np.uint8))
    box = Box(x=x + position.left, y=y + position.top, width=width, height=height)
    return box, ribbon.mask[y : y + height, x : x + width]


def _meet(one: tuple[Box, NDArray[np.bool_]], other: tuple[Box, NDArray[np.bool_]]) -> bool:
    """Whether two masks share a pixel or lie next to each other (eight neighbours)."""
    (a, mine), (b, theirs) = one, other
    left, top = int(max(a.x, b.x)) - 1, int(max(a.y, b.y)) - 1
    right, bottom = int(min(a.x + a.width, b.x + b.width)) + 1, int(min(a.y + a.height, b.y + b.height)) + 1
    if right <= left or bottom <= top:
        return False
    window = np.zeros((2, bottom - top, right - left), dtype=np.uint8)
    for layer, (box, mask) in zip(window, ((a, mine), (b, theirs)), strict=True):
        x0, y0 = max(int(box.x), left), max(int(box.y), top)
        x1, y1 = min(int(box.x + box.width), right), min(int(box.y + box.height), bottom)
        layer[y0 - top : y1 - top, x0 - left : x1 - left] = mask[
            y0 - int(box.y) : y1 - int(box.y), x0 - int(box.x) : x1 - int(box.x)
        ]
    grown = cv2.dilate(window[0], np.ones((3, 3), np.uint8))
    return bool(np.any(np.asarray(grown) & window[1]))
