"""CaseService and ReviewService over the wire, with the pipeline over answers from the truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest

from appliance.imaging import encode_png
from appliance.pb import analysis_pb2, case_pb2, review_pb2
from appliance.pb.case_pb2 import AddSpreadRequest, GetCaseRequest, ListCasesRequest, OpenCaseRequest
from appliance.pb.case_pb2_grpc import CaseServiceStub
from appliance.pb.chest_xray_pb2 import AnalyzeChestXrayRequest
from appliance.pb.karyotype_pb2 import AnalyzeMetaphaseRequest
from appliance.pb.review_pb2_grpc import ReviewServiceStub
from tests.rpc.conftest import Wire, connect
from tests.simulators.appliance import Bench, demo_truth, film_png, spread_png

WAIT_S = 30.0
EXPERT = review_pb2.Reviewer(role=review_pb2.REVIEWER_ROLE_EXPERT, reviewer_id="r-1")
BOTH = analysis_pb2.RenderOptions(overlay=True, karyogram=True)


class Desk:
    """Stubs of both services over one server."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.cases = CaseServiceStub(wire.channel)
        self.reviews = ReviewServiceStub(wire.channel)

    def open(self, reference: str = "box 7") -> str:
        request = OpenCaseRequest(reference=reference)
        return self.cases.OpenCase(request, timeout=WAIT_S).case.line.case_id

    def add(self, case_id: str, **fields: object) -> case_pb2.AddSpreadResponse:
        request = AddSpreadRequest(case_id=case_id, **(fields or {"encoded": spread_png()}))  # type: ignore[arg-type]
        return self.cases.AddSpread(request, timeout=WAIT_S)

    def get(self, case_id: str) -> case_pb2.Case:
        return self.cases.GetCase(GetCaseRequest(case_id=case_id), timeout=WAIT_S).case

    def review(
        self, case_id: str, revision: int, *edits: review_pb2.Edit, **fields: object
    ) -> review_pb2.Review:
        request = review_pb2.SubmitReviewRequest(
            case_id=case_id,
            spread_number=1,
            expected_revision=revision,
            edits=edits,
            **({"reviewer": EXPERT} | fields),  # type: ignore[arg-type]
        )
        return self.reviews.SubmitReview(request, timeout=WAIT_S).review


def serving(folder: Path) -> Iterator[Desk]:
    with Bench(folder) as bench:
        wire = connect(bench, bench.serve())
        yield Desk(wire)
        wire.channel.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    yield from serving(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, str]]:
    """A desk with a case of one spread that no test changes."""
    for desk in serving(tmp_path_factory.mktemp("shared")):
        case_id = desk.open()
        desk.add(case_id)
        yield desk, case_id


