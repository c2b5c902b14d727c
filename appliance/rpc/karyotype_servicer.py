"""KaryotypeService: metaphase image in, karyotype out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc

from appliance.analysis import Analysis, StageEvent
from appliance.pb import karyotype_pb2, karyotype_pb2_grpc
from appliance.rpc.edge import Edge
from appliance.rpc.progress import as_they_end
from appliance.rpc.reading import read_analysis, read_priority
from appliance.rpc.writing import write_event, write_metaphase
from appliance.service import Analyzer


class KaryotypeServicer(karyotype_pb2_grpc.KaryotypeServiceServicer):
    """Hands metaphase images to the analyzer."""

    def __init__(self, edge: Edge, analyzer: Analyzer) -> None:
        self._edge = edge
        self._analyzer = analyzer

    def AnalyzeMetaphase(
        self, request: karyotype_pb2.AnalyzeMetaphaseRequest, context: grpc.ServicerContext
    ) -> karyotype_pb2.AnalyzeMetaphaseResponse:
        """One image, one answer."""
        with self._edge.call(context, read_priority(request)) as call:
            return write_metaphase(self._analyzer.analyze_metaphase(read_analysis(request), call))

    def AnalyzeMetaphaseStream(
        self, request: karyotype_pb2.AnalyzeMetaphaseStreamRequest, context: grpc.ServicerContext
    ) -> Iterator[karyotype_pb2.AnalyzeMetaphaseStreamResponse]:
        """One image, a message as each stage ends, at last the answer."""
        with self._edge.call(context, read_priority(request.analysis)) as call:
            wanted = read_analysis(request.analysis)

            def work(tell: Callable[[StageEvent], None]) -> Analysis:
                return self._analyzer.analyze_metaphase(wanted, call, tell)

            for event in as_they_end(work):
                if isinstance(event, Analysis):
                    yield karyotype_pb2.AnalyzeMetaphaseStreamResponse(result=write_metaphase(event))
                else:
                    yield karyotype_pb2.AnalyzeMetaphaseStreamResponse(stage_finished=write_event(event))
