"""ReviewService: the experts' corrections."""

from __future__ import annotations

import grpc

from appliance.cases import CaseDesk
from appliance.inference import Priority
from appliance.pb import review_pb2, review_pb2_grpc
from appliance.rpc.case_reading import read_edits, read_picture, read_reviewer
from appliance.rpc.case_writing import write_field_accuracy, write_review
from appliance.rpc.edge import Edge


class ReviewServicer(review_pb2_grpc.ReviewServiceServicer):
    """Hands reviews to the desk; a person waits for each."""

    def __init__(self, edge: Edge, desk: CaseDesk) -> None:
        self._edge = edge
        self._desk = desk

    def SubmitReview(
        self, request: review_pb2.SubmitReviewRequest, context: grpc.ServicerContext
    ) -> review_pb2.SubmitReviewResponse:
        """A set of edits."""
        with self._edge.call(context, Priority.INTERACTIVE) as call:
            view = self._desk.review(
                request.case_id,
                request.spread_number,
                request.expected_revision,
                read_reviewer(request.reviewer),
                read_edits(request.edits),
                read_picture(request),
                call,
            )
            return review_pb2.SubmitReviewResponse(review=write_review(view))

    def GetReview(
        self, request: review_pb2.GetReviewRequest, context: grpc.ServicerContext
    ) -> review_pb2.GetReviewResponse:
        """A spread as it stands."""
        with self._edge.call(context, Priority.INTERACTIVE) as call:
            view = self._desk.reviewed(request.case_id, request.spread_number, read_picture(request), call)
            return review_pb2.GetReviewResponse(review=write_review(view))

    def GetFieldAccuracy(
        self, request: review_pb2.GetFieldAccuracyRequest, context: grpc.ServicerContext
    ) -> review_pb2.GetFieldAccuracyResponse:
        """How often approved spreads had to be corrected."""
        with self._edge.call(context):
            return write_field_accuracy(self._desk.field_accuracy())
