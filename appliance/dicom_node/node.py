"""`DicomNode`: puts listener, queue and errands together, starts them in order and stops them in reverse."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from appliance.application_entity import parse_application_entity, parse_tcp_address
from appliance.client import ApplianceClient
from appliance.clock import Clock, TimeOrderedIds
from appliance.config import MIB, Config
from appliance.dicom_node.analyst import Analyst
from appliance.dicom_node.destination import Patience, StorageDestination
from appliance.dicom_node.errands import LateFilms, Reports
from appliance.dicom_node.intake import Intake
from appliance.dicom_node.limits import ConnectionLimits
from appliance.dicom_node.listener import Admission, Listener
from appliance.dicom_node.retries import RetryPolicy
from appliance.dicom_node.sockets import repair
from appliance.dicom_node.spool import Spool, SpoolLimits
from appliance.dicom_node.tls import TlsFiles, calling_context, listening_context
from appliance.errors import ConfigurationError

HEADER_BYTES = MIB  # of a C-STORE beside its film
CONNECTIONS_PER_ASSOCIATION = 4  # connections that have not associated yet, for each that may


class DicomNode:
    """Everything that `appliance dicom serve` runs; use it as a context manager.

    Args:
        config: all settings.
        daemon: the client.
        clock: dates what waits.

    Raises:
        ConfigurationError: nobody may call, there is no destination, or a certificate cannot be read.
    """

    def __init__(self, config: Config, daemon: ApplianceClient, clock: Clock | None = None) -> None:
        repair()
        settings, clock = config.dicom, clock or Clock()
        if not settings.calling_ae_titles:
            raise ConfigurationError(
                "expected in dicom.calling_ae_titles the AE titles that may send films and got none"
            )
        if settings.destination is None:
            raise ConfigurationError("expected dicom.destination, where reports go, and got none")
        files = TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_authorities)
        policy = RetryPolicy(settings.first_retry_s, settings.longest_retry_s, settings.max_age_hours * 3600)
        analyst = Analyst(daemon)
        self._spool = Spool(
            config.state_directory / "dicom",
            SpoolLimits(settings.max_waiting, settings.max_waiting_mib * MIB),
            TimeOrderedIds(clock),
        )
        destination = StorageDestination(
            settings.ae_title,
            parse_application_entity(settings.destination),
            Patience(settings.associate_s, settings.idle_s),
            calling_context(files) if settings.destination_tls else None,
        )
        self._reports = Reports(self._spool, policy, clock, destination)
        self._late_films = LateFilms(
            self._spool, policy, clock, analyst, config.server.max_request_s, self._reports
        )
        intake = Intake(analyst, self._spool, settings.answer_s, self._reports.wake, self._late_films.wake)
        self._listener = Listener(
            parse_tcp_address(settings.listen),
            Admission(
                settings.ae_title,
                settings.calling_ae_titles,
                settings.max_associations,
                settings.associate_s,
                settings.idle_s,
            ),
            ConnectionLimits(
                message_bytes=config.images.max_mib * MIB + HEADER_BYTES,
                handshake_s=settings.associate_s,
                stall_s=settings.idle_s,
                connections=settings.max_associations * CONNECTIONS_PER_ASSOCIATION,
            ),
            intake.store,
            listening_context(files),
        )
        self._drain_s = settings.answer_s
        self._resources = ExitStack()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.port

    @property
    def spool(self) -> Spool:
        """What waits."""
        return self._spool

    def __enter__(self) -> DicomNode:
        self._spool.open()
        with ExitStack() as resources:
            for errand in (self._reports, self._late_films):
                errand.start()
                resources.callback(errand.stop, self._drain_s)
            self._listener.start()
            resources.callback(self._listener.stop, self._drain_s)
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
