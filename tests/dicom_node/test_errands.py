"""The errands turn by turn, with a clock that moves when told to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client import CallError
from appliance.clock import ManualClock, TimeOrderedIds
from appliance.dicom_node.analyst import Analyst
from appliance.dicom_node.errands import LONGEST_NAP_S, LateFilms, Reports
from appliance.dicom_node.retries import Retries, RetryPolicy
from appliance.dicom_node.spool import Kind, Spool, SpoolLimits
from appliance.errors import Unavailable
from appliance.pb import analysis_pb2, chest_xray_pb2

POLICY = RetryPolicy(first_s=2.0, longest_s=60.0, max_age_s=3600.0)


class Daemon:
    """Answers every film with a report, or with an error."""

    def __init__(self) -> None:
        self.error: CallError | None = None
        self.writes_reports = True
        self.films: list[bytes] = []

    def analyze_chest_film(
        self, request: chest_xray_pb2.AnalyzeChestXrayRequest, timeout_s: float
    ) -> chest_xray_pb2.AnalyzeChestXrayResponse:
        assert request.render.structured_report
        assert timeout_s > 0
        if self.error is not None:
            raise self.error
        self.films.append(request.encoded)
        report = b"report of " + request.encoded if self.writes_reports else b""
        renderings = analysis_pb2.Renderings(structured_report_dicom=report)
        return chest_xray_pb2.AnalyzeChestXrayResponse(result_id="0190", renderings=renderings)


class Shelf:
    """Takes reports, refuses some, or is away after so many."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.refused: set[bytes] = set()
        self.patience = 1_000_000

    def send(self, reports: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
        for name, data in reports:
            if self.patience == 0:
                raise Unavailable("no DICOM association")
            self.patience -= 1
            if data in self.refused:
                yield name, "answers 0xA700"
            else:
                self.taken.append(data)
                yield name, ""


class Desk:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.spool = Spool(folder, SpoolLimits(100, 1 << 20), TimeOrderedIds(self.clock))
        self.spool.open()
        self.daemon, self.shelf = Daemon(), Shelf()
        self.reports = Reports(self.spool, POLICY, self.clock, self.shelf)
        self.films = LateFilms(self.spool, POLICY, self.clock, Analyst(self.daemon), 60.0, self.reports)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def refusal(status: str) -> CallError:
    return CallError("no", status, "KIND")


def test_late_films_become_reports_and_reports_go_out(desk: Desk) -> None:
    for film in (b"a", b"b"):
        desk.spool.add_film(film)
    assert desk.films.turn() == LONGEST_NAP_S
    assert desk.spool.waiting(Kind.FILM) == []
    desk.reports.turn()
    assert desk.shelf.taken == [b"report of a", b"report of b"]
    assert desk.spool.size_bytes == 0


@pytest.mark.parametrize("status", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"])
def test_a_daemon_that_is_away_is_asked_again_after_growing_pauses(desk: Desk, status: str) -> None:
    desk.spool.add_film(b"a")
    desk.daemon.error = refusal(status)
    naps_s = []
    for _ in range(8):
        naps_s.append(desk.films.turn())
        desk.clock.advance(naps_s[-1])
    assert naps_s == [2, 4, 8, 16, 32, 60, 60, 60]
    desk.daemon.error = None
    desk.films.turn()
    assert desk.daemon.films == [b"a"]


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "INTERNAL"])
def test_a_late_film_that_is_refused_goes_with_an_error_in_the_log(
    desk: Desk, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk.spool.add_film(b"a")
    desk.daemon.error = refusal(status)
    desk.films.turn()
    assert desk.spool.waiting(Kind.FILM) == []
    assert "its sender was told success" in caplog.text


def test_an_answer_without_a_report_is_a_failure(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.spool.add_film(b"a")
    desk.daemon.writes_reports = False
    desk.films.turn()
    assert desk.spool.size_bytes == 0
    assert "wrote no report" in caplog.text


def test_one_report_that_is_refused_does_not_hold_up_the_others(desk: Desk) -> None:
    for report in (b"a", b"bad", b"c"):
        desk.spool.add_report(report)
    desk.shelf.refused = {b"bad"}
    assert desk.reports.turn() == 2
    assert desk.shelf.taken == [b"a", b"c"]
    desk.shelf.refused = set()
    desk.reports.turn()
    assert desk.shelf.taken == [b"a", b"c"], "its pause is not over"
    desk.clock.advance(2)
    desk.reports.turn()
    assert desk.shelf.taken == [b"a", b"c", b"bad"]


def test_an_association_that_breaks_leaves_the_rest_waiting(desk: Desk) -> None:
    for report in (b"a", b"b", b"c"):
        desk.spool.add_report(report)
    desk.shelf.patience = 1
    desk.reports.turn()
    assert desk.shelf.taken == [b"a"]
    assert len(desk.spool.waiting(Kind.REPORT)) == 2
    desk.shelf.patience = 9
    desk.clock.advance(2)
    desk.reports.turn()
    assert desk.shelf.taken == [b"a", b"b", b"c"]


def test_what_waits_for_too_long_is_given_up_loudly(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.spool.add_report(b"old")
    desk.clock.advance(POLICY.max_age_s + 1)
    desk.spool.add_report(b"new")
    desk.shelf.patience = 0
    desk.reports.turn()
    assert len(desk.spool.waiting(Kind.REPORT)) == 1
    assert "gave up" in caplog.text


def test_pauses_of_files_that_are_gone_are_forgotten() -> None:
    retries = Retries(POLICY)
    retries.failed("a", 0.0)
    assert retries.due(["a"], 1.0) == []
    assert retries.due([], 1.0) == []
    assert retries.due(["a"], 1.0) == ["a"]
    assert retries.next_in_s(1.0) == float("inf")
    assert RetryPolicy(2, 60, 1).pause_s(10_000) == 60
