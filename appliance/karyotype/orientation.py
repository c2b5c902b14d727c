"""Instances → upright crops in two views; the two views' answers → one class distribution, one polarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Polarity
from appliance.karyotype.instances import Instance
from appliance.models.preprocessing import CROP_HEIGHT, CROP_WIDTH, crop_scale, long_axis_angle, upright_crop

_CONTEXT_PX = 4
"""Image pixels round a mask that the crop's interpolation may reach."""


@dataclass(frozen=True)
class UprightCrops:
    """The classifier's input: every object twice, as it stands and turned by half a turn."""

    batch: NDArray[np.float32]  # (2 N, 1, height, width): N crops, then the same N turned by 180°
    angles: tuple[float, ...]  # counter-clockwise turns in degrees, in (-90, 90]


@dataclass(frozen=True)
class Orientation:
    """Which arm points up after the upright turn."""

    polarity: Polarity
    confidence: float  # 0.5..1


def upright_crops(stain: NDArray[np.float32], instances: Sequence[Instance]) -> UprightCrops:
    """Cut every object out, upright and with its neighbours masked out, at the spread's common scale.

    Args:
        stain: (H, W) float32 of `normalise_stain`.
        instances: objects of one spread, at least one.

    Raises:
        ValueError: without any object.
    """
    if not instances:
        raise ValueError("expected at least one object to crop and got none")
    scale = crop_scale(np.array([instance.area_px for instance in instances], dtype=np.float64))
    number = len(instances)
    batch = np.empty((2 * number, 1, CROP_HEIGHT, CROP_WIDTH), dtype=np.float32)
    angles = []
    for index, instance in enumerate(instances):
        window, mask = _window(stain, instance)
        angle = long_axis_angle(instance.mask)
        angles.append(angle)
        batch[index, 0] = crop = upright_crop(window, mask, scale, angle)
        batch[number + index, 0] = crop[::-1, ::-1]
    return UprightCrops(batch, tuple(angles))


def _window(stain: NDArray[np.float32], instance: Instance) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    height, width = stain.shape
    top, left = max(0, instance.top - _CONTEXT_PX), max(0, instance.left - _CONTEXT_PX)
    bottom = min(height, instance.rows.stop + _CONTEXT_PX)
    right = min(width, instance.columns.stop + _CONTEXT_PX)
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    row, column = instance.top - top, instance.left - left
    mask[row : row + instance.mask.shape[0], column : column + instance.mask.shape[1]] = instance.mask
    return stain[top:bottom, left:right], mask


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithm of the softmax over the last axis, safe for large logits."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float64)


def fuse_classes(class_logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Average the two views' log-probabilities and make them probabilities again.

    Args:
        class_logits: (2 N, C), the views of object i at i and N + i.
        temperature: fitted on validation data; above 1 the answers become less sure.

    Returns:
        (N, C) float64, each row sums to 1.
    """
    number = class_logits.shape[0] // 2
    scores = log_softmax(class_logits)
    mean = (scores[:number] + scores[number:]) / 2.0
    return np.exp(log_softmax((mean / temperature).astype(np.float32)))


def fuse_polarity(
    polarity_logit: NDArray[np.float32], min_confidence: float, temperature: float = 1.0
) -> tuple[Orientation, ...]:
    """Read the polarity from both views; a model that says the same of both knows nothing.

    Args:
        polarity_logit: (2 N, 1), > 0 means p arm up; the views of object i at i and N + i.
        min_confidence: below it the polarity is UNSURE.
        temperature: fitted on validation data; above 1 the answers become less sure.
    """
    number = polarity_logit.shape[0] // 2
    as_it_stands = polarity_logit[:number, 0].astype(np.float64)
    turned = polarity_logit[number:, 0].astype(np.float64)
    evidence = (as_it_stands - turned) / 2.0 / temperature
    confidence = 1.0 / (1.0 + np.exp(-np.minimum(np.abs(evidence), 50.0)))
    agree = as_it_stands * turned < 0.0
    found = []
    for i in range(number):
        sure = bool(agree[i]) and confidence[i] >= min_confidence
        up = Polarity.P_ARM_UP if evidence[i] > 0 else Polarity.Q_ARM_UP
        found.append(Orientation(up if sure else Polarity.UNSURE, float(confidence[i])))
    return tuple(found)
