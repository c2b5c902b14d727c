"""What is true of the spreads, phantoms and single chromosomes that accuracy is measured on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.phantoms.metaphase import MetaphasePhantom, metaphase_phantom

SAMPLE_SEED = 54816
PHANTOM_SEED = 54_000
"""Training uses seeds from 1000 on, tests small ones."""
KARYOTYPES = ("46,XX", "46,XY", "47,XX,+21", "45,X")


@dataclass(frozen=True)
class TrueSpread:
    """One image of a split and what is true of it."""

    path: Path
    case: str
    boxes: NDArray[np.float64]  # (M, 4) x0, y0, x1, y1 in pixels
    labels: NDArray[np.int64]  # (M,) index into CHROMOSOME_LABELS


def read_split(metaphases: Path, how_many: int | None, split: str = "test") -> list[TrueSpread]:
    """The spreads of a split, or a random sample of them that is the same every time.

    Args:
        metaphases: folder with `SPLIT.json` and the images that it names.
        how_many: size of the sample; None means all.
        split: "test", or "val" while something is being chosen.
    """
    document = json.loads((metaphases / f"{split}.json").read_text())
    index_of = {c["id"]: CHROMOSOME_LABELS.index(c["name"]) for c in document["categories"]}
    marked: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        marked[annotation["image_id"]].append(annotation)
    spreads = []
    for image in document["images"]:
        corners = np.array([a["bbox"] for a in marked[image["id"]]], dtype=np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = np.array([index_of[a["category_id"]] for a in marked[image["id"]]], dtype=np.int64)
        spreads.append(TrueSpread(metaphases / image["file_name"], image["case"], corners, labels))
    if how_many is None or how_many >= len(spreads):
        return spreads
    chosen = np.random.default_rng(SAMPLE_SEED).choice(len(spreads), how_many, replace=False)
    return [spreads[index] for index in sorted(chosen)]


def phantoms(how_many: int) -> Iterator[MetaphasePhantom]:
    """Phantom spreads from easy to hard that nothing was trained or chosen on."""
    for number in range(how_many):
        yield metaphase_phantom(PHANTOM_SEED + number, KARYOTYPES[number % len(KARYOTYPES)])
