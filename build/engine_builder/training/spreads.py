"""The metaphase set as arrays: half-scale fields with labels, and upright crops, cached on disk.

Source: a part of CIL:54816, doi 10.7295/W9CIL54816, Sci Data 10:104 (2023); splits are by case.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from appliance.models.preprocessing import (
    CROP_HEIGHT,
    CROP_WIDTH,
    FIELD_SCALE,
    crop_scale,
    normalise_stain,
    resize,
    upright_crop,
)
from engine_builder.training.pseudo_masks import FieldLabels, label_field

STAIN_UNITS = 200.0
"""Cached stain is uint8: stain × 200, so that the clip at 1.25 fits."""


@dataclass(frozen=True)
class SpreadRecord:
    """One image of a split and its truth."""

    path: Path
    case: str
    kind: str
    boxes: NDArray[np.float32]  # (N, 4) x, y, width, height in image pixels
    labels: NDArray[np.int64]  # (N,), 0 = chromosome 1, … 22 = X, 23 = Y


@dataclass(frozen=True)
class Field:
    """A spread at half scale, as the detector and the segmenter see it."""

    stain: NDArray[np.uint8]  # (H, W), stain × STAIN_UNITS
    instances: NDArray[np.uint8]  # (H, W), 0 = none, n = box n-1
    classes: NDArray[np.uint8]  # (H, W), as FieldLabels.classes
    boxes: NDArray[np.float32]  # (N, 4) x, y, width, height in pixels of this field
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Crops:
    """Upright crops of all chromosomes of a split."""

    pixels: NDArray[np.uint8]  # (M, CROP_HEIGHT, CROP_WIDTH), stain × STAIN_UNITS
    labels: NDArray[np.int64]  # (M,)
    spreads: NDArray[np.int64]  # (M,), position of the spread in the split


def read_split(folder: Path, split: str) -> list[SpreadRecord]:
    """Read `train`, `val` or `test` of the COCO-style set in `folder`."""
    document = json.loads((folder / f"{split}.json").read_text())
    annotations: dict[int, list[dict[str, object]]] = {}
    for annotation in document["annotations"]:
        annotations.setdefault(annotation["image_id"], []).append(annotation)
    return [
        SpreadRecord(
            path=folder / image["file_name"],
            case=str(image["case"]),
            kind=str(image["kind"]),
            boxes=np.array([a["bbox"] for a in annotations[image["id"]]], dtype=np.float32),
            labels=np.array([a["category_id"] for a in annotations[image["id"]]], dtype=np.int64) - 1,
        )
        for image in document["images"]
    ]


def read_stain(record: SpreadRecord) -> NDArray[np.float32]:
    """Decode a spread and normalise its stain: (H, W) float32 at full scale."""
    grey = cv2.imread(str(record.path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise FileNotFoundError(f"cannot read {record.path.name}")
    return normalise_stain(np.asarray(grey, dtype=np.uint8))


def half_scale(
    stain: NDArray[np.float32], boxes: NDArray[np.float32]
) -> tuple[NDArray[np.float32], FieldLabels]:
    """Shrink a field to the networks' scale and label it."""
    height, width = stain.shape
    small = resize(stain, round(width * FIELD_SCALE), round(height * FIELD_SCALE))
    return small, label_field(small, boxes * FIELD_SCALE)


def iterate_fields(records: list[SpreadRecord]) -> Iterator[Field]:
    """Label each spread at half scale."""
    for record in track(records, description="fields"):
        small, labels = half_scale(read_stain(record), record.boxes)
        yield Field(
            stain=np.round(small * STAIN_UNITS).astype(np.uint8),
            instances=labels.instances.astype(np.uint8),
            classes=labels.classes,
            boxes=record.boxes * FIELD_SCALE,
            labels=record.labels,
        )


def crops_of(record: SpreadRecord) -> NDArray[np.uint8]:
    """Upright crops of one spread, cut with its pseudo-masks at full scale: (N, CROP_HEIGHT, CROP_WIDTH)."""
    stain = read_stain(record)
    _, labels = half_scale(stain, record.boxes)
    height, width = stain.shape
    instances = cv2.resize(labels.instances, (width, height), interpolation=cv2.INTER_NEAREST)
    stained = stain > labels.threshold * 0.8
    areas = np.array(
        [max(int((labels.instances == n + 1).sum()) * 4, 1) for n in range(len(record.boxes))], float
    )
    scale = crop_scale(areas)
    crops = np.zeros((len(record.boxes), CROP_HEIGHT, CROP_WIDTH), dtype=np.uint8)
    for index, (x, y, box_width, box_height) in enumerate(record.boxes):
        x0, y0 = max(int(x) - 2, 0), max(int(y) - 2, 0)
        window = (slice(y0, int(y + box_height) + 3), slice(x0, int(x + box_width) + 3))
        mask = (instances[window] == index + 1) & stained[window]
        if mask.sum() < 20:
            mask = np.ones_like(mask)
        crops[index] = np.round(upright_crop(stain[window], mask, scale) * STAIN_UNITS)
    return crops


def cached_fields(folder: Path, split: str, cache: Path) -> list[Field]:
    """All fields of a split, from `cache` when they are there."""
    target = cache / f"fields-{split}.npz"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fields = list(iterate_fields(read_split(folder, split)))
        np.savez(
            target,
            shapes=np.array([f.stain.shape for f in fields]),
            counts=np.array([len(f.boxes) for f in fields]),
            stain=np.concatenate([f.stain.ravel() for f in fields]),
            instances=np.concatenate([f.instances.ravel() for f in fields]),
            classes=np.concatenate([f.classes.ravel() for f in fields]),
            boxes=np.concatenate([f.boxes for f in fields]),
            labels=np.concatenate([f.labels for f in fields]),
        )
        return fields
    with np.load(target) as stored:
        arrays = {name: stored[name] for name in stored.files}
    fields, pixel, item = [], 0, 0
    for (height, width), count in zip(arrays["shapes"], arrays["counts"], strict=True):
        pixels, items = slice(pixel, pixel + height * width), slice(item, item + count)
        planes = [arrays[name][pixels].reshape(height, width) for name in ("stain", "instances", "classes")]
        fields.append(Field(planes[0], planes[1], planes[2], arrays["boxes"][items], arrays["labels"][items]))
        pixel, item = pixels.stop, items.stop
    return fields


def cached_crops(folder: Path, split: str, cache: Path) -> Crops:
    """All crops of a split, from `cache` when they are there."""
    target = cache / f"crops-{split}.npz"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        records = read_split(folder, split)
        np.savez(
            target,
            pixels=np.concatenate([crops_of(record) for record in track(records, description="crops")]),
            labels=np.concatenate([record.labels for record in records]),
            spreads=np.concatenate([np.full(len(r.labels), n) for n, r in enumerate(records)]),
        )
    with np.load(target) as stored:
        return Crops(stored["pixels"], stored["labels"], stored["spreads"])
