"""What can never come back: the lowest version of each metadata role and the earliest time it can be.

The floor is kept apart from the metadata, twice, so that damage to either is not a way to replay older
metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.bundles.durable import DurableFiles
from appliance.bundles.slots import SlotFile
from appliance.clock import Clock


@dataclass(frozen=True)
class Floor:
    """Versions that were verified, and the keys that signed them."""

    versions: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def older_than(found: Floor, floor: Floor) -> str | None:
    """Say in one sentence that metadata is older than the floor, or give None where it is not.

    A role whose keys were replaced starts again: an attacker who had the old keys may have signed a version
    so high that no honest one could follow (TUF specification, 5.3.11, fast-forward attack).
    """
    for role, version in found.versions.items():
        replaced = role in floor.keys and role in found.keys and floor.keys[role] != found.keys[role]
        lowest = 0 if replaced else floor.versions.get(role, 0)
        if version < lowest:
            return f"expected {role} metadata of version {lowest} or later and got {version} (rollback)"
    return None


class TrustFloor:
    """Keeps the floor on the disk and tells the time that it allows.

    Args:
        files, directory: where.
        clock: the box's own, which may be years off in either direction.
        built_ms: when this software was released, Unix milliseconds.
    """

    def __init__(self, files: DurableFiles, directory: Path, clock: Clock, built_ms: int) -> None:
        self._slots = SlotFile(files, directory, "floor")
        self._clock = clock
        self._built_ms = built_ms

    def now_ms(self) -> int:
        """The clock, or the floor where the clock is behind it; Unix milliseconds."""
        return max(self._clock.now_ms(), self._built_ms, _whole(self._tree(), "time_ms"))

    def read(self) -> Floor:
        """The versions below which nothing is accepted."""
        tree = self._tree()
        versions, keys = tree.get("versions", {}), tree.get("keys", {})
        return Floor(
            {str(role): int(version) for role, version in versions.items()},
            {str(role): tuple(ids) for role, ids in keys.items()},
        )

    def raise_to(self, found: Floor, published_ms: int) -> None:
        """Take over what was just verified.

        The clock's time is taken over only now: metadata that is valid at that time bounds how wrong it can
        be, so a clock ten years ahead never shuts the box for the ten years after it is put right.
        """
        tree = {
            "time_ms": max(self.now_ms(), published_ms),
            "versions": dict(found.versions),
            "keys": {role: list(ids) for role, ids in found.keys.items()},
        }
        if tree != self._tree():
            self._slots.write(tree)

    def _tree(self) -> dict[str, Any]:
        return self._slots.read() or {}


def _whole(tree: Mapping[str, Any], key: str) -> int:
    return int(tree.get(key, 0))
