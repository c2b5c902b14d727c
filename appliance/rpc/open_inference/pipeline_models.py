"""The two pipelines as models: an encoded image in, the committed result out as protobuf's JSON."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from appliance import RESEARCH_USE_ONLY, __version__
from appliance.analysis import Analysis, QualityFlag, StageEvent
from appliance.errors import InvalidInput
from appliance.imaging.page import PageFormat
from appliance.inference import RequestContext
from appliance.models.registry import ModelState
from appliance.rpc.open_inference.model import (
    BYTES,
    FROM_CACHE,
    ModelCard,
    ModelHealth,
    Outcome,
    Parameter,
    Port,
    Tensors,
    Wanted,
)
from appliance.rpc.progress import as_they_end
from appliance.rpc.readiness import CHEST_XRAY, KARYOTYPE, serving
from appliance.rpc.writing import write_chest_film, write_event, write_metaphase
from appliance.service import AnalysisRequest, Analyzer, Checkup

IMAGE = Port("image", BYTES, (1,))
RESULT = Port("result", BYTES, (1,))
PROGRESS = "progress"
"""In a stream: answer also as each stage ends."""

OnStage = Callable[[StageEvent], None]


class PipelineModel(ABC):
    """What both pipelines have in common.

    Args:
        analyzer: decodes, analyses, commits.
        checkup: knows what is ready.
    """

    name: str
    service: str  # of the project's own interface: ready together

    def __init__(self, analyzer: Analyzer, checkup: Checkup) -> None:
        self._analyzer = analyzer
        self._checkup = checkup

    @property
    def health(self) -> ModelHealth:
        """READY when its models are and results can be stored."""
        status = self._checkup.status()
        if self.service in serving(status):
            return ModelHealth(self.name, __version__, ModelState.READY, "")
        state = ModelState.LOADING if status.starting else ModelState.UNAVAILABLE
        return ModelHealth(self.name, __version__, state, "; ".join(status.problems))

    def card(self) -> ModelCard:
        """The same for every pipeline: an image in, a result out."""
        return ModelCard(
            name=self.name,
            version=__version__,
            platform="appliance_pipeline",
            backend="appliance",
            inputs=(IMAGE,),
            outputs=(RESULT,),
            facts={"notice": RESEARCH_USE_ONLY},
        )

    def infer(self, card: ModelCard, tensors: Tensors, wanted: Wanted, context: RequestContext) -> Outcome:  # noqa: ARG002
        """Analyse, commit, answer."""
        began_ns = time.perf_counter_ns()
        analysis = self._analyze(read_wanted(tensors, wanted), context, None)
        return self._outcome(analysis, time.perf_counter_ns() - began_ns)

    def infer_in_stages(
        self, tensors: Tensors, wanted: Wanted, context: RequestContext
    ) -> Iterator[tuple[Outcome, bool]]:
        """What is known as each stage ends, and at last the answer; with it whether it is the last."""
        began_ns = time.perf_counter_ns()
        request = read_wanted(tensors, wanted)

        def work(tell: Callable[[StageEvent], None]) -> Analysis:
            return self._analyze(request, context, tell)

        for event in as_they_end(work):
            if isinstance(event, Analysis):
                yield self._outcome(event, time.perf_counter_ns() - began_ns), True
            else:
                facts: dict[str, Parameter] = {"notice": RESEARCH_USE_ONLY, "stage": event.report.stage}
                yield Outcome(__version__, _as_tensor(write_event(event)), facts), False

    def _outcome(self, analysis: Analysis, took_ns: int) -> Outcome:
        decode_ns = sum(round(one.time_ms * 1e6) for one in analysis.stages if one.stage == "decode")
        found = analysis.spread or analysis.film
        facts: dict[str, Parameter] = {"notice": RESEARCH_USE_ONLY}
        if found is not None and QualityFlag.DEMONSTRATION_MODEL in found.quality_flags:
            facts["demonstration_model"] = True
        if analysis.repeat_of:
            facts[FROM_CACHE] = True
        return Outcome(
            version=__version__,
            outputs=_as_tensor(self._write(analysis)),
            facts=facts,
            read_ns=decode_ns,
            infer_ns=max(0, took_ns - decode_ns),
            repeated=bool(analysis.repeat_of) or None,
        )

    @abstractmethod
    def _analyze(
        self, request: AnalysisRequest, context: RequestContext, on_stage: OnStage | None
    ) -> Analysis: ...

    @abstractmethod
    def _write(self, analysis: Analysis) -> Message: ...


class KaryotypeModel(PipelineModel):
    """A metaphase image in, the karyotype out."""

    name = "karyotype"
    service = KARYOTYPE

    def _analyze(
        self, request: AnalysisRequest, context: RequestContext, on_stage: OnStage | None
    ) -> Analysis:
        return self._analyzer.analyze_metaphase(request, context, on_stage)

    def _write(self, analysis: Analysis) -> Message:
        return write_metaphase(analysis)


class ChestXrayModel(PipelineModel):
    """A chest film in, findings out; it has one stage, so there is no progress to tell."""

    name = "chest_xray"
    service = CHEST_XRAY

    def _analyze(
        self,
        request: AnalysisRequest,
        context: RequestContext,
        on_stage: OnStage | None,  # noqa: ARG002
    ) -> Analysis:
        return self._analyzer.analyze_chest_film(request, context)

    def _write(self, analysis: Analysis) -> Message:
        return write_chest_film(analysis)


def read_wanted(tensors: Tensors, wanted: Wanted) -> AnalysisRequest:
    """The request in the pipelines' own terms; InvalidInput for a parameter of the wrong kind."""
    size_um = wanted.parameters.get("pixel_size_um")
    if size_um is not None:
        size_um = _number("pixel_size_um", size_um)
    return AnalysisRequest(
        image=tensors[IMAGE.name][0],
        pixel_size_um=size_um,
        request_id=wanted.request_id,
        overlay=flag(wanted, "overlay"),
        karyogram_formats=(PageFormat.PNG,) if flag(wanted, "karyogram") else (),
    )


def flag(wanted: Wanted, name: str) -> bool:
    """A parameter that is yes or no; no where it is not given."""
    value = wanted.parameters.get(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"parameter {name}: expected true or false and got {str(value)[:64]!r}")
    return value


def _number(name: str, value: Parameter) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except ValueError as exc:
        raise InvalidInput(f"parameter {name}: expected a number and got {str(value)[:64]!r}") from exc
    if math.isnan(number):
        raise InvalidInput(f"parameter {name}: expected a number and got {value}")
    return number


def _as_tensor(message: Message) -> Tensors:
    text = MessageToJson(message, always_print_fields_with_no_presence=True, ensure_ascii=False, indent=None)
    result = np.empty(1, object)
    result[0] = text.encode()
    return {RESULT.name: result}
