"""Brings in TensorRT and pycuda together, after CUDA has been probed; tests hand in a double instead."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from engines.cuda import first_cuda_device
from engines.errors import RuntimeUnavailable

_log = logging.getLogger(__name__)
_KEPT_MESSAGES = 8


@dataclass(frozen=True)
class TensorRtBindings:
    """The modules `tensorrt` and `pycuda.driver`, or a second implementation of what is used of them."""

    tensorrt: Any
    cuda: Any


def load_bindings() -> TensorRtBindings:
    """Import both; raises RuntimeUnavailable with the reason if a GPU or a package is missing."""
    device = first_cuda_device()
    if device.absence is not None:
        raise RuntimeUnavailable(f"expected an NVIDIA GPU, got none: {device.absence}")
    try:
        import pycuda.driver as cuda
        import tensorrt
    except ImportError as exc:
        raise RuntimeUnavailable(f"expected the packages tensorrt and pycuda, got: {exc}") from exc
    cuda.init()
    return TensorRtBindings(tensorrt, cuda)


def message_logger(tensorrt: Any) -> Any:
    """An ILogger that hands TensorRT's messages to `logging` and keeps the last errors for exceptions.

    TensorRT answers most failures with None or False; the reason comes only through its logger. Read
    `logger.last_errors()`.
    """

    class MessageLogger(tensorrt.ILogger):  # type: ignore[misc]  # its base is Any
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)  # pybind11 refuses super() here
            self._errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            level = _level(tensorrt, severity)
            if level >= logging.ERROR:
                self._errors = [*self._errors, msg][-_KEPT_MESSAGES:]
            _log.log(level, "TensorRT: %s", msg)

        def last_errors(self) -> str:
            return "; ".join(self._errors) or "it gave no reason"

    return MessageLogger()


def _level(tensorrt: Any, severity: Any) -> int:
    severities = tensorrt.ILogger.Severity
    if severity in (severities.INTERNAL_ERROR, severities.ERROR):
        return logging.ERROR
    return logging.WARNING if severity == severities.WARNING else logging.DEBUG
