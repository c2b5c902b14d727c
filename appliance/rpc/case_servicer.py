"""CaseService: many spreads as one case."""

from __future__ import annotations

import grpc

from appliance.cases import CaseDesk
from appliance.pb import case_pb2, case_pb2_grpc
from appliance.results import PageMark
from appliance.rpc.case_reading import read_added_image, read_kind
from appliance.rpc.case_writing import write_added, write_case, write_line
from appliance.rpc.edge import Edge
from appliance.rpc.reading import read_page_size, read_page_token, read_priority, write_page_token


class CaseServicer(case_pb2_grpc.CaseServiceServicer):
    """Hands requests about cases to the desk."""

    def __init__(self, edge: Edge, desk: CaseDesk) -> None:
        self._edge = edge
        self._desk = desk

    def OpenCase(
        self, request: case_pb2.OpenCaseRequest, context: grpc.ServicerContext
    ) -> case_pb2.OpenCaseResponse:
        """A new case."""
        with self._edge.call(context):
            share = request.exclude_share if request.HasField("exclude_share") else None
            view = self._desk.open(request.reference, read_kind(request.kind), share)
            return case_pb2.OpenCaseResponse(case=write_case(view))

    def AddSpread(
        self, request: case_pb2.AddSpreadRequest, context: grpc.ServicerContext
    ) -> case_pb2.AddSpreadResponse:
        """A kept result, or an image that is analysed first."""
        with self._edge.call(context, read_priority(request)) as call:
            if request.WhichOneof("spread") == "result_id":
                return write_added(self._desk.add_result(request.case_id, request.result_id))
            return write_added(self._desk.add_image(request.case_id, read_added_image(request), call))

    def CloseCase(
        self, request: case_pb2.CloseCaseRequest, context: grpc.ServicerContext
    ) -> case_pb2.CloseCaseResponse:
        """The end of a case."""
        with self._edge.call(context):
            return case_pb2.CloseCaseResponse(case=write_case(self._desk.close(request.case_id)))

    def GetCase(
        self, request: case_pb2.GetCaseRequest, context: grpc.ServicerContext
    ) -> case_pb2.GetCaseResponse:
        """A case with its spreads."""
        with self._edge.call(context):
            return case_pb2.GetCaseResponse(case=write_case(self._desk.get(request.case_id)))

    def ListCases(
        self, request: case_pb2.ListCasesRequest, context: grpc.ServicerContext
    ) -> case_pb2.ListCasesResponse:
        """A page of cases, newest first."""
        with self._edge.call(context):
            size = read_page_size(request.page_size)
            found = self._desk.page(size + 1, read_page_token(request.page_token), request.only_open)
            token = ""
            if len(found) > size:
                token = write_page_token(PageMark(found[size - 1].opened_ms, found[size - 1].case_id))
            return case_pb2.ListCasesResponse(
                cases=[write_line(case) for case in found[:size]], next_page_token=token
            )
