from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.analysis import Analysis
from appliance.cases import CaseKind, CaseLedger, CaseLimits
from appliance.cases.edits import Flip, Reviewer, ReviewerRole, ReviewEvent
from appliance.cases.fold import cell_of, fold
from appliance.cases.records import CaseRecord, Standing
from appliance.cases.tally import touches_of
from appliance.clock import ManualClock
from appliance.errors import AlreadyExists, Conflict, LimitExceeded, NotFound, WrongState
from appliance.results import PageMark, ResultStore, Retention
from appliance.results.codec import encode
from tests.cases.cells import HEIGHT, WIDTH, spread_of
from tests.simulators.analyses import DAY_MS, metaphase_analysis

LIMITS = CaseLimits(
    max_open=3, max_spreads=3, max_revisions=2, max_edits=9, max_bytes=1 << 20, max_age_ms=30 * DAY_MS
)
TECHNOLOGIST = Reviewer(ReviewerRole.TECHNOLOGIST, "r-2")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[ResultStore]:
    store = ResultStore(tmp_path / "results.db", clock, Retention(DAY_MS, 1 << 20, 1 << 20))
    yield store
    store.close()


@pytest.fixture
def ledger(store: ResultStore, clock: ManualClock) -> CaseLedger:
    return CaseLedger(store, clock, LIMITS)


def case(clock: ManualClock, case_id: str = "a") -> CaseRecord:
    return CaseRecord(case_id, "slide box 7", CaseKind.NEOPLASTIC, 0.1, clock.now_ms(), clock.now_ms())


def analysis(clock: ManualClock, digest: str = "") -> Analysis:
    return replace(
        metaphase_analysis(clock),
        spread=spread_of(),
        image_width=WIDTH,
        image_height=HEIGHT,
        image_sha256=digest,
        renderings={},
    )


def standing(*events: ReviewEvent) -> Standing:
    return Standing(cell_of(0, fold(spread_of(), (WIDTH, HEIGHT), events)), touches_of(46, events))


def event(revision: int) -> ReviewEvent:
    return ReviewEvent(revision, 1_700_000_000_000 + revision, TECHNOLOGIST, (Flip(3),))


def test_a_case_comes_back_with_its_spreads(ledger: CaseLedger, clock: ManualClock) -> None:
    ledger.open(case(clock))
    first, second = analysis(clock, "d1"), analysis(clock, "d2")
    for one in (first, second):
        clock.advance(1.0)
        ledger.add("a", one, standing())
    record, spreads = ledger.get("a")
    assert record == replace(case(clock), opened_ms=record.opened_ms, changed_ms=clock.now_ms(), spreads=2)
    assert [(one.number, one.result_id) for one in spreads] == [(1, first.result_id), (2, second.result_id)]
    assert [one.standing.cell.number for one in spreads] == [1, 2]
    assert ledger.spread("a", 2).analysis == second


def test_a_case_is_whole_after_its_results_went(
    ledger: CaseLedger, store: ResultStore, clock: ManualClock
) -> None:
    one = analysis(clock)
    store.commit(one)
    ledger.open(case(clock))
    ledger.add("a", one, standing())
    clock.advance(2 * 86_400)
    assert store.prune() == 1
    assert ledger.spread("a", 1).analysis == one


def test_a_case_outlives_the_process(tmp_path: Path, clock: ManualClock) -> None:
    retention = Retention(DAY_MS, 1 << 20, 1 << 20)
    first = ResultStore(tmp_path / "again.db", clock, retention)
    ledger = CaseLedger(first, clock, LIMITS)
    ledger.open(case(clock))
    ledger.add("a", analysis(clock), standing())
    ledger.append("a", 1, event(1), standing(event(1)))
    first.close()
    second = ResultStore(tmp_path / "again.db", clock, retention)
    file = CaseLedger(second, clock, LIMITS).spread("a", 1)
    second.close()
    assert file.events == (event(1),)


@pytest.mark.parametrize("digest", ["same", ""])
def test_a_cell_is_never_counted_twice(ledger: CaseLedger, clock: ManualClock, digest: str) -> None:
    ledger.open(case(clock))
    one = analysis(clock, digest)
    ledger.add("a", one, standing())
    again = replace(one, result_id="another") if digest else one
    with pytest.raises(AlreadyExists, match="its spread 1 again"):
        ledger.add("a", again, standing())


def test_results_of_old_without_a_digest_are_not_all_alike(ledger: CaseLedger, clock: ManualClock) -> None:
    ledger.open(case(clock))
    ledger.add("a", analysis(clock), standing())
    assert ledger.add("a", analysis(clock), standing()).number == 2


