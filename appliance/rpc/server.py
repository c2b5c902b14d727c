"""The gRPC server: which services, on which addresses, within which bounds, and how it stops."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from appliance.cases import CaseDesk
from appliance.errors import ConfigurationError
from appliance.inference import RepeatingEngines
from appliance.models.control import ModelControl
from appliance.models.registry import ModelRegistry
from appliance.pb import (
    appliance_pb2,
    appliance_pb2_grpc,
    case_pb2,
    case_pb2_grpc,
    chest_xray_pb2,
    chest_xray_pb2_grpc,
    karyotype_pb2,
    karyotype_pb2_grpc,
    open_inference_pb2,
    result_pb2,
    result_pb2_grpc,
    review_pb2,
    review_pb2_grpc,
)
from appliance.results import ResultStore
from appliance.rpc.access import AccessGuard
from appliance.rpc.appliance_servicer import ApplianceServicer
from appliance.rpc.arrival import Arrivals
from appliance.rpc.case_servicer import CaseServicer
from appliance.rpc.chest_xray_servicer import ChestXrayServicer
from appliance.rpc.edge import Edge
from appliance.rpc.identity import Identities
from appliance.rpc.karyotype_servicer import KaryotypeServicer
from appliance.rpc.open_inference.calls import InferCalls
from appliance.rpc.open_inference.catalog import Catalog
from appliance.rpc.open_inference.handlers import add_open_inference
from appliance.rpc.open_inference.pipeline_models import ChestXrayModel, KaryotypeModel
from appliance.rpc.open_inference.statistics import StatisticsTable
from appliance.rpc.open_inference.tensor_models import TensorModels
from appliance.rpc.open_inference_servicer import OpenInferenceServicer
from appliance.rpc.readiness import OVERALL
from appliance.rpc.result_servicer import ResultServicer
from appliance.rpc.review_servicer import ReviewServicer
from appliance.service import Analyzer, Checkup
from appliance.shared_memory import RegionTable
from appliance.updates.service import ModelUpdates

LOG = logging.getLogger(__name__)
SERVICE_NAMES = tuple(
    service.full_name
    for module in (
        karyotype_pb2,
        chest_xray_pb2,
        result_pb2,
        case_pb2,
        review_pb2,
        appliance_pb2,
        open_inference_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
INTERNAL_THREADS = 2
"""Threads beyond workers, watchers and streams, so that health checks are answered while the box is busy."""

MIN_PING_INTERVAL_MS = 10_000
CONNECTION_IDLE_MS = 600_000


@dataclass(frozen=True)
class ServerLimits:
    """Bounds of the server."""

    workers: int  # requests handled at a time, interactive ones apart: as many again
    max_waiting: int  # further requests that wait
    max_watchers: int  # open WatchResults streams
    max_message_bytes: int  # largest request or reply
    max_request_s: float  # longest deadline in seconds
    max_streams: int = 8  # open ModelStreamInfer streams
    max_in_flight: int = 4  # requests of one such stream under way
    arrival_s: float = 60.0  # how long one request may take to arrive
    handshake_s: float = 20.0  # how long a new connection may take to say what it is
    keepalive_s: float = 60.0  # silence of a connection before it is asked whether it lives
    keepalive_timeout_s: float = 20.0  # how long it may take to answer


@dataclass(frozen=True)
class Services:
    """What the server puts on the wire."""

    analyzer: Analyzer
    store: ResultStore
    checkup: Checkup
    models: ModelRegistry
    tensors: RepeatingEngines  # runs raw tensors
    regions: RegionTable
    cases: CaseDesk
    control: ModelControl
    identities: Identities
    updates: ModelUpdates
    max_batch: int  # largest size of a dynamic dimension in a raw tensor


class RpcServer:
    """Serves `services` from a pool of threads.

    Args:
        services: the domain behind the servicers.
        limits: bounds.
        addresses: HOST:PORT or unix:/PATH; a port of 0 is chosen by the system.

    Raises:
        ConfigurationError: an address cannot be listened on.
    """

    def __init__(self, services: Services, limits: ServerLimits, addresses: Sequence[str]) -> None:
        # A thread for every request, also for one that waits: who goes first is for the queues to say, and
        # the pool would serve its own waiting requests in the order in which they came. Interactive ones have
        # as many places as the others.
        working = 2 * limits.workers + limits.max_waiting
        threads = working + limits.max_watchers + limits.max_streams + INTERNAL_THREADS
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rpc")
        edge = Edge(limits.max_request_s)
        self._arrivals = Arrivals(edge, limits.arrival_s)
        self._server = grpc.server(
            self._pool,
            # strangers are sent away before their request is read
            interceptors=[AccessGuard(edge, services.identities), self._arrivals],
            options=_options(limits),
            maximum_concurrent_rpcs=threads,
        )
        karyotype_pb2_grpc.add_KaryotypeServiceServicer_to_server(
            KaryotypeServicer(edge, services.analyzer), self._server
        )
        chest_xray_pb2_grpc.add_ChestXrayServiceServicer_to_server(
            ChestXrayServicer(edge, services.analyzer), self._server
        )
        result_pb2_grpc.add_ResultServiceServicer_to_server(
            ResultServicer(edge, services.store, limits.max_watchers), self._server
        )
        case_pb2_grpc.add_CaseServiceServicer_to_server(CaseServicer(edge, services.cases), self._server)
        review_pb2_grpc.add_ReviewServiceServicer_to_server(
            ReviewServicer(edge, services.cases), self._server
        )
        appliance_pb2_grpc.add_ApplianceServiceServicer_to_server(
            ApplianceServicer(edge, services.checkup, services.updates), self._server
        )
        self._open_inference = _open_inference(edge, services, limits)
        add_open_inference(self._open_inference, self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self.set_serving(frozenset())
        self.addresses = tuple(self._listen(address) for address in addresses)
        """The addresses listened on, with the ports that the system chose."""

    def start(self) -> None:
        """Begin to answer."""
        self._arrivals.start()
        self._server.start()

    def set_serving(self, names: frozenset[str]) -> None:
        """Tell grpc.health.v1 which services can answer; see `appliance.rpc.readiness`."""
        serving = health_pb2.HealthCheckResponse.SERVING
        not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
        for name in (OVERALL, *SERVICE_NAMES):
            self._health.set(name, serving if name in names else not_serving)

    def stop(self, drain_s: float) -> None:
        """Take nothing new, give requests under way `drain_s` seconds to finish, then cut them off."""
        self._health.enter_graceful_shutdown()
        self._open_inference.dismiss_streams()
        self._server.stop(drain_s).wait()
        self._open_inference.close()
        self._arrivals.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _listen(self, address: str) -> str:
        if address.startswith("unix:"):
            _remove_stale_socket(Path(address.removeprefix("unix:")))
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as exc:
            raise ConfigurationError(
                f"cannot listen on {address}: another program uses it, or it is no address of this machine"
            ) from exc
        host = address.rpartition(":")[0]
        return address if address.startswith("unix:") else f"{host}:{port}"


def _options(limits: ServerLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.so_reuseport", 0),  # a second daemon on the same port shall fail, not share it
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.max_connection_idle_ms", CONNECTION_IDLE_MS),
        # a peer that does not answer a ping is gone; what it held (a stream, a slot) is freed
        ("grpc.keepalive_time_ms", round(limits.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_timeout_s * 1000)),
        # gRPC's own measuring pings go before the keepalive's and would be waited for by their default, 60 s
        ("grpc.http2.ping_timeout_ms", round(limits.keepalive_timeout_s * 1000)),
        ("grpc.server_handshake_timeout_ms", round(limits.handshake_s * 1000)),
    ]


def _open_inference(edge: Edge, services: Services, limits: ServerLimits) -> OpenInferenceServicer:
    statistics = StatisticsTable()
    tensors = TensorModels(services.models, services.tensors, services.max_batch)
    pipelines = (
        KaryotypeModel(services.analyzer, services.checkup),
        ChestXrayModel(services.analyzer, services.checkup),
    )
    return OpenInferenceServicer(
        edge,
        Catalog(pipelines, tensors),
        services.checkup,
        InferCalls(statistics, limits.max_message_bytes),
        services.regions,
        services.control,
        services.identities,
        statistics,
        limits.max_streams,
        limits.max_in_flight,
    )


def _remove_stale_socket(path: Path) -> None:
    """Unlink what a killed daemon left behind; anything that is no socket is not ours."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"expected a socket or nothing at {path} and got another kind of file")
    path.unlink()
