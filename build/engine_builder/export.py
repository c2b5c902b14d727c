"""Trained torch module → one portable, simplified FP32 ONNX file that gives the same numbers."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from appliance.models.golden import Agreement, agreement
from appliance.models.manifest import TensorEntry
from engine_builder.errors import BuildFailed
from engine_builder.graph import save, strip_unused_domains

if TYPE_CHECKING:
    import torch

Exporter = Literal["dynamo", "torchscript"]

MIN_COSINE: Final = 0.9999
"""Least agreement between torch and the exported graph, on random input, in float32."""
DYNAMIC_EXAMPLE: Final = 2
"""Size that a dynamic dimension gets in the example; 1 would be folded into the graph as a constant."""


def export_module(
    module: torch.nn.Module,
    target: Path,
    inputs: Sequence[TensorEntry],
    outputs: Sequence[TensorEntry],
    opset: int = 18,
    exporter: Exporter = "dynamo",
) -> dict[str, Agreement]:
    """Export a module and check the file against it.

    Args:
        module: in evaluation mode; its positional arguments are `inputs`, its results `outputs`.
        target: where the ONNX file is written.
        inputs: names, shapes and datatypes; -1 is a dynamic batch.
        outputs: names in the order of the module's results.
        opset: operator set of the file.
        exporter: "dynamo" gives the smaller graph, "torchscript" traces.

    Returns:
        For each output how well the file agrees with the module on random input.

    Raises:
        BuildFailed: an output has another shape than promised, or does not agree.
    """
    import torch  # here, because the rest of this module serves boxes without torch

    example = _example(inputs)
    arguments = tuple(torch.from_numpy(array) for array in example.values())
    module.eval()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracers warn of every Python number: the check below decides
            expected = module(*arguments)
            results = expected if isinstance(expected, tuple) else (expected,)
            if len(results) != len(outputs):
                raise BuildFailed(f"expected {len(outputs)} outputs of the module and got {len(results)}")
            _run_exporter(module, arguments, raw, inputs, outputs, opset, exporter)
        simplify(raw, target)
    wanted = {entry.name: tensor.numpy() for entry, tensor in zip(outputs, results, strict=True)}
    return check_against(target, example, wanted, outputs)


def simplify(source: Path, target: Path) -> None:
    """Fold constants and batch normalisation, drop what does nothing; only standard operators come out."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        model = onnx.load(optimised)
    model = strip_unused_domains(model)
    _name_nodes(model.graph)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    onnx.checker.check_model(model)
    save(model, target)


def check_against(
    path: Path,
    tensors: dict[str, NDArray[Any]],
    expected: dict[str, NDArray[Any]],
    outputs: Sequence[TensorEntry],
) -> dict[str, Agreement]:
    """Run an ONNX file and compare its outputs with expected ones.

    Raises:
        BuildFailed: a shape is not the promised one, or the cosine is below `MIN_COSINE`.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in outputs]
    found: dict[str, Agreement] = {}
    for entry, actual in zip(outputs, session.run(names, tensors), strict=True):
        promised = tuple(DYNAMIC_EXAMPLE if size == -1 else size for size in entry.shape)
        if actual.shape != promised:
            raise BuildFailed(
                f"expected shape {promised} of {entry.name} and got {actual.shape} in {path.name}"
            )
        found[entry.name] = agreement(actual, expected[entry.name])
        if found[entry.name].cosine < MIN_COSINE:
            raise BuildFailed(
                f"expected {entry.name} of {path.name} to agree with torch to a cosine of {MIN_COSINE}"
                f" and got {found[entry.name].cosine:.6f}"
            )
    return found


def _example(inputs: Sequence[TensorEntry]) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(1)
    shapes = {
        entry.name: [DYNAMIC_EXAMPLE if size == -1 else size for size in entry.shape] for entry in inputs
    }
    return {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}


def _run_exporter(
    module: torch.nn.Module,
    arguments: tuple[torch.Tensor, ...],
    target: Path,
    inputs: Sequence[TensorEntry],
    outputs: Sequence[TensorEntry],
    opset: int,
    exporter: Exporter,
) -> None:
    import torch

    names = {
        "input_names": [entry.name for entry in inputs],
        "output_names": [entry.name for entry in outputs],
    }
    dynamic = [entry for entry in inputs if -1 in entry.shape]
    if any(-1 in entry.shape[1:] for entry in (*inputs, *outputs)):
        raise BuildFailed("expected only the first dimension to be dynamic and got another one as well")
    if exporter == "dynamo":
        batch = torch.export.Dim("batch", min=1, max=1024)
        shapes = tuple({0: batch} if entry in dynamic else None for entry in inputs)
        torch.onnx.export(
            module,
            arguments,
            str(target),
            opset_version=opset,
            dynamo=True,
            external_data=False,
            dynamic_shapes=shapes if dynamic else None,
            verbose=False,
            **names,
        )
        return
    axes = {entry.name: {0: "batch"} for entry in (*inputs, *outputs) if -1 in entry.shape}
    torch.onnx.export(
        module, arguments, str(target), opset_version=opset, dynamo=False, dynamic_axes=axes, **names
    )


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a unique name: quantisation and lint speak of nodes by name."""
    taken = {node.name for node in graph.node if node.name}
    for index, node in enumerate(graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            node.name = name if name not in taken else f"{name}_unnamed"
