"""Who hears of every engine call: what watches a model that is on trial."""

from __future__ import annotations

from typing import Protocol

from appliance.inference.request import ModelIdentity, Tensors
from appliance.models.manifest import Role


class Observer(Protocol):
    """Called on the dispatcher's own threads: it has to be quick."""

    def answered(
        self, role: Role, identity: ModelIdentity, tensors: Tensors, outputs: Tensors, engine_ms: float
    ) -> None:
        """A call that was answered; the arrays are the caller's, to be copied where they are kept."""
        ...

    def failed(self, role: Role, identity: ModelIdentity) -> None:
        """An engine that failed on a valid input."""
        ...


class Unobserved:
    """Nobody watches."""

    def answered(
        self, role: Role, identity: ModelIdentity, tensors: Tensors, outputs: Tensors, engine_ms: float
    ) -> None:
        """Nothing to do."""

    def failed(self, role: Role, identity: ModelIdentity) -> None:
        """Nothing to do."""
