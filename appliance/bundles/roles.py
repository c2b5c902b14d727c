"""Which bundle serves a role: the one record that decides what a start loads, changed by one rename.

`None` as a bundle means the factory pack, which is always there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.bundles.durable import DurableFiles
from appliance.bundles.slots import SlotFile


@dataclass(frozen=True)
class RoleRecord:
    """What serves a role."""

    current: str | None = None  # bundle id
    previous: str | None = None  # the last confirmed one before it
    confirmed: bool = True  # live traffic bore `current` out, or it is a factory pack
    starts: int = 0  # of the daemon since `current` took over unconfirmed
    counter: int = 0  # highest release counter that was ever confirmed; a smaller one is refused

    def activated(self, bundle_id: str) -> RoleRecord:
        """Another bundle takes over; the last confirmed one stays at hand."""
        if bundle_id == self.current:
            return self
        previous = self.current if self.confirmed else self.previous
        return replace(self, current=bundle_id, previous=previous, confirmed=False, starts=0)

    def confirmed_good(self, counter: int) -> RoleRecord:
        """Live traffic bore it out."""
        return replace(self, confirmed=True, starts=0, counter=max(counter, self.counter))

    def rolled_back(self) -> RoleRecord:
        """The one before serves again. One that was never confirmed is forgotten, a good one stays at
        hand.
        """
        kept = self.current if self.confirmed else None
        return replace(self, current=self.previous, previous=kept, confirmed=True, starts=0)

    def started(self) -> RoleRecord:
        """The daemon starts once more; counted while the bundle is unconfirmed."""
        return self if self.confirmed else replace(self, starts=self.starts + 1)

    def bundles(self) -> frozenset[str]:
        """Ids that must stay on the disk."""
        return frozenset(bundle for bundle in (self.current, self.previous) if bundle is not None)


class RoleRecords:
    """The records on the disk.

    Args:
        root: folder of the model releases.
        files: makes changes durable.
    """

    def __init__(self, root: Path, files: DurableFiles) -> None:
        self._folder = root / "roles"
        self._files = files

    def read(self, role: str) -> RoleRecord:
        """The record of a role; that of a new box where there is none or both copies are damaged."""
        tree = self._slots(role).read()
        try:
            return RoleRecord(**_known(tree)) if tree is not None else RoleRecord()
        except TypeError:
            return RoleRecord()

    def write(self, role: str, record: RoleRecord) -> None:
        """Replace the record of a role; nothing to do where it is the same."""
        slots = self._slots(role)
        if slots.read() != record.__dict__:
            self._files.make_directory(self._folder)
            slots.write(dict(record.__dict__))

    def damaged(self, role: str) -> tuple[str, ...]:
        """Files of the record that are damaged."""
        return self._slots(role).damaged

    def _slots(self, role: str) -> SlotFile:
        return SlotFile(self._files, self._folder, role)


def _known(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tree[name] for name in RoleRecord.__dataclass_fields__ if name in tree}
