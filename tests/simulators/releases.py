"""A whole release chain in a folder: keys in memory, a repository, packs of a few nodes, and a box that
takes them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from securesystemslib.signer import CryptoSigner

from appliance.bundles.durable import DurableFiles
from appliance.bundles.release import ReleaseFacts
from appliance.bundles.trust import SIGNER_KEY
from appliance.clock import ManualClock
from appliance.config import Config, ReleasesConfig
from appliance.errors import ModelUnavailable, PackRejected, ReleaseRefused
from appliance.models.contract import Contract
from appliance.models.manifest import Manifest, Role
from appliance.models.pack import ModelPack
from appliance.models.registry import ModelRegistry
from appliance.updates.assembly import model_updates
from appliance.updates.exam import Exam
from appliance.updates.live import LiveTraffic
from appliance.updates.request import InstallEvent, InstallRequest
from appliance.updates.trial import Trial, describe, run_trial
from engine_builder.release.keys import KeyEntry
from engine_builder.release.repository import ReleaseRepository
from engines.contract import Engine, EngineInfo, EngineKind
from engines.errors import EngineError, EngineLoadError, EngineRunError
from engines.pixels import PixelInput
from engines.tensor_spec import TensorSpec
from tests.simulators.packs import rewrite, save_golden

ROLE = Role.KARYOTYPE_CLASSIFIER
NOW = datetime(2026, 12, 1, tzinfo=timezone.utc)
NOW_MS = round(NOW.timestamp() * 1000)
STANDARD = {
    "root-1": "root",
    "root-2": "root",
    "root-3": "root",
    "targets-1": "targets",
    "targets-2": "targets",
    "snapshot": "snapshot",
    "timestamp": "timestamp",
}
CLASSES = 24
SIDE = 8


class TestKeys:
    """Keys of a release in memory."""

    __test__ = False

    def __init__(self, names: Mapping[str, str] = STANDARD) -> None:
        self.signers: dict[str, CryptoSigner] = {}
        self.entries: dict[str, KeyEntry] = {}
        for name, role in names.items():
            self.add(name, role)

    def add(self, name: str, role: str) -> None:
        signer = CryptoSigner.generate_ed25519()
        key = signer.public_key
        key.unrecognized_fields[SIGNER_KEY] = name
        self.signers[name] = signer
        self.entries[name] = KeyEntry(name, role, "memory:", key.keyid, key.to_dict())

    def ring(self, *without: str) -> tuple[KeyEntry, ...]:
        return tuple(entry for name, entry in self.entries.items() if name not in without)


@cache
def keys() -> TestKeys:
    return TestKeys()


class Centre:
    """Central operations: signs and publishes into a folder."""

    def __init__(self, folder: Path, ring: TestKeys | None = None, now: datetime = NOW) -> None:
        self.folder = folder
        self.keys = ring or keys()
        self.now = now
        self.repository.initialise(self.keys.ring())
        self.sign("root", "root-1", "root-2")
        self.sign("targets", "targets-1", "targets-2")
        self.publish()
        self.root = (folder / "metadata" / "1.root.json").read_bytes()

    @property
    def repository(self) -> ReleaseRepository:
        return ReleaseRepository(self.folder, self.now)

    def sign(self, role: str, *names: str) -> None:
        for name in names:
            self.repository.sign(role, self.keys.signers[name])

    def publish(self) -> None:
        self.repository.publish(self.keys.signers["snapshot"], self.keys.signers["timestamp"])

    def release(self, pack: Path, counter: int, **changes: Any) -> str:
        """Add, sign by both, publish; the TUF path."""
        path = self.repository.add(ModelPack.open(pack), facts_of(pack, counter, **changes))
        self.sign("targets", "targets-1", "targets-2")
        self.publish()
        return path


def facts_of(pack: Path, counter: int, **changes: Any) -> ReleaseFacts:
    opened = ModelPack.open(pack)
    facts = ReleaseFacts(
        name=opened.manifest.name,
        version=opened.manifest.version,
        role=opened.manifest.role.value,
        contract_hash=opened.contract_hash,
        hardware=("any",),
        minimum_daemon="0.1.0",
        counter=counter,
        latency_ms_p95=200,
        memory_mib=100,
    )
    return facts.model_copy(update=changes)


class LinearEngine(Engine):
    """A classifier in plain numpy: one matrix, which is the graph's only weight."""

    def __init__(self, path: Path, pixels: PixelInput | None = None) -> None:
        del pixels
        self.weights, notes = read_graph(path)
        if notes.get("crash"):
            raise EngineLoadError("this graph cannot be compiled here")
        self.fails = bool(notes.get("fails"))
        info = EngineInfo(EngineKind.ONNXRUNTIME, "CPU: numpy", "FP32", np.__version__, "0" * 64)
        super().__init__(
            info,
            (TensorSpec("crops", "FP32", (-1, 1, SIDE, SIDE)),),
            (TensorSpec("class_logits", "FP32", (-1, CLASSES)),),
        )

    def _infer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self.fails:
            raise EngineRunError("this model fails on every input")
        crops = tensors["crops"].reshape(len(tensors["crops"]), -1)
        return {"class_logits": (crops @ self.weights).astype(np.float32)}

    def _close(self) -> None:
        """Nothing is held."""


