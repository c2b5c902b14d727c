"""How often people had to correct the machine: edits in force of a spread, counted by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.cases.edits import EDIT_KINDS, TOUCHES, ReviewEvent, named_objects
from appliance.cases.fold import in_force


@dataclass(frozen=True)
class Touches:
    """What reviewers did to one spread."""

    edits: Mapping[str, int]  # number of edits in force of each kind
    machine_objects: int  # objects that the machine had found
    untouched: int  # of which no edit is about


@dataclass(frozen=True)
class FieldAccuracy:
    """How the machine fared on the approved spreads of the kept cases."""

    spreads: int = 0  # approved
    edits: Mapping[str, int] = field(default_factory=dict)  # number of edits in force of each kind
    machine_objects: int = 0
    untouched: int = 0

    @property
    def touches(self) -> int:
        """Edits that corrected something."""
        return sum(self.edits.get(kind, 0) for kind in TOUCHES)

    @property
    def touches_per_spread(self) -> float | None:
        """Corrections of one spread, in the mean; None without an approved spread."""
        return self.touches / self.spreads if self.spreads else None

    @property
    def untouched_share(self) -> float | None:
        """Share of the machine's objects that nobody had to touch; None without an approved spread."""
        return self.untouched / self.machine_objects if self.machine_objects else None


def touches_of(machine_objects: int, events: Sequence[ReviewEvent]) -> Touches:
    """Count the edits of one spread.

    Args:
        machine_objects: number of objects that the machine had found.
        events: all of the spread, oldest first; sets that were taken back do not count.
    """
    edits = [edit for event in in_force(events) for edit in event.edits]
    touched = {number for edit in edits for number in named_objects(edit) if number < machine_objects}
    counts: Counter[str] = Counter(edit.kind for edit in edits)
    return Touches(
        {kind: counts[kind] for kind in EDIT_KINDS if counts[kind]},
        machine_objects,
        machine_objects - len(touched),
    )


def field_accuracy(approved: Iterable[Touches]) -> FieldAccuracy:
    """Add up approved spreads."""
    spreads = machine_objects = untouched = 0
    edits: Counter[str] = Counter()
    for one in approved:
        spreads += 1
        machine_objects += one.machine_objects
        untouched += one.untouched
        edits.update(one.edits)
    return FieldAccuracy(
        spreads, {kind: edits[kind] for kind in EDIT_KINDS if edits[kind]}, machine_objects, untouched
    )
