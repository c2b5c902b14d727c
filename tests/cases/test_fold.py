from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.analysis import Polarity, QualityFlag
from appliance.cases.cell import ReviewState
from appliance.cases.edits import (
    Add,
    Approve,
    Delete,
    Edit,
    Flip,
    Join,
    Outline,
    Reclassify,
    Reviewer,
    ReviewerRole,
    ReviewEvent,
    Rotate,
    Split,
    Undo,
)
from appliance.cases.fold import Reviewed, cell_of, fold
from appliance.cases.tally import field_accuracy, touches_of
from appliance.errors import EditRefused
from tests.cases.cells import HEIGHT, WIDTH, spread_of, square

EXPERT = Reviewer(ReviewerRole.EXPERT, "r-1")
MACHINE = spread_of()


def events(*sets: tuple[Edit, ...]) -> tuple[ReviewEvent, ...]:
    return tuple(ReviewEvent(index, index * 1000, EXPERT, edits) for index, edits in enumerate(sets, 1))


def after(*sets: tuple[Edit, ...], machine: object = MACHINE) -> Reviewed:
    return fold(machine, (WIDTH, HEIGHT), events(*sets))  # type: ignore[arg-type]


def test_without_events_it_is_the_machines() -> None:
    reviewed = after()
    assert reviewed == Reviewed(MACHINE, tuple(range(46)), ReviewState.MACHINE, 0, ())


def test_a_class() -> None:
    reviewed = after((Reclassify(0, "21"),))
    one = reviewed.spread.chromosomes[0]
    assert (one.label, one.confidence, one.runner_up) == ("21", 1.0, "")
    assert reviewed.state is ReviewState.IN_REVIEW
    assert dict(reviewed.spread.pairs)["21"] == (0, *dict(MACHINE.pairs)["21"])
    assert reviewed.spread.iscn == "46,XX,-1,+21"
    assert QualityFlag.UNPAIRED_CLASSES in reviewed.spread.quality_flags


def test_confirming_a_class_in_doubt() -> None:
    machine = spread_of(doubtful=frozenset({5}))
    reviewed = after((Reclassify(5, machine.chromosomes[5].label),), machine=machine)
    assert not reviewed.spread.chromosomes[5].needs_expert
    assert reviewed.spread.iscn == "46,XX"


def test_the_class_that_it_has_already() -> None:
    with pytest.raises(EditRefused, match="another class for object 5"):
        after((Reclassify(5, MACHINE.chromosomes[5].label),))


@pytest.mark.parametrize(
    ("degrees", "angle", "polarity"),
    [
        (30.0, 30.0, Polarity.P_ARM_UP),
        (-45.0, -45.0, Polarity.P_ARM_UP),
        (90.0, 90.0, Polarity.P_ARM_UP),
        (-90.0, 90.0, Polarity.Q_ARM_UP),
        (120.0, -60.0, Polarity.Q_ARM_UP),
        (180.0, 0.0, Polarity.Q_ARM_UP),
    ],
)
def test_a_turn(degrees: float, angle: float, polarity: Polarity) -> None:
    one = after((Rotate(3, degrees),)).spread.chromosomes[3]
    assert (one.angle_degrees, one.polarity) == (pytest.approx(angle), polarity)
    assert one.polarity_confidence == 1.0


def test_two_flips_are_none() -> None:
    once, twice = after((Flip(3),)), after((Flip(3),), (Flip(3),))
    assert once.spread.chromosomes[3].polarity is Polarity.Q_ARM_UP
    assert twice.spread.chromosomes[3].polarity is Polarity.P_ARM_UP
    assert twice.spread.chromosomes[3].angle_degrees == 0.0


def test_a_flip_of_what_was_unsure_makes_it_sure() -> None:
    unsure = replace(MACHINE.chromosomes[3], polarity=Polarity.UNSURE, polarity_confidence=0.6)
    machine = replace(MACHINE, chromosomes=(*MACHINE.chromosomes[:3], unsure, *MACHINE.chromosomes[4:]))
    assert after((Flip(3),), machine=machine).spread.chromosomes[3].polarity is Polarity.Q_ARM_UP


