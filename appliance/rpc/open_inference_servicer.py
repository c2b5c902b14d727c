"""GRPCInferenceService: the Open Inference Protocol for stock clients."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc

from appliance import __version__
from appliance.errors import ModelUnavailable, NotFound, NotOffered
from appliance.inference import RequestContext
from appliance.models.control import ModelControl
from appliance.models.registry import ModelState
from appliance.pb import open_inference_pb2 as pb
from appliance.pb import open_inference_pb2_grpc
from appliance.rpc.access import KEEPERS, demand
from appliance.rpc.edge import Edge
from appliance.rpc.identity import Identities
from appliance.rpc.open_inference.calls import InferCalls
from appliance.rpc.open_inference.catalog import Catalog
from appliance.rpc.open_inference.describing import write_config, write_index, write_metadata, write_regions
from appliance.rpc.open_inference.in_order import in_order
from appliance.rpc.open_inference.settings import change_log_settings, log_settings, trace_settings
from appliance.rpc.open_inference.statistics import StatisticsTable
from appliance.rpc.open_inference.streams import OpenStream, StreamTable
from appliance.rpc.open_inference.wire import read_request
from appliance.rpc.readiness import OVERALL, serving
from appliance.service import Checkup
from appliance.shared_memory import OwnRegions, RegionTable

SERVER_NAME = "hospital-analyzer-appliance"
EXTENSIONS = (
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "parameters",
    "statistics",
    "logging",
)
SHARED_MEMORY = "system_shared_memory"
NO_FILES = "models come onto the box by signed updates; here those that lie on it are loaded, as they are"
NO_CUDA = "CUDA shared memory is not offered here; register system shared memory, or send raw_input_contents"


class OpenInferenceServicer(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Hands tensors to models.

    Args:
        edge: shared by all servicers.
        catalog: the models by name.
        checkup: is the box well.
        calls: answers requests.
        regions: shared memory.
        control: takes models in and out of service.
        identities: tells who calls.
        statistics: counters.
        max_streams: open streams of requests; each one holds a thread of the server.
        max_in_flight: requests of one stream under way.
    """

    def __init__(
        self,
        edge: Edge,
        catalog: Catalog,
        checkup: Checkup,
        calls: InferCalls,
        regions: RegionTable,
        control: ModelControl,
        identities: Identities,
        statistics: StatisticsTable,
        max_streams: int,
        max_in_flight: int,
    ) -> None:
        self._edge = edge
        self._catalog = catalog
        self._checkup = checkup
        self._calls = calls
        self._regions = regions
        self._control = control
        self._identities = identities
        self._statistics = statistics
        self._streams = StreamTable(max_streams)
        self._max_in_flight = max_in_flight
        self._stream_pool = ThreadPoolExecutor(max_streams * (max_in_flight + 1), thread_name_prefix="stream")

    def dismiss_streams(self) -> None:
        """End the streams on which nothing is under way: the server is about to stop."""
        self._streams.dismiss()

    def close(self) -> None:
        """Stop the threads of the streams, all of which have ended."""
        self._stream_pool.shutdown(wait=True, cancel_futures=True)

    def ServerLive(
        self, request: pb.ServerLiveRequest, context: grpc.ServicerContext
    ) -> pb.ServerLiveResponse:
        """It answers, so it lives."""
        with self._edge.call(context):
            return pb.ServerLiveResponse(live=True)

    def ServerReady(
        self, request: pb.ServerReadyRequest, context: grpc.ServicerContext
    ) -> pb.ServerReadyResponse:
        """Are all models and the storage there."""
        with self._edge.call(context):
            return pb.ServerReadyResponse(ready=OVERALL in serving(self._checkup.status()))

    def ModelReady(
        self, request: pb.ModelReadyRequest, context: grpc.ServicerContext
    ) -> pb.ModelReadyResponse:
        """Is one model there."""
        with self._edge.call(context):
            try:
                health = self._catalog.find(request.name, request.version).health
            except (NotFound, ModelUnavailable):  # unknown, or not known yet
                return pb.ModelReadyResponse(ready=False)
            return pb.ModelReadyResponse(ready=health.state is ModelState.READY)

    def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ServerMetadataResponse:
        """Name, version, extensions."""
        with self._edge.call(context):
            extensions = (*EXTENSIONS, SHARED_MEMORY) if self._regions.offered else EXTENSIONS
            return pb.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=extensions)

    def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ModelMetadataResponse:
        """Inputs and outputs."""
        with self._edge.call(context):
            return write_metadata(self._catalog.find(request.name, request.version).card())

    def ModelConfig(
        self, request: pb.ModelConfigRequest, context: grpc.ServicerContext
    ) -> pb.ModelConfigResponse:
        """Set-up of a model."""
        with self._edge.call(context):
            card = self._catalog.find(request.name, request.version).card()
            return pb.ModelConfigResponse(config=write_config(card))

    def ModelInfer(self, request: bytes, context: grpc.ServicerContext) -> bytes:  # type: ignore[override]
        """One request, one response, both as they are on the wire."""
        with self._edge.call(context) as call:
            parsed = read_request(request)
            model = self._catalog.find(parsed.head.model_name, parsed.head.model_version)
            return self._calls.answer(model, parsed, call, self._own_regions(context)).to_bytes()

    def ModelStreamInfer(  # type: ignore[override]
        self, request_iterator: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """Several requests at a time, responses in their order; a wrong request does not end the stream."""
        with self._edge.call(context, unbounded=True) as call, self._streams.opened(context) as stream:
            regions = self._own_regions(context)
            yield from in_order(
                _taken(request_iterator, stream),
                lambda request: self._answer_in_stream(request, call, regions),
                stream.end,
                self._stream_pool,
                self._max_in_flight,
            )

    def _answer_in_stream(self, request: bytes, call: RequestContext, regions: OwnRegions) -> Iterator[bytes]:
        patience = replace(call, deadline=call.deadline.sooner(self._edge.max_request_s))
        told = pb.ModelInferResponse()
        try:
            parsed = read_request(request)
            told = pb.ModelInferResponse(model_name=parsed.head.model_name, id=parsed.head.id)
            model = self._catalog.find(parsed.head.model_name, parsed.head.model_version)
            for response in self._calls.stream(model, parsed, patience, regions):
                yield response.to_stream_bytes()
        except Exception as error:
            call.check()  # the whole stream has ended: nobody would read the sentence
            yield pb.ModelStreamInferResponse(
                error_message=self._edge.explain(error), infer_response=told
            ).SerializeToString()

    def _own_regions(self, context: grpc.ServicerContext) -> OwnRegions:
        return self._regions.of(self._identities.of(context).name)

    def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: grpc.ServicerContext
    ) -> pb.ModelStatisticsResponse:
        """Counters of one model or of all."""
        with self._edge.call(context):
            names = (request.name,) if request.name else self._catalog.names()
            models = [self._catalog.find(name, request.version).health for name in names]
            return pb.ModelStatisticsResponse(
                model_stats=[self._statistics.write(one.name, one.version) for one in models]
            )

    def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryIndexResponse:
        """Which models there are."""
        with self._edge.call(context):
            models = self._catalog.index()
            return write_index(one for one in models if one.state is ModelState.READY or not request.ready)

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryModelLoadResponse:
        """A pack that lies on the box comes into service."""
        with self._edge.call(context):
            if request.parameters:
                raise NotOffered(NO_FILES)
            self._control.load(request.model_name)
            return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryModelUnloadResponse:
        """A model goes out of service."""
        with self._edge.call(context):
            self._control.unload(request.model_name, self._identities.of(context).name)
            return pb.RepositoryModelUnloadResponse()

    def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: grpc.ServicerContext
    ) -> pb.SystemSharedMemoryStatusResponse:
        """Registered regions."""
        with self._edge.call(context):
            return write_regions(self._own_regions(context).infos(request.name))

    def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: grpc.ServicerContext
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """A region becomes known."""
        with self._edge.call(context):
            if not self._regions.offered:
                raise NotOffered("shared memory is switched off here (shared_memory.max_regions is 0)")
            self._own_regions(context).register(request.name, request.key, request.offset, request.byte_size)
            return pb.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: grpc.ServicerContext
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """A region, or all, are forgotten."""
        with self._edge.call(context):
            regions = self._own_regions(context)
            if request.name:
                regions.unregister(request.name)
            else:
                regions.unregister_all()
            return pb.SystemSharedMemoryUnregisterResponse()

    def CudaSharedMemoryStatus(
        self, request: pb.CudaSharedMemoryStatusRequest, context: grpc.ServicerContext
    ) -> pb.CudaSharedMemoryStatusResponse:
        """Not offered."""
        with self._edge.call(context):
            raise NotOffered(NO_CUDA)

    def CudaSharedMemoryRegister(
        self, request: pb.CudaSharedMemoryRegisterRequest, context: grpc.ServicerContext
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Not offered."""
        with self._edge.call(context):
            raise NotOffered(NO_CUDA)

    def CudaSharedMemoryUnregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: grpc.ServicerContext
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """All of none are forgotten: clients ask for it at their end, and perf_analyzer reports a refusal."""
        with self._edge.call(context):
            if request.name:
                raise NotOffered(NO_CUDA)
            return pb.CudaSharedMemoryUnregisterResponse()

    def TraceSetting(
        self, request: pb.TraceSettingRequest, context: grpc.ServicerContext
    ) -> pb.TraceSettingResponse:
        """Tracing is off."""
        with self._edge.call(context):
            return trace_settings(request)

    def LogSettings(
        self, request: pb.LogSettingsRequest, context: grpc.ServicerContext
    ) -> pb.LogSettingsResponse:
        """What is logged, and with values how much shall be."""
        with self._edge.call(context):
            if request.settings:
                demand("LogSettings with values", self._identities.of(context), KEEPERS)
                change_log_settings(request)
            return log_settings()


def _taken(requests: Iterator[bytes], stream: OpenStream) -> Iterator[bytes]:
    """Requests, each counted as under way; the end where the caller has hung up."""
    try:
        for request in requests:
            stream.begin()
            yield request
    except grpc.RpcError:
        return
