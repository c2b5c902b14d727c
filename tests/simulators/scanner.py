"""A scanner of a few lines: associates, sends films, tells what it was answered."""

from __future__ import annotations

import ssl
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

CALLING, CALLED = "SCANNER", "ANALYZER"


def associate(
    port: int,
    calling: str = CALLING,
    called: str = CALLED,
    film: Dataset | None = None,
    tls: ssl.SSLContext | None = None,
) -> Association:
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.add_requested_context(Verification)
    if film is not None:
        ae.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
    return ae.associate(
        "127.0.0.1", port, ae_title=called, tls_args=(tls, "localhost") if tls is not None else None
    )


def send(port: int, data: bytes) -> Dataset:
    """The status that a film is answered with."""
    film = dcmread(BytesIO(data))
    association = associate(port, film=film)
    assert association.is_established
    try:
        return association.send_c_store(film)
    finally:
        association.release()
