from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="the `build` extra is not installed")

from engine_builder.recipe import Tensors
from engine_builder.reference.evaluation import (
    class_accuracy,
    detector_scores,
    film_scores,
    polarity_accuracy,
    segmenter_scores,
)
from engine_builder.training.spreads import Field

BOXES = np.array([[10, 10, 30, 60], [100, 200, 40, 40]], np.float32)  # x, y, width, height
Answer = dict[str, NDArray[np.float32]]


def field() -> Field:
    """512 pixels on a side: neither scaled nor padded on its way into a network."""
    classes = np.zeros((512, 512), np.uint8)
    for x, y, width, height in BOXES.astype(int):
        classes[y : y + height, x : x + width] = 1
    blank = np.zeros((512, 512), np.uint8)
    return Field(blank, blank, classes, BOXES, np.array([0, 23]))


def detector(
    boxes: list[NDArray[np.float32]], scores: list[float]
) -> Callable[[Tensors], dict[str, NDArray[np.float32]]]:
    def infer(_tensors: Tensors) -> Answer:
        slots = np.zeros((1, 128, 4), np.float32)
        filled = np.zeros((1, 128), np.float32)
        for index, (x, y, width, height) in enumerate(boxes):
            slots[0, index] = x, y, x + width, y + height
            filled[0, index] = scores[index]
        return {"boxes": slots, "scores": filled, "masks": np.zeros((1, 128, 28, 28), np.float32)}

    return infer


def test_a_detector_that_is_right() -> None:
    found = detector_scores(detector(list(BOXES), [0.9, 0.8]), [field()])
    assert {name: measured.value for name, measured in found.items()} == {
        "ap50": 1.0,
        "recall": 1.0,
        "precision": 1.0,
        "count_exact": 1.0,
    }
    assert found["ap50"].n == len(BOXES)


def test_a_detector_that_sees_one_of_two_and_a_ghost() -> None:
    ghost = np.array([300, 300, 20, 20], np.float32)
    found = detector_scores(detector([BOXES[0], ghost], [0.9, 0.3]), [field()])
    assert found["recall"].value == 0.5
    assert found["precision"].value == 1.0  # the ghost is below the score that counts
    assert found["count_exact"].value == 0.0
    assert found["ap50"].value == pytest.approx(51 / 101)  # precision 1 up to recall 0.5


def test_dice_of_the_segmenter() -> None:
    truth = field()

    def infer(_tensors: Tensors) -> Answer:
        logits = np.zeros((1, 3, 512, 512), np.float32)
        logits[0, 1] = truth.classes * 2.0 - 1.0
        logits[0, 1, 200:240, 100:140] = -1.0  # the second one is missed
        return {"logits": logits}

    found, missed = 30 * 60, 40 * 40
    dice = segmenter_scores(infer, [truth])["dice_chromosome"]
    assert dice.value == pytest.approx(2 * found / (2 * found + missed))


def test_classes_and_polarity_are_judged_on_both_views() -> None:
    def infer(tensors: Tensors) -> Answer:
        number = len(tensors["crops"])
        logits = np.zeros((number, 24), np.float32)
        logits[:, 5] = 3.0
        up = np.repeat([[1.0], [-1.0]], number // 2, axis=0).astype(np.float32)
        return {"class_logits": logits, "polarity_logit": up}

    crops = np.zeros((4, 128, 96), np.uint8)
    assert class_accuracy(infer, crops, np.array([5, 5, 5, 0])).value == 0.75
    assert polarity_accuracy(infer, crops).value == 1.0


def test_films_are_scored_over_the_classes_that_occur() -> None:
    def infer(_tensors: Tensors) -> Answer:
        output = np.zeros((1, 18, 8400), np.float32)
        for slot in (0, 1):  # the same box twice: suppression leaves one
            output[0, :4, slot] = 150, 150, 100, 100
            output[0, 4 + 3, slot] = 0.9 - slot / 10
        return {"output0": output}

    image = np.zeros((640, 640), np.float32)
    boxes = np.array([[100, 100, 200, 200], [300, 300, 400, 400]], np.float32)
    right = film_scores(infer, [(image, boxes[:1], np.array([3]))])
    assert right["map40"].value == 1.0
    half = film_scores(infer, [(image, boxes, np.array([3, 7]))])
    assert half["map40"].value == 0.5
    assert half["map40"].n == 2
