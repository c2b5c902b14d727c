"""Four packs that keep the reference contracts with graphs of a few nodes: real engines, no learning.

The segmenter takes dark pixels for chromosomes, the detector answers with a fixed grid of boxes, the
classifier with classes by the crop's darkness, the X-ray detector with one fixed finding.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from appliance.models.contract import Contract
from appliance.models.manifest import Role
from appliance.models.reference import (
    DETECTOR_MASK,
    DETECTOR_SLOTS,
    FILM_SIZE,
    FINDING_LABELS,
    REFERENCE_CONTRACTS,
)

GRID = 7
GRID_BOX = 44.0
FIRST_BOX = 60.0
DARKNESS_STEP = 0.0045
"""Mean stain of a crop from one class to the next."""

FINDING = "Pleural effusion"


def write_packs(folder: Path) -> Path:
    """Write the four packs as sub-folders of `folder`."""
    graphs = {
        Role.KARYOTYPE_SEGMENTER: _segmenter(),
        Role.KARYOTYPE_DETECTOR: _constants("image", _grid_of_boxes()),
        Role.KARYOTYPE_CLASSIFIER: _classifier(),
        Role.CHEST_XRAY_DETECTOR: _constants("images", {"output0": _one_finding()}),
    }
    for role, nodes in graphs.items():
        _write_pack(folder / role.value.replace(".", "-").replace("_", "-"), role, nodes)
    return folder


Nodes = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def _segmenter() -> Nodes:
    weights = [
        numpy_helper.from_array(np.array([-1.0, 1.0, 0.0], np.float32).reshape(3, 1, 1, 1), "w"),
        numpy_helper.from_array(np.array([0.3, -0.3, -10.0], np.float32), "b"),
    ]
    return [helper.make_node("Conv", ["image", "w", "b"], ["logits"], kernel_shape=[1, 1])], weights


def _classifier() -> Nodes:
    # classes by darkness in equal steps, each with its neighbours as rivals: dark and pale crops of one field
    # then resemble many classes, as those of a cell do
    centres = np.arange(24, dtype=np.float32)[None] * DARKNESS_STEP
    weights = [
        numpy_helper.from_array(centres / DARKNESS_STEP**2, "classes"),
        numpy_helper.from_array(-(centres**2) / (2 * DARKNESS_STEP**2), "offsets"),
        numpy_helper.from_array(np.full((1, 1), 3.0, np.float32), "arm"),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["crops"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "classes"], ["by_darkness"]),
        helper.make_node("Add", ["by_darkness", "offsets"], ["class_logits"]),
        helper.make_node("MatMul", ["flat", "arm"], ["polarity_logit"]),
    ]
    return nodes, weights


def _constants(source: str, outputs: dict[str, NDArray[np.float32]]) -> Nodes:
    """Outputs that do not hang on the input, by way of nought times its mean."""
    nodes = [helper.make_node("ReduceMean", [source], ["mean"], keepdims=0)]
    weights = [numpy_helper.from_array(np.array(0.0, np.float32), "nought")]
    nodes.append(helper.make_node("Mul", ["mean", "nought"], ["nothing"]))
    for name, value in outputs.items():
        weights.append(numpy_helper.from_array(value, f"{name}.value"))
        nodes.append(helper.make_node("Add", [f"{name}.value", "nothing"], [name]))
    return nodes, weights


def _grid_of_boxes() -> dict[str, NDArray[np.float32]]:
    boxes = np.zeros((1, DETECTOR_SLOTS, 4), np.float32)
    scores = np.zeros((1, DETECTOR_SLOTS), np.float32)
    for slot in range(GRID * GRID):
        x = FIRST_BOX + slot % GRID * (GRID_BOX + 12)
        y = FIRST_BOX + slot // GRID * (GRID_BOX + 12)
        boxes[0, slot] = x, y, x + GRID_BOX, y + GRID_BOX
        scores[0, slot] = 0.95 - slot * 1e-3
    masks = np.ones((1, DETECTOR_SLOTS, DETECTOR_MASK, DETECTOR_MASK), np.float32)
    return {"boxes": boxes, "scores": scores, "masks": masks}


def _one_finding() -> NDArray[np.float32]:
    output = np.zeros((1, 4 + len(FINDING_LABELS), 8400), np.float32)
    output[0, :4, 100] = FILM_SIZE / 2, FILM_SIZE / 2, 100.0, 60.0
    output[0, 4 + FINDING_LABELS.index(FINDING), 100] = 0.75
    return output


def _write_pack(directory: Path, role: Role, made: Nodes) -> None:
    contract = REFERENCE_CONTRACTS[role]
    directory.mkdir(parents=True)
    _save(directory / "model.onnx", contract, made)
    (directory / "MODEL_CARD.md").write_text(
        "# A model of a few nodes\nresearch use only, not for diagnosis\n"
    )
    golden = _golden_case(directory / "model.onnx", contract)
    save: Any = np.savez
    save(directory / "golden.npz", **golden)
    files = [
        {
            "path": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_bytes": path.stat().st_size,
        }
        for path in sorted(directory.iterdir())
    ]
    tolerance = {entry.name: {"min_cosine": 0.999} for entry in contract.outputs}
    tree = {
        "manifest_version": 1,
        "name": directory.name,
        "version": "0.0.1",
        "role": role.value,
        "precision": "FP32",
        "model_file": "model.onnx",
        "files": files,
        "inputs": [entry.model_dump(mode="json") for entry in contract.inputs],
        "outputs": [entry.model_dump(mode="json") for entry in contract.outputs],
        "preprocessing": contract.preprocessing.model_dump(mode="json"),
        "labels": contract.labels.model_dump(mode="json"),
        "contract_hash": contract.hash,
        "golden_cases": [{"file": "golden.npz", "tolerance": tolerance}],
        "acceptance": [],
        "card": {
            "file": "MODEL_CARD.md",
            "summary": "A few nodes that keep the contract.",
            "training_data": ["none"],
            "limitations": "It has learnt nothing.",
            "demonstration": True,
        },
    }
    (directory / "manifest.json").write_text(json.dumps(tree))


def _save(path: Path, contract: Contract, made: Nodes) -> None:
    nodes, weights = made

    def value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        sizes = ["batch" if size < 0 else size for size in shape]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)

    graph = helper.make_graph(
        nodes,
        "few_nodes",
        [value(entry.name, entry.shape) for entry in contract.inputs],
        [value(entry.name, entry.shape) for entry in contract.outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _golden_case(path: Path, contract: Contract) -> dict[str, NDArray[np.float32]]:
    """What onnx's own reference implementation answers to noise."""
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(17)
    inputs = {
        entry.name: rng.random([2 if size < 0 else size for size in entry.shape], np.float32)
        for entry in contract.inputs
    }
    names = [entry.name for entry in contract.outputs]
    answers = ReferenceEvaluator(str(path)).run(names, inputs)
    return {f"input.{name}": array for name, array in inputs.items()} | {
        f"output.{name}": np.asarray(array, np.float32) for name, array in zip(names, answers, strict=True)
    }
