"""The composition root: makes every part of the daemon, starts them in order and stops them in reverse."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import engines
from appliance.callers import CallerRole, TokenFile
from appliance.cases import CaseDesk, CaseLedger, CaseLimits
from appliance.chest_xray.artist import FilmArtist
from appliance.chest_xray.pipeline import ChestXrayPipeline
from appliance.chest_xray.settings import FindingModel
from appliance.clock import Clock
from appliance.config import MIB, Config
from appliance.dicom_out.device import device_uid
from appliance.dicom_out.reports import DicomReports
from appliance.errors import ConfigurationError, StorageUnavailable
from appliance.imaging import ImageDecoder, ImageLimits
from appliance.inference import (
    Admission,
    InferenceService,
    QueueRules,
    RepeatCache,
    RepeatingEngines,
    RepeatLimits,
)
from appliance.karyotype.artist import MetaphaseArtist
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.models.contract import Contract
from appliance.models.control import ModelControl
from appliance.models.factory import FactoryPacks
from appliance.models.film_contract import film_contract_mismatch, read_film_contract
from appliance.models.manifest import Role
from appliance.models.opening import engine_opener, engine_order
from appliance.models.reference import REFERENCE_CONTRACTS
from appliance.models.registry import LoadEvent, ModelRegistry, ModelState
from appliance.privacy import Pseudonyms, site_secret
from appliance.results import ResultStore, Retention
from appliance.rpc import Identities, RpcServer, ServerLimits, Services, serving
from appliance.service import AnalysisRepeats, Analyzer, Checkup
from appliance.shared_memory import RegionLimits, RegionTable
from appliance.systemd import Notifier, WatchdogThread
from appliance.updates.assembly import model_updates
from appliance.updates.live import LiveTraffic
from engines import probe_devices

LOG = logging.getLogger(__name__)
DAY_MS = 86_400_000
HEALTH_INTERVAL_S = 1.0
"""How often readiness is looked at again, for grpc.health.v1 and the service manager."""

LOADING_EXTENSION_S = 600.0
"""How long the service manager may wait for the next step while engines are being built."""

FACTORY = Path(engines.__file__).parent / "factory"
"""The model packs that the daemon is born with."""


class Daemon:
    """Everything that `appliance serve` runs; use it as a context manager.

    The server answers as soon as the addresses are bound; requests that need a model which is still being
    loaded get UNAVAILABLE until `load_models` has it.

    Args:
        config: all settings.
        clock: dates results.
        notifier: hears of the daemon's state.
    """

    def __init__(self, config: Config, clock: Clock | None = None, notifier: Notifier | None = None) -> None:
        self._config = config
        self._clock = clock or Clock()
        self._notifier = notifier or Notifier()
        self._resources = ExitStack()
        self._stopping = threading.Event()
        self._stopped = False

    def __enter__(self) -> Daemon:
        try:
            self._start()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return self._server.addresses

    @property
    def checkup(self) -> Checkup:
        """Tells how the daemon is."""
        return self._checkup

    def load_models(self, on_progress: Callable[[LoadEvent], None] | None = None) -> None:
        """Load every pack, then say that the daemon is ready; a pack that fails leaves its role out."""

        def report(event: LoadEvent) -> None:
            name = event.role.value if event.role is not None else event.directory.name
            log = LOG.warning if event.state is ModelState.UNAVAILABLE else LOG.info
            log("%s: %s", name, f"{event.state.value}, {event.detail}" if event.detail else event.state.value)
            self._notifier.starting(f"loading {name}", LOADING_EXTENSION_S)
            if on_progress is not None:
                on_progress(event)

        self._models.load(self._updates.directories(), report)
        gc.freeze()  # what is loaded by now stays: requests need not pay for looking through it
        self._updates.begin()
        self._checkup.start_ended()
        self._refresh_readiness()
        self._notifier.ready(self._summary())
        self._watchdog.start()
        self._housekeeping.start()

    def stop(self) -> None:
        """Drain requests under way, then close every part in the reverse of its start."""
        if self._stopped:
            return
        self._stopped = True
        self._notifier.stopping()
        self._stopping.set()
        self._resources.close()
        LOG.info("stopped")

    def _start(self) -> None:
        config = self._config
        claim_state_directory(config.state_directory, self._resources)
        self._store = ResultStore(
            config.state_directory / "results.db",
            self._clock,
            Retention(
                round(config.results.max_age_days * DAY_MS),
                config.results.max_mib * MIB,
                config.cases.max_mib * MIB,
            ),
        )
        self._resources.callback(self._store.close)
        decoder = self._resources.enter_context(ImageDecoder(image_limits(config), config.images.decoders))
        probe = probe_devices(order=engine_order(config))
        self._models = self._resources.enter_context(
            ModelRegistry(
                engine_opener(config, probe),
                {role: frozenset({contract.hash}) for role, contract in REFERENCE_CONTRACTS.items()},
                drain_timeout_s=config.inference.drain_s,
                contract_checks={Role.CHEST_XRAY_DETECTOR: film_contract_mismatch},
            )
        )
        live = LiveTraffic(self._models, self._clock.monotonic_s)
        admission = Admission(config.server.workers, request_rules(config))
        inference = self._resources.enter_context(
            InferenceService(self._models, call_rules(config), config.inference.streams, admission, live)
        )
        packs = FactoryPacks(config.models.directory or FACTORY)
        self._updates = model_updates(config, self._models, live, packs.find, self._clock)
        self._resources.callback(self._updates.stop)
        self._checkup = Checkup(self._models, inference, self._store, probe, self._clock)
        artist = MetaphaseArtist()
        analyzer = Analyzer(
            decoder,
            KaryotypePipeline(inference),
            ChestXrayPipeline(
                inference,
                FindingModels(self._models),
                pseudonyms=Pseudonyms(site_secret(config.state_directory)),
            ),
            artist,
            FilmArtist(),
            DicomReports(device_uid(config.state_directory)),
            self._store,
            self._clock,
            admission,
            Admission(config.images.decoders, decoding_rules(config)),
            AnalysisRepeats(
                RepeatCache(repeat_limits(config)), lambda role: self._models.status(role).identity
            ),
        )
        limits = case_limits(config)
        self._ledger = CaseLedger(self._store, self._clock, limits)
        cases = CaseDesk(self._ledger, self._store, analyzer, artist, self._clock, limits)
        self._server = RpcServer(
            Services(
                analyzer,
                self._store,
                self._checkup,
                self._models,
                RepeatingEngines(inference, RepeatCache(repeat_limits(config)), self._models.identity),
                self._shared_memory(),
                cases,
                ModelControl(self._models, self._updates.serving),
                identities(config),
                self._updates,
                config.inference.max_batch,
            ),
            server_limits(config),
            tuple(dict.fromkeys((*config.server.listen, f"unix:{config.socket_path}"))),
        )
        self._watchdog = WatchdogThread(self._notifier, lambda: not self._stopping.is_set())
        self._housekeeping = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        self._server.start()
        self._resources.callback(self._stop_edges)
        decoder.warm_up()
        LOG.info("listening on %s", ", ".join(self.addresses))

    def _shared_memory(self) -> RegionTable:
        settings = self._config.shared_memory
        regions = RegionTable(
            RegionLimits(
                settings.max_regions,
                settings.max_mib * MIB,
                settings.max_regions_each,
                settings.max_mib_each * MIB,
            )
        )
        self._resources.callback(regions.close)
        return regions

    def _stop_edges(self) -> None:
        self._store.dismiss_watchers()
        self._server.stop(self._config.server.drain_s)
        self._watchdog.stop()
        if self._housekeeping.is_alive():
            self._housekeeping.join()

    def _keep_house(self) -> None:
        pruned_s = -self._config.results.prune_every_s
        while not self._stopping.wait(HEALTH_INTERVAL_S):
            self._refresh_readiness()
            now_s = self._clock.monotonic_s()
            if now_s - pruned_s >= self._config.results.prune_every_s:
                pruned_s = now_s
                try:
                    gone, cases_gone = self._store.prune(), self._ledger.prune()
                except StorageUnavailable as exc:
                    LOG.warning("old results could not be deleted: %s", exc)
                else:
                    if gone or cases_gone:
                        LOG.info("%d results and %d cases were too old and are gone", gone, cases_gone)

    def _refresh_readiness(self) -> None:
        self._server.set_serving(serving(self._checkup.status()))

    def _summary(self) -> str:
        status = self._checkup.status()
        ready = sum(model.state is ModelState.READY for model, _load in status.models)
        return f"{ready} of {len(status.models)} models ready, listening on {', '.join(self.addresses)}"


class FindingModels:
    """The X-ray model that is loaded now, read from its pack."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def __call__(self) -> FindingModel:
        """ModelUnavailable if there is none."""
        with self._models.acquire(Role.CHEST_XRAY_DETECTOR) as lease:
            manifest = lease.pack.manifest
            return FindingModel(
                identity=lease.identity,
                contract=read_film_contract(Contract.of(manifest)),
                labels=manifest.labels.names,
                thresholds=manifest.thresholds,
                demonstration=manifest.card.demonstration,
                takes_pixels=bool(lease.engine.pixel_inputs),
            )


