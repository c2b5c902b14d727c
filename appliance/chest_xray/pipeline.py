"""From a chest film to its findings: one engine call between exact preparation and exact mapping back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Box, Film, Finding, QualityFlag, StageReport
from appliance.chest_xray.decoding import Detections, decode, suppress
from appliance.chest_xray.letterbox import Letterbox, film_input
from appliance.chest_xray.settings import ChestXraySettings, FindingModel
from appliance.errors import UnsuitableImage
from appliance.imaging.image import Image
from appliance.inference.request import Inference, ModelIdentity, RequestContext
from appliance.models.manifest import Role
from appliance.models.reference import FILM_FILL, FILM_SIZE


class Engines(Protocol):
    """What the pipeline needs of `InferenceService`."""

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        """Run the model of `role` and give its outputs by name."""
        ...


class ChestXrayPipeline:
    """From a frontal chest film to findings.

    Args:
        engines: the inference service.
        model_of: labels, thresholds and card of the model that answered, so that an update between two films
            can never pair one model's scores with another's thresholds.
        settings: thresholds and limits.
    """

    def __init__(
        self,
        engines: Engines,
        model_of: Callable[[ModelIdentity], FindingModel],
        settings: ChestXraySettings | None = None,
    ) -> None:
        self._engines = engines
        self._model_of = model_of
        self._settings = settings or ChestXraySettings()

    def analyze(self, image: Image, context: RequestContext) -> tuple[Film, tuple[StageReport, ...]]:
        """Find the findings of one film.

        Args:
            image: decoded, grey, dark and bright as a viewer would show them.
            context: deadline, cancellation and priority.

        Raises:
            UnsuitableImage: the film is blank.
            DeadlineExceeded, Cancelled: nobody waits any more.
            Unavailable, LimitExceeded, InferenceFailed: from the engine.
        """
        context.check()
        began_s = time.perf_counter()
        contrast = film_contrast(image.grey)
        if contrast < self._settings.min_contrast:
            raise UnsuitableImage(
                "no chest film found: the image is blank, expected dark and bright at least"
                f" {self._settings.min_contrast:.0f} grey levels apart and got {contrast:.0f}"
            )
        network_input, letterbox = film_input(image.grey, FILM_SIZE, FILM_FILL)
        answer = self._engines.infer(Role.CHEST_XRAY_DETECTOR, {"images": network_input}, context)
        model = self._model_of(answer.model)
        limits = model.limits(self._settings.default_threshold)
        found = suppress(
            decode(answer.outputs["output0"], limits), self._settings.max_iou, self._settings.max_findings
        )
        film = Film(
            findings=findings(found, letterbox, model.labels),
            quality_flags=self._flags(contrast, model, len(found)),
        )
        report = _report(answer, (time.perf_counter() - began_s) * 1000.0)
        return film, (report,)

    def _flags(self, contrast: float, model: FindingModel, number: int) -> tuple[QualityFlag, ...]:
        holds = {
            QualityFlag.LOW_CONTRAST: contrast < self._settings.low_contrast,
            QualityFlag.DETECTION_LIMIT: number >= self._settings.max_findings,
            QualityFlag.DEMONSTRATION_MODEL: model.demonstration,
        }
        return tuple(flag for flag in QualityFlag if holds.get(flag, False))


def film_contrast(grey: NDArray[np.uint8]) -> float:
    """Grey levels between the 2nd and the 98th percentile of a film."""
    cumulative = np.cumsum(np.bincount(grey.ravel(), minlength=256))
    low, high = np.searchsorted(cumulative, cumulative[-1] * np.array([0.02, 0.98]))
    return float(high) - float(low)


def findings(found: Detections, letterbox: Letterbox, labels: tuple[str, ...]) -> tuple[Finding, ...]:
    """Bring detections to film pixels, best first; a box wholly in the padding is no finding."""
    made = []
    for (x0, y0, x1, y1), score, index in zip(
        letterbox.to_film(found.boxes), found.scores, found.classes, strict=True
    ):
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
