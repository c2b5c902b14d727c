"""Output tensors onto the wire or into shared memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InvalidInput, NotOffered
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.bytes_tensor import write_bytes_tensor
from appliance.rpc.open_inference.model import BYTES, SERVED_VERSION, ModelCard, Outcome, Parameter, Port
from appliance.rpc.open_inference.parameters import read_count, read_parameters, write_parameters
from appliance.rpc.open_inference.reading import REGION, REGION_OFFSET, REGION_SIZE, place_of
from appliance.rpc.open_inference.wire import Buffer, InferResponse
from appliance.shared_memory import OwnRegions, Region


@dataclass(frozen=True)
class Place:
    """Where in shared memory an output goes."""

    region: Region
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class Delivery:
    """One output that is wanted; in the message where there is no place."""

    port: Port
    place: Place | None


def read_deliveries(
    request: pb.ModelInferRequest, card: ModelCard, regions: OwnRegions, held: ExitStack
) -> tuple[Delivery, ...]:
    """Which outputs go where; regions are held until `held` is closed, whoever unregisters them.

    Raises:
        InvalidInput: an output that the model does not have, twice the same, or a place beyond its region.
        NotFound: no such region.
        NotOffered: classification of an output.
    """
    ports = {port.name: port for port in card.outputs}
    if not request.outputs:
        return tuple(Delivery(port, None) for port in card.outputs)
    names = [one.name for one in request.outputs]
    if len(set(names)) != len(names) or not set(names) <= ports.keys():
        raise InvalidInput(
            f"expected outputs of {', '.join(ports)}, each at most once, and got {', '.join(names)[:256]}"
        )
    deliveries = []
    for one in request.outputs:
        parameters = read_parameters(one.parameters)
        if read_count(parameters, "classification", 0):
            raise NotOffered(
                f"output {one.name!r}: classification is not offered here; ask for the tensor itself"
            )
        deliveries.append(Delivery(ports[one.name], _place(one.name, parameters, regions, held)))
    return tuple(deliveries)


def write_response(
    request_id: str, card: ModelCard, outcome: Outcome, deliveries: tuple[Delivery, ...]
) -> InferResponse:
    """The response; InvalidInput where an output is larger than its place."""
    head = pb.ModelInferResponse(model_name=card.name, model_version=SERVED_VERSION, id=request_id)
    write_parameters(outcome.facts, head.parameters)
    raw: list[Buffer] = []
    for delivery in deliveries:
        port = delivery.port
        array = outcome.outputs[port.name]
        tensor = head.outputs.add(name=port.name, datatype=port.datatype, shape=array.shape)
        if delivery.place is None:
            raw.append(_raw(port, array))
        else:
            parameters = _deliver(port, array, delivery.place)
            write_parameters(parameters, tensor.parameters)
            raw.append(b"")  # clients count outputs and contents alike
    return InferResponse(head, tuple(raw))


def _place(
    name: str, parameters: Mapping[str, Parameter], regions: OwnRegions, held: ExitStack
) -> Place | None:
    if REGION not in parameters:
        return None
    region_name, offset, size_bytes = place_of(name, parameters)
    region = held.enter_context(regions.use(region_name))
    region.check(offset, size_bytes)
    return Place(region, offset, size_bytes)


def _raw(port: Port, array: NDArray[Any]) -> Buffer:
    """The elements as bytes; a view of the array where it lies in memory as it goes onto the wire."""
    if port.datatype == BYTES:
        return write_bytes_tensor(array)
    ordered = np.ascontiguousarray(array, port.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data


def _deliver(port: Port, array: NDArray[Any], place: Place) -> dict[str, Parameter]:
    data = memoryview(_raw(port, array))
    if len(data) > place.size_bytes:
        raise InvalidInput(
            f"output {port.name!r}: expected room for {len(data)} bytes in shared memory"
            f" and got {place.size_bytes}"
        )
    place.region.write(data, place.offset)
    return {REGION: place.region.info.name, REGION_OFFSET: place.offset, REGION_SIZE: len(data)}
