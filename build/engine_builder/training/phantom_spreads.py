"""Phantom spreads in the form of the real ones, exactly labelled: mixed into training, measured apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from appliance.analysis import CHROMOSOME_LABELS
from appliance.models.preprocessing import FIELD_SCALE, crop_scale, normalise_stain, resize, upright_crop
from appliance.phantoms.metaphase import MetaphasePhantom, metaphase_phantom
from engine_builder.training.spreads import STAIN_UNITS, Crops, Field

KARYOTYPES = ("46,XX", "46,XY", "47,XX,+21", "47,XY,+18", "45,X", "47,XXY")
FIRST_SEED = 1000
PHANTOMS = 160
"""Phantoms that training mixes with the 2,301 real spreads."""


def phantom(number: int) -> MetaphasePhantom:
    """The training phantom of that number."""
    return metaphase_phantom(FIRST_SEED + number, KARYOTYPES[number % len(KARYOTYPES)])


def field_of(spread: MetaphasePhantom) -> Field:
    """A phantom at half scale; a crossing's pixels go to the shorter chromosome, as in most pseudo-masks."""
    height, width = spread.image.shape
    instances = np.zeros((height, width), np.uint8)
    boxes = np.array([[t.box.x, t.box.y, t.box.width, t.box.height] for t in spread.chromosomes], np.float32)
    for index in np.argsort([-int(t.mask.sum()) for t in spread.chromosomes]):
        truth = spread.chromosomes[index]
        top, left = int(truth.box.y), int(truth.box.x)
        instances[top : top + truth.mask.shape[0], left : left + truth.mask.shape[1]][truth.mask] = index + 1
    classes = np.where(instances > 0, 1, np.where(spread.nuclei_mask | spread.debris_mask, 2, 0)).astype(
        np.uint8
    )
    small = resize(normalise_stain(spread.image), round(width * FIELD_SCALE), round(height * FIELD_SCALE))
    size = small.shape[::-1]
    return Field(
        stain=np.round(small * STAIN_UNITS).astype(np.uint8),
        instances=np.asarray(cv2.resize(instances, size, interpolation=cv2.INTER_NEAREST), np.uint8),
        classes=np.asarray(cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST), np.uint8),
        boxes=boxes * np.float32(FIELD_SCALE),
        labels=np.array([CHROMOSOME_LABELS.index(t.label) for t in spread.chromosomes]),
    )


def crops_of(spread: MetaphasePhantom) -> NDArray[np.uint8]:
    """Crops with the p arm up: (N, 128, 96)."""
    stain = normalise_stain(spread.image)
    scale = crop_scale(np.array([float(t.mask.sum()) for t in spread.chromosomes]))
    crops = []
    for truth in spread.chromosomes:
        top, left = int(truth.box.y), int(truth.box.x)
        window = stain[top : top + truth.mask.shape[0], left : left + truth.mask.shape[1]]
        crops.append(np.round(upright_crop(window, truth.mask, scale, truth.upright_degrees) * STAIN_UNITS))
    return np.stack(crops).astype(np.uint8)


def cached_phantoms(count: int, cache: Path) -> tuple[list[Field], Crops]:
    """Fields and crops of `count` training phantoms, from `cache` when they are there."""
    target = cache / f"phantoms-{count}.npz"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fields, crops = [], []
        for number in track(range(count), description="phantoms"):
            spread = phantom(number)
            fields.append(field_of(spread))
            crops.append(crops_of(spread))
        np.savez(
            target,
            planes=np.stack([np.stack([f.stain, f.instances, f.classes]) for f in fields]),
            counts=np.array([len(f.boxes) for f in fields]),
            boxes=np.concatenate([f.boxes for f in fields]),
            labels=np.concatenate([f.labels for f in fields]),
            crops=np.concatenate(crops),
        )
    with np.load(target) as stored:
        arrays = {name: stored[name] for name in stored.files}
    fields, start = [], 0
    for planes, size in zip(arrays["planes"], arrays["counts"], strict=True):
        part = slice(start, start + int(size))
        fields.append(Field(planes[0], planes[1], planes[2], arrays["boxes"][part], arrays["labels"][part]))
        start = part.stop
    spreads = np.repeat(np.arange(len(fields)), arrays["counts"])
    return fields, Crops(arrays["crops"], arrays["labels"], spreads)
