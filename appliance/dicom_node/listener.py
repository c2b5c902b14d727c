"""The node's listening side: who may associate, what is accepted, and one log line for every decision.

Source: DICOM PS3.4, annexes A (verification) and B (storage); PS3.8 (upper layer protocol).
"""

from __future__ import annotations

import logging
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
    Verification,
)

from appliance.application_entity import TcpAddress
from appliance.dicom_node.intake import PROCESSING_FAILURE, StoreStatus
from appliance.dicom_node.limits import ConnectionLimits, NodeServer
from appliance.errors import Unavailable

LOG = logging.getLogger(__name__)
FILM_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,  # scanned films; the header has to say that it is a radiograph
)
TRANSFER_SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
)
PDU_BYTES = 1 << 18
"""Offered to peers: a film in some dozens of fragments instead of hundreds."""

POLL_S = 0.05
Store = Callable[[bytes, str], StoreStatus]


@dataclass(frozen=True)
class Admission:
    """Who may come in, and how long they may take."""

    ae_title: str  # callers must call this node by it
    calling_ae_titles: tuple[str, ...]
    associations: int
    associate_s: float
    idle_s: float


class Listener:
    """Accepts associations until `stop`.

    Args:
        address: where to listen; port 0 takes a free one.
        admission: rules.
        limits: of connections.
        store: takes a film from a sender; see `Intake.store`.
        tls: None listens in the clear.
    """

    def __init__(
        self,
        address: TcpAddress,
        admission: Admission,
        limits: ConnectionLimits,
        store: Store,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._address = address
        self._limits = limits
        self._store = store
        self._tls = tls
        self._ae = _application_entity(admission)
        self._server: NodeServer | None = None

    @property
    def port(self) -> int:
        """Where it listens; Unavailable before `start`."""
        if self._server is None:
            raise Unavailable("expected a DICOM node that listens and got one that does not yet")
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Bind and accept; Unavailable if the address cannot be had."""
        logging.getLogger("pynetdicom").disabled = True  # it logs identifiers; what matters is logged here
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("pynetdicom."):
                logging.getLogger(name).disabled = True
        _config.LOG_HANDLER_LEVEL = "none"
        try:
            server = NodeServer(
                self._ae,
                (self._address.host, self._address.port),
                self._tls,
                [
                    (evt.EVT_C_ECHO, _echo),
                    (evt.EVT_C_STORE, self._on_store),
                    (evt.EVT_ACCEPTED, _told("association from %s accepted", logging.INFO)),
                    (evt.EVT_REJECTED, _told("association from %s rejected", logging.WARNING)),
                    (evt.EVT_ABORTED, _told("association from %s aborted", logging.WARNING)),
                ],
                self._limits,
            )
        except OSError as exc:
            raise Unavailable(f"cannot listen on {self._address}: {exc.strerror}") from exc
        self._server = server
        threading.Thread(
            target=server.serve_forever, args=(POLL_S,), name="dicom-listener", daemon=True
        ).start()

    def stop(self, drain_s: float) -> None:
        """Accept nothing new, let messages under way end within `drain_s`, abort the rest."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.stop_accepting()
        until_s = time.monotonic() + drain_s
        while any(one.is_established for one in server.active_associations) and time.monotonic() < until_s:
            time.sleep(POLL_S)
        for association in server.active_associations:
            if association.is_established:
                association.abort()
            else:
                association.kill()  # connected, and never said who it is

    def _on_store(self, event: evt.Event) -> Dataset:
        try:
            status = self._store(event.encoded_dataset(), caller(event))
        except Exception:
            incident = secrets.token_hex(4)
            LOG.exception("unexpected error on a C-STORE", extra={"incident": incident})
            status = StoreStatus(PROCESSING_FAILURE, f"incident {incident}")
        answer = Dataset()
        answer.Status = status.code
        if status.comment:
            answer.ErrorComment = status.comment
        return answer


def caller(event: evt.Event) -> str:
    """Who is at the other end: AE title, as it says, and address."""
    requestor = event.assoc.requestor
    title = "".join(letter if letter.isprintable() else "?" for letter in requestor.ae_title or "")
    return f"{title.strip() or '(no title)'} at {requestor.address}"


def _application_entity(admission: Admission) -> AE:
    ae = AE(ae_title=admission.ae_title)
    ae.require_called_aet = True
    ae.require_calling_aet = list(admission.calling_ae_titles)
    ae.maximum_associations = admission.associations
    ae.maximum_pdu_size = PDU_BYTES
    ae.acse_timeout = admission.associate_s
    ae.dimse_timeout = admission.idle_s
    ae.network_timeout = admission.idle_s
    ae.add_supported_context(Verification)
    for film in FILM_CLASSES:
        ae.add_supported_context(film, list(TRANSFER_SYNTAXES))
    return ae


def _echo(event: evt.Event) -> int:
    LOG.info("C-ECHO from %s", caller(event))
    return 0x0000


def _told(sentence: str, level: int) -> Callable[[evt.Event], None]:
    def tell(event: evt.Event) -> None:
        LOG.log(level, sentence, caller(event))

    return tell
