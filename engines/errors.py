"""The error tree of the engines; it knows no daemon and no transport (callers map it to their own).

EngineError
├── RuntimeUnavailable   the runtime is not installed here, or there is no device that it could use
├── EngineLoadError      the runtime is here, but this model could not be read, compiled or loaded
├── EngineInputError     the caller's tensors do not fit the model: name, datatype or shape
├── EngineRunError       the runtime failed on valid tensors, or its outputs break the model's contract
└── EngineClosedError    the engine was asked after `close()`
"""

from __future__ import annotations

from pathlib import Path


class EngineError(Exception):
    """Root of every error that an engine raises on purpose."""


class RuntimeUnavailable(EngineError):
    """The runtime is not installed here, or there is no device that it could use."""


class EngineLoadError(EngineError):
    """The runtime is here, but this model could not be read, compiled or loaded."""


class EngineInputError(EngineError):
    """The caller's tensors do not fit the model: name, datatype or shape."""


class EngineRunError(EngineError):
    """The runtime failed on valid tensors, or its outputs break the model's contract."""


class EngineClosedError(EngineError):
    """The engine was asked after `close()`."""


def reason_of(error: Exception, model_path: Path) -> str:
    """A runtime's own words without the box's directories in them, on one line."""
    return " ".join(str(error).replace(str(model_path), model_path.name).split())
