"""The exam: inputs with the truth, which no pack brings along, and one score for each item.

The daemon ships one for each role, made from phantoms; a laboratory may add a sealed set of its own.
Incumbent and candidate sit the same exam, so their scores are pairs.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.chest_xray.decoding import decode, suppress
from appliance.chest_xray.letterbox import film_input
from appliance.errors import PackRejected
from appliance.models.contract import Contract
from appliance.models.film_contract import read_film_contract
from appliance.models.golden_objects import box_iou
from appliance.models.manifest import Manifest, Role

Infer = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
Arrays = Mapping[str, NDArray[Any]]
MAX_EXAM_BYTES = 64 << 20
MAX_ITEMS = 4096
STAIN_UNITS = 200.0
"""Stain 1 in the exam's bytes, so that 1.25 still fits (`appliance.models.preprocessing.normalise_stain`)."""

TILE = 64
"""Side in pixels of the segmenter's items: a whole field would be one number only."""

MATCH_IOU = {Role.KARYOTYPE_DETECTOR: 0.5, Role.CHEST_XRAY_DETECTOR: 0.4}
SURE = {Role.KARYOTYPE_DETECTOR: 0.5, Role.CHEST_XRAY_DETECTOR: 0.25}
"""Score from which on an object counts."""


@dataclass(frozen=True)
class Exam:
    """Inputs and truth of one role.

    Arrays: `fields` or `films` (N, S, S) or `crops` (N, H, W), uint8; `labels` of crops; `classes` (N, S, S)
    of fields; `boxes` (M, 4) as corners with `owners` (M,), the image of each, and on films `names` (M,).
    """

    arrays: Arrays
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Exam:
        """Read an .npz of plain numbers; PackRejected where it is none."""
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_EXAM_BYTES + 1)
            if len(raw) > MAX_EXAM_BYTES:
                raise PackRejected(f"expected an exam of at most {MAX_EXAM_BYTES} bytes and got more")
            with np.load(io.BytesIO(raw), allow_pickle=False) as stored:
                arrays = {name: np.asarray(stored[name]) for name in stored.files}
        except (OSError, ValueError, zipfile.BadZipFile) as exc:
            raise PackRejected(f"expected an exam in {path.name} and got: {exc}") from exc
        return cls(arrays, hashlib.sha256(raw).hexdigest())


def score(manifest: Manifest, infer: Infer, exam: Exam) -> tuple[float, ...]:
    """One score for each item of an exam; more is better.

    Classifier: 1 for a crop with the right class, else 0. Segmenter: share of a tile's pixels with the right
    class, of tiles that are not all background. Detectors: for each true object 1 where it was found, less
    its image's false alarms for each true object.

    Raises:
        PackRejected: the exam lacks arrays of the role.
    """
    role = manifest.role
    try:
        return _SCORES[role](manifest, infer, exam.arrays)
    except (KeyError, IndexError, ValueError) as exc:
        raise PackRejected(
            f"expected an exam for {role.value} and got one that cannot be scored: {exc}"
        ) from exc


def _classifier(_manifest: Manifest, infer: Infer, arrays: Arrays) -> tuple[float, ...]:
    found: list[float] = []
    crops, labels = arrays["crops"], arrays["labels"]
    for start in range(0, len(labels), 46):
        stain = (crops[start : start + 46].astype(np.float32) / STAIN_UNITS)[:, None]
        answered = infer({"crops": stain})["class_logits"].argmax(axis=1)
        found.extend((answered == labels[start : start + 46]).astype(float).tolist())
    return tuple(found)


def _segmenter(_manifest: Manifest, infer: Infer, arrays: Arrays) -> tuple[float, ...]:
    found: list[float] = []
    for field, classes in zip(arrays["fields"], arrays["classes"], strict=True):
        answer = infer({"image": (field.astype(np.float32) / STAIN_UNITS)[None, None]})["logits"][0]
        right = answer.argmax(axis=0) == classes
        for top in range(0, right.shape[0], TILE):
            for left in range(0, right.shape[1], TILE):
                tile = slice(top, top + TILE), slice(left, left + TILE)
                if classes[tile].any():
                    found.append(float(right[tile].mean()))
    return tuple(found)


def _chromosomes(_manifest: Manifest, infer: Infer, arrays: Arrays) -> tuple[float, ...]:
    found: list[float] = []
    for number, field in enumerate(arrays["fields"]):
        truth = arrays["boxes"][arrays["owners"] == number]
        answer = infer({"image": (field.astype(np.float32) / STAIN_UNITS)[None, None]})
        sure = answer["scores"][0] >= SURE[Role.KARYOTYPE_DETECTOR]
        boxes, scores = answer["boxes"][0][sure], answer["scores"][0][sure]
        found.extend(_objects(truth, boxes, scores, MATCH_IOU[Role.KARYOTYPE_DETECTOR]))
    return tuple(found)


def _findings(manifest: Manifest, infer: Infer, arrays: Arrays) -> tuple[float, ...]:
    contract = read_film_contract(Contract.of(manifest))
    thresholds = np.full(len(manifest.labels.names), SURE[Role.CHEST_XRAY_DETECTOR])
    found: list[float] = []
    for number, film in enumerate(arrays["films"]):
        image, box = film_input(film, contract)
        output = infer({contract.input_name: image})[contract.output_name]
        detections = suppress(decode(output, contract.layout, thresholds), max_iou=0.5, max_findings=100)
        mine = arrays["owners"] == number
        for name in np.unique(arrays["names"][mine]):
            truth = arrays["boxes"][mine & (arrays["names"] == name)]
            label = manifest.labels.names.index(str(name)) if str(name) in manifest.labels.names else -1
            one = detections.take(detections.classes == label)
            boxes = box.to_film(one.boxes)
            found.extend(_objects(truth, boxes, one.scores, MATCH_IOU[Role.CHEST_XRAY_DETECTOR]))
    return tuple(found)


def _objects(truth: NDArray[Any], boxes: NDArray[Any], scores: NDArray[Any], min_iou: float) -> list[float]:
    """Each true object: found or not, less the false alarms that are spread over all of them."""
    free = np.ones(len(truth), dtype=bool)
    alarms = 0
    overlaps = box_iou(boxes.astype(np.float64), truth.astype(np.float64))
    for index in np.argsort(-scores, kind="stable"):
        candidates = np.where(free, overlaps[index], -1.0)
        best = int(candidates.argmax())
        if candidates[best] >= min_iou:
            free[best] = False
        else:
            alarms += 1
    return [float(not left) - alarms / len(truth) for left in free]


_SCORES: Mapping[Role, Callable[[Manifest, Infer, Arrays], tuple[float, ...]]] = {
    Role.KARYOTYPE_CLASSIFIER: _classifier,
    Role.KARYOTYPE_SEGMENTER: _segmenter,
    Role.KARYOTYPE_DETECTOR: _chromosomes,
    Role.CHEST_XRAY_DETECTOR: _findings,
}