def weights(seed: int = 1) -> NDArray[np.float32]:
    """Each class has eight pixels of its own; the seed adds a little noise, as training again does."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 0.02, (SIDE * SIDE, CLASSES)).astype(np.float32)
    for label in range(CLASSES):
        found[_pixels(label), label] += 1.0
    return found


def exam_arrays(count: int = 240, seed: int = 5) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    crops = rng.integers(0, 60, (count, SIDE, SIDE)).astype(np.uint8)
    for crop, label in zip(crops, labels, strict=True):
        crop.reshape(-1)[_pixels(int(label))] += 120
    return {"crops": crops, "labels": labels, "floor": np.array(0.9)}


def write_exam(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save: Callable[..., None] = np.savez
    save(folder / f"{ROLE.value}.npz", **exam_arrays())
    return folder


def write_graph(
    path: Path, matrix: NDArray[np.float32], padding_bytes: int, notes: Mapping[str, Any]
) -> None:
    """An ONNX file with the matrix as its weight, and unused weights behind it to make it larger."""
    padding = np.random.default_rng(7).integers(0, 256, padding_bytes).astype(np.uint8)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["crops", "weights"], ["class_logits"])],
        "linear",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["N", SIDE * SIDE])],
        [helper.make_tensor_value_info("class_logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(padding, "padding"), numpy_helper.from_array(matrix, "weights")],
        doc_string=json.dumps(dict(notes)),
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def read_graph(path: Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Matrix and notes of `write_graph`; EngineLoadError for another file."""
    try:
        graph = onnx.load(path).graph
        return np.array(numpy_helper.to_array(graph.initializer[1])), dict(json.loads(graph.doc_string))
    except (DecodeError, IndexError, ValueError) as exc:
        raise EngineLoadError("expected a graph and got nonsense") from exc


def linear_pack(
    directory: Path,
    version: str = "1.0.0",
    matrix: NDArray[np.float32] | None = None,
    size_bytes: int = 0,
    golden_matrix: NDArray[np.float32] | None = None,
    change: Callable[[dict[str, Any]], None] | None = None,
    **graph: Any,
) -> Path:
    """A pack whose graph `LinearEngine` runs.

    Args:
        matrix: weights; `golden_matrix` (by default the same) gives the known answers.
        size_bytes: pads the graph.
        change: of the manifest.
        graph: notes in the graph: crash, fails, latency_ms, memory_mib, parity.
    """
    directory.mkdir(parents=True)
    (directory / "golden").mkdir()
    matrix = weights() if matrix is None else matrix
    write_graph(directory / "model.onnx", matrix, size_bytes, graph)
    (directory / "MODEL_CARD.md").write_text("# Linear\nresearch use only, not for diagnosis\n")
    crops = (exam_arrays(6, 9)["crops"].astype(np.float32) / 200.0)[:, None]
    golden = matrix if golden_matrix is None else golden_matrix
    logits = crops.reshape(6, -1) @ golden
    save_golden(directory / "golden" / "01.npz", {"input.crops": crops, "output.class_logits": logits})
    tree = {
        "manifest_version": 1,
        "name": "linear",
        "version": version,
        "role": ROLE.value,
        "precision": "FP32",
        "model_file": "model.onnx",
        "files": [
            {"path": name, "sha256": "0" * 64, "size_bytes": 0}
            for name in ("model.onnx", "MODEL_CARD.md", "golden/01.npz")
        ],
        "inputs": [{"name": "crops", "datatype": "FP32", "shape": [-1, 1, SIDE, SIDE]}],
        "outputs": [{"name": "class_logits", "datatype": "FP32", "shape": [-1, CLASSES]}],
        "preprocessing": {"method": "upright-crop", "parameters": {"height": SIDE, "width": SIDE}},
        "labels": {"names": [str(n) for n in range(CLASSES)], "output": "class_logits"},
        "contract_hash": "0" * 64,
        "golden_cases": [{"file": "golden/01.npz", "tolerance": {"class_logits": {"min_cosine": 0.999}}}],
        "acceptance": [],
        "card": {
            "file": "MODEL_CARD.md",
            "summary": "One matrix.",
            "training_data": ["none: the weights were chosen by hand"],
            "limitations": "Knows nothing of chromosomes.",
        },
    }
    if change is not None:
        change(tree)
    (directory / "manifest.json").write_text(json.dumps(tree))
    rewrite(directory)
    return directory