def refusal(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    assert isinstance(error.value, grpc.Call)
    return error.value.code(), dict(error.value.trailing_metadata() or ())["appliance-error"]


def flip(number: int) -> review_pb2.Edit:
    return review_pb2.Edit(flip=review_pb2.Flip(object_id=number))


def drawn(vertices: int) -> review_pb2.Edit:
    outline = analysis_pb2.Polygon(points=[analysis_pb2.Point(x=9, y=9)] * vertices)
    return review_pb2.Edit(add=review_pb2.Add(object=review_pb2.DrawnObject(outline=[outline], label="1")))


def approve() -> review_pb2.Edit:
    return review_pb2.Edit(approve=review_pb2.Approve())


def test_a_case_from_open_to_close(desk: Desk) -> None:
    case_id = desk.open()
    added = desk.add(case_id, encoded=spread_png(), request_id="cell 1", render=BOTH)
    assert added.spread.number == 1
    assert added.result.spread.count == 46
    assert added.renderings.karyogram_png.startswith(b"\x89PNG")
    assert added.summary.counted.cells == 1
    case = desk.get(case_id)
    assert case.notice
    assert case.line.reference == "box 7"
    assert [(one.request_id, one.iscn, one.state) for one in case.spreads] == [
        ("cell 1", "46,XY", case_pb2.REVIEW_STATE_MACHINE)
    ]
    assert case.summary.needs[0].words == "19 more cells counted (1 of 20)"
    closed = desk.cases.CloseCase(case_pb2.CloseCaseRequest(case_id=case_id), timeout=WAIT_S).case
    assert closed.line.HasField("closed")
    with pytest.raises(grpc.RpcError) as error:
        desk.add(case_id)
    assert refusal(error) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


def test_a_kept_result_is_linked(desk: Desk) -> None:
    analysed = desk.wire.karyotype.AnalyzeMetaphase(
        AnalyzeMetaphaseRequest(encoded=spread_png()), timeout=WAIT_S
    )
    case_id = desk.open()
    added = desk.add(case_id, result_id=analysed.result_id)
    assert added.spread.result_id == analysed.result_id
    assert added.result.spread == analysed.spread


def test_the_same_pixels_in_another_file_are_the_same_cell(desk: Desk) -> None:
    case_id = desk.open()
    desk.add(case_id)
    _, bmp = cv2.imencode(".bmp", demo_truth().grey)
    results = desk.wire.bench.store.status().results
    with pytest.raises(grpc.RpcError) as error:
        desk.add(case_id, encoded=bmp.tobytes())
    assert refusal(error) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert desk.wire.bench.store.status().results == results  # the result went with its place in the case


def test_a_picture_that_is_no_spread_changes_nothing(desk: Desk) -> None:
    case_id = desk.open()
    blank = encode_png(np.full((200, 200), 240, np.uint8))
    with pytest.raises(grpc.RpcError) as error:
        desk.add(case_id, encoded=blank)
    assert refusal(error) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUITABLE_IMAGE")
    assert not desk.get(case_id).spreads


def test_a_film_is_no_cell(desk: Desk) -> None:
    film = desk.wire.chest_xray.AnalyzeChestXray(AnalyzeChestXrayRequest(encoded=film_png()), timeout=WAIT_S)
    with pytest.raises(grpc.RpcError) as error:
        desk.add(desk.open(), result_id=film.result_id)
    assert refusal(error)[1] == "UNSUITABLE_IMAGE"


def test_cases_are_listed_a_page_at_a_time(desk: Desk) -> None:
    ids = [desk.open(f"box {number}") for number in range(5)]
    seen, token = [], ""
    while True:
        page = desk.cases.ListCases(ListCasesRequest(page_size=2, page_token=token), timeout=WAIT_S)
        seen += [line.case_id for line in page.cases]
        token = page.next_page_token
        if not token:
            break
    assert seen == ids[::-1]


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (OpenCaseRequest(reference="x" * 129), "INVALID_INPUT"),
        (OpenCaseRequest(reference="two\nlines"), "INVALID_INPUT"),
        (OpenCaseRequest(exclude_share=0.9), "INVALID_INPUT"),
        (OpenCaseRequest(exclude_share=float("nan")), "INVALID_INPUT"),
        (OpenCaseRequest(kind=7), "INVALID_INPUT"),  # type: ignore[arg-type]
    ],
)
def test_cases_that_cannot_be_opened(shared: tuple[Desk, str], request_: OpenCaseRequest, kind: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        shared[0].cases.OpenCase(request_, timeout=WAIT_S)
    assert refusal(error) == (grpc.StatusCode.INVALID_ARGUMENT, kind)


def test_neither_a_result_nor_an_image(desk: Desk) -> None:
    with pytest.raises(grpc.RpcError) as error:
        desk.add(desk.open(), request_id="nothing")
    assert refusal(error)[1] == "EMPTY_INPUT"


def test_a_review_from_edits_to_approval_and_back(desk: Desk) -> None:
    case_id = desk.open()
    desk.add(case_id)
    edited = desk.review(case_id, 0, flip(3), encoded=spread_png(), render=BOTH)
    assert (edited.revision, edited.state) == (1, case_pb2.REVIEW_STATE_IN_REVIEW)
    approved = desk.review(case_id, 1, approve())
    assert approved.state == case_pb2.REVIEW_STATE_APPROVED
    case = desk.get(case_id)
    assert (case.summary.state, case.line.approved) == (case_pb2.REVIEW_STATE_APPROVED, 1)
    found = desk.reviews.GetFieldAccuracy(review_pb2.GetFieldAccuracyRequest(), timeout=WAIT_S)
    assert (found.spreads, found.touches_per_spread, found.untouched) == (1, 1.0, 45)
    back = desk.review(case_id, 2, review_pb2.Edit(undo=review_pb2.Undo()))
    assert back.state == case_pb2.REVIEW_STATE_IN_REVIEW
    assert [event.in_force for event in back.events] == [True, False, False]
    assert back.events[0].edits[0].flip.object_id == 3


def test_the_reviewed_karyogram_is_drawn_anew(desk: Desk) -> None:
    case_id = desk.open()
    before = desk.add(case_id, encoded=spread_png(), render=BOTH).renderings.karyogram_png
    after = desk.review(case_id, 0, flip(3), encoded=spread_png(), render=BOTH).renderings.karyogram_png
    first, second = (
        cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE) for png in (before, after)
    )
    assert first is not None
    assert second is not None
    assert first.shape == second.shape
    assert 0 < np.count_nonzero(first != second) < 0.05 * first.size
    again = desk.reviews.GetReview(
        review_pb2.GetReviewRequest(case_id=case_id, spread_number=1, encoded=spread_png(), render=BOTH),
        timeout=WAIT_S,
    )
    assert again.review.renderings.karyogram_png == after


