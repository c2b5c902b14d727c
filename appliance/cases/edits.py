"""What a reviewer may do to a spread: edits, in sets, each set one event that is never overwritten.

Objects have numbers: those of the machine are their indices in its result, new ones go on from there and are
never given twice, not even after an undo.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import Literal

from appliance.analysis import CHROMOSOME_LABELS, Polygon
from appliance.errors import EditRefused

MAX_PARTS = 8
MAX_POLYGONS = 8
MAX_VERTICES = 2000
MAX_STRUCTURAL = 16
REVIEWER_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
STRUCTURAL = re.compile(r"[A-Za-z0-9()\[\];:.,~?+>_/-]{2,80}")


class ReviewerRole(str, enum.Enum):
    """Who reviews."""

    TECHNOLOGIST = "technologist"  # edits
    EXPERT = "expert"  # edits and approves


@dataclass(frozen=True)
class Reviewer:
    """Who sends a set of edits.

    Raises:
        EditRefused: an id that may be a name or holds more than an id does.
    """

    role: ReviewerRole
    reviewer_id: str  # the laboratory's own, no name

    def __post_init__(self) -> None:
        if REVIEWER_ID.fullmatch(self.reviewer_id) is None:
            raise EditRefused(
                "expected a reviewer id of 1 to 64 letters, digits, points, hyphens or underscores and got"
                f" {len(self.reviewer_id)} characters that are none"
            )


@dataclass(frozen=True)
class Outline:
    """A new object as a person drew it, with the class that it was given."""

    polygons: tuple[Polygon, ...]  # pixels of the input
    label: str

    def __post_init__(self) -> None:
        _check_label(self.label)
        if not 1 <= len(self.polygons) <= MAX_POLYGONS:
            raise EditRefused(
                f"expected 1 to {MAX_POLYGONS} polygons in an outline and got {len(self.polygons)}"
            )
        for polygon in self.polygons:
            if not 3 <= len(polygon) <= MAX_VERTICES:
                raise EditRefused(
                    f"expected 3 to {MAX_VERTICES} vertices in a polygon and got {len(polygon)}"
                )
            if not all(math.isfinite(x) and math.isfinite(y) for x, y in polygon):
                raise EditRefused("expected finite coordinates in an outline and got NaN or infinity")


@dataclass(frozen=True)
class Reclassify:
    """Give an object another class."""

    object_id: int
    label: str
    kind: Literal["reclassify"] = "reclassify"

    def __post_init__(self) -> None:
        _check_label(self.label)


@dataclass(frozen=True)
class Rotate:
    """Turn an object in the karyogram."""

    object_id: int
    degrees: float  # counter-clockwise, from how it stands now; -180..180, not 0
    kind: Literal["rotate"] = "rotate"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.degrees) and 0 < abs(self.degrees) <= 180):
            raise EditRefused(f"expected a turn of up to 180 degrees, not 0, and got {self.degrees:g}")


@dataclass(frozen=True)
class Flip:
    """Exchange the arms of an object: half a turn."""

    object_id: int
    kind: Literal["flip"] = "flip"


@dataclass(frozen=True)
class Split:
    """Replace one object by several."""

    object_id: int
    parts: tuple[Outline, ...]
    kind: Literal["split"] = "split"

    def __post_init__(self) -> None:
        if not 2 <= len(self.parts) <= MAX_PARTS:
            raise EditRefused(
                f"expected 2 to {MAX_PARTS} parts of object {self.object_id} and got {len(self.parts)}"
            )


@dataclass(frozen=True)
class Join:
    """Replace several objects by one that has the outlines of all."""

    object_ids: tuple[int, ...]
    label: str
    kind: Literal["join"] = "join"

    def __post_init__(self) -> None:
        _check_label(self.label)
        if not 2 <= len(set(self.object_ids)) == len(self.object_ids) <= MAX_PARTS:
            raise EditRefused(
                f"expected 2 to {MAX_PARTS} different objects to join and got {_listed(self.object_ids)}"
            )


@dataclass(frozen=True)
class Add:
    """A chromosome that was overlooked."""

    outline: Outline
    kind: Literal["add"] = "add"


@dataclass(frozen=True)
class Delete:
    """An object that is no chromosome of this cell."""

    object_id: int
    kind: Literal["delete"] = "delete"


@dataclass(frozen=True)
class Approve:
    """The spread, as it is after the other edits of the set, is right."""

    structural_changes: tuple[str, ...] = ()  # in the expert's words, for example "t(9;22)(q34;q11.2)"
    kind: Literal["approve"] = "approve"

    def __post_init__(self) -> None:
        if len(self.structural_changes) > MAX_STRUCTURAL:
            raise EditRefused(
                f"expected at most {MAX_STRUCTURAL} structural changes and got {len(self.structural_changes)}"
            )
        for words in self.structural_changes:
            if STRUCTURAL.fullmatch(words) is None:
                raise EditRefused(
                    "expected structural changes as ISCN writes them, for example del(5)(q13q33)"
                )
        if len(set(self.structural_changes)) != len(self.structural_changes):
            raise EditRefused("expected every structural change once and got one twice")


@dataclass(frozen=True)
class Undo:
    """Take back the newest set of edits that is in force."""

    kind: Literal["undo"] = "undo"


Edit = Reclassify | Rotate | Flip | Split | Join | Add | Delete | Approve | Undo
EDIT_KINDS = ("reclassify", "rotate", "flip", "split", "join", "add", "delete", "approve", "undo")
TOUCHES = EDIT_KINDS[:7]
"""Edits that correct something; approving and undoing do not."""


@dataclass(frozen=True)
class ReviewEvent:
    """A set of edits as it was committed."""

    revision: int  # of the spread after this set, from 1
    at_ms: int  # Unix time in milliseconds
    reviewer: Reviewer
    edits: tuple[Edit, ...]

    @property
    def undoes(self) -> bool:
        """Whether this takes an earlier set back."""
        return any(isinstance(edit, Undo) for edit in self.edits)

    @property
    def approves(self) -> bool:
        """Whether this approves the spread."""
        return any(isinstance(edit, Approve) for edit in self.edits)


def named_objects(edit: Edit) -> tuple[int, ...]:
    """The existing objects that an edit is about."""
    if isinstance(edit, Join):
        return edit.object_ids
    if isinstance(edit, Reclassify | Rotate | Flip | Split | Delete):
        return (edit.object_id,)
    return ()


def new_objects(edit: Edit) -> int:
    """Number of objects that an edit makes."""
    if isinstance(edit, Split):
        return len(edit.parts)
    return 1 if isinstance(edit, Join | Add) else 0


def _check_label(label: str) -> None:
    if label not in CHROMOSOME_LABELS:
        raise EditRefused(f"expected a class from 1 to 22, X or Y and got {label[:16]!r}")


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers[:20]) or "none"
