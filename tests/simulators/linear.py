"""A classifier of one matrix: pack, exam, and an engine in plain numpy that runs the graph."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from appliance.models.contract import Contract
from appliance.models.manifest import Manifest, Role
from engines.contract import Engine, EngineInfo, EngineKind
from engines.errors import EngineLoadError, EngineRunError
from engines.pixels import PixelInput
from engines.tensor_spec import TensorSpec
from tests.simulators.packs import rewrite, save_golden

ROLE = Role.KARYOTYPE_CLASSIFIER
CLASSES = 24
SIDE = 8


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


def _pixels(label: int) -> NDArray[np.intp]:
    rng = np.random.default_rng(1000 + label)
    return rng.choice(SIDE * SIDE, 8, replace=False)
