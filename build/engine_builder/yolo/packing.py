"""One YOLO export → one pack, or one sentence on why not: read, convert, compare, pack, try as a box does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16

from appliance.chest_xray.settings import ChestXraySettings
from appliance.models.contract import Contract
from appliance.models.film_contract import HeadLayout, read_film_contract
from appliance.models.manifest import (
    Acceptance,
    Labels,
    ObjectMatching,
    Precision,
    Preprocessing,
    PreprocessingMethod,
    Role,
    TensorEntry,
    Tolerance,
)
from appliance.models.pack import ModelPack
from appliance.models.reference import FILM_FILL
from engine_builder.builder import try_pack
from engine_builder.compare import EngineOpener
from engine_builder.errors import BuildFailed
from engine_builder.export import simplify
from engine_builder.graph import save, strip_unused_domains
from engine_builder.lint import lint
from engine_builder.pack import GoldenAnswer, PackDraft, write_pack
from engine_builder.quantize import QuantizationSettings, quantize
from engine_builder.yolo.agreement import FindingAgreement, compare_findings
from engine_builder.yolo.card import write_yolo_card
from engine_builder.yolo.films import folder_films, phantom_films, tensors
from engine_builder.yolo.graph import YoloGraph, read_yolo_graph
from engine_builder.yolo.labels import settle_labels, settle_thresholds
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.opening import open_engine
from engines.options import EngineOptions, QuantizedGraph

MIN_CALIBRATION_FILMS: Final = 8
CALIBRATION_SHARE: Final = 0.75
"""Of the films given; the converted model is judged on the others."""

PHANTOMS: Final = 8
GOLDEN_COSINE: Final = 0.98
"""Between runtimes, of a whole output; quantised sums round differently."""


@dataclass(frozen=True)
class YoloOptions:
    """What a user says of a model."""

    name: str
    version: str
    training_data: tuple[str, ...]
    limitations: str
    labels: tuple[str, ...] = ()  # in class order; empty takes the names of the graph's own metadata
    default_threshold: float = ChestXraySettings.default_threshold
    thresholds: tuple[tuple[str, float], ...] = ()  # by label, instead of the default
    precision: Precision | None = None  # None keeps the graph's own
    films: Path | None = None  # to calibrate on and to compare on; phantoms where absent
    min_agreement: float = (
        0.9  # least share of findings that a converted model has to share with the original
    )
    demonstration: bool = False


@dataclass(frozen=True)
class YoloPacked:
    """What came out."""

    pack: ModelPack
    graph: YoloGraph
    agreement: FindingAgreement | None  # None where nothing was converted
    notes: tuple[str, ...]  # why not every runtime may take the graph


def pack_yolo(
    source: Path, options: YoloOptions, output: Path, opener: EngineOpener | None = None
) -> YoloPacked:
    """Pack an ONNX file that a user exported.

    Args:
        source: the export, in the grid or the end-to-end layout.
        options: what the user says of it.
        output: folder that gets the pack's directory, named as the pack.
        opener: gives the engine of a box; by default the best of this machine.

    Raises:
        BuildFailed: no such detector, labels that are not its own, or a conversion that lost findings.
        PackRejected: a box would refuse it.
    """
    opener = opener or (lambda path: open_engine(path).engine)
    original = read_yolo_graph(source)
    labels = settle_labels(options.labels, original)
    thresholds = settle_thresholds(labels, options.default_threshold, options.thresholds)
    first = _contract(original, labels, thresholds)
    read_film_contract(first)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        films = folder_films(options.films) if options.films else None
        judged = _convert(source, original, first, options.precision, films, model)
        graph = replace(read_yolo_graph(model), names=original.names)
        contract = _contract(graph, labels, thresholds)
        if graph.divisor != original.divisor or graph.classes != original.classes:
            raise BuildFailed("expected the conversion to keep input scaling and classes and it did not")
        agreement = None
        if graph.precision is not original.precision:
            agreement = _agreement(source, model, first, contract, judged, opener)
            if agreement.share < options.min_agreement:
                raise BuildFailed(
                    f"expected at least {options.min_agreement:.0%} of the findings to be the original's and"
                    f" got {agreement.share:.1%} of {agreement.original} and {agreement.converted}"
                )
        draft = _draft(options, graph, contract, model, agreement, source)
        pack = write_pack(draft, output / options.name)
        try_pack(pack, opener)
        notes = tuple(str(finding) for finding in lint(onnx.load(model), graph.precision))
    return YoloPacked(pack, graph, agreement, notes)


def _contract(graph: YoloGraph, labels: tuple[str, ...], thresholds: Mapping[str, float]) -> Contract:
    grid = graph.layout is HeadLayout.GRID
    return Contract(
        inputs=(
            TensorEntry.model_validate(
                {
                    "name": graph.input_name,
                    "datatype": graph.datatype,
                    "shape": (1, 3, graph.size, graph.size),
                }
            ),
        ),
        outputs=(
            TensorEntry.model_validate(
                {"name": graph.output_name, "datatype": graph.datatype, "shape": graph.output_shape}
            ),
        ),
        preprocessing=Preprocessing(
            method=PreprocessingMethod.LETTERBOX,
            parameters={
                "size": graph.size,
                "fill": FILM_FILL,
                "channels": "RGB",
                "divisor": graph.divisor,
            },
        ),
        labels=Labels(names=labels, output=graph.output_name, axis=1, offset=4)
        if grid
        else Labels(names=labels, channels=graph.classes),
        thresholds=thresholds,
    )


def _convert(
    source: Path,
    graph: YoloGraph,
    contract: Contract,
    precision: Precision | None,
    films: list[NDArray[np.uint8]] | None,
    target: Path,
) -> Sequence[NDArray[np.uint8]]:
    """Write the graph in the wanted precision; gives the films that a conversion may be judged on."""
    if precision is None or precision is graph.precision:
        save(strip_unused_domains(onnx.load(source)), target)
        return ()
    if graph.precision is not Precision.FP32:
        raise BuildFailed(
            f"expected an FP32 export to convert to {precision.value} and got one in {graph.precision.value}"
        )
    if precision is Precision.FP16:
        half = convert_float_to_float16(onnx.load(source), keep_io_types=True)
        save(strip_unused_domains(half), target)
        return films or phantom_films(PHANTOMS)
    if films is None or len(films) < MIN_CALIBRATION_FILMS:
        got = "none" if films is None else str(len(films))
        raise BuildFailed(
            f"expected a folder of at least {MIN_CALIBRATION_FILMS} films (--films) to calibrate INT8 on and"
            f" got {got}"
        )
    number = int(len(films) * CALIBRATION_SHARE)
    read = read_film_contract(contract)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        simplify(source, plain)
        quantize(plain, target, (tensors(film, read) for film in films[:number]), QuantizationSettings())
    return films[number:]


def _agreement(
    source: Path,
    model: Path,
    first: Contract,
    second: Contract,
    films: Sequence[NDArray[np.uint8]],
    opener: EngineOpener,
) -> FindingAgreement:
    ours, theirs = read_film_contract(first), read_film_contract(second)
    limits = np.array([first.thresholds[label] for label in first.labels.names])
    inputs = [(tensors(film, ours), tensors(film, theirs)) for film in films]
    with OnnxRuntimeEngine(source) as original, opener(model) as converted:
        return compare_findings(original, converted, ours, theirs, inputs, limits)


def _draft(
    options: YoloOptions,
    graph: YoloGraph,
    contract: Contract,
    model: Path,
    agreement: FindingAgreement | None,
    source: Path,
) -> PackDraft:
    acceptance = []
    if agreement is not None:
        acceptance.append(
            Acceptance(
                metric=f"{graph.precision.value.lower()}.agreement",
                bound="at_least",
                limit=options.min_agreement,
                measured=agreement.share,
                n=agreement.original + agreement.converted,
            )
        )
    answer = _golden(model, contract)
    summary = f"A YOLO detector of {graph.classes} findings that its owner exported and packed."
    return PackDraft(
        name=options.name,
        version=options.version,
        role=Role.CHEST_XRAY_DETECTOR,
        precision=graph.precision,
        contract=contract,
        model=model,
        golden=[answer],
        tolerance={graph.output_name: Tolerance(min_cosine=GOLDEN_COSINE)},
        matching=_matching(graph, answer.outputs),
        acceptance=acceptance,
        card_text=write_yolo_card(
            options.name,
            options.version,
            graph,
            contract,
            summary,
            options.training_data,
            options.limitations,
            acceptance,
            source,
        ),
        summary=summary,
        training_data=options.training_data,
        limitations=options.limitations,
        demonstration=options.demonstration,
    )


def _golden(model: Path, contract: Contract) -> GoldenAnswer:
    """What the unoptimised reference answers to a phantom."""
    sample = tensors(phantom_films(1, seed=1)[0], read_film_contract(contract))
    with OnnxRuntimeEngine(model, EngineOptions(quantized_graph=QuantizedGraph.AS_IS)) as engine:
        return GoldenAnswer(sample, engine.infer(sample))


def _matching(graph: YoloGraph, outputs: Mapping[str, NDArray[Any]]) -> ObjectMatching | None:
    """Rows of nearly equal score change places between runtimes: pair them by overlap."""
    if graph.layout is HeadLayout.GRID:
        return None
    best = float(outputs[graph.output_name][0, :, 4].max())
    if best <= 0:
        raise BuildFailed("expected at least one row with a score on a phantom film and got none")
    return ObjectMatching(
        boxes=graph.output_name, scores=graph.output_name, min_score=best / 2, min_iou=0.5, min_share=0.5
    )
