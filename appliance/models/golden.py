"""Does an engine really do what the pack promises: tensor shapes, and the known answers of the golden
cases.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceFailed, PackRejected
from appliance.models.golden_objects import pair_objects
from appliance.models.manifest import GoldenCase, Manifest, TensorEntry, Tolerance
from appliance.models.pack import ModelPack
from engines.contract import Engine
from engines.errors import EngineError
from engines.tensor_spec import TensorSpec

INPUT_PREFIX = "input."
OUTPUT_PREFIX = "output."
"""Array names of a golden case's .npz: `input.NAME` and `output.NAME`."""


@dataclass(frozen=True)
class Agreement:
    """How close two arrays of the same shape are."""

    cosine: float  # 1 where both point the same way; 1 where both are all zero
    max_abs: float  # largest absolute difference; infinity where one of them is not finite


@dataclass(frozen=True)
class GoldenResult:
    """One output of one golden case on one engine."""

    case: str
    output: str
    agreement: Agreement
    passed: bool
    sentence: str  # empty where it passed


def agreement(actual: NDArray[Any], expected: NDArray[Any]) -> Agreement:
    """Compare two arrays.

    Raises:
        ValueError: the shapes differ.
    """
    if actual.shape != expected.shape:
        raise ValueError(f"expected shape {expected.shape} and got {actual.shape}")
    left = np.asarray(actual, dtype=np.float64).ravel()
    right = np.asarray(expected, dtype=np.float64).ravel()
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return Agreement(cosine=-1.0, max_abs=math.inf)
    norm = float(np.linalg.norm(left) * np.linalg.norm(right))
    if norm == 0.0:
        cosine = 1.0 if not left.any() and not right.any() else 0.0
    else:
        cosine = min(1.0, max(-1.0, float(left @ right) / norm))
    return Agreement(cosine=cosine, max_abs=float(np.abs(left - right).max(initial=0.0)))


def shape_mismatch(manifest: Manifest, engine: Engine) -> str | None:
    """Say in one sentence why an engine's tensors are not those of the manifest, or give None where they
    are.
    """
    for kind, entries, specs in (
        ("inputs", manifest.inputs, engine.inputs),
        ("outputs", manifest.outputs, engine.outputs),
    ):
        sentence = _tensor_mismatch(kind, entries, specs)
        if sentence is not None:
            return f"{manifest.name} {manifest.version}: {sentence}"
    return None


def check_golden(pack: ModelPack, engine: Engine) -> tuple[GoldenResult, ...]:
    """Run every golden case of a pack on an engine.

    Returns:
        One result for each compared output; an empty tuple only where the pack has no golden cases.

    Raises:
        PackRejected: a case is unreadable, or does not hold the arrays that it has to.
        InferenceFailed: the engine could not run a case at all.
    """
    results: list[GoldenResult] = []
    for case in pack.manifest.golden_cases:
        inputs, expected = read_golden(pack.directory / case.file)
        _check_arrays(pack.manifest, case, inputs, expected)
        try:
            actual = engine.infer(inputs)
        except EngineError as exc:
            raise InferenceFailed(
                f"golden case {case.file} of {pack.manifest.name} could not run: {exc}"
            ) from exc
        results.extend(_judge_case(case, actual, expected))
    return tuple(results)


def read_golden(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Read the inputs and the expected outputs of a golden case.

    Raises:
        PackRejected: the file is no .npz with arrays of plain numbers.
    """
    try:
        # opened here, because np.load leaves a file open that turns out not to be a zip archive
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            tensors = {name: np.asarray(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as exc:
        raise PackRejected(
            f"expected golden case {path.name} to be an .npz of numbers and got: {exc}"
        ) from exc
    return _with_prefix(tensors, INPUT_PREFIX), _with_prefix(tensors, OUTPUT_PREFIX)


def _with_prefix(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _check_arrays(
    manifest: Manifest,
    case: GoldenCase,
    inputs: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]],
) -> None:
    wanted = {entry.name for entry in manifest.inputs}
    if set(inputs) != wanted:
        raise PackRejected(
            f"expected inputs {', '.join(sorted(wanted))} in golden case {case.file}"
            f" and got {', '.join(sorted(inputs)) or 'none'}"
        )
    missing = sorted(case.needed_outputs - set(expected))
    if missing:
        raise PackRejected(
            f"expected outputs {', '.join(sorted(case.needed_outputs))} in golden case {case.file}"
            f" and got none for {', '.join(missing)}"
        )


def _judge_case(
    case: GoldenCase, actual: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> list[GoldenResult]:
    strangers = [name for name in sorted(case.needed_outputs) if actual[name].shape != expected[name].shape]
    if case.matching is None or strangers:
        return [
            _judge(case.file, name, tolerance, actual[name], expected[name])
            for name, tolerance in case.tolerance.items()
        ]
    pairs = pair_objects(expected, actual, case.matching)
    if pairs.share < case.matching.min_share:
        sentence = (
            f"{case.file}: expected {case.matching.min_share:.0%} of the objects of score"
            f" {case.matching.min_score:g} and more again and got {pairs.share:.0%}"
        )
        worst = Agreement(cosine=-1.0, max_abs=math.inf)
        return [GoldenResult(case.file, case.matching.boxes, worst, passed=False, sentence=sentence)]
    return [
        _judge(case.file, name, tolerance, actual[name][:, pairs.actual], expected[name][:, pairs.expected])
        for name, tolerance in case.tolerance.items()
    ]


def _judge(
    case: str, output: str, tolerance: Tolerance, actual: NDArray[Any], expected: NDArray[Any]
) -> GoldenResult:
    if actual.shape != expected.shape:
        worst = Agreement(cosine=-1.0, max_abs=math.inf)
        sentence = f"{case}: expected shape {expected.shape} in {output} and got {actual.shape}"
        return GoldenResult(case, output, worst, passed=False, sentence=sentence)
    found = agreement(actual, expected)
    complaints = []
    if tolerance.min_cosine is not None and not found.cosine >= tolerance.min_cosine:
        complaints.append(f"cosine of at least {tolerance.min_cosine:g} and got {found.cosine:.6f}")
    if tolerance.max_abs is not None and not found.max_abs <= tolerance.max_abs:
        complaints.append(f"difference of at most {tolerance.max_abs:g} and got {found.max_abs:g}")
    sentence = f"{case}: expected in {output} a {' and a '.join(complaints)}" if complaints else ""
    return GoldenResult(case, output, found, passed=not complaints, sentence=sentence)


def _tensor_mismatch(kind: str, entries: Sequence[TensorEntry], specs: Sequence[TensorSpec]) -> str | None:
    found = {spec.name: spec for spec in specs}
    wanted = [entry.name for entry in entries]
    if set(found) != set(wanted):
        return f"expected {kind} {', '.join(wanted)} and got {', '.join(found) or 'none'} in the graph"
    for entry in entries:
        spec = found[entry.name]
        if spec.datatype != entry.datatype:
            return f"expected datatype {entry.datatype} for {entry.name} and got {spec.datatype} in the graph"
        # a runtime may not know a dimension that the manifest promises; the promise is then checked on the
        # arrays
        fits = len(spec.shape) == len(entry.shape) and all(
            have in (want, -1) for have, want in zip(spec.shape, entry.shape, strict=True)
        )
        if not fits:
            return (
                f"expected shape {list(entry.shape)} for {entry.name} and got {list(spec.shape)} in the graph"
            )
    return None