def test_one_less() -> None:
    reviewed = after((Delete(0),))
    assert reviewed.object_ids == tuple(range(1, 46))
    assert [one.index for one in reviewed.spread.chromosomes] == list(range(45))
    assert reviewed.spread.iscn == "45,XX,-1"
    assert QualityFlag.COUNT_NOT_46 in reviewed.spread.quality_flags
    assert [one.label for one in reviewed.spread.deviations] == ["", "1"]
    assert after((Delete(0), Approve())).spread.deviations == ()


def test_one_more() -> None:
    reviewed = after((Add(Outline((square(7, 4),), "21")),))
    added = reviewed.spread.chromosomes[-1]
    assert reviewed.object_ids[-1] == 46
    assert (added.label, added.polarity, added.angle_degrees) == ("21", Polarity.UNSURE, pytest.approx(0.0))
    assert added.box.width == pytest.approx(20, abs=1)
    assert reviewed.spread.iscn == "47,XX,+21"


def test_what_is_there_already_is_not_added() -> None:
    with pytest.raises(EditRefused, match="outline of object 12"):
        after((Add(Outline((square(2, 1),), "21")),))


@pytest.mark.parametrize(
    "outline",
    [
        ((-5.0, 0.0), (20.0, 0.0), (20.0, 40.0)),
        ((0.0, 0.0), (WIDTH + 1.0, 0.0), (20.0, 40.0)),
        ((1.0, 300.0), (3.0, 300.0), (3.0, 303.0)),
    ],
)
def test_outlines_that_hold_no_chromosome(outline: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(EditRefused, match="expected an outline"):
        after((Add(Outline((outline,), "21")),))


def test_one_into_two_that_touch() -> None:
    (x, y), *_ = square(0, 0)
    halves = [
        ((x, y + 20.0 * i), (x + 20, y + 20.0 * i), (x + 20, y + 20.0 * i + 20), (x, y + 20.0 * i + 20))
        for i in (0, 1)
    ]
    reviewed = after((Split(0, (Outline((halves[0],), "21"), Outline((halves[1],), "22"))),))
    assert reviewed.object_ids == (*range(1, 46), 46, 47)
    assert [one.label for one in reviewed.spread.chromosomes[-2:]] == ["21", "22"]
    assert [one.touching for one in reviewed.spread.chromosomes[-2:]] == [(46,), (45,)]
    assert QualityFlag.TOUCHING_CHROMOSOMES in reviewed.spread.quality_flags


def test_parts_lie_inside() -> None:
    parts = (Outline((square(0, 0),), "1"), Outline((square(5, 3),), "2"))
    with pytest.raises(EditRefused, match="pixels of object 0 and got one with 0"):
        after((Split(0, parts),))


def test_parts_are_drawn_roughly_and_differ() -> None:
    (x, y), *_ = square(0, 0)
    upper = ((0.0, 0.0), (x + 30, 0.0), (x + 30, y + 20), (0.0, y + 20))
    lower = ((0.0, y + 20), (x + 30, y + 20), (x + 30, y + 60), (0.0, y + 60))
    reviewed = after((Split(0, (Outline((upper,), "21"), Outline((lower,), "22"))),))
    assert [one.box.width for one in reviewed.spread.chromosomes[-2:]] == pytest.approx([20, 20], abs=1)
    with pytest.raises(EditRefused, match="one twice"):
        after((Split(0, (Outline((upper,), "21"), Outline((upper,), "22"))),))


def test_objects_are_bounded_in_size_and_number() -> None:
    huge = ((0.0, 0.0), (1200.0, 0.0), (1200.0, 900.0), (0.0, 900.0))
    with pytest.raises(EditRefused, match="1200 × 900"):
        fold(MACHINE, (1360, 1024), events((Add(Outline((huge,), "1")),)))
    far = tuple(
        replace(one, mask=(square(60, 40),)) if one.index == 9 else one for one in MACHINE.chromosomes
    )
    with pytest.raises(EditRefused, match="at most 1048576 pixels"):
        fold(replace(MACHINE, chromosomes=far), (4096, 4096), events((Join((0, 9), "1"),)))
    many = tuple(replace(MACHINE.chromosomes[0], index=index) for index in range(256))
    with pytest.raises(EditRefused, match="at most 256 objects"):
        after((Add(Outline((square(7, 4),), "1")),), machine=replace(MACHINE, chromosomes=many))


def test_two_into_one() -> None:
    reviewed = after((Join((0, 1), "1"),))
    joined = reviewed.spread.chromosomes[-1]
    assert reviewed.spread.count == 45
    assert len(joined.mask) == 2
    assert joined.box.width == pytest.approx(60, abs=1)


def test_old_neighbours_keep_each_other_under_new_positions() -> None:
    near = [replace(one, touching={4: (5,), 5: (4,)}.get(one.index, ())) for one in MACHINE.chromosomes]
    reviewed = after((Delete(0),), machine=replace(MACHINE, chromosomes=tuple(near)))
    assert reviewed.spread.chromosomes[3].touching == (4,)
    assert (
        after((Delete(4),), machine=replace(MACHINE, chromosomes=tuple(near))).spread.chromosomes[4].touching
        == ()
    )


def test_approval_settles_everything() -> None:
    machine = spread_of(doubtful=frozenset({5, 9}))
    reviewed = after((Approve(),), machine=machine)
    assert reviewed.state is ReviewState.APPROVED
    assert reviewed.spread.iscn == "46,XX"
    assert reviewed.spread.quality_flags == ()


def test_approval_with_a_structural_change_states_no_string() -> None:
    reviewed = after((Approve(("t(9;22)(q34;q11.2)",)),))
    assert reviewed.spread.iscn is None
    assert "t(9;22)(q34;q11.2)" in str(reviewed.spread.iscn_withheld_reason)
    assert cell_of(1, reviewed).karyotyped


def test_an_edit_after_approval_opens_the_review_again() -> None:
    assert after((Approve(),), (Flip(1),)).state is ReviewState.IN_REVIEW
    assert after((Approve(),), (Flip(1),), (Undo(),)).state is ReviewState.APPROVED


def test_undo_takes_the_newest_set_back_and_then_the_one_before() -> None:
    sets = ((Reclassify(0, "21"),), (Delete(1),))
    assert after(*sets, (Undo(),)).spread == after(sets[0]).spread
    back = after(*sets, (Undo(),), (Undo(),))
    assert back.spread == MACHINE
    assert (back.state, back.revision) == (ReviewState.MACHINE, 4)


def test_numbers_are_never_given_twice() -> None:
    add = Add(Outline((square(7, 4),), "21"))
    assert after((add,), (Undo(),), (add,)).object_ids[-1] == 47


def test_new_objects_can_be_edited_later() -> None:
    add = Add(Outline((square(7, 4),), "21"))
    assert after((add,), (Reclassify(46, "22"),)).spread.chromosomes[-1].label == "22"


def test_a_machine_cell_outside_of_the_usual_counts_is_not_counted() -> None:
    few = replace(MACHINE, chromosomes=MACHINE.chromosomes[:40])
    assert "44 to 48" in str(cell_of(1, after(machine=few)).count_doubt)
    assert cell_of(1, after((Approve(),), machine=few)).counted


def test_doubts_about_the_field_keep_a_machine_cell_from_being_counted() -> None:
    crowded = replace(MACHINE, quality_flags=(QualityFlag.SEVERAL_REGIONS,))
    assert "more than one spread" in str(cell_of(1, after(machine=crowded)).count_doubt)
    assert cell_of(1, after((Approve(),), machine=crowded)).counted


def test_touches_are_counted_where_they_are_in_force() -> None:
    touches = touches_of(
        46, events((Reclassify(0, "21"), Flip(0), Flip(7)), (Delete(3),), (Undo(),), (Approve(),))
    )
    assert touches.edits == {"reclassify": 1, "flip": 2, "approve": 1}
    assert (touches.machine_objects, touches.untouched) == (46, 44)


def test_accuracy_in_the_field() -> None:
    found = field_accuracy(
        [touches_of(46, events((Flip(1), Approve()))), touches_of(46, events((Approve(),)))]
    )
    assert (found.spreads, found.touches, found.touches_per_spread) == (2, 1, 0.5)
    assert found.untouched_share == pytest.approx(91 / 92)
    assert field_accuracy([]).touches_per_spread is None