def test_a_full_case(ledger: CaseLedger, clock: ManualClock) -> None:
    ledger.open(case(clock))
    for _ in range(LIMITS.max_spreads):
        ledger.add("a", analysis(clock), standing())
    with pytest.raises(LimitExceeded, match="fewer than 3 spreads"):
        ledger.add("a", analysis(clock), standing())
    with pytest.raises(LimitExceeded, match="fewer than 3 spreads"):
        ledger.check_open("a")


def test_open_cases_are_few(ledger: CaseLedger, clock: ManualClock) -> None:
    for case_id in "abc":
        ledger.open(case(clock, case_id))
    with pytest.raises(LimitExceeded, match="close some"):
        ledger.open(case(clock, "d"))
    ledger.close("b")
    ledger.open(case(clock, "d"))


def test_a_closed_case_takes_nothing(ledger: CaseLedger, clock: ManualClock) -> None:
    ledger.open(case(clock))
    ledger.add("a", analysis(clock), standing())
    ledger.close("a")
    for attempt in (
        lambda: ledger.add("a", analysis(clock), standing()),
        lambda: ledger.append("a", 1, event(1), standing(event(1))),
        lambda: ledger.close("a"),
    ):
        with pytest.raises(WrongState, match="closed"):
            attempt()
    assert ledger.get("a")[0].closed_ms == clock.now_ms()


def test_what_is_not_there(ledger: CaseLedger, clock: ManualClock) -> None:
    ledger.open(case(clock))
    for attempt in (
        lambda: ledger.get("b"),
        lambda: ledger.close("b"),
        lambda: ledger.check_open("b"),
        lambda: ledger.spread("a", 1),
        lambda: ledger.add("b", analysis(clock), standing()),
    ):
        with pytest.raises(NotFound):
            attempt()


def test_of_two_reviews_of_one_revision_the_second_is_refused(ledger: CaseLedger, clock: ManualClock) -> None:
    ledger.open(case(clock))
    ledger.add("a", analysis(clock), standing())
    ledger.append("a", 1, event(1), standing(event(1)))
    with pytest.raises(Conflict, match="expected revision 0 to be the newest"):
        ledger.append("a", 1, replace(event(1), edits=(Flip(4),)), standing(event(1)))
    assert ledger.spread("a", 1).events == (event(1),)
    assert ledger.get("a")[1][0].revision == 1


def test_sets_of_edits_are_bounded(ledger: CaseLedger, clock: ManualClock) -> None:
    ledger.open(case(clock))
    ledger.add("a", analysis(clock), standing())
    for revision in (1, 2):
        ledger.append("a", 1, event(revision), standing(event(revision)))
    with pytest.raises(LimitExceeded, match="at most 2 sets"):
        ledger.append("a", 1, event(3), standing(event(3)))


def test_the_oldest_closed_case_makes_room_and_an_open_one_never(
    store: ResultStore, clock: ManualClock
) -> None:
    size = len(encode(analysis(clock)))
    small = CaseLedger(store, clock, replace(LIMITS, max_bytes=3 * size))
    for case_id in "ab":
        clock.advance(1.0)
        small.open(case(clock, case_id))
        small.add(case_id, analysis(clock), standing())
        small.close(case_id)
    small.open(case(clock, "c"))
    small.add("c", analysis(clock), standing())
    small.add("c", analysis(clock), standing())
    assert [one.case_id for one in small.page(9)] == ["c"]
    with pytest.raises(LimitExceeded, match="close some"):
        small.add("c", analysis(clock), standing())
    assert small.get("c")[0].spreads == 2


def test_old_cases_go_whole(ledger: CaseLedger, store: ResultStore, clock: ManualClock) -> None:
    ledger.open(case(clock, "a"))
    ledger.add("a", analysis(clock), standing())
    ledger.append("a", 1, event(1), standing(event(1)))
    clock.advance(31 * 86_400)
    ledger.open(case(clock, "b"))
    assert ledger.prune() == 1
    assert [one.case_id for one in ledger.page(9)] == ["b"]
    with store.transaction("look") as db:
        assert db.execute("SELECT count(*) FROM case_spreads").fetchone()[0] == 0
        assert db.execute("SELECT count(*) FROM review_events").fetchone()[0] == 0


def test_pages(ledger: CaseLedger, clock: ManualClock) -> None:
    for case_id in "abc":
        clock.advance(1.0)
        ledger.open(case(clock, case_id))
    ledger.close("b")
    first = ledger.page(2)
    assert [one.case_id for one in first] == ["c", "b"]
    rest = ledger.page(2, PageMark(first[-1].opened_ms, first[-1].case_id))
    assert [one.case_id for one in rest] == ["a"]
    assert [one.case_id for one in ledger.page(9, only_open=True)] == ["c", "a"]
