"""Asks the CUDA driver, through its C interface, whether there is a GPU at all.

TensorRT's Runtime does not raise without a GPU and pycuda fails at import, so nobody touches either
before this has answered. The calls are those of the CUDA Driver API reference, "Initialization" and
"Device Management".
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_LIBRARY = "libcuda.so.1"
_SUCCESS = 0
_NAME_BYTES = 256
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


@dataclass(frozen=True)
class CudaDevice:
    """The first GPU, or the reason why there is none (`absence`)."""

    name: str | None
    compute_capability: tuple[int, int] | None
    absence: str | None


def first_cuda_device(load: Callable[[str], Any] = ctypes.CDLL) -> CudaDevice:
    """GPU 0 as the driver names it; never raises. `load` opens a shared library by name."""
    try:
        driver = load(_LIBRARY)
    except OSError:
        return _absent(f"the NVIDIA driver library {_LIBRARY} is not installed")
    if (code := driver.cuInit(0)) != _SUCCESS:
        return _absent(f"the NVIDIA driver did not start (cuInit gave {code})")
    count = ctypes.c_int(0)
    if (code := driver.cuDeviceGetCount(ctypes.byref(count))) != _SUCCESS or count.value < 1:
        return _absent(f"the NVIDIA driver found no GPU (cuDeviceGetCount gave {code}, count {count.value})")
    handle = ctypes.c_int(0)
    if (code := driver.cuDeviceGet(ctypes.byref(handle), 0)) != _SUCCESS:
        return _absent(f"the NVIDIA driver would not open GPU 0 (cuDeviceGet gave {code})")
    name = ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuDeviceGetName(name, _NAME_BYTES, handle) != _SUCCESS:
        name.value = b"GPU 0"
    capability = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = ctypes.c_int(0)
        if (code := driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)) != _SUCCESS:
            return _absent(f"the NVIDIA driver does not know GPU 0 (cuDeviceGetAttribute gave {code})")
        capability.append(value.value)
    return CudaDevice(name.value.decode(errors="replace"), (capability[0], capability[1]), None)


def _absent(reason: str) -> CudaDevice:
    return CudaDevice(None, None, reason)
