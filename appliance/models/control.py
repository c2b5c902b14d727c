"""Taking models out of service and back in, by name: packs that lie on the box, verified as at the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.errors import NotFound, PackRejected
from appliance.models.pack import ModelPack
from appliance.models.registry import ModelRegistry


class ModelControl:
    """Loads and unloads.

    Args:
        models: the registry.
        directories: the packs that are loaded at a start of the daemon.
    """

    def __init__(self, models: ModelRegistry, directories: Callable[[], Sequence[Path]]) -> None:
        self._models = models
        self._directories = directories

    def load(self, name: str) -> None:
        """Bring a pack into service, also one that is in service: it is read anew.

        Raises:
            NotFound: no pack of that name is on the box.
            PackRejected, ModelUnavailable: it cannot be loaded; a model that is in service stays.
        """
        names = []
        for directory in self._directories():
            try:
                pack = ModelPack.open(directory)
            except PackRejected:
                if directory.name == name:
                    raise
                continue
            if pack.manifest.name == name:
                self._models.activate(pack)
                return
            names.append(pack.manifest.name)
        raise NotFound(f"expected one of the packs {', '.join(names)} and got {name[:64]!r}")

    def unload(self, name: str, by: str) -> None:
        """Take a model out of service; requests under way finish first.

        Args:
            name: of the pack.
            by: who asks, for the status.

        Raises:
            NotFound: no model of that name is in service.
        """
        loaded = {
            status.identity.name: status.role
            for status in self._models.statuses()
            if status.identity is not None
        }
        if name not in loaded:
            raise NotFound(f"expected one of the models {', '.join(loaded) or 'none'} and got {name[:64]!r}")
        self._models.drain(loaded[name], f"taken out of service by {by}")
