"""The daemon without engines: real decoding, pipelines, store and server over answers from the truth."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from appliance.analysis import Analysis, Box, Finding
from appliance.callers import CallerRole, TokenFile
from appliance.cases import CaseDesk, CaseLedger, CaseLimits
from appliance.chest_xray.artist import FilmArtist
from appliance.chest_xray.pipeline import ChestXrayPipeline
from appliance.chest_xray.settings import FindingModel
from appliance.clock import Clock
from appliance.config import Config
from appliance.dicom_out.reports import DicomReports
from appliance.imaging import ImageDecoder, ImageLimits, encode_png
from appliance.inference import (
    Admission,
    Inference,
    InferenceService,
    ModelIdentity,
    QueueRules,
    RepeatCache,
    RepeatingEngines,
    RepeatLimits,
    RequestContext,
)
from appliance.karyotype.artist import MetaphaseArtist
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.models.control import ModelControl
from appliance.models.manifest import Role
from appliance.models.reference import REFERENCE_CONTRACTS
from appliance.models.registry import ModelRegistry
from appliance.phantoms.demo import demo_chest_film
from appliance.phantoms.metaphase import metaphase_phantom
from appliance.privacy import Pseudonyms, site_secret
from appliance.results import ResultStore, Retention
from appliance.rpc import Identities, RpcServer, ServerLimits, Services
from appliance.rpc.readiness import OVERALL
from appliance.rpc.server import SERVICE_NAMES
from appliance.service import AnalysisRepeats, Analyzer, Checkup
from appliance.shared_memory import RegionLimits, RegionTable
from appliance.updates.assembly import model_updates
from appliance.updates.live import LiveTraffic
from engines import DeviceProbe, PixelInput
from tests.simulators.analyses import DAY_MS
from tests.simulators.film_engines import FilmEngines
from tests.simulators.karyotype_engines import SpreadTruth, TruthEngines, phantom_truth

LIMITS = ServerLimits(
    workers=4,
    max_waiting=8,
    max_watchers=2,
    max_message_bytes=64 << 20,
    max_request_s=60.0,
    max_streams=2,
)
CASE_LIMITS = CaseLimits(
    max_open=8, max_spreads=6, max_revisions=12, max_edits=40, max_bytes=16 << 20, max_age_ms=30 * DAY_MS
)
NO_REPEATS = RepeatLimits(0, 1)
IMAGE_LIMITS = ImageLimits(max_bytes=32 << 20)


@cache
def demo_truth() -> SpreadTruth:
    return phantom_truth(metaphase_phantom(1, "46,XY"))


@cache
def spread_png() -> bytes:
    return encode_png(demo_truth().grey)


@cache
def film_png() -> bytes:
    return encode_png(demo_chest_film().image)


@cache
def chest_dicom() -> bytes:
    """A small radiograph whose header says chest."""
    from tests.imaging.dicom_writer import write_film

    return write_film(
        demo_chest_film().image,
        Modality="DX",
        BodyPartExamined="CHEST",
        StudyInstanceUID="1.2.840.99999.2.1",
        SeriesInstanceUID="1.2.840.99999.2.2",
    )


class BothEngines:
    """Answers every role from the truth; a test may hold it up or let it fail."""

    def __init__(self) -> None:
        size = demo_chest_film().image.shape
        finding = Finding("Cardiomegaly", 0.8, Box(300.0, 500.0, 400.0, 250.0))
        self._spread = TruthEngines(demo_truth())
        self._film = FilmEngines(size[1], size[0], (finding,))
        self.calls = 0
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.left = threading.Event()

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        self.calls += 1
        self.begun.release()
        while not self.gate.wait(0.01):
            if context.cancelled.is_set():
                self.left.set()
            context.check()
        if self.fault is not None:
            raise self.fault
        engines = self._film if role is Role.CHEST_XRAY_DETECTOR else self._spread
        return engines.infer(role, tensors, context)

    def film_model(self) -> FindingModel:
        """What the film pipeline knows of its model."""
        return self._film.model()


class Bench:
    """Everything between the socket and the engines, in a state directory of its own."""

    def __init__(self, folder: Path, repeat_limits: RepeatLimits = NO_REPEATS) -> None:
        self.folder = folder
        self.repeat_limits = repeat_limits
        self.truth = demo_truth()
        self.film_png = film_png()
        self.engines = BothEngines()
        self.local_roles: tuple[CallerRole, ...] = tuple(CallerRole)
        self._resources = ExitStack()

    def __enter__(self) -> Bench:
        resources, clock = self._resources, Clock()
        self.store = ResultStore(self.folder / "results.db", clock, Retention(DAY_MS, 64 << 20))
        resources.callback(self.store.close)
        self.decoder = resources.enter_context(ImageDecoder(IMAGE_LIMITS, max_workers=1))
        self.repeats: RepeatCache[Analysis] = RepeatCache(self.repeat_limits)
        self.loaded = {role: _identity(role) for role in Role}  # what the repeats take for the models
        self.models = resources.enter_context(
            ModelRegistry(
                _no_engine, {role: frozenset({one.hash}) for role, one in REFERENCE_CONTRACTS.items()}
            )
        )
        self.regions = RegionTable(RegionLimits(4, 1 << 20, 4, 1 << 20))
        resources.callback(self.regions.close)
        config = Config(state_dir=self.folder / "state")
        live = LiveTraffic(self.models, clock.monotonic_s)
        self.updates = model_updates(config, self.models, live, lambda _role: None, clock)
        self.decoding = Admission(1, QueueRules(LIMITS.max_waiting))
        self.admission = Admission(LIMITS.workers, QueueRules(LIMITS.max_waiting))
        self.inference = resources.enter_context(
            InferenceService(self.models, QueueRules(4), admission=self.admission)
        )
        self.analyzer = Analyzer(
            self.decoder,
            KaryotypePipeline(self.engines),
            ChestXrayPipeline(
                self.engines, self.engines.film_model, pseudonyms=Pseudonyms(site_secret(self.folder))
            ),
            MetaphaseArtist(),
            FilmArtist(),
            DicomReports("2.25.1"),
            self.store,
            clock,
            self.admission,
            self.decoding,
            AnalysisRepeats(self.repeats, lambda role: self.loaded.get(role)),
        )
        self.ledger = CaseLedger(self.store, clock, CASE_LIMITS)
        self.cases = CaseDesk(self.ledger, self.store, self.analyzer, MetaphaseArtist(), clock, CASE_LIMITS)
        self.checkup = Checkup(self.models, self.inference, self.store, DeviceProbe(()), clock)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engines.gate.set()
        self._resources.close()

    def services(self) -> Services:
        """What a server puts on the wire."""
        return Services(
            self.analyzer,
            self.store,
            self.checkup,
            self.models,
            RepeatingEngines(self.inference, RepeatCache(self.repeat_limits), self.models.identity),
            self.regions,
            self.cases,
            ModelControl(self.models, lambda: []),
            Identities(TokenFile(self.folder / "tokens.json"), self.local_roles, ()),
            self.updates,
            max_batch=8,
        )

    def serve(self, limits: ServerLimits = LIMITS) -> str:
        """Start a server on a Unix socket; its address."""
        address = f"unix:{self.folder / 'test.sock'}"
        self.server = RpcServer(self.services(), limits, [address])
        self.server.start()
        self.server.set_serving(frozenset({OVERALL, *SERVICE_NAMES}))
        self._resources.callback(self.server.stop, 5.0)
        self._resources.callback(self.store.dismiss_watchers)
        self._resources.callback(self.engines.gate.set)
        return address


def _identity(role: Role) -> ModelIdentity:
    return ModelIdentity("truth", "1.0.0", role, "0" * 64, "truth", "CPU", "FP32")


def _no_engine(model_path: Path, pixels: PixelInput | None = None) -> Any:
    raise AssertionError(f"no pack is loaded here, nor {model_path} for {pixels}")
