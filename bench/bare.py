"""The bare engines that a request is measured against: its own calls, recorded once, then replayed bare."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from appliance.analysis import Spread
from appliance.imaging import Image
from appliance.inference.request import Inference, RequestContext
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.models.identity import ModelIdentity
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack
from engines import CompileCache, Engine, EngineOptions, open_engine

KARYOTYPE = (Role.KARYOTYPE_SEGMENTER, Role.KARYOTYPE_DETECTOR, Role.KARYOTYPE_CLASSIFIER)


@dataclass(frozen=True)
class Call:
    """One engine call of a request."""

    role: Role
    tensors: dict[str, NDArray[Any]]


class BareEngines:
    """The engines of the karyotype packs, opened with `options`; the cascade's `Engines` for a recording.

    Args:
        packs: a folder with one model pack per sub-folder.
        options: of every engine.
        cache: where compiled forms are kept; None compiles anew.
        instead: a folder with `ROLE.onnx` files that run in place of the packs' own graphs.
    """

    def __init__(
        self,
        packs: Path,
        options: EngineOptions,
        cache: CompileCache | None = None,
        instead: Path | None = None,
    ) -> None:
        opened = [ModelPack.open(path.parent) for path in sorted(packs.glob("*/manifest.json"))]
        self._packs = {pack.manifest.role: pack for pack in opened}
        missing = [role.value for role in KARYOTYPE if role not in self._packs]
        if missing:
            raise FileNotFoundError(f"expected packs for {', '.join(missing)} in {packs} and found none")
        graphs = {
            role: instead / f"{role.value}.onnx" if instead else self._packs[role].model_path
            for role in KARYOTYPE
        }
        self._engines: dict[Role, Engine] = {
            role: open_engine(graphs[role], options, cache).engine for role in KARYOTYPE
        }
        self._pipeline = KaryotypePipeline(self)
        self._recorded: list[Call] | None = None  # None: nobody records

    @property
    def precisions(self) -> dict[str, str]:
        """For each role the runtime and the arithmetic that it really uses."""
        return {
            role.value: f"{engine.info.kind.value} {engine.info.precision}"
            for role, engine in self._engines.items()
        }

    @property
    def versions(self) -> tuple[str, ...]:
        """Name and version of each pack."""
        manifests = [self._packs[role].manifest for role in KARYOTYPE]
        return tuple(f"{manifest.name} {manifest.version}" for manifest in manifests)

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        """Compute for the pipeline; while `record` runs, keep the tensors."""
        context.check()
        engine, pack = self._engines[role], self._packs[role]
        if self._recorded is not None:
            self._recorded.append(Call(role, {name: array.copy() for name, array in tensors.items()}))
        began_s = time.perf_counter()
        outputs = engine.infer(tensors)
        engine_ms = (time.perf_counter() - began_s) * 1e3
        info, manifest = engine.info, pack.manifest
        identity = ModelIdentity(
            name=manifest.name,
            version=manifest.version,
            role=role,
            contract_hash=pack.contract_hash,
            engine=info.kind.value,
            device=info.device,
            precision=info.precision,
            confidence=manifest.confidence,
        )
        return Inference(outputs, identity, engine_ms, queue_ms=0.0)

    def record(self, image: Image) -> tuple[Call, ...]:
        """The engine calls that the cascade makes for one image, in order."""
        recorded: list[Call] = []
        self._recorded = recorded
        try:
            self._pipeline.analyze(image, RequestContext())
        finally:
            self._recorded = None
        return tuple(recorded)

    def analyze(self, image: Image) -> Spread:
        """The whole cascade on these engines.

        Raises:
            UnsuitableImage: the image holds no metaphase spread.
        """
        return self._pipeline.analyze(image, RequestContext())[0]

    def replay_ms(self, calls: tuple[Call, ...]) -> float:
        """Sum of the times of the bare engine calls, in milliseconds."""
        total_s = 0.0
        for call in calls:
            engine = self._engines[call.role]
            began_s = time.perf_counter()
            engine.infer(call.tensors)
            total_s += time.perf_counter() - began_s
        return total_s * 1e3

    def close(self) -> None:
        """Free the engines."""
        for engine in self._engines.values():
            engine.close()

    def __enter__(self) -> BareEngines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
