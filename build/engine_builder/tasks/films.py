"""Calibration samples and metric of the chest X-ray model: findings painted onto films, so not radiology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from appliance.chest_xray.decoding import decode, suppress
from appliance.models.reference import FILM_SIZE, FINDING_LABELS
from engine_builder.metrics import ScoredImage, average_precision, class_hits, match
from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from engine_builder.training.xray import FilmPainter, FilmSample, read_films, split_films

FILMS: Final = 96
MIN_SCORE: Final = 0.25
MAX_IOU: Final = 0.5
MAX_FINDINGS: Final = 100
_CALIBRATION_SEED, _METRIC_SEED = 11, 7


def calibration(place: Workspace) -> Iterator[Tensors]:
    """Painted films of the training patients, without end."""
    films = split_films(read_films(place.data / "chest_xrays"))["train"]
    painter = FilmPainter(films, _CALIBRATION_SEED, FILM_SIZE, augment=True)
    while True:
        yield _tensor(painter())


def metric(place: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """AP50 of the boxes, recall and class accuracy of the found ones, on painted films of the val
    patients.
    """
    films = split_films(read_films(place.data / "chest_xrays"))["val"]
    painter = FilmPainter(films, _METRIC_SEED, FILM_SIZE, augment=False)
    images = [_judge(painter(), infer) for _ in range(FILMS)]
    truths = sum(len(image.true_boxes) for image in images)
    found = sum(int((match(image, 0.5) >= 0).sum()) for image in images)
    hits = np.array([class_hits(image) for image in images]).sum(axis=0)
    return {
        "ap50": Measurement(average_precision(images, 0.5), truths),
        "recall": Measurement(found / truths, truths),
        "class_accuracy": Measurement(float(hits[0] / max(hits[1], 1)), max(int(hits[1]), 1)),
    }


def _tensor(sample: FilmSample) -> Tensors:
    plane = sample.image.astype(np.float32)
    return {"images": np.ascontiguousarray(np.broadcast_to(plane, (1, 3, *plane.shape)))}


def _judge(sample: FilmSample, infer: Infer) -> ScoredImage:
    output = infer(_tensor(sample))["output0"]
    found = suppress(decode(output, np.full(len(FINDING_LABELS), MIN_SCORE)), MAX_IOU, MAX_FINDINGS)
    return ScoredImage(
        boxes=found.boxes,
        scores=found.scores,
        labels=found.classes.astype(np.int64),
        true_boxes=sample.boxes.astype(np.float64),
        true_labels=sample.labels,
    )
