"""From a chest film to its findings: one engine call between exact preparation and exact mapping back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box, Film, FilmSource, Finding, Laterality, QualityFlag, StageReport, View
from appliance.chest_xray.appearance import appearance_flags
from appliance.chest_xray.decoding import Detections, decode, suppress
from appliance.chest_xray.letterbox import Letterbox, film_input, film_pixels
from appliance.chest_xray.settings import ChestXraySettings, FindingModel
from appliance.chest_xray.suitability import header_flags, refuse_other_films
from appliance.chest_xray.turning import boxes_as_sent
from appliance.errors import InferenceFailed, InvalidInput, ModelUnavailable, UnsuitableImage
from appliance.imaging.exif import upright
from appliance.imaging.film_tags import FilmReferences
from appliance.imaging.image import Image
from appliance.inference.request import Inference, RequestContext
from appliance.models.manifest import Role
from appliance.privacy import Pseudonyms

_ATTEMPTS = 3
"""Models that one film is tried on, where each was replaced while it was asked."""


class Engines(Protocol):
    """What the pipeline needs of `InferenceService`."""

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        """Run the model of `role` and give its outputs by name."""
        ...


class ChestXrayPipeline:
    """From a frontal chest film to findings.

    Args:
        engines: the inference service.
        model: the model that is loaded now, with its contract, labels and thresholds. An answer counts only
            if that very model gave it: an update can never pair one model's scores with another's labels.
        settings: thresholds and limits.
        pseudonyms: stand for a film's UIDs in its result; without them results say nothing of the source.
    """

    def __init__(
        self,
        engines: Engines,
        model: Callable[[], FindingModel],
        settings: ChestXraySettings | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._engines = engines
        self._model = model
        self._settings = settings or ChestXraySettings()
        self._pseudonyms = pseudonyms

    def analyze(self, image: Image, context: RequestContext) -> tuple[Film, tuple[StageReport, ...]]:
        """Find the findings of one film.

        Args:
            image: decoded, grey, dark and bright as a viewer would show them.
            context: deadline, cancellation and priority.

        Raises:
            UnsuitableImage: the film is blank, or its header says that it is no frontal chest film.
            DeadlineExceeded, Cancelled: nobody waits any more.
            Unavailable, LimitExceeded, InferenceFailed: from the engine.
        """
        context.check()
        refuse_other_films(image.tags)
        began_s = time.perf_counter()
        contrast = film_contrast(image.grey)
        if contrast < self._settings.min_contrast:
            raise UnsuitableImage(
                "no chest film found: the image is blank, expected dark and bright at least"
                f" {self._settings.min_contrast:.0f} grey levels apart and got {contrast:.0f}"
            )
        orientation = image.tags.orientation if image.tags is not None else 1
        grey = upright(image.grey, orientation)
        seen = header_flags(image.tags) | appearance_flags(grey)
        model, answer, letterbox = self._ask(grey, context)
        found = decode(
            answer.outputs[model.contract.output_name],
            model.contract.layout,
            model.limits(self._settings.default_threshold),
        )
        # a head that suppresses by itself may still list more than the limit, or two boxes of one finding
        found = suppress(found, self._settings.max_iou, self._settings.max_findings)
        boxes = boxes_as_sent(letterbox.to_film(found.boxes), orientation, image.width, image.height)
        film = Film(
            findings=findings(replace(found, boxes=boxes), model.labels),
            quality_flags=self._flags(contrast, model, len(found), seen),
            view=image.tags.view if image.tags is not None else View.NOT_STATED,
            laterality=image.tags.laterality if image.tags is not None else Laterality.NOT_STATED,
            source=self._source(image.references),
        )
        report = _report(answer, (time.perf_counter() - began_s) * 1000.0)
        return film, (report,)

    def _ask(
        self, grey: NDArray[np.uint8], context: RequestContext
    ) -> tuple[FindingModel, Inference, Letterbox]:
        """The model, its answer to an upright film, and where the film lies in its input."""
        for _ in range(_ATTEMPTS):
            model = self._model()
            tensors, letterbox = _tensors(grey, model)
            try:
                answer = self._engines.infer(Role.CHEST_XRAY_DETECTOR, tensors, context)
            except (InferenceFailed, InvalidInput):
                if self._model().identity == model.identity:
                    raise
                continue  # made for the model before, whose input may have had another shape
            if answer.model == model.identity:
                return model, answer, letterbox
        raise ModelUnavailable("the chest X-ray model was replaced again and again meanwhile; try again")

    def _source(self, references: FilmReferences | None) -> FilmSource | None:
        if references is None or self._pseudonyms is None:
            return None
        return FilmSource(
            study_pseudonym=self._pseudonyms.uid(references.study_instance_uid),
            series_pseudonym=self._pseudonyms.uid(references.series_instance_uid),
            instance_pseudonym=self._pseudonyms.uid(references.sop_instance_uid),
        )

    def _flags(
        self, contrast: float, model: FindingModel, number: int, seen: frozenset[QualityFlag]
    ) -> tuple[QualityFlag, ...]:
        holds = {
            QualityFlag.LOW_CONTRAST: contrast < self._settings.low_contrast,
            QualityFlag.DETECTION_LIMIT: number >= self._settings.max_findings,
            QualityFlag.DEMONSTRATION_MODEL: model.demonstration,
        }
        return tuple(flag for flag in QualityFlag if holds.get(flag, False) or flag in seen)


def _tensors(grey: NDArray[np.uint8], model: FindingModel) -> tuple[dict[str, NDArray[Any]], Letterbox]:
    """What the engine gets: pixels where it takes them, a quarter of the bytes."""
    make = film_pixels if model.takes_pixels else film_input
    array, letterbox = make(grey, model.contract)
    return {model.contract.input_name: array}, letterbox


def film_contrast(grey: NDArray[np.uint8]) -> float:
    """Grey levels between the 2nd and the 98th percentile of a film."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256])  # a tenth of the time of bincount
    cumulative = np.cumsum(counts.ravel(), dtype=np.float64)
    low, high = np.searchsorted(cumulative, cumulative[-1] * np.array([0.02, 0.98]))
    return float(high) - float(low)


def findings(found: Detections, labels: tuple[str, ...]) -> tuple[Finding, ...]:
    """Name detections on the film, best first; a box wholly in the padding, so of no size, is no finding."""
    made = []
    for (x0, y0, x1, y1), score, index in zip(found.boxes, found.scores, found.classes, strict=True):
        if x1 > x0 and y1 > y0:
            box = Box(float(x0), float(y0), float(x1 - x0), float(y1 - y0))
            made.append(Finding(labels[int(index)], float(score), box))
    return tuple(made)


def _report(answer: Inference, time_ms: float) -> StageReport:
    model = answer.model
    return StageReport(
        stage="detect",
        time_ms=time_ms,
        engine_ms=answer.engine_ms,
        calls=1,
        model_name=model.name,
        model_version=model.version,
        contract_hash=model.contract_hash,
        engine=model.engine,
        device=model.device,
        precision=model.precision,
    )
