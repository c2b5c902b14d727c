"""The packs that a box is born with: a folder with one pack in each sub-folder, found by role."""

from __future__ import annotations

from pathlib import Path

from appliance.errors import ConfigurationError, PackRejected
from appliance.models.manifest import MANIFEST_NAME, Role
from appliance.models.pack import MAX_MANIFEST_BYTES, parse_manifest


class FactoryPacks:
    """Finds packs by role.

    Args:
        folder: holds the packs.

    Raises:
        ConfigurationError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self._directories = pack_directories(folder)

    def find(self, role: Role) -> Path | None:
        """The pack directory of a role, by its manifest alone; None where there is none.

        A pack whose manifest cannot be read stands for every role that no other pack names, so that loading
        it says what is wrong with it.
        """
        unreadable = None
        for directory in self._directories:
            try:
                with (directory / MANIFEST_NAME).open("rb") as file:
                    manifest = parse_manifest(file.read(MAX_MANIFEST_BYTES))
            except (OSError, PackRejected):
                unreadable = directory
                continue
            if manifest.role is role:
                return directory
        return unreadable


def pack_directories(folder: Path) -> list[Path]:
    """The sub-folders of `folder` that hold a manifest, by name; ConfigurationError if there is no folder."""
    if not folder.is_dir():
        raise ConfigurationError(f"expected a folder of model packs and got nothing at {folder}")
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST_NAME}"))
