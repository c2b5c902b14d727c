"""A second implementation of the inference service for the karyotype roles: it answers from the truth.

It knows the spread that is being analysed (outlines, classes, arms) and draws what perfect networks would
say: logits from the masks, boxes with 28 × 28 masks for the window that it is shown, classes by finding the
crop among its own. Tests spoil single answers by giving `Spoil`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.inference.request import Inference, ModelIdentity, RequestContext
from appliance.karyotype.instances import Instance
from appliance.karyotype.orientation import upright_crops
from appliance.karyotype.tiling import scaled_field
from appliance.models.manifest import Confidence, Role
from appliance.models.preprocessing import FIELD_SCALE, FIELD_SIZE, field_input, normalise_stain
from appliance.phantoms.metaphase import MetaphasePhantom

SLOTS = 128
MASK = 28


@dataclass(frozen=True)
class SpreadTruth:
    """A spread and what is known about it."""

    grey: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]  # each (H, W)
    labels: tuple[str, ...]
    p_arms: tuple[tuple[float, float], ...]  # direction (dx, dy) from the middle to the end of the p arm
    nuclei: NDArray[np.bool_]  # (H, W), nuclei and debris

    def instances(self) -> list[Instance]:
        """The masks as the pipeline holds them."""
        made = []
        for mask in self.masks:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            top, left = int(rows[0]), int(columns[0])
            tight = mask[top : rows[-1] + 1, left : columns[-1] + 1]
            made.append(Instance(left, top, np.ascontiguousarray(tight), 1.0, 1.0))
        return made


@dataclass
class Spoil:
    """How the answers differ from the truth."""

    missed: frozenset[int] = frozenset()  # objects that the detector does not see
    nuclei_detected: bool = False  # the detector takes nuclei for chromosomes
    doubled: frozenset[int] = frozenset()  # objects that the detector reports twice, slightly moved
    confused: dict[int, tuple[str, float]] = field(
        default_factory=dict
    )  # object → (wrong label, its probability)
    blind_polarity: frozenset[int] = frozenset()  # objects whose two views get the same answer
    certainty: float = 0.98  # probability of the true class
    not_finite: Role | None = None  # this role answers NaN
    confidence: Confidence | None = None  # the calibration that the models carry


class TruthEngines:
    """Answers the three karyotype roles for one spread."""

    def __init__(self, truth: SpreadTruth, spoil: Spoil | None = None) -> None:
        self.truth = truth
        self.spoil = spoil or Spoil()
        self.calls: list[Role] = []
        self.windows: list[tuple[int, int]] = []
        self._stain = normalise_stain(truth.grey)
        self._half = scaled_field(self._stain, FIELD_SCALE)
        self._instances = truth.instances()
        crops = upright_crops(self._stain, self._instances)
        self._templates = _fingerprints(crops.batch)
        self._angles = crops.angles

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        context.check()
        self.calls.append(role)
        if role is Role.KARYOTYPE_SEGMENTER:
            outputs = {"logits": self._segment(tensors["image"])}
        elif role is Role.KARYOTYPE_DETECTOR:
            outputs = self._detect(tensors["image"])
        else:
            outputs = self._classify(tensors["crops"])
        if role is self.spoil.not_finite:
            outputs = {name: np.full_like(output, np.nan) for name, output in outputs.items()}
        model = ModelIdentity(
            "truth-" + role.value.split(".")[1],
            "1.0.0",
            role,
            "0" * 64,
            "truth",
            "CPU",
            "FP32",
            self.spoil.confidence,
        )
        return Inference(outputs=outputs, model=model, engine_ms=1.0, queue_ms=0.0)

    def _segment(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        assert image.shape == (1, 1, FIELD_SIZE, FIELD_SIZE)
        height, width = self._stain.shape
        scale = min(FIELD_SCALE, FIELD_SIZE / max(height, width))
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        left, top = (FIELD_SIZE - inner[0]) // 2, (FIELD_SIZE - inner[1]) // 2
        logits = np.zeros((1, 3, FIELD_SIZE, FIELD_SIZE), np.float32)
        chromosome = np.zeros((height, width), np.uint8)
        for mask in self.truth.masks:
            chromosome |= mask.astype(np.uint8)
        window = (slice(top, top + inner[1]), slice(left, left + inner[0]))
        for index, layer in ((1, chromosome), (2, self.truth.nuclei.astype(np.uint8))):
            small = cv2.resize(layer.astype(np.float32), inner, interpolation=cv2.INTER_AREA)
            logits[0, index][window] = small * 20.0
        logits[0, 0] = 10.0
        return logits

    def _locate(self, image: NDArray[np.float32]) -> tuple[int, int]:
        """Where in the half-scale field the detector's window lies."""
        padded = np.pad(self._half, FIELD_SIZE)
        score = cv2.matchTemplate(padded, image[0, 0], cv2.TM_SQDIFF)
        _, _, best, _ = cv2.minMaxLoc(score)
        return best[0] - FIELD_SIZE, best[1] - FIELD_SIZE

    def _detect(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        left, top = self._locate(image)
        self.windows.append((left, top))
        found: list[tuple[float, list[float], NDArray[np.float32]]] = []
        for index, instance in enumerate(self._instances):
            if index in self.spoil.missed:
                continue
            moves = [(0.0, 0.97), (1.0, 0.9)] if index in self.spoil.doubled else [(0.0, 0.97)]
            for move, score in moves:
                entry = self._entry(instance, left, top, move)
                if entry is not None:
                    found.append((score - index * 1e-4, *entry))
        if self.spoil.nuclei_detected:
            number, parts = cv2.connectedComponents(self.truth.nuclei.astype(np.uint8))
            for part in range(1, number):
                mask = parts == part
                nucleus = SpreadTruth(self.truth.grey, (mask,), ("1",), ((0, -1),), mask).instances()[0]
                entry = self._entry(nucleus, left, top, 0.0)
                if entry is not None:
                    found.append((0.8, *entry))
        found.sort(key=lambda one: -one[0])
        boxes = np.zeros((1, SLOTS, 4), np.float32)
        scores = np.zeros((1, SLOTS), np.float32)
        masks = np.zeros((1, SLOTS, MASK, MASK), np.float32)
        for slot, (score, box, mask28) in enumerate(found[:SLOTS]):
            boxes[0, slot], scores[0, slot], masks[0, slot] = box, score, mask28
        return {"boxes": boxes, "scores": scores, "masks": masks}

    def _entry(
        self, instance: Instance, left: int, top: int, move: float
    ) -> tuple[list[float], NDArray[np.float32]] | None:
        """Box and mask of one object in a window, cut at the window's sides as a network would cut it."""
        x0 = instance.left * FIELD_SCALE - left - 0.5 + move
        y0 = instance.top * FIELD_SCALE - top - 0.5 + move
        x1 = x0 + instance.mask.shape[1] * FIELD_SCALE + 1.0
        y1 = y0 + instance.mask.shape[0] * FIELD_SCALE + 1.0
        cut = [max(x0, 0.0), max(y0, 0.0), min(x1, float(FIELD_SIZE)), min(y1, float(FIELD_SIZE))]
        if cut[2] - cut[0] < 4.0 or cut[3] - cut[1] < 4.0:
            return None
        step_x, step_y = (cut[2] - cut[0]) / MASK / FIELD_SCALE, (cut[3] - cut[1]) / MASK / FIELD_SCALE
        start_x = (cut[0] + left - move) / FIELD_SCALE - instance.left
        start_y = (cut[1] + top - move) / FIELD_SCALE - instance.top
        matrix = np.array(
            [[step_x, 0.0, start_x + 0.5 * step_x - 0.5], [0.0, step_y, start_y + 0.5 * step_y - 0.5]]
        )
        mask28 = cv2.warpAffine(
            instance.mask.astype(np.float32),
            matrix,
            (MASK, MASK),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        return cut, np.asarray(mask28, np.float32)

    def _classify(self, crops: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        nearest = np.max(
            [_fingerprints(crops, zoom) @ self._templates.T for zoom in (0.92, 1.0, 1.08)], axis=0
        ).argmax(axis=1)
        number = len(self._instances)
        class_logits = np.zeros((len(crops), len(CHROMOSOME_LABELS)), np.float32)
        polarity = np.zeros((len(crops), 1), np.float32)
        for row, template in enumerate(nearest):
            index, turned = int(template) % number, int(template) >= number
            probabilities = self._probabilities(index)
            class_logits[row] = np.log(probabilities)
            up = self._p_up(index) is not turned
            if index in self.spoil.blind_polarity:
                up = True
            polarity[row, 0] = 4.0 if up else -4.0
        return {"class_logits": class_logits, "polarity_logit": polarity}

    def _probabilities(self, index: int) -> NDArray[np.float64]:
        certainty = self.spoil.certainty
        rest = (1.0 - certainty) / (len(CHROMOSOME_LABELS) - 1)
        probabilities = np.full(len(CHROMOSOME_LABELS), rest)
        probabilities[CHROMOSOME_LABELS.index(self.truth.labels[index])] = certainty
        if index in self.spoil.confused:
            label, wrong = self.spoil.confused[index]
            probabilities[CHROMOSOME_LABELS.index(self.truth.labels[index])] = max(
                1.0 - wrong - 22 * rest, rest
            )
            probabilities[CHROMOSOME_LABELS.index(label)] = wrong
        return probabilities / probabilities.sum()

    def _p_up(self, index: int) -> bool:
        """Whether the p arm points up after the counter-clockwise turn that brings the object upright."""
        dx, dy = self.truth.p_arms[index]
        radians = np.deg2rad(self._angles[index])
        return bool(-dx * np.sin(radians) + dy * np.cos(radians) < 0.0)


def phantom_truth(phantom: MetaphasePhantom) -> SpreadTruth:
    """What a phantom knows of itself, as the engines need it."""
    height, width = phantom.image.shape
    return SpreadTruth(
        grey=phantom.image,
        masks=tuple(one.full_mask(height, width) for one in phantom.chromosomes),
        labels=tuple(one.label for one in phantom.chromosomes),
        p_arms=tuple(
            (float(one.p_arm_direction[0]), float(one.p_arm_direction[1])) for one in phantom.chromosomes
        ),
        nuclei=phantom.nuclei_mask | phantom.debris_mask,
    )


def _fingerprints(crops: NDArray[np.float32], zoom: float = 1.0) -> NDArray[np.float32]:
    """(N, pixels) blurred crops of length 1: the pipeline's masks differ from the true ones by their rims."""
    height, width = crops.shape[2:]
    matrix = np.array(
        [[zoom, 0.0, (1.0 - zoom) * (width - 1) / 2], [0.0, zoom, (1.0 - zoom) * (height - 1) / 2]]
    )
    made = []
    for crop in crops[:, 0]:
        flat = cv2.GaussianBlur(cv2.warpAffine(crop, matrix, (width, height)), (0, 0), 1.5).ravel()
        made.append(flat / max(float(np.linalg.norm(flat)), 1e-6))
    return np.stack(made).astype(np.float32)


class FieldEngines:
    """Answers the segmenter's role alone: these pixels are nucleus or debris, all others are background."""

    def __init__(self, nuclei: NDArray[np.bool_]) -> None:
        self.roles: list[Role] = []
        self._nuclei = nuclei

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        context.check()
        self.roles.append(role)
        assert role is Role.KARYOTYPE_SEGMENTER, f"nothing to look at, and yet {role.value} was called"
        assert tensors["image"].shape == (1, 1, FIELD_SIZE, FIELD_SIZE)

        layer, _ = field_input(self._nuclei.astype(np.float32))
        logits = np.concatenate([np.full_like(layer, 10.0), np.zeros_like(layer), layer * 20.0], axis=1)
        model = ModelIdentity("field-segmenter", "1.0.0", role.value, "0" * 64, "truth", "CPU", "FP32")
        return Inference(outputs={"logits": logits}, model=model, engine_ms=1.0, queue_ms=0.0)
