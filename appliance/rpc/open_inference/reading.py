"""Input tensors off the wire: raw bytes without a copy, typed elements, or shared memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InvalidInput
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.bytes_tensor import as_objects, read_bytes_tensor
from appliance.rpc.open_inference.model import BYTES, ModelCard, Parameter, Port, Tensors
from appliance.rpc.open_inference.parameters import read_count, read_parameters
from appliance.rpc.open_inference.wire import InferRequest
from appliance.shared_memory import OwnRegions

REGION = "shared_memory_region"
REGION_SIZE = "shared_memory_byte_size"
REGION_OFFSET = "shared_memory_offset"
CONTENTS_OF = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Field of the typed elements; FP16 has none and goes raw only."""

Input = pb.ModelInferRequest.InferInputTensor


def read_tensors(
    request: InferRequest, card: ModelCard, regions: OwnRegions, max_region_bytes: int
) -> Tensors:
    """All inputs of a request, checked against the model's.

    Args:
        request: as it came.
        card: what the model takes.
        regions: shared memory.
        max_region_bytes: most bytes of one input in shared memory.

    Raises:
        InvalidInput: names, datatypes, shapes or sizes that the model does not take.
        NotFound: no such region.
    """
    sent = request.head.inputs
    inputs = {one.name: one for one in sent}
    ports = {port.name: port for port in card.inputs}
    if len(inputs) != len(sent) or inputs.keys() != ports.keys():
        got = ", ".join(one.name[:64] for one in sent[:16]) or "none"
        raise InvalidInput(f"expected inputs {', '.join(ports)}, each once, for {card.name} and got {got}")
    places = {one.name: read_parameters(one.parameters) for one in sent}
    on_wire = [one.name for one in sent if REGION not in places[one.name]]
    raw = _raw_contents(request, on_wire)
    tensors: Tensors = {}
    for name, port in ports.items():
        one = inputs[name]
        shape = tuple(one.shape)
        port.check(one.datatype, shape)
        if name not in on_wire:
            if one.HasField("contents"):
                raise InvalidInput(
                    f"input {name!r}: expected elements in shared memory alone and got typed ones too"
                )
            tensors[name] = _from_region(port, shape, places[name], regions, max_region_bytes)
        elif raw is not None:
            tensors[name] = _from_raw(port, shape, raw[name])
        else:
            tensors[name] = _from_contents(port, shape, one)
    return tensors


def place_of(name: str, parameters: Mapping[str, Parameter]) -> tuple[str, int, int]:
    """Region, offset and size in bytes that a tensor's parameters name; InvalidInput if they are wrong."""
    region = parameters[REGION]
    if not isinstance(region, str):
        raise InvalidInput(f"{name!r}: expected the name of a region in {REGION} and got {region!r}")
    if REGION_SIZE not in parameters:
        raise InvalidInput(f"{name!r}: expected {REGION_SIZE} beside {REGION} and got none")
    return region, read_count(parameters, REGION_OFFSET, 0), read_count(parameters, REGION_SIZE, 0)


def _raw_contents(request: InferRequest, on_wire: list[str]) -> dict[str, memoryview] | None:
    """Raw elements by input, None where the elements are typed; InvalidInput for a mixture."""
    count = len(request.raw)
    if count == 0:
        return None
    typed = [one.name for one in request.head.inputs if one.HasField("contents")]
    if typed:
        raise InvalidInput(f"expected raw or typed elements and got both; typed for {', '.join(typed)[:128]}")
    if count != len(on_wire):
        raise InvalidInput(
            f"expected {len(on_wire)} raw_input_contents, one for each input outside shared memory,"
            f" and got {count}"
        )
    return dict(zip(on_wire, request.raw, strict=True))


def _from_raw(port: Port, shape: tuple[int, ...], raw: memoryview) -> NDArray[Any]:
    if port.datatype == BYTES:
        return read_bytes_tensor(port.name, raw, shape)
    _check_size(port, shape, len(raw))
    return _as_numbers(port, np.frombuffer(raw, np.uint8), shape)


def _from_region(
    port: Port,
    shape: tuple[int, ...],
    parameters: Mapping[str, Parameter],
    regions: OwnRegions,
    max_bytes: int,
) -> NDArray[Any]:
    region_name, offset, size_bytes = place_of(port.name, parameters)
    if port.datatype != BYTES:
        _check_size(port, shape, size_bytes)
    if size_bytes > max_bytes:
        raise InvalidInput(f"input {port.name!r}: expected at most {max_bytes} bytes and got {size_bytes}")
    with regions.use(region_name) as region:
        region.check(offset, size_bytes)  # before the memory for it is taken
        buffer = np.empty(size_bytes, np.uint8)
        region.read_into(buffer.data, offset)
    if port.datatype == BYTES:
        return read_bytes_tensor(port.name, buffer.data, shape)
    return _as_numbers(port, buffer, shape)


def _from_contents(port: Port, shape: tuple[int, ...], one: Input) -> NDArray[Any]:
    filled = [field.name for field, _value in one.contents.ListFields()]
    wanted = CONTENTS_OF.get(port.datatype)
    if wanted is None:
        raise InvalidInput(f"input {port.name!r}: {port.datatype} has no typed form; send raw_input_contents")
    if filled != [wanted]:
        raise InvalidInput(
            f"input {port.name!r}: expected elements in raw_input_contents, in shared memory or in {wanted}"
            f" and got {', '.join(filled) or 'none'}"
        )
    elements = getattr(one.contents, wanted)
    count = math.prod(shape)
    if len(elements) != count:
        raise InvalidInput(
            f"input {port.name!r}: expected {count} elements in {wanted} and got {len(elements)}"
        )
    if port.datatype == BYTES:
        return as_objects(list(elements), shape)
    array = np.array(elements)
    if port.dtype.kind in "iu" and array.dtype != port.dtype:
        limits = np.iinfo(port.dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise InvalidInput(
                f"input {port.name!r}: expected numbers from {limits.min} to {limits.max}"
                f" and got {array.min()} to {array.max()}"
            )
    return array.astype(port.dtype).reshape(shape)


def _check_size(port: Port, shape: tuple[int, ...], got: int) -> None:
    wanted = port.size_bytes(shape)
    if got != wanted:
        raise InvalidInput(
            f"input {port.name!r}: expected {wanted} bytes for {port.datatype} {list(shape)} and got {got}"
        )


def _as_numbers(port: Port, raw: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[Any]:
    if port.datatype == "BOOL" and raw.size and int(raw.max()) > 1:
        raise InvalidInput(f"input {port.name!r}: expected bytes of 0 or 1 for BOOL and got {int(raw.max())}")
    numbers: NDArray[Any] = raw.view(port.dtype.newbyteorder("<"))
    return numbers.reshape(shape)
