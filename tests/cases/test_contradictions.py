from __future__ import annotations

import pytest

from appliance.cases.contradictions import check_set
from appliance.cases.edits import (
    Approve,
    Delete,
    Edit,
    Flip,
    Join,
    Outline,
    Reclassify,
    Reviewer,
    ReviewerRole,
    Rotate,
    Split,
    Undo,
)
from appliance.errors import EditRefused, NotAllowed

EXPERT = Reviewer(ReviewerRole.EXPERT, "r-1")
TECHNOLOGIST = Reviewer(ReviewerRole.TECHNOLOGIST, "r-2")
SQUARE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))
PARTS = (Outline((SQUARE,), "1"), Outline((SQUARE,), "2"))


def check(*edits: Edit, reviewer: Reviewer = EXPERT) -> None:
    check_set(edits, reviewer, range(46), max_edits=5)


@pytest.mark.parametrize(
    "edits",
    [
        (Reclassify(1, "3"), Flip(1), Delete(2)),
        (Rotate(1, 10), Reclassify(1, "3")),
        (Split(1, PARTS), Join((2, 3), "4"), Approve()),
        (Undo(),),
    ],
)
def test_sets_that_agree(edits: tuple[Edit, ...]) -> None:
    check(*edits)


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ((), "at least one edit"),
        (tuple(Flip(i) for i in range(6)), "at most 5 edits"),
        ((Flip(46),), "object of this spread to flip and got 46"),
        ((Flip(1), Delete(99)), "to delete and got 99"),
        ((Reclassify(1, "3"), Reclassify(1, "4")), "reclassify and reclassify of object 1"),
        ((Delete(1), Flip(1)), "delete and flip of object 1"),
        ((Flip(1), Rotate(1, 5)), "flip and rotate of object 1"),
        ((Split(1, PARTS), Join((1, 2), "4")), "split and join of object 1"),
        ((Delete(1), Delete(1)), "delete and delete of object 1"),
        ((Undo(), Flip(1)), "undo alone"),
        ((Approve(), Flip(1)), "approval after all other edits"),
        ((Approve(), Approve()), "one approval"),
    ],
)
def test_sets_that_do_not(edits: tuple[Edit, ...], reason: str) -> None:
    with pytest.raises(EditRefused, match=reason):
        check(*edits)


def test_a_technologist_edits_but_does_not_approve() -> None:
    check(Flip(1), reviewer=TECHNOLOGIST)
    with pytest.raises(NotAllowed, match="an expert to approve and got a technologist"):
        check(Flip(1), Approve(), reviewer=TECHNOLOGIST)


@pytest.mark.parametrize("reviewer_id", ["", "Dr. Jane Roe", "a" * 65, "x\n"])
def test_ids_that_may_be_names(reviewer_id: str) -> None:
    with pytest.raises(EditRefused, match="reviewer id"):
        Reviewer(ReviewerRole.EXPERT, reviewer_id)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reclassify(1, "23"),
        lambda: Rotate(1, 0.0),
        lambda: Rotate(1, 181.0),
        lambda: Rotate(1, float("nan")),
        lambda: Split(1, PARTS[:1]),
        lambda: Join((1, 1), "3"),
        lambda: Join((1,), "3"),
        lambda: Outline((), "3"),
        lambda: Outline((SQUARE[:2],), "3"),
        lambda: Outline((((float("inf"), 0.0), *SQUARE),), "3"),
        lambda: Approve(("Jane Roe",)),
        lambda: Approve(("t(9;22)", "t(9;22)")),
        lambda: Approve(tuple(f"del({i})" for i in range(17))),
    ],
)
def test_edits_with_wrong_values(make: object) -> None:
    with pytest.raises(EditRefused, match="expected"):
        make()  # type: ignore[operator]