def linear_contract() -> str:
    """Hash of the contract of `linear_pack`."""
    return _contract_hash()


@cache
def _contract_hash() -> str:
    with tempfile.TemporaryDirectory() as folder:
        pack = linear_pack(Path(folder) / "pack")
        return Contract.of(Manifest.model_validate_json((pack / "manifest.json").read_text())).hash


class HereTrials:
    """The second implementation of `Trials`: in this process, with engines of numpy; a graph may slow or
    bloat it.
    """

    def compile(self, pack: Path, cancelled: threading.Event) -> str:
        del cancelled
        try:
            with LinearEngine(ModelPack.open(pack).model_path) as engine:
                return describe(engine)
        except EngineError as exc:
            raise ReleaseRefused(f"the engine could not be built on this box: {exc}") from exc

    def run(self, pack: Path, exams: Mapping[str, Path], cancelled: threading.Event) -> Trial:
        del cancelled
        opened = ModelPack.open(pack)
        _weights, tree = read_graph(opened.model_path)
        try:
            trial = run_trial(
                opened,
                LinearEngine,
                {name: Exam.read(path) for name, path in exams.items()},
                LinearEngine,
            )
        except (EngineError, PackRejected) as exc:
            return Trial(fault=str(exc))
        return replace(
            trial,
            latency_ms=(float(tree.get("latency_ms", 5.0)),) * 5,
            memory_mib=float(tree.get("memory_mib", 20.0)),
            parity=(float(tree.get("parity", 0.999)),),
        )


class SimulatedBox:
    """A box with one role, over a state directory that outlives it; made anew it is a start of the daemon."""

    def __init__(
        self,
        state: Path,
        root: Path,
        factory: Path,
        exams: Path,
        files: DurableFiles | None = None,
        clock: ManualClock | None = None,
        **settings: Any,
    ) -> None:
        self.state = state
        self.clock = clock or ManualClock(NOW_MS)
        self.config = Config(
            state_dir=state,
            releases=ReleasesConfig(**({"root": root, "spare_mib": 0, "attempts": 1} | settings)),
        )
        self.models = ModelRegistry(
            LinearEngine, {ROLE: frozenset({linear_contract()})}, drain_timeout_s=5.0, warm_up_batch=2
        )
        self.live = LiveTraffic(self.models, self.clock.monotonic_s)
        self.updates = model_updates(
            self.config,
            self.models,
            self.live,
            lambda role: factory if role is ROLE else None,
            self.clock,
            files,
            HereTrials(),
            exams,
        )

    def start(self, carry_on: bool = True) -> SimulatedBox:
        """As the daemon starts: load, stand in, carry on; without the background thread."""
        self.models.load(self.updates.directories(), parallel=1)
        self.updates.begin(watch=False)
        if carry_on:
            self.updates.carry_on()
        return self

    def install(self, source: Path, **changes: Any) -> tuple[str, ...]:
        """Install what a folder offers; the states in which the installs are."""
        events: list[InstallEvent] = []
        request = InstallRequest(str(source), "tester", **changes)
        return tuple(one.state.value for one in self.updates.install(request, events.append))

    def serve(self, requests: int = 1) -> str:
        """Let requests through as the dispatcher does; the version that answers, checked to answer well."""
        crops = exam_arrays(12, 3)
        tensors = {"crops": (crops["crops"].astype(np.float32) / 200.0)[:, None]}
        version = ""
        for _ in range(requests):
            with self.models.acquire(ROLE) as lease:
                version = lease.identity.version
                try:
                    outputs = lease.engine.infer(tensors)
                except EngineError:
                    self.live.failed(ROLE, lease.identity)
                    continue
            self.live.answered(ROLE, lease.identity, tensors, outputs, 5.0)
            self.live.compare_one(ROLE)
        return version

    def answers_well(self) -> bool:
        """Whether the model that serves classifies the exam's crops."""
        arrays = exam_arrays(48, 11)
        tensors = {"crops": (arrays["crops"].astype(np.float32) / 200.0)[:, None]}
        try:
            with self.models.acquire(ROLE) as lease:
                found = lease.engine.infer(tensors)["class_logits"].argmax(axis=1)
        except (ModelUnavailable, EngineError):
            return False
        return bool((found == arrays["labels"]).mean() > 0.95)

    @property
    def version(self) -> str:
        identity = self.models.status(ROLE).identity
        return identity.version if identity is not None else ""

    def close(self) -> None:
        self.updates.stop()
        self.models.close()


def copy_release(source: Path, target: Path) -> Path:
    """A stick: the repository without its drafts."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("draft"))
    return target


def _pixels(label: int) -> NDArray[np.intp]:
    rng = np.random.default_rng(1000 + label)
    return rng.choice(SIDE * SIDE, 8, replace=False)