def claim_state_directory(folder: Path, resources: ExitStack) -> None:
    """Make the state directory and lock it for as long as `resources` lives.

    Raises:
        ConfigurationError: it cannot be made or written, or another daemon has it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigurationError(f"cannot use the state directory {folder}: {exc.strerror}") from exc
    resources.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ConfigurationError(f"another daemon is running with the state directory {folder}") from exc


def call_rules(config: Config) -> QueueRules:
    """Of the queues before the engines."""
    settings = config.inference
    return QueueRules(
        settings.queue_capacity, settings.passed_over_s, settings.batch_rows, settings.batch_delay_ms / 1000
    )


def request_rules(config: Config) -> QueueRules:
    """Of the queue of whole requests."""
    return QueueRules(config.server.max_waiting, config.inference.passed_over_s)


def decoding_rules(config: Config) -> QueueRules:
    """Of the queue before the decoders, which every request that has a place may join."""
    server = config.server
    return QueueRules(server.max_waiting + 2 * server.workers, config.inference.passed_over_s)


def identities(config: Config) -> Identities:
    """Who may call, with a token or without."""
    access = config.access
    return Identities(
        TokenFile(config.token_path),
        [CallerRole(name) for name in access.local_roles],
        [CallerRole(name) for name in access.remote_roles],
    )


def repeat_limits(config: Config) -> RepeatLimits:
    """Of the answers that are kept; one such cache for analyses and one for raw tensors."""
    return RepeatLimits(config.repeats.max_mib * MIB, config.repeats.max_entries)


def image_limits(config: Config) -> ImageLimits:
    """What an image may be."""
    images = config.images
    return ImageLimits(
        max_bytes=images.max_mib * MIB,
        max_pixels=round(images.max_megapixels * 1e6),
        max_side=images.max_side_px,
        min_side=images.min_side_px,
        decode_time_s=images.max_decode_s,
    )


def case_limits(config: Config) -> CaseLimits:
    """Bounds of cases."""
    cases = config.cases
    return CaseLimits(
        max_open=cases.max_open,
        max_spreads=cases.max_spreads,
        max_revisions=cases.max_revisions,
        max_edits=cases.max_edits,
        max_bytes=cases.max_mib * MIB,
        max_age_ms=round(cases.max_age_days * DAY_MS),
    )


def server_limits(config: Config) -> ServerLimits:
    """Bounds of the server."""
    server = config.server
    return ServerLimits(
        workers=server.workers,
        max_waiting=server.max_waiting,
        max_watchers=server.max_watchers,
        max_message_bytes=server.max_message_mib * MIB,
        max_request_s=server.max_request_s,
        max_streams=server.max_streams,
        max_in_flight=server.max_in_flight,
        arrival_s=server.max_arrival_s,
        handshake_s=server.max_handshake_s,
        keepalive_s=server.keepalive_s,
        keepalive_timeout_s=server.keepalive_timeout_s,
    )
