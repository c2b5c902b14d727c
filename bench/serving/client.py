"""The stock client's callers, in a process of their own: its generated messages have the names of ours.

`python -m bench.serving.client FILM` takes orders (`bench.serving.loops`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, shared_memory

from bench.serving.loops import Busy, Caller, NotServed, Order, take_orders
from bench.serving.payloads import PAYLOADS, Payload

CALL_LIMIT_S = 60.0
BUSY = {"StatusCode.RESOURCE_EXHAUSTED"}
NOT_SERVED = {"StatusCode.INVALID_ARGUMENT", "StatusCode.UNIMPLEMENTED"}


@contextmanager
def refusals() -> Iterator[None]:
    """Statuses of the server as the loops' own exceptions."""
    try:
        yield
    except InferenceServerException as exc:
        if exc.status() in BUSY:
            raise Busy(exc.message()) from exc
        if exc.status() in NOT_SERVED:
            raise NotServed(exc.message()) from exc
        raise


class WireCaller:
    """Tensors in the messages."""

    def __init__(self, order: Order, payload: Payload, tensor: NDArray[Any]) -> None:
        self._client = triton.InferenceServerClient(order.address)
        self._model, self._payload, self._tensor = order.model, payload, tensor

    def __call__(self) -> None:
        one = triton.InferInput(self._payload.input_name, list(self._tensor.shape), self._payload.datatype)
        one.set_data_from_numpy(self._tensor)
        with refusals():
            answer = self._client.infer(self._model, [one], client_timeout=CALL_LIMIT_S)
        for output in answer.get_response().outputs:
            if answer.as_numpy(output.name) is None:
                raise RuntimeError(f"expected elements of {output.name} and got none")

    def close(self) -> None:
        self._client.close()


class RegionCaller:
    """Tensors in system shared memory, both ways; written and read anew for each request."""

    def __init__(self, order: Order, payload: Payload, tensor: NDArray[Any], number: int) -> None:
        self._client = triton.InferenceServerClient(order.address)
        self._model, self._payload, self._tensor = order.model, payload, tensor
        self._name = f"bench-{os.getpid()}-{number}"
        self._sizes = {
            name: 4 * int(np.prod([side if side > 0 else tensor.shape[0] for side in shape]))
            for name, _datatype, shape in payload.outputs
        }
        total = tensor.nbytes + sum(self._sizes.values())
        self._region = shared_memory.create_shared_memory_region(self._name, f"/{self._name}", total)
        try:
            with refusals():
                self._client.register_system_shared_memory(self._name, f"/{self._name}", total)
        except BaseException:
            shared_memory.destroy_shared_memory_region(self._region)
            raise

    def __call__(self) -> None:
        shared_memory.set_shared_memory_region(self._region, [self._tensor])
        one = triton.InferInput(self._payload.input_name, list(self._tensor.shape), self._payload.datatype)
        one.set_shared_memory(self._name, self._tensor.nbytes)
        outputs, at = [], self._tensor.nbytes
        for name, size in self._sizes.items():
            wanted = triton.InferRequestedOutput(name)
            wanted.set_shared_memory(self._name, size, at)
            outputs.append(wanted)
            at += size
        with refusals():
            answer = self._client.infer(self._model, [one], outputs=outputs, client_timeout=CALL_LIMIT_S)
        at = self._tensor.nbytes
        for name, size in self._sizes.items():
            shape = list(answer.get_output(name).shape)
            shared_memory.get_contents_as_numpy(self._region, np.float32, shape, at).copy()
            at += size

    def close(self) -> None:
        self._client.unregister_system_shared_memory(self._name)
        shared_memory.destroy_shared_memory_region(self._region)
        self._client.close()


def main() -> None:
    """Take orders; the one argument is the film that goes as a file."""
    film = Path(sys.argv[1])

    def caller(order: Order, number: int) -> Caller:
        payload = PAYLOADS[order.payload]
        tensor = payload.tensor(film.read_bytes() if payload.is_file else b"")
        if order.shared_memory:
            return RegionCaller(order, payload, tensor, number)
        return WireCaller(order, payload, tensor)

    take_orders(caller)


if __name__ == "__main__":
    main()
