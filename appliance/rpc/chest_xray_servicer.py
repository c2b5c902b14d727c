"""ChestXrayService: chest film in, findings out."""

from __future__ import annotations

import grpc

from appliance.pb import chest_xray_pb2, chest_xray_pb2_grpc
from appliance.rpc.edge import Edge
from appliance.rpc.reading import read_analysis, read_priority
from appliance.rpc.writing import write_chest_film
from appliance.service import Analyzer


class ChestXrayServicer(chest_xray_pb2_grpc.ChestXrayServiceServicer):
    """Hands chest films to the analyzer."""

    def __init__(self, edge: Edge, analyzer: Analyzer) -> None:
        self._edge = edge
        self._analyzer = analyzer

    def AnalyzeChestXray(
        self, request: chest_xray_pb2.AnalyzeChestXrayRequest, context: grpc.ServicerContext
    ) -> chest_xray_pb2.AnalyzeChestXrayResponse:
        """One film, one answer."""
        with self._edge.call(context, read_priority(request)) as call:
            return write_chest_film(self._analyzer.analyze_chest_film(read_analysis(request), call))
