"""Makes the golden set of each role: phantoms that no training saw, with exact truth, for the gate on the
boxes.

`python -m engine_builder.release.exams` writes them into `appliance/updates/exams`, each with the mean score
of the factory pack less a little as its floor, for boxes on which nothing serves.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from appliance.models.pixels import pixel_input
from appliance.models.preprocessing import field_input
from appliance.phantoms.chest_film import chest_phantom
from appliance.phantoms.metaphase import MetaphasePhantom
from appliance.updates.exam import STAIN_UNITS, Exam, score
from appliance.updates.exam_room import SHIPPED
from engine_builder.training.phantom_spreads import PHANTOMS, crops_of, field_of, phantom
from engine_builder.training.spreads import Field
from engines import open_engine
from engines.options import EngineOptions

FIRST = PHANTOMS + 40
"""Behind the phantoms of training and of the golden cases."""

SPREADS = 3
FILMS = 5
FILM_SIDE = 640
FINDINGS = ("Cardiomegaly", "Pleural effusion", "Nodule/Mass", "Pneumothorax", "Consolidation")
BELOW = 0.03
"""By how much the floor is below the factory pack."""

Arrays = dict[str, NDArray[Any]]


def spreads() -> list[MetaphasePhantom]:
    """The phantom cells of the exams."""
    return [phantom(FIRST + number) for number in range(SPREADS)]


def classifier_exam(cells: list[MetaphasePhantom]) -> Arrays:
    """Upright crops with their classes."""
    labels = [CHROMOSOME_LABELS.index(truth.label) for cell in cells for truth in cell.chromosomes]
    return {"crops": np.concatenate([crops_of(cell) for cell in cells]), "labels": np.array(labels, np.int64)}


def field_exams(cells: list[MetaphasePhantom]) -> tuple[Arrays, Arrays]:
    """Whole fields with the class of each pixel, and with the box of each chromosome."""
    canvases, classes, boxes, owners = [], [], [], []
    for number, cell in enumerate(cells):
        field = field_of(cell)
        canvas, truth, corners = _placed(field)
        canvases.append(canvas)
        classes.append(truth)
        boxes.append(corners)
        owners.append(np.full(len(corners), number))
    fields = np.stack(canvases)
    return (
        {"fields": fields, "classes": np.stack(classes)},
        {"fields": fields, "boxes": np.concatenate(boxes), "owners": np.concatenate(owners)},
    )


def film_exam() -> Arrays:
    """Phantom films with painted findings."""
    rng = np.random.default_rng(4242)
    films, boxes, names, owners = [], [], [], []
    for number in range(FILMS):
        wanted = tuple(rng.permutation(FINDINGS)[:2])
        made = chest_phantom(rng, FILM_SIDE, wanted)
        films.append(made.image)
        for finding in made.findings:
            box = finding.box
            boxes.append([box.x, box.y, box.x + box.width, box.y + box.height])
            names.append(finding.label)
            owners.append(number)
    return {
        "films": np.stack(films),
        "boxes": np.array(boxes, np.float64),
        "names": np.array(names),
        "owners": np.array(owners),
    }


def with_floor(arrays: Arrays, role: Role, factory: Path) -> tuple[Arrays, float]:
    """The exam with the factory pack's mean score, less a little, as its floor; and that score."""
    pack = ModelPack.open(factory)
    if pack.manifest.role is not role:
        raise ValueError(f"expected a pack for {role.value} and got one for {pack.manifest.role.value}")
    options = replace(EngineOptions(), pixels=pixel_input(pack.manifest))
    with open_engine(pack.model_path, options).engine as engine:
        scores = score(pack.manifest, engine.infer, Exam(arrays, ""))
    mean = float(np.mean(scores))
    return arrays | {"floor": np.array(mean - BELOW)}, mean


def _placed(field: Field) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]:
    stain = field.stain.astype(np.float32) / STAIN_UNITS
    canvas, placement = field_input(stain, max_scale=1.0)
    height, width = (max(1, round(side * placement.scale)) for side in stain.shape)
    truth = np.zeros(canvas.shape[2:], np.uint8)
    small = cv2.resize(field.classes, (width, height), interpolation=cv2.INTER_NEAREST)
    truth[placement.top : placement.top + height, placement.left : placement.left + width] = small
    corners = np.concatenate([field.boxes[:, :2], field.boxes[:, :2] + field.boxes[:, 2:]], axis=1)
    placed = corners * placement.scale + np.array([placement.left, placement.top] * 2)
    return np.round(canvas[0, 0] * STAIN_UNITS).astype(np.uint8), truth, placed.astype(np.float64)


def main() -> None:
    """Write the exam of each role that has a factory pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factory", type=Path, default=Path("engines/factory"))
    parser.add_argument("--output", type=Path, default=SHIPPED)
    options = parser.parse_args()
    cells = spreads()
    segmenter, detector = field_exams(cells)
    exams: Mapping[Role, Arrays] = {
        Role.KARYOTYPE_SEGMENTER: segmenter,
        Role.KARYOTYPE_DETECTOR: detector,
        Role.KARYOTYPE_CLASSIFIER: classifier_exam(cells),
        Role.CHEST_XRAY_DETECTOR: film_exam(),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    for directory in sorted(options.factory.iterdir()):
        role = ModelPack.open(directory).manifest.role
        arrays, mean = with_floor(exams[role], role, directory)
        target = options.output / f"{role.value}.npz"
        np.savez_compressed(target, allow_pickle=False, **arrays)
        print(f"{role.value}: {target.stat().st_size} bytes, {directory.name} scores {mean:.4f}")


if __name__ == "__main__":
    main()