@pytest.mark.parametrize(
    ("edits", "fields", "kind"),
    [
        ([flip(3), flip(3)], {}, "EDIT_REFUSED"),
        ([flip(3), flip(99)], {}, "EDIT_REFUSED"),
        ([], {}, "EDIT_REFUSED"),
        ([review_pb2.Edit()], {}, "EDIT_REFUSED"),
        ([flip(3)], {"reviewer": review_pb2.Reviewer(reviewer_id="r-1")}, "EDIT_REFUSED"),
        ([review_pb2.Edit(add=review_pb2.Add())], {}, "EDIT_REFUSED"),
        ([drawn(vertices=20_001)], {}, "EDIT_REFUSED"),
        (
            [approve()],
            {"reviewer": review_pb2.Reviewer(role=review_pb2.REVIEWER_ROLE_TECHNOLOGIST, reviewer_id="t")},
            "NOT_ALLOWED",
        ),
        ([review_pb2.Edit(undo=review_pb2.Undo())], {}, "WRONG_STATE"),
        ([flip(3)], {"expected_revision": 1}, "CONFLICT"),
        ([flip(3)], {"spread_number": 2}, "NOT_FOUND"),
        ([flip(3)], {"render": BOTH}, "EMPTY_INPUT"),
        ([flip(3)], {"render": BOTH, "encoded": b"nonsense"}, "UNSUPPORTED_FORMAT"),
        ([flip(3)], {"render": BOTH, "encoded": encode_png(demo_truth().grey[:-1])}, "WRONG_IMAGE"),
    ],
)
def test_a_set_that_is_refused_changes_nothing(
    shared: tuple[Desk, str], edits: list[review_pb2.Edit], fields: dict[str, object], kind: str
) -> None:
    desk, case_id = shared
    before = desk.get(case_id)
    request = {"case_id": case_id, "spread_number": 1, "reviewer": EXPERT, "edits": edits} | fields
    with pytest.raises(grpc.RpcError) as error:
        desk.reviews.SubmitReview(review_pb2.SubmitReviewRequest(**request), timeout=WAIT_S)  # type: ignore[arg-type]
    assert refusal(error)[1] == kind
    assert desk.get(case_id) == before
