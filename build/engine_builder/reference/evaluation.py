"""The task metrics of the four models as functions of an inference function: torch, ONNX or engine alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from appliance.models.golden_objects import box_iou
from appliance.models.preprocessing import field_input
from engine_builder.metrics import ScoredImage, average_precision, exact_counts, match
from engine_builder.recipe import Infer, Measurement, Tensors
from engine_builder.training.spreads import STAIN_UNITS, Field

_UNKNOWN = 255
_IOU = 0.5
_SURE = 0.5
"""Score from which on an object counts, where a threshold is needed."""


def torch_infer(
    module: nn.Module, inputs: Sequence[str], outputs: Sequence[str], bfloat16: bool = True
) -> Infer:
    """Let a module answer like an engine; bfloat16 halves the time of an evaluation during training."""
    device = next(module.parameters()).device

    def infer(tensors: Tensors) -> dict[str, NDArray[np.float32]]:
        arguments = [torch.from_numpy(np.ascontiguousarray(tensors[name])).to(device) for name in inputs]
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            results = module(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        return {name: result.float().cpu().numpy() for name, result in zip(outputs, results, strict=True)}

    return infer


def segmenter_scores(infer: Infer, fields: Sequence[Field]) -> Mapping[str, Measurement]:
    """Dice of chromosome and of nucleus or debris over whole fields, letterboxed into 512² as served."""
    counts = np.zeros((2, 3))
    for field in fields:
        stain = field.stain.astype(np.float32) / STAIN_UNITS
        canvas, placement = field_input(stain, max_scale=1.0)
        truth = np.zeros(canvas.shape[2:], np.uint8)
        height, width = (max(1, round(side * placement.scale)) for side in stain.shape)
        small = cv2.resize(field.classes, (width, height), interpolation=cv2.INTER_NEAREST)
        truth[placement.top : placement.top + height, placement.left : placement.left + width] = small
        predicted = infer({"image": canvas})["logits"][0].argmax(0)
        known = truth != _UNKNOWN
        for row, value in enumerate((1, 2)):
            found, wanted = (predicted == value) & known, truth == value
            counts[row] += [(found & wanted).sum(), found.sum(), wanted.sum()]
    dice = 2 * counts[:, 0] / np.maximum(counts[:, 1] + counts[:, 2], 1)
    return {
        "dice_chromosome": Measurement(float(dice[0]), len(fields)),
        "dice_nucleus_or_debris": Measurement(float(dice[1]), len(fields)),
    }


def detector_scores(infer: Infer, fields: Sequence[Field]) -> Mapping[str, Measurement]:
    """Box AP50, recall and precision at score 0.5, share of fields with the exact count."""
    images = [_detections(infer, field) for field in fields]
    sure = [_at_least(image, _SURE) for image in images]
    right = sum(int((match(image, _IOU) >= 0).sum()) for image in sure)
    found = sum(len(image.scores) for image in sure)
    total = sum(len(image.true_boxes) for image in sure)
    exact, _ = exact_counts(sure)
    return {
        "ap50": Measurement(average_precision(images, _IOU), total),
        "recall": Measurement(right / max(total, 1), total),
        "precision": Measurement(right / max(found, 1), found),
        "count_exact": Measurement(exact / max(len(fields), 1), len(fields)),
    }


def _detections(infer: Infer, field: Field) -> ScoredImage:
    canvas, placement = field_input(field.stain.astype(np.float32) / STAIN_UNITS, max_scale=1.0)
    answer = infer({"image": canvas})
    scores = answer["scores"][0].astype(np.float64)
    filled = scores > 0  # the slots behind are padding
    corners = np.concatenate([field.boxes[:, :2], field.boxes[:, :2] + field.boxes[:, 2:]], axis=1)
    truth = corners * placement.scale + np.array([placement.left, placement.top] * 2)
    return _unlabelled(answer["boxes"][0][filled], scores[filled], truth)


def _unlabelled(boxes: NDArray[Any], scores: NDArray[Any], truth: NDArray[Any]) -> ScoredImage:
    return ScoredImage(
        boxes=boxes.astype(np.float64),
        scores=scores.astype(np.float64),
        labels=np.zeros(len(boxes), np.int64),
        true_boxes=truth.astype(np.float64),
        true_labels=np.zeros(len(truth), np.int64),
    )


def _at_least(image: ScoredImage, score: float) -> ScoredImage:
    kept = image.scores > score
    return replace(image, boxes=image.boxes[kept], scores=image.scores[kept], labels=image.labels[kept])


def two_views(infer: Infer, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Class probabilities (N, 24) and orientation logit (N,) averaged over each crop and its half turn."""
    stain = (crops.astype(np.float32) / STAIN_UNITS)[:, None]
    answer = infer({"crops": np.concatenate([stain, stain[:, :, ::-1, ::-1]])})
    logits = answer["class_logits"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    first, second = np.split(powers / powers.sum(axis=1, keepdims=True), 2)
    up, down = np.split(answer["polarity_logit"][:, 0], 2)
    return np.asarray((first + second) / 2, np.float32), np.asarray((up - down) / 2, np.float32)


def class_accuracy(infer: Infer, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Measurement:
    """Share of crops whose most probable class is the true one."""
    right = 0
    for start in range(0, len(labels), 64):
        probabilities, _ = two_views(infer, pixels[start : start + 64])
        right += int((probabilities.argmax(1) == labels[start : start + 64]).sum())
    return Measurement(right / len(labels), len(labels))


def polarity_accuracy(infer: Infer, pixels: NDArray[np.uint8]) -> Measurement:
    """Share of crops with the p arm up that are recognised as such, half turns averaged."""
    right = 0
    for start in range(0, len(pixels), 64):
        _, up = two_views(infer, pixels[start : start + 64])
        right += int((up > 0).sum())
    return Measurement(right / len(pixels), len(pixels))


def film_scores(
    infer: Infer, films: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]]
) -> Mapping[str, Measurement]:
    """Mean AP at IoU 0.4 over the classes present, on painted films of 640².

    Args:
        infer: answers {"images"} with {"output0"}.
        films: image (640, 640) 0..1, boxes (N, 4) corners, labels (N,).
    """
    by_label: dict[int, list[ScoredImage]] = {}
    for image, boxes, labels in films:
        raw = infer({"images": np.repeat(image[None, None], 3, axis=1)})["output0"][0]
        corners = np.concatenate([raw[:2] - raw[2:4] / 2, raw[:2] + raw[2:4] / 2]).T.astype(np.float64)
        for label in range(raw.shape[0] - 4):
            kept = _suppressed(corners, raw[4 + label])
            film = _unlabelled(corners[kept], raw[4 + label][kept], boxes[labels == label])
            by_label.setdefault(label, []).append(film)
    present = [images for images in by_label.values() if any(len(film.true_boxes) for film in images)]
    precisions = [average_precision(images, min_iou=0.4) for images in present]
    return {"map40": Measurement(float(np.mean(precisions)), sum(len(boxes) for _, boxes, _ in films))}


def _suppressed(corners: NDArray[np.float64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices left by greedy suppression at IoU 0.5 of one class, best first."""
    order = np.flatnonzero(scores > 0.02)
    order = order[np.argsort(-scores[order])][:100]
    kept: list[int] = []
    for index in order:
        if not kept or box_iou(corners[index][None], corners[kept]).max() < 0.5:
            kept.append(int(index))
    return np.array(kept, dtype=np.int64)
