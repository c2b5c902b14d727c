"""A small but complete model pack on disk, and an engine in plain numpy that answers for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.models.contract import Contract
from appliance.models.manifest import Manifest
from engines.contract import Engine, EngineInfo, EngineKind
from engines.tensor_spec import TensorSpec

Tree = dict[str, Any]


class NumpyEngine(Engine):
    """Three channels from one: value, twice the value, minus the value."""

    def __init__(
        self,
        inputs: tuple[TensorSpec, ...] = (TensorSpec("crops", "FP32", (-1, 1, 2, 2)),),
        outputs: tuple[TensorSpec, ...] = (TensorSpec("logits", "FP32", (-1, 3)),),
        factor: float = 1.0,
    ) -> None:
        info = EngineInfo(EngineKind.ONNXRUNTIME, "CPU: numpy", "FP32", np.__version__, "0" * 64)
        super().__init__(info, inputs, outputs)
        self.factor = factor
        self.closings = 0
        self.batches: list[int] = []

    def _infer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        crops = tensors["crops"]
        self.batches.append(len(crops))
        mean = crops.mean(axis=(1, 2, 3))[:, None] * np.float32(self.factor)
        return {"logits": np.concatenate([mean, 2 * mean, -mean], axis=1)}

    def _close(self) -> None:
        self.closings += 1


def rewrite(directory: Path, change: Callable[[Tree], None] | None = None) -> None:
    """Make the manifest true again for the files and the contract, then apply `change` to it."""
    path = directory / "manifest.json"
    tree = json.loads(path.read_text())
    listed = sorted(p for p in directory.rglob("*") if p.is_file() and p.name != "manifest.json")
    tree["files"] = [
        {
            "path": file.relative_to(directory).as_posix(),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "size_bytes": file.stat().st_size,
        }
        for file in listed
    ]
    tree["contract_hash"] = Contract.of(Manifest.model_validate_json(json.dumps(tree))).hash
    if change is not None:
        change(tree)
    path.write_text(json.dumps(tree))


def save_golden(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a golden case; the arrays' names hold dots, which keyword arguments cannot."""
    write: Callable[..., None] = np.savez
    write(path, **arrays)


def write_pack(directory: Path) -> Path:
    """Write a pack whose graph is no real one: `NumpyEngine` answers for it."""
    (directory / "golden").mkdir(parents=True)
    (directory / "model.onnx").write_bytes(b"a graph" * 100)
    (directory / "MODEL_CARD.md").write_text("# Tiny\nresearch use only, not for diagnosis\n")
    crops = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    logits = NumpyEngine().infer({"crops": crops})["logits"]
    save_golden(directory / "golden" / "first.npz", {"input.crops": crops, "output.logits": logits})
    tree = {
        "manifest_version": 1,
        "name": "tiny",
        "version": "1.2.3",
        "role": "karyotype.classifier",
        "precision": "INT8",
        "model_file": "model.onnx",
        "files": [
            {"path": name, "sha256": "0" * 64, "size_bytes": 0}
            for name in ("model.onnx", "MODEL_CARD.md", "golden/first.npz")
        ],
        "inputs": [{"name": "crops", "datatype": "FP32", "shape": [-1, 1, 2, 2]}],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}],
        "preprocessing": {"method": "upright-crop", "parameters": {"height": 2, "width": 2, "scale": 0.5}},
        "labels": {"names": ["a", "b", "c"], "output": "logits"},
        "contract_hash": "0" * 64,
        "golden_cases": [
            {"file": "golden/first.npz", "tolerance": {"logits": {"min_cosine": 0.999, "max_abs": 0.01}}}
        ],
        "acceptance": [
            {"metric": "accuracy", "bound": "at_least", "limit": 0.8, "measured": 0.9, "n": 100},
            {"metric": "drop", "bound": "at_most", "limit": 0.01, "measured": 0.01, "n": 100},
        ],
        "card": {
            "file": "MODEL_CARD.md",
            "summary": "Sorts means.",
            "training_data": ["none: the weights were chosen by hand"],
            "limitations": "Knows nothing of chromosomes.",
        },
    }
    (directory / "manifest.json").write_text(json.dumps(tree))
    rewrite(directory)
    return directory
