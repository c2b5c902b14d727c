"""Whatever reviewers do, a folded spread is whole, and an undo takes back exactly one set of edits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.analysis import CHROMOSOME_LABELS
from appliance.cases.contradictions import check_set
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
    Undo,
)
from appliance.cases.fold import Reviewed, cell_of, fold
from appliance.cases.records import Standing, decode_event, decode_standing, encode_event, encode_standing
from appliance.cases.tally import touches_of
from appliance.errors import EditRefused
from tests.cases.cells import HEIGHT, WIDTH, spread_of, square

EXPERT = Reviewer(ReviewerRole.EXPERT, "r-1")
MACHINE = spread_of()
NUMBERS = st.integers(0, 49)
LABELS = st.sampled_from(CHROMOSOME_LABELS)
EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.builds(Reclassify, NUMBERS, LABELS),
    st.builds(Rotate, NUMBERS, st.floats(1.0, 180.0)),
    st.builds(Flip, NUMBERS),
    st.builds(Delete, NUMBERS),
    st.builds(Join, st.lists(NUMBERS, min_size=2, max_size=3, unique=True).map(tuple), LABELS),
    st.builds(
        Add, st.builds(lambda column, label: Outline((square(column, 4),), label), st.integers(6, 8), LABELS)
    ),
)
SETS = st.lists(
    st.one_of(st.lists(EDITS, min_size=1, max_size=3).map(tuple), st.just((Undo(),)), st.just((Approve(),))),
    max_size=6,
)


def fold_all(events: list[ReviewEvent]) -> Reviewed:
    return fold(MACHINE, (WIDTH, HEIGHT), events)


def accepted(sets: list[tuple[Edit, ...]]) -> list[ReviewEvent]:
    """The events of those sets that a desk would take, one after the other."""
    events: list[ReviewEvent] = []
    for edits in sets:
        event = ReviewEvent(len(events) + 1, 0, EXPERT, edits)
        try:
            check_set(edits, EXPERT, fold_all(events).object_ids, 9)
            fold_all([*events, event])
        except EditRefused:
            continue
        events.append(event)
    return events


@settings(max_examples=60, deadline=None)
@given(SETS)
def test_a_folded_spread_is_whole(sets: list[tuple[Edit, ...]]) -> None:
    events = accepted(sets)
    reviewed = fold_all(events)
    spread = reviewed.spread
    assert [one.index for one in spread.chromosomes] == list(range(spread.count))
    assert len(set(reviewed.object_ids)) == len(reviewed.object_ids) == spread.count
    assert sorted(index for _, members in spread.pairs for index in members) == list(range(spread.count))
    assert (spread.iscn is None) != (spread.iscn_withheld_reason is None)
    for one in spread.chromosomes:
        assert -90.0 < one.angle_degrees <= 90.0
        assert all(one.index in spread.chromosomes[other].touching for other in one.touching)
    standing = Standing(cell_of(3, reviewed), touches_of(MACHINE.count, events))
    assert decode_standing(encode_standing(standing)) == standing
    assert [decode_event(encode_event(event)) for event in events] == events


@settings(max_examples=30, deadline=None)
@given(SETS, st.lists(EDITS, min_size=1, max_size=3).map(tuple))
def test_an_undo_takes_back_exactly_one_set(sets: list[tuple[Edit, ...]], last: tuple[Edit, ...]) -> None:
    before = accepted(sets)
    events = accepted([*sets, last])
    if len(events) == len(before):
        return
    undone = fold_all([*events, ReviewEvent(len(events) + 1, 0, EXPERT, (Undo(),))])
    there = fold_all(before)
    assert (undone.spread, undone.object_ids, undone.state) == (there.spread, there.object_ids, there.state)
