"""Calibration samples and metrics of the three karyotype models, on the training and validation splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.karyotype.orientation import fuse_classes
from appliance.models.preprocessing import FIELD_SIZE, Placement, field_input
from engine_builder.metrics import ScoredImage, average_precision, match, mean_count_error
from engine_builder.recipe import Infer, Measurement, Tensors, Workspace
from engine_builder.training.classifier import read_upright
from engine_builder.training.spreads import STAIN_UNITS, Crops, Field, cached_crops, cached_fields

FIELD_STRIDE: Final = 4
"""Every fourth validation spread is measured: 44 of 174, the same for every file."""
CROP_STRIDE: Final = 4
BATCH: Final = 46
MIN_SCORE: Final = 0.5
"""Detections below it are not counted as objects; the pipeline's own limit."""
_SEED: Final = 1
_UNKNOWN: Final = 255
_CHROMOSOME, _NUCLEUS_OR_DEBRIS = 1, 2


def field_calibration(place: Workspace) -> Iterator[Tensors]:
    """Training spreads in random order, as segmenter and detector see them."""
    fields = cached_fields(place.data / "metaphases", "train", place.work / "cache")
    for index in np.random.default_rng(_SEED).permutation(len(fields)):
        yield {"image": _field_tensor(fields[index])[0]}


def crop_calibration(place: Workspace) -> Iterator[Tensors]:
    """Batches of training crops in random order, both views of each."""
    crops = cached_crops(place.data / "metaphases", "train", place.work / "cache")
    order = np.random.default_rng(_SEED).permutation(len(crops.labels))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        yield {"crops": _two_views(crops.pixels[np.sort(order[start : start + BATCH])])}


def segmenter_metric(place: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Dice of both foreground classes over the known pixels of all measured spreads together."""
    sums = {_CHROMOSOME: np.zeros(3), _NUCLEUS_OR_DEBRIS: np.zeros(3)}
    fields = _val_fields(place)
    for field in fields:
        tensor, placement = _field_tensor(field)
        predicted = infer({"image": tensor})["logits"][0].argmax(axis=0)
        truth = _plane_in_input(field.classes, placement)
        known = truth != _UNKNOWN
        for value, sum_ in sums.items():
            found, wanted = (predicted == value) & known, truth == value
            sum_ += [(found & wanted).sum(), found.sum(), wanted.sum()]
    return {
        name: Measurement(float(2 * sums[value][0] / max(sums[value][1:].sum(), 1.0)), len(fields))
        for name, value in (("dice_chromosome", _CHROMOSOME), ("dice_nucleus_debris", _NUCLEUS_OR_DEBRIS))
    }


def detector_metric(place: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """AP50 and AP75 of all slots, share of true boxes found at `MIN_SCORE`, and mean count error at it."""
    fields = _val_fields(place)
    every, counted = [], []
    for field in fields:
        tensor, placement = _field_tensor(field)
        outputs = infer({"image": tensor})
        scores = outputs["scores"][0].astype(np.float64)
        boxes = (outputs["boxes"][0] - [placement.left, placement.top] * 2) / placement.scale
        truth = np.concatenate([field.boxes[:, :2], field.boxes[:, :2] + field.boxes[:, 2:]], axis=1)
        every.append(_scored(boxes[scores > 0], scores[scores > 0], truth))
        sure = scores >= MIN_SCORE
        counted.append(_scored(boxes[sure], scores[sure], truth))
    boxes_in_all = sum(len(image.true_boxes) for image in every)
    found = sum(int((match(image, 0.5) >= 0).sum()) for image in counted)
    return {
        "ap50": Measurement(average_precision(every, 0.5), boxes_in_all),
        "ap75": Measurement(average_precision(every, 0.75), boxes_in_all),
        "recall": Measurement(found / boxes_in_all, boxes_in_all),
        "count_error": Measurement(mean_count_error(counted), len(fields)),
    }


def classifier_metric(place: Workspace, infer: Infer) -> Mapping[str, Measurement]:
    """Class accuracy on validation crops; class and polarity accuracy on held-out slides of upright ones."""
    crops = cached_crops(place.data / "metaphases", "val", place.work / "cache")
    thinned = Crops(crops.pixels[::CROP_STRIDE], crops.labels[::CROP_STRIDE], crops.spreads[::CROP_STRIDE])
    probabilities, _ = _classify(thinned.pixels, infer)
    upright = read_upright(place.data / "upright_chromosomes")
    held_out = np.isin(upright.slides, sorted(set(upright.slides))[::4])  # the training's own rule
    upright_probabilities, up = _classify(upright.pixels[held_out], infer)
    total = int(held_out.sum())
    return {
        "class_accuracy": Measurement(
            float((probabilities.argmax(axis=1) == thinned.labels).mean()), len(thinned.labels)
        ),
        "upright_class_accuracy": Measurement(
            float((upright_probabilities.argmax(axis=1) == upright.labels[held_out]).mean()), total
        ),
        "polarity_accuracy": Measurement(float((up > 0).mean()), total),
    }


def _val_fields(place: Workspace) -> Sequence[Field]:
    return cached_fields(place.data / "metaphases", "val", place.work / "cache")[::FIELD_STRIDE]


def _field_tensor(field: Field) -> tuple[NDArray[np.float32], Placement]:
    # a cached field is at the networks' scale already, so it is only made smaller where it would not fit
    return field_input(field.stain.astype(np.float32) / np.float32(STAIN_UNITS), max_scale=1.0)


def _plane_in_input(plane: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    height, width = (max(1, round(side * placement.scale)) for side in plane.shape)
    canvas = np.zeros((FIELD_SIZE, FIELD_SIZE), dtype=np.uint8)
    inner = cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST)
    canvas[placement.top : placement.top + height, placement.left : placement.left + width] = inner
    return canvas


def _scored(
    boxes: NDArray[np.floating], scores: NDArray[np.float64], truth: NDArray[np.floating]
) -> ScoredImage:
    return ScoredImage(
        boxes=boxes.astype(np.float64),
        scores=scores,
        labels=np.zeros(len(scores), dtype=np.int64),
        true_boxes=truth.astype(np.float64),
        true_labels=np.zeros(len(truth), dtype=np.int64),
    )


def _two_views(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    upright = pixels.astype(np.float32)[:, None] / np.float32(STAIN_UNITS)
    return np.ascontiguousarray(np.concatenate([upright, upright[:, :, ::-1, ::-1]]))


def _classify(pixels: NDArray[np.uint8], infer: Infer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Class probabilities and the upright view's polarity less the turned one's, for (N, H, W) crops."""
    probabilities, polarity = [], []
    for start in range(0, len(pixels), BATCH):
        outputs = infer({"crops": _two_views(pixels[start : start + BATCH])})
        probabilities.append(fuse_classes(outputs["class_logits"]))
        first, second = np.split(outputs["polarity_logit"][:, 0].astype(np.float64), 2)
        polarity.append(first - second)
    return np.concatenate(probabilities), np.concatenate(polarity)
