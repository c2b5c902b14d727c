"""An image that comes again: the analysis of the same bytes by the same models is repeated, not computed.

What the caller gets is a result of its own all the same: with its own id, time and request id, committed like
every other. It says which result it repeats (`Analysis.repeat_of`), and of the stages which models had run,
with no time and no calls, because none were made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance import __version__
from appliance.analysis import Analysis, Modality, StageReport
from appliance.inference import ModelIdentity
from appliance.inference.repeats import RepeatCache, key_of
from appliance.models.manifest import Role
from appliance.results.codec import encode
from appliance.service.request import AnalysisRequest

STAGE = "repeat"
MODELS_OF = {
    Modality.METAPHASE: (Role.KARYOTYPE_SEGMENTER, Role.KARYOTYPE_DETECTOR, Role.KARYOTYPE_CLASSIFIER),
    Modality.CHEST_XRAY: (Role.CHEST_XRAY_DETECTOR,),
}


@dataclass(frozen=True)
class Question:
    """What was asked, and of whom."""

    modality: Modality
    models: tuple[ModelIdentity, ...]
    key: bytes


class AnalysisRepeats:
    """The analyses that are kept.

    Args:
        cache: keeps them.
        model_of: the model of a role; None where none is loaded.
    """

    def __init__(
        self, cache: RepeatCache[Analysis], model_of: Callable[[Role], ModelIdentity | None]
    ) -> None:
        self._cache = cache
        self._model_of = model_of

    def question(self, modality: Modality, request: AnalysisRequest) -> Question | None:
        """The question in a request; None for one whose answer is not kept.

        That is where the cache is off, where a model is missing, and where a DICOM structured report is
        wanted, which has an identity of its own.
        """
        if not self._cache.on or request.names_patient:
            return None
        models = self._models(modality)
        if models is None:
            return None
        raw = request.image
        image = (raw,) if isinstance(raw, bytes) else (memoryview(raw.data), raw.shape, raw.pixel_type)
        wanted = replace(request, image=b"", request_id="")  # all else, also what is added to requests later
        return Question(modality, models, key_of(__version__, modality, models, wanted, *image))

    def find(self, question: Question | None) -> Analysis | None:
        """The analysis that answers a question."""
        return None if question is None else self._cache.get(question.key)

    def keep(self, question: Question | None, analysis: Analysis) -> None:
        """Keep a committed analysis, unless a model was replaced while it was made."""
        if question is None or self._models(question.modality) != question.models:
            return
        pictures = sum(len(picture) for picture in analysis.renderings.values())
        self._cache.put(question.key, analysis, len(encode(analysis)) + pictures)

    def _models(self, modality: Modality) -> tuple[ModelIdentity, ...] | None:
        models = tuple(self._model_of(role) for role in MODELS_OF[modality])
        loaded = tuple(model for model in models if model is not None)
        return loaded if len(loaded) == len(models) else None


def repeated(earlier: Analysis, result_id: str, request_id: str, created_ms: int, took_ms: float) -> Analysis:
    """The same findings as a result of its own."""
    idle = (
        replace(stage, time_ms=0.0, engine_ms=0.0, calls=0) for stage in earlier.stages if stage.model_name
    )
    return replace(
        earlier,
        result_id=result_id,
        request_id=request_id,
        created_ms=created_ms,
        stages=(StageReport(STAGE, took_ms), *idle),
        repeat_of=earlier.result_id,
    )
