"""The desk over a real ledger: what is kept beside the events is what they fold to, whoever sends them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.cases.cell import ReviewState
from appliance.cases.edits import (
    Add,
    Approve,
    Delete,
    Edit,
    Flip,
    Outline,
    Reclassify,
    Reviewer,
    ReviewerRole,
    Undo,
)
from appliance.cases.fold import cell_of
from appliance.cases.notation import CaseKind
from appliance.cases.tally import touches_of
from appliance.clock import Deadline
from appliance.errors import Conflict, EditRefused, InvalidInput, StorageUnavailable, WrongImage
from appliance.imaging.page import PageFormat
from appliance.inference import Priority, RequestContext
from appliance.service import AnalysisRequest
from tests.simulators.appliance import Bench, spread_png

EXPERT = Reviewer(ReviewerRole.EXPERT, "r-1")
SETS: tuple[tuple[Edit, ...], ...] = (
    (Flip(3), Delete(5)),
    (Add(Outline((((2.0, 2.0), (22.0, 2.0), (22.0, 42.0), (2.0, 42.0)),), "21")),),
    (Reclassify(46, "22"),),
    (Undo(),),
    (Approve(),),
    (Undo(),),
)


def patient() -> RequestContext:
    return RequestContext(Deadline.never(), threading.Event(), Priority.ROUTINE)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("desk")) as bench:
        yield bench


@pytest.fixture
def case_id(bench: Bench) -> Iterator[str]:
    """A case with one spread."""
    case_id = bench.cases.open("box 7", CaseKind.CONSTITUTIONAL).case.case_id
    bench.cases.add_image(case_id, AnalysisRequest(spread_png()), patient())
    yield case_id
    bench.cases.close(case_id)


def test_what_is_kept_beside_the_events_is_what_they_fold_to(bench: Bench, case_id: str) -> None:
    for revision, edits in enumerate(SETS):
        view = bench.cases.review(case_id, 1, revision, EXPERT, edits, None, patient())
        (spread,) = bench.cases.get(case_id).spreads
        assert spread.revision == revision + 1 == view.reviewed.revision
        assert spread.standing.cell == cell_of(1, view.reviewed)
        assert spread.standing.touches == touches_of(46, view.events)
        assert bench.cases.reviewed(case_id, 1, None, patient()).reviewed == view.reviewed
    assert view.reviewed.state is ReviewState.IN_REVIEW


def test_of_many_who_review_at_once_one_is_heard(bench: Bench, case_id: str) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def review(number: int) -> None:
        barrier.wait()
        try:
            bench.cases.review(case_id, 1, 0, EXPERT, (Flip(number),), None, patient())
        except Conflict:
            outcomes.append("conflict")
        else:
            outcomes.append("heard")

    threads = [threading.Thread(target=review, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict", "conflict", "conflict", "heard"]
    assert len(bench.cases.reviewed(case_id, 1, None, patient()).events) == 1


def test_an_edit_that_cannot_be_done_is_refused_before_anything_is_kept(bench: Bench, case_id: str) -> None:
    outside = Add(Outline((((-9.0, 0.0), (5.0, 0.0), (5.0, 9.0)),), "21"))
    with pytest.raises(EditRefused, match="inside of the image"):
        bench.cases.review(case_id, 1, 0, EXPERT, (Flip(1), outside), None, patient())
    assert bench.cases.reviewed(case_id, 1, None, patient()).events == ()


def test_a_full_disk_keeps_the_spread_as_it_was(
    bench: Bench, case_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_what: str) -> None:
        raise StorageUnavailable("the disk or the database is full")

    file = bench.ledger.spread(case_id, 1)
    with monkeypatch.context() as patch:
        patch.setattr(bench.ledger, "append", lambda *_words: full("store"))
        with pytest.raises(StorageUnavailable):
            bench.cases.review(case_id, 1, 0, EXPERT, (Flip(1),), None, patient())
    assert bench.ledger.spread(case_id, 1) == file


def test_karyograms_say_who_stands_behind_them(bench: Bench, case_id: str) -> None:
    picture = AnalysisRequest(spread_png(), karyogram_formats=(PageFormat.SVG,))
    machine = bench.cases.reviewed(case_id, 1, picture, patient()).renderings["karyogram.svg"].decode()
    assert "nobody reviewed it, revision 0" in machine
    approved = bench.cases.review(case_id, 1, 0, EXPERT, (Approve(),), picture, patient())
    assert "approved by an expert, revision 1" in approved.renderings["karyogram.svg"].decode()


def test_a_result_of_old_cannot_be_drawn_anew(bench: Bench) -> None:
    analysis = bench.analyzer.analyze_metaphase(AnalysisRequest(spread_png()), patient())
    old = replace(analysis, result_id="old", image_sha256="")
    bench.store.commit(old)
    case_id = bench.cases.open("", CaseKind.CONSTITUTIONAL).case.case_id
    bench.cases.add_result(case_id, "old")
    with pytest.raises(WrongImage, match="no digest"):
        bench.cases.reviewed(case_id, 1, AnalysisRequest(spread_png(), overlay=True), patient())
    bench.cases.close(case_id)


@pytest.mark.parametrize("share", [0.0, 0.6, float("inf")])
def test_shares_that_cannot_be_excluded(bench: Bench, share: float) -> None:
    with pytest.raises(InvalidInput, match="share"):
        bench.cases.open("", CaseKind.CONSTITUTIONAL, share)
