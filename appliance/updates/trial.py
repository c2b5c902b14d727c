"""Measures one pack on this hardware: known answers, INT8 against float, speed, memory, and the exam's
scores.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.models.golden import agreement, check_golden, read_golden, shape_mismatch
from appliance.models.golden_objects import pair_objects
from appliance.models.manifest import GoldenCase, Precision
from appliance.models.pack import ModelPack
from appliance.models.pixels import pixel_input
from appliance.models.registry import EngineOpener
from appliance.updates.exam import Exam, score
from engines import Engine

TIMED_CALLS = 20
TIMED_SECONDS = 10.0
"""Whichever comes first ends the timing; at least five calls are made."""

MIN_CALLS = 5


@dataclass(frozen=True)
class KnownAnswer:
    """One output of one golden case."""

    case: str
    output: str
    cosine: float
    passed: bool
    sentence: str  # empty where it passed


@dataclass(frozen=True)
class Trial:
    """What was measured; plain values, so that it crosses a process and goes into the evidence."""

    engine: str = ""  # kind, device, precision
    fault: str = ""  # why it could not be measured at all; empty otherwise
    known_answers: tuple[KnownAnswer, ...] = ()
    parity: tuple[float, ...] = ()  # of each output of each golden case: cosine of INT8 with float arithmetic
    latency_ms: tuple[float, ...] = ()  # of single calls
    memory_mib: float = 0.0  # growth of the process by opening and running the engine
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by exam, one for each item

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """Of `to_json`; ValueError, KeyError or TypeError for anything else."""
        tree = json.loads(text)
        tree["known_answers"] = tuple(KnownAnswer(**one) for one in tree["known_answers"])
        tree["parity"], tree["latency_ms"] = tuple(tree["parity"]), tuple(tree["latency_ms"])
        tree["scores"] = {name: tuple(scores) for name, scores in tree["scores"].items()}
        return cls(**tree)


def run_trial(
    pack: ModelPack,
    open_engine: EngineOpener,
    exams: Mapping[str, Exam],
    open_float: EngineOpener | None = None,
    memory_mib: Callable[[], float] = lambda: 0.0,
) -> Trial:
    """Measure a pack.

    Args:
        pack: verified.
        open_engine: compiles as the daemon does.
        exams: by name; each is scored.
        open_float: compiles the same graph for float arithmetic, for INT8 parity; None leaves that out.
        memory_mib: resident memory of this process.

    Raises:
        EngineError, ApplianceError: it could not be measured at all.
    """
    before_mib = memory_mib()
    with open_engine(pack.model_path, pixel_input(pack.manifest)) as engine:
        mismatch = shape_mismatch(pack.manifest, engine)
        if mismatch is not None:
            return Trial(engine=describe(engine), fault=mismatch)
        known = check_golden(pack, engine)
        latencies = _latencies(engine, _typical_input(pack, engine))
        grown_mib = memory_mib() - before_mib
        scores = {name: score(pack.manifest, engine.infer, exam) for name, exam in exams.items()}
        parity = _parity(pack, engine, open_float)
        return Trial(
            engine=describe(engine),
            known_answers=tuple(
                KnownAnswer(one.case, one.output, one.agreement.cosine, one.passed, one.sentence)
                for one in known
            ),
            parity=parity,
            latency_ms=tuple(latencies),
            memory_mib=max(0.0, grown_mib),
            scores=scores,
        )


def describe(engine: Engine) -> str:
    """Kind, device and precision as people read them."""
    info = engine.info
    return f"{info.kind.value} {info.runtime_version}, {info.device}, {info.precision}"


def _typical_input(pack: ModelPack, engine: Engine) -> Mapping[str, NDArray[Any]]:
    if pack.manifest.golden_cases:
        return read_golden(pack.directory / pack.manifest.golden_cases[0].file)[0]
    return {spec.name: spec.filled(1) for spec in engine.inputs}


def _latencies(engine: Engine, inputs: Mapping[str, NDArray[Any]]) -> list[float]:
    engine.infer(inputs)  # the first call allocates
    found: list[float] = []
    ends_s = time.perf_counter() + TIMED_SECONDS
    while len(found) < MIN_CALLS or (len(found) < TIMED_CALLS and time.perf_counter() < ends_s):
        began_s = time.perf_counter()
        engine.infer(inputs)
        found.append((time.perf_counter() - began_s) * 1000)
    return found


def _parity(pack: ModelPack, engine: Engine, open_float: EngineOpener | None) -> tuple[float, ...]:
    if pack.manifest.precision is not Precision.INT8 or open_float is None:
        return ()
    found: list[float] = []
    with open_float(pack.model_path) as reference:
        for case in pack.manifest.golden_cases:
            inputs, _expected = read_golden(pack.directory / case.file)
            found.extend(_agreements(case, engine.infer(inputs), reference.infer(inputs)))
    return tuple(found)


def _agreements(
    case: GoldenCase, actual: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> Sequence[float]:
    if case.matching is None:
        return [agreement(actual[name], expected[name]).cosine for name in case.tolerance]
    # two objects of nearly equal score change places between arithmetics: compare those that are the same
    pairs = pair_objects(expected, actual, case.matching)
    found = [pairs.share]
    for name in case.tolerance if len(pairs.actual) else ():
        found.append(agreement(actual[name][:, pairs.actual], expected[name][:, pairs.expected]).cosine)
    return found


def p95(values: Sequence[float]) -> float:
    """The 95th percentile; infinity without values."""
    return float(np.percentile(values, 95)) if values else float("inf")
