"""Calls about cases and reviews as plain methods."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.client.connection import QUICK_S, ApplianceClient, call_errors
from appliance.pb import case_pb2, case_pb2_grpc, review_pb2, review_pb2_grpc


class CaseClient:
    """Cases of one daemon; every method raises CallError with the daemon's reason.

    Args:
        client: the connection.
    """

    def __init__(self, client: ApplianceClient) -> None:
        self._address = client.address
        self._cases = case_pb2_grpc.CaseServiceStub(client.channel)
        self._reviews = review_pb2_grpc.ReviewServiceStub(client.channel)

    def open(self, request: case_pb2.OpenCaseRequest) -> case_pb2.Case:
        """Begin a case."""
        with call_errors(self._address):
            return self._cases.OpenCase(request, timeout=QUICK_S).case

    def add(self, request: case_pb2.AddSpreadRequest, timeout_s: float) -> case_pb2.AddSpreadResponse:
        """Add an image, which is analysed, or a kept result."""
        with call_errors(self._address):
            return self._cases.AddSpread(request, timeout=timeout_s)

    def close(self, case_id: str) -> case_pb2.Case:
        """End a case."""
        with call_errors(self._address):
            request = case_pb2.CloseCaseRequest(case_id=case_id)
            return self._cases.CloseCase(request, timeout=QUICK_S).case

    def get(self, case_id: str) -> case_pb2.Case:
        """A case as it stands."""
        with call_errors(self._address):
            return self._cases.GetCase(case_pb2.GetCaseRequest(case_id=case_id), timeout=QUICK_S).case

    def all(self, only_open: bool = False) -> Iterator[case_pb2.CaseLine]:
        """All cases, newest first, fetched a page at a time."""
        token = ""
        while True:
            request = case_pb2.ListCasesRequest(page_token=token, only_open=only_open)
            with call_errors(self._address):
                page = self._cases.ListCases(request, timeout=QUICK_S)
            yield from page.cases
            token = page.next_page_token
            if not token:
                return

    def review(self, request: review_pb2.SubmitReviewRequest, timeout_s: float) -> review_pb2.Review:
        """Commit a set of edits."""
        with call_errors(self._address):
            return self._reviews.SubmitReview(request, timeout=timeout_s).review

    def reviewed(self, request: review_pb2.GetReviewRequest, timeout_s: float) -> review_pb2.Review:
        """A spread as it stands."""
        with call_errors(self._address):
            return self._reviews.GetReview(request, timeout=timeout_s).review

    def field_accuracy(self) -> review_pb2.GetFieldAccuracyResponse:
        """How often approved spreads had to be corrected."""
        with call_errors(self._address):
            return self._reviews.GetFieldAccuracy(review_pb2.GetFieldAccuracyRequest(), timeout=QUICK_S)
