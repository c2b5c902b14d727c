"""A second implementation of the part of pycuda.driver that the TensorRT adapter uses.

As strict as the real one where mistakes hide: a call without a current context fails, copies and kernels
happen only when their stream is synchronised, device memory is bounds-checked, freed memory is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Error(Exception):
    pass


class LogicError(Error):
    pass


class Cuda:
    """Stands for the module `pycuda.driver`; one instance is one machine with one GPU."""

    def __init__(self) -> None:
        self.Error, self.LogicError = Error, LogicError
        self._initialised = False
        self._contexts = threading.local()
        self._memory: dict[int, bytearray] = {}
        self._pinned: set[int] = set()
        self._next_address = 1 << 20
        self._streams: dict[int, _Stream] = {}
        self._lock = threading.Lock()
        self.retained = 0
        self.Context = _contexts_of(self)

    # The module's own functions

    def init(self, flags: int = 0) -> None:
        assert flags == 0
        self._initialised = True

    def Device(self, number: int) -> _Device:  # noqa: N802 - the real name
        if not self._initialised:
            raise LogicError("cuDeviceGet failed: initialization error")
        if number != 0:
            raise LogicError("cuDeviceGet failed: invalid device ordinal")
        return _Device(self)

    def Stream(self, flags: int = 0) -> _Stream:  # noqa: N802 - the real name
        self.require_context()
        assert flags == 0
        with self._lock:
            stream = _Stream(self, 0x5000 + len(self._streams))
            self._streams[stream.handle] = stream
        return stream

    def pagelocked_empty(
        self, shape: Any, dtype: DTypeLike, order: str = "C", mem_flags: int = 0
    ) -> NDArray[Any]:
        self.require_context()
        assert order == "C"
        assert mem_flags == 0
        array = np.empty(shape, dtype)
        array.view(np.uint8)[...] = 0xA5  # fresh pinned memory holds anything
        self._pinned.add(_address(array))
        return array

    def mem_alloc(self, bytes: int) -> DeviceAllocation:
        self.require_context()
        if bytes < 1:
            raise LogicError("cuMemAlloc failed: invalid argument")
        with self._lock:
            address = self._next_address
            self._next_address += (bytes + 511) // 256 * 256
            self._memory[address] = bytearray(b"\xa5" * bytes)
        return DeviceAllocation(self, address)

    def memcpy_htod_async(self, dest: Any, src: Any, stream: _Stream | None = None) -> None:
        self.require_context()
        self._require_pinned(src)
        assert stream is not None
        address, source = int(dest), src
        stream.enqueue(lambda: self.write(address, source.tobytes()))

    def memcpy_dtoh_async(self, dest: Any, src: Any, stream: _Stream | None = None) -> None:
        self.require_context()
        self._require_pinned(dest)
        assert stream is not None
        address, target = int(src), dest
        stream.enqueue(
            lambda: np.copyto(
                target, np.frombuffer(self.read(address, target.nbytes), target.dtype).reshape(target.shape)
            )
        )

    # What the double of TensorRT and the tests look at

    @property
    def allocated_bytes(self) -> int:
        return sum(map(len, self._memory.values()))

    def require_context(self) -> None:
        if not getattr(self._contexts, "stack", None):
            raise LogicError("cuCtxGetCurrent failed: invalid device context")

    def stream(self, handle: int) -> _Stream:
        return self._streams[handle]

    def read(self, address: int, size: int) -> bytes:
        block = self._memory.get(address)
        if block is None or size > len(block):
            raise LogicError("an illegal memory access was encountered")
        return bytes(block[:size])

    def write(self, address: int, content: bytes) -> None:
        block = self._memory.get(address)
        if block is None or len(content) > len(block):
            raise LogicError("an illegal memory access was encountered")
        block[: len(content)] = content

    def release(self, address: int) -> None:
        with self._lock:
            if self._memory.pop(address, None) is None:
                raise LogicError("cuMemFree failed: invalid argument")

    def stack(self) -> list[Any]:
        if not hasattr(self._contexts, "stack"):
            self._contexts.stack = []
        stack: list[Any] = self._contexts.stack
        return stack

    def _require_pinned(self, array: NDArray[Any]) -> None:
        owner = array if array.base is None else array.base
        if _address(owner) not in self._pinned or not array.flags.c_contiguous:
            raise LogicError("an asynchronous copy needs page-locked contiguous host memory")


class _Device:
    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda

    def name(self) -> str:
        return "Double of Orin"

    def compute_capability(self) -> tuple[int, int]:
        return 8, 7

    def retain_primary_context(self) -> Any:
        self._cuda.retained += 1
        return self._cuda.Context()


def _contexts_of(cuda: Cuda) -> type:
    class Context:
        def push(self) -> None:
            cuda.stack().append(self)

        @staticmethod
        def pop() -> None:
            if not cuda.stack():
                raise LogicError("context stack is empty")
            cuda.stack().pop()

        def detach(self) -> None:
            cuda.retained -= 1

    return Context


class DeviceAllocation:
    def __init__(self, cuda: Cuda, address: int) -> None:
        self._cuda = cuda
        self._address = address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._cuda.require_context()
        self._cuda.release(self._address)


class _Stream:
    def __init__(self, cuda: Cuda, handle: int) -> None:
        self._cuda = cuda
        self.handle = handle
        self._pending: list[Callable[[], None]] = []

    def enqueue(self, work: Callable[[], None]) -> None:
        self._pending.append(work)

    def synchronize(self) -> None:
        self._cuda.require_context()
        for work in self._drain():
            work()

    def _drain(self) -> Iterator[Callable[[], None]]:
        while self._pending:
            yield self._pending.pop(0)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
