"""Brings reports to another application entity by C-STORE.

Source: DICOM PS3.4, annex B (storage service class); PS3.15, annex B (secure transport).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ComprehensiveSRStorage  # type: ignore[attr-defined]

from appliance.application_entity import ApplicationEntity
from appliance.dicom_out.quiet import quietly
from appliance.errors import Unavailable

SUCCESS_OR_WARNING = (0x0000, 0xB000, 0xB006, 0xB007)
"""Stored, the last three with elements coerced or discarded (PS3.4, B.2.3)."""


@dataclass(frozen=True)
class Patience:
    """How long the other side may take."""

    connect_s: float
    answer_s: float


class StorageDestination:
    """An archive or a viewer.

    Args:
        ae_title: what this node calls itself.
        target: who it is.
        patience: with it.
        tls: None speaks in the clear.
    """

    def __init__(
        self, ae_title: str, target: ApplicationEntity, patience: Patience, tls: ssl.SSLContext | None
    ) -> None:
        self._target = target
        self._tls = tls
        self._ae = AE(ae_title=ae_title)
        self._ae.connection_timeout = patience.connect_s
        self._ae.acse_timeout = patience.connect_s
        self._ae.dimse_timeout = patience.answer_s
        self._ae.network_timeout = patience.answer_s
        self._ae.add_requested_context(ComprehensiveSRStorage)

    def send(self, reports: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
        """Send reports over one association; for each its id, and why it was not taken, or an empty text.

        Raises:
            Unavailable: no association, or it broke; what was not told about was not sent.
        """
        association = self._associate()
        try:
            for name, data in reports:
                yield name, self._store(association, data)
        finally:
            if association.is_established:
                association.release()

    def _associate(self) -> Association:
        target = self._target
        association = self._ae.associate(
            target.address.host,
            target.address.port,
            ae_title=target.ae_title,
            tls_args=(self._tls, target.address.host) if self._tls is not None else None,
        )
        if association.is_established:
            return association
        if association.is_rejected:
            raise Unavailable(f"{target} rejects the association")
        if association.is_aborted and association.acceptor.primitive is not None:
            raise Unavailable(f"{target} takes no Comprehensive SR")
        raise Unavailable(f"no DICOM association with {target}")

    def _store(self, association: Association, data: bytes) -> str:
        with quietly():
            report = dcmread(BytesIO(data))
        try:
            status = association.send_c_store(report)
        except (RuntimeError, ValueError) as exc:
            raise Unavailable(f"the association with {self._target} broke") from exc
        if "Status" not in status:
            raise Unavailable(f"{self._target} gave no answer to a C-STORE")
        return "" if status.Status in SUCCESS_OR_WARNING else f"{self._target} answers 0x{status.Status:04X}"
