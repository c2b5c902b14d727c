"""Builds a TensorRT plan from an ONNX file on the GPU that will run it: minutes once, then cached.

The network is strongly typed, on TensorRT 10 by flag and on 11 because nothing else is left: the
precision of each layer is what the graph's QuantizeLinear nodes and types say, no builder flag adds one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.cache import CompileCache
from engines.errors import EngineLoadError
from engines.options import EngineOptions
from engines.tensor_spec import DYNAMIC

_WORKSPACE_BYTES = 1 << 30
Progress = Callable[[str], None]
"""Receives a short sentence whenever a phase of the build has come one step on."""


def build_plan(
    tensorrt: Any,
    logger: Any,
    model_path: Path,
    options: EngineOptions,
    cache: CompileCache | None,
    timing_key: str,
    on_progress: Progress | None,
) -> bytes:
    """The serialised plan.

    Args:
        tensorrt: the module.
        logger: from `message_logger`.
        cache: also keeps the timings of kernels (`timing_key`), which make the next model's build shorter.
        timing_key: one per GPU type and TensorRT version.

    Raises:
        EngineLoadError: an operator is not supported, an input is dynamic elsewhere than in its batch, or
            the build fails.
    """
    builder = tensorrt.Builder(logger)
    network = builder.create_network(_network_flags(tensorrt))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model_path)):
        faults = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise EngineLoadError(f"TensorRT could not read {model_path.name}: {faults or logger.last_errors()}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    _add_profile(builder, network, config, options, model_path)
    if on_progress is not None:
        config.progress_monitor = _progress_monitor(tensorrt, on_progress)
    known = cache.get(timing_key) if cache is not None else None
    timings = config.create_timing_cache(known.payload if known is not None else b"")
    config.set_timing_cache(timings, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineLoadError(f"TensorRT could not build {model_path.name}: {logger.last_errors()}")
    if cache is not None:
        cache.put(timing_key, bytes(config.get_timing_cache().serialize()), {})
    return bytes(plan)


def _network_flags(tensorrt: Any) -> int:
    strongly_typed = getattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if strongly_typed is None else 1 << int(strongly_typed)


def _add_profile(builder: Any, network: Any, config: Any, options: EngineOptions, model_path: Path) -> None:
    profile = builder.create_optimization_profile()
    dynamic = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if DYNAMIC not in shape:
            continue
        if DYNAMIC in shape[1:]:
            raise EngineLoadError(
                f"{model_path.name}: expected only the batch of {tensor.name!r} to be dynamic, got {shape}"
            )
        dynamic = True
        rest = shape[1:]
        profile.set_shape(tensor.name, (1, *rest), (options.typical_batch, *rest), (options.max_batch, *rest))
    if dynamic:
        config.add_optimization_profile(profile)


def _progress_monitor(tensorrt: Any, on_progress: Progress) -> Any:
    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc]  # its base is Any
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)  # pybind11 refuses super() here
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:  # noqa: ARG002
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            on_progress(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, step + 1)}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
