"""Runs a recipe from checkpoint to pack: export, lint, quantise, lint, compare, pack, and try it as a box
would.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from appliance.models.contract import Contract
from appliance.models.golden import check_golden, shape_mismatch
from appliance.models.manifest import Acceptance, Confidence, Precision
from appliance.models.pack import ModelPack
from engine_builder.card import current_commit, write_card
from engine_builder.compare import Comparison, EngineOpener, Verdict, compare, write_report
from engine_builder.confidence import fit_confidence
from engine_builder.errors import BuildFailed
from engine_builder.export import export_module
from engine_builder.lint import Finding, lint
from engine_builder.pack import GoldenAnswer, PackDraft, write_pack
from engine_builder.plot import plot_comparison
from engine_builder.quantize import quantize
from engine_builder.recipe import Infer, Recipe, Tensors, Workspace, find_callable
from engines.contract import EngineInfo
from engines.onnxruntime_engine import OnnxRuntimeEngine
from engines.opening import open_engine
from engines.options import EngineOptions, QuantizedGraph

STEPS = ("export", "lint FP32", "quantize", "lint INT8", "compare", "confidence", "pack", "try")
"""The steps of a build, in their order; a build in FP32 leaves out the middle ones."""
PARITY_SAMPLES = 8

Report = Callable[[str, str], None]
"""Hears of every step: its name from `STEPS`, and what came of it (empty when it begins)."""


@dataclass(frozen=True)
class Built:
    """What a build left behind."""

    pack: ModelPack
    comparison: Comparison | None  # None for a pack in FP32
    verdicts: tuple[Verdict, ...]
    report: Path | None
    plot: Path | None


class Builder:
    """Builds packs.

    Args:
        place: data and work folders.
        output: folder that gets one directory for each pack, named by the recipe.
        on_step: hears of the progress.
        opener: gives the engine that a box would take; by default the best of this machine.
    """

    def __init__(
        self,
        place: Workspace,
        output: Path,
        on_step: Report | None = None,
        opener: EngineOpener | None = None,
    ) -> None:
        self._place = place
        self._output = output
        self._on_step = on_step or _silent
        self._opener = opener or (lambda path: open_engine(path).engine)

    def build(self, recipe: Recipe) -> Built:
        """Run every step of a recipe.

        Raises:
            BuildFailed: a step found something wrong; nothing is left in the output folder.
            PackRejected: the pack would be refused by a box.
        """
        contract = recipe.resolved_contract()
        folder = self._place.work / "export"
        # by role, as `make accuracy` takes float graphs
        fp32 = folder / "fp32" / f"{recipe.role.value}.onnx"
        fp32.parent.mkdir(parents=True, exist_ok=True)
        self._export(recipe, contract, fp32)
        self._lint(fp32, Precision.FP32, contract, "lint FP32")
        if recipe.precision is Precision.FP32:
            return self._finish(recipe, contract, fp32, None, ())
        int8 = folder / f"{recipe.name}.int8.onnx"
        self._quantize(recipe, fp32, int8)
        self._lint(int8, Precision.INT8, contract, "lint INT8")
        comparison, verdicts = self._compare(recipe, fp32, int8, folder)
        return self._finish(recipe, contract, int8, comparison, verdicts)

    def _export(self, recipe: Recipe, contract: Contract, target: Path) -> None:
        self._on_step("export", "")
        checkpoint = self._place.work / recipe.network.checkpoint
        if not checkpoint.is_file():
            raise BuildFailed(f"expected the checkpoint {checkpoint} and got nothing there: train first")
        module = find_callable(recipe.network.build)(checkpoint)
        found = export_module(
            module,
            target,
            contract.inputs,
            contract.outputs,
            recipe.network.opset,
            recipe.network.exporter,
        )
        least = min(each.cosine for each in found.values())
        self._on_step("export", f"{target.stat().st_size / 1e6:.1f} MB, agrees with torch to {least:.6f}")

    def _lint(self, path: Path, precision: Precision, contract: Contract, step: str) -> None:
        self._on_step(step, "")
        findings = lint(onnx.load(path), precision, dynamic_batch=contract.inputs[0].shape[0] == -1)
        refuse(path, findings)
        self._on_step(step, "no findings")

    def _quantize(self, recipe: Recipe, source: Path, target: Path) -> None:
        self._on_step("quantize", "")
        part = recipe.calibration
        samples = itertools.islice(self._samples(part.source), part.samples)
        summary = quantize(source, target, samples, part.settings)
        if summary.samples < part.samples:
            raise BuildFailed(f"expected {part.samples} calibration samples and got {summary.samples}")
        self._on_step(
            "quantize",
            f"{len(summary.quantized)} operators in int8, {len(summary.excluded)} left in float"
            f" by the recipe, {target.stat().st_size / 1e6:.1f} MB",
        )

    def _compare(
        self, recipe: Recipe, fp32: Path, int8: Path, folder: Path
    ) -> tuple[Comparison, tuple[Verdict, ...]]:
        self._on_step("compare", "")
        source = find_callable(recipe.metric.source)

        def metric(infer: Infer) -> Any:
            return source(self._place, infer)

        # samples that calibration has not seen
        fresh = itertools.islice(
            self._samples(recipe.calibration.source),
            recipe.calibration.samples,
            recipe.calibration.samples + PARITY_SAMPLES,
        )
        comparison = compare(fp32, int8, metric, fresh, self._opener)
        verdicts = comparison.judge(recipe.acceptance)
        write_report(comparison, verdicts, folder / f"{recipe.name}.compare.json")
        plot_comparison(comparison, f"{recipe.name} {recipe.version}", folder / f"{recipe.name}.compare.svg")
        missed = [
            f"{each.metric} {each.bound.replace('_', ' ')} {each.limit:g} and got {each.measured:.5g}"
            for each in verdicts
            if not each.met
        ]
        if missed:
            raise BuildFailed(f"expected {'; expected '.join(missed)}")
        shown = ", ".join(
            f"{name} {comparison.fp32.measurements[name].value:.4f} → {measured.value:.4f}"
            for name, measured in comparison.int8.measurements.items()
        )
        self._on_step("compare", shown)
        return comparison, verdicts

    def _finish(
        self,
        recipe: Recipe,
        contract: Contract,
        model: Path,
        comparison: Comparison | None,
        verdicts: Sequence[Verdict],
    ) -> Built:
        confidence = self.fit_confidence(recipe, model)
        self._on_step("pack", "")
        commit = current_commit(Path(__file__).parent)
        draft = PackDraft(
            name=recipe.name,
            version=recipe.version,
            role=recipe.role,
            precision=recipe.precision,
            contract=contract,
            model=model,
            golden=self._golden(recipe, model),
            tolerance=recipe.golden.tolerance,
            matching=recipe.golden.matching,
            acceptance=[
                Acceptance(
                    metric=each.metric, bound=each.bound, limit=each.limit, measured=each.measured, n=each.n
                )
                for each in verdicts
            ],
            card_text=write_card(recipe, contract, self._place, comparison, verdicts, commit, confidence),
            summary=recipe.card.summary,
            training_data=recipe.card.training_data,
            limitations=recipe.card.limitations,
            demonstration=recipe.card.demonstration,
            confidence=confidence,
        )
        pack = write_pack(draft, self._output / recipe.name)
        self._on_step("pack", f"{pack.manifest.size_bytes / 1e6:.1f} MB, contract {pack.contract_hash[:12]}")
        self._try(pack)
        folder = self._place.work / "export"
        if comparison is None:
            return Built(pack, None, tuple(verdicts), None, None)
        return Built(
            pack,
            comparison,
            tuple(verdicts),
            folder / f"{recipe.name}.compare.json",
            folder / f"{recipe.name}.compare.svg",
        )

    def fit_confidence(self, recipe: Recipe, model: Path) -> Confidence | None:
        """Calibrate the classes and the polarity of a graph on validation data; None where no recipe asks.

        Args:
            recipe: names the readings and the accuracy that thresholds are chosen for.
            model: the ONNX file, on the engine that a box would take.
        """
        part = recipe.confidence
        if part is None:
            return None
        self._on_step("confidence", "")
        with self._opener(model) as engine:
            readings = find_callable(part.source)(self._place, engine.infer)
        fitted = fit_confidence(readings, part.target_accuracy)
        self._on_step(
            "confidence",
            f"temperatures {fitted.class_temperature:g} and {fitted.polarity_temperature:g},"
            f" a person looks below {fitted.min_class:g} and {fitted.min_polarity:g}",
        )
        return fitted

    def _golden(self, recipe: Recipe, model: Path) -> list[GoldenAnswer]:
        inputs = itertools.islice(self._samples(recipe.golden.source), recipe.golden.cases)
        with OnnxRuntimeEngine(model, EngineOptions(quantized_graph=QuantizedGraph.AS_IS)) as engine:
            answers = [GoldenAnswer(sample, engine.infer(sample)) for sample in inputs]
        if len(answers) < recipe.golden.cases:
            raise BuildFailed(f"expected {recipe.golden.cases} golden inputs and got {len(answers)}")
        return answers

    def _try(self, pack: ModelPack) -> None:
        self._on_step("try", "")
        outputs, info = try_pack(pack, self._opener)
        self._on_step("try", f"{outputs} golden outputs agree on {info.kind.value} in {info.precision}")

    def _samples(self, source: str) -> Iterable[Tensors]:
        samples: Iterable[Tensors] = find_callable(source)(self._place)
        return (_checked(sample) for sample in samples)


def try_pack(pack: ModelPack, opener: EngineOpener) -> tuple[int, EngineInfo]:
    """Load a pack as a box would and run its golden cases; how many outputs agreed, and on what.

    Raises:
        BuildFailed: the graph's tensors or a known answer are not what the pack says.
    """
    with opener(pack.model_path) as engine:
        mismatch = shape_mismatch(pack.manifest, engine)
        if mismatch is not None:
            raise BuildFailed(mismatch)
        results = check_golden(pack, engine)
        failed = [result.sentence for result in results if not result.passed]
        if failed:
            raise BuildFailed("; ".join(failed))
        return len(results), engine.info


def _silent(_step: str, _outcome: str) -> None:
    """Report to nobody."""


def refuse(path: Path, findings: Sequence[Finding]) -> None:
    """Raise BuildFailed with all findings of the lint, if there are any."""
    if findings:
        listed = "\n".join(f"  {finding}" for finding in findings)
        raise BuildFailed(f"expected {path.name} to be in the form that every box compiles and got\n{listed}")


def _checked(sample: Tensors) -> dict[str, NDArray[Any]]:
    return {name: np.ascontiguousarray(array) for name, array in sample.items()}
