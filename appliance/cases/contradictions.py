"""Whether a set of edits can be done as one: nothing unknown, nothing twice, nothing against each other."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from appliance.cases.edits import (
    Approve,
    Delete,
    Edit,
    Flip,
    Join,
    Reclassify,
    Reviewer,
    ReviewerRole,
    Rotate,
    Split,
    Undo,
    named_objects,
)
from appliance.errors import EditRefused, NotAllowed

ENDS = (Delete, Join, Split)
"""After these the object is gone."""

TURNS = (Flip, Rotate)


def check_set(edits: Sequence[Edit], reviewer: Reviewer, objects: Collection[int], max_edits: int) -> None:
    """Refuse a set that contradicts itself or names what is not there.

    Every edit names objects as they were before the set.

    Args:
        edits: the set.
        reviewer: who sends it.
        objects: numbers of the objects that the spread has now.
        max_edits: most edits of one set.

    Raises:
        EditRefused: with the reason.
        NotAllowed: an approval by somebody who may not.
    """
    if not edits:
        raise EditRefused("expected at least one edit and got none")
    if len(edits) > max_edits:
        raise EditRefused(f"expected at most {max_edits} edits in one set and got {len(edits)}")
    if len(edits) > 1 and any(isinstance(edit, Undo) for edit in edits):
        raise EditRefused("expected an undo alone and got it among other edits")
    approvals = sum(isinstance(edit, Approve) for edit in edits)
    if approvals > 1:
        raise EditRefused(f"expected one approval and got {approvals}")
    if approvals and not isinstance(edits[-1], Approve):
        raise EditRefused("expected the approval after all other edits and got it before one")
    if approvals and reviewer.role is not ReviewerRole.EXPERT:
        raise NotAllowed(f"expected an expert to approve and got a {reviewer.role.value}")
    done: dict[int, list[Edit]] = {}
    for edit in edits:
        for number in named_objects(edit):
            if number not in objects:
                raise EditRefused(
                    f"expected the number of an object of this spread to {edit.kind} and got {number}"
                )
            for other in done.get(number, ()):
                _check_together(number, other, edit)
            done.setdefault(number, []).append(edit)


def _check_together(number: int, first: Edit, second: Edit) -> None:
    clash = (
        isinstance(first, ENDS)
        or isinstance(second, ENDS)
        or (isinstance(first, Reclassify) and isinstance(second, Reclassify))
        or (isinstance(first, TURNS) and isinstance(second, TURNS))
    )
    if clash:
        raise EditRefused(
            f"expected edits that agree and got {first.kind} and {second.kind} of object {number} in one set"
        )
