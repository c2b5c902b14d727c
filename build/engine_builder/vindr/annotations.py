"""The boxes of a VinDr-CXR folder: read from either of its two layouts, readers merged, labels in one order.

Layouts: PhysioNet's (`annotations/annotations_train.csv` and `annotations_test.csv`, films in `train/` and
`test/`) and the public challenge's (`train.csv`, films in `train/`). Source: Nguyen et al., Sci Data 9:429,
2022.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.models.film_contract import is_no_finding
from appliance.models.golden_objects import box_iou
from appliance.models.reference import FINDING_LABELS
from engine_builder.errors import BuildFailed

OTHER: Final = "Other lesion"
MERGE_IOU: Final = 0.4
"""Boxes of one label that several readers drew and that overlap this much are one finding."""

_LOCAL_LABELS: Final = frozenset(
    (
        "Clavicle fracture",
        "Edema",
        "Emphysema",
        "Enlarged PA",
        "Lung cavity",
        "Lung cyst",
        "Mediastinal shift",
        "Rib fracture",
    )
)
"""Labels that PhysioNet's layout has beyond the 14, which count them as other lesions."""


@dataclass(frozen=True)
class Annotated:
    """What readers drew on one film."""

    boxes: NDArray[np.float64]  # (N, 4) x0, y0, x1, y1 in film pixels
    labels: NDArray[np.int64]  # (N,) index into FINDING_LABELS


@dataclass(frozen=True)
class Part:
    """One CSV and the films that it speaks of."""

    name: str  # "train" or "test"
    films: Path
    annotated: dict[str, Annotated]  # by image id; a film without findings has no boxes
    folded: dict[str, int]  # rows by label that count as other lesions


def read_parts(folder: Path) -> tuple[Part, ...]:
    """Every annotated part of a folder, the training part first.

    Raises:
        BuildFailed: the folder has neither layout, or a row of a CSV is not understood.
    """
    nested = folder / "annotations"
    places = [
        (name, folder / name, csv_path)
        for name, csv_path in (
            ("train", nested / "annotations_train.csv"),
            ("train", folder / "train.csv"),
            ("test", nested / "annotations_test.csv"),
        )
        if csv_path.is_file()
    ]
    if not places or places[0][0] != "train":
        raise BuildFailed(
            f"expected VinDr-CXR in {folder} (annotations/annotations_train.csv or train.csv) and got neither"
        )
    parts = []
    for name, films, csv_path in places:
        if not films.is_dir():
            raise BuildFailed(f"expected the films of {csv_path.name} in {films} and got no folder")
        annotated, folded = read_annotations(csv_path)
        parts.append(Part(name, films, annotated, folded))
    return tuple(parts)


def read_annotations(path: Path) -> tuple[dict[str, Annotated], dict[str, int]]:
    """Boxes by image id, and how many rows were folded into "Other lesion".

    Raises:
        BuildFailed: columns are missing, a label is unknown, or a box is none.
    """
    rows: dict[str, list[tuple[int, tuple[float, float, float, float]]]] = defaultdict(list)
    folded: Counter[str] = Counter()
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        wanted = {"image_id", "class_name", "x_min", "y_min", "x_max", "y_max"}
        missing = sorted(wanted - set(reader.fieldnames or ()))
        if missing:
            raise BuildFailed(f"expected columns {', '.join(missing)} in {path.name} and got none")
        for number, row in enumerate(reader, start=2):
            found = rows[row["image_id"]]
            label = row["class_name"].strip()
            if is_no_finding(label):
                continue
            if label in _LOCAL_LABELS:
                folded[label] += 1
                label = OTHER
            if label not in FINDING_LABELS:
                raise BuildFailed(
                    f"expected a label of VinDr-CXR in line {number} of {path.name} and got {label!r}"
                )
            found.append((FINDING_LABELS.index(label), _box(row, number, path.name)))
    return {name: _merged(found) for name, found in rows.items()}, dict(folded)


def _box(row: dict[str, str], number: int, name: str) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = (float(row[key]) for key in ("x_min", "y_min", "x_max", "y_max"))
    except ValueError as exc:
        raise BuildFailed(f"expected four numbers for the box in line {number} of {name}") from exc
    if not (np.isfinite([x0, y0, x1, y1]).all() and x1 > x0 and y1 > y0):
        raise BuildFailed(f"expected a box in line {number} of {name} and got {x0:g} {y0:g} {x1:g} {y1:g}")
    return x0, y0, x1, y1


def _merged(rows: list[tuple[int, tuple[float, float, float, float]]]) -> Annotated:
    """The readers' boxes of one film, overlapping ones of one label averaged."""
    boxes: list[NDArray[np.float64]] = []
    labels: list[int] = []
    for label in sorted({label for label, _ in rows}):
        groups: list[list[NDArray[np.float64]]] = []
        for box in (np.array(box) for found, box in rows if found == label):
            means = np.array([np.mean(group, axis=0) for group in groups]).reshape(-1, 4)
            overlaps = box_iou(box[None], means)[0]
            if len(overlaps) and overlaps.max() >= MERGE_IOU:
                groups[int(overlaps.argmax())].append(box)
            else:
                groups.append([box])
        boxes += [np.mean(group, axis=0) for group in groups]
        labels += [label] * len(groups)
    return Annotated(np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int64))
