"""How the models stand, in the words of a technician."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from appliance.models.identity import ModelIdentity
from appliance.models.manifest import Role
from engines.contract import EngineInfo


class ModelState(enum.Enum):
    """Where a role stands."""

    LOADING = "loading"  # an engine is being opened and there is none to answer meanwhile
    READY = "ready"  # leases are given
    UNAVAILABLE = "unavailable"  # no engine, and the status says why
    UNLOADING = "unloading"  # no new leases; waits for the last one


@dataclass(frozen=True)
class ModelStatus:
    """One role as a technician sees it."""

    role: Role
    state: ModelState
    reason: str  # why it is not READY; empty when it is
    identity: ModelIdentity | None
    engine: EngineInfo | None
    demonstration: bool  # answers carry DEMONSTRATION_MODEL
    leases: int  # requests that use the model now
    takes_pixels: bool = False  # as UINT8, beside the tensor of its contract


@dataclass(frozen=True)
class LoadEvent:
    """A step of `load`, for a progress display."""

    role: Role | None  # None while the pack's manifest has not been read
    directory: Path
    state: ModelState
    detail: str
