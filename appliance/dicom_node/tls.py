"""TLS contexts of the node, from files that the configuration names.

Source: DICOM PS3.15, B.12 (BCP 195 TLS profile): TLS 1.2 or newer.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ConfigurationError


@dataclass(frozen=True)
class TlsFiles:
    """PEM files."""

    certificate: Path | None  # this node's own, with its chain
    key: Path | None
    authorities: Path | None  # who may have signed the other side's certificate


def listening_context(files: TlsFiles) -> ssl.SSLContext | None:
    """For callers; None without a certificate. With authorities, callers must show a certificate, too."""
    if files.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _complete(context, files)
    if files.authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def calling_context(files: TlsFiles) -> ssl.SSLContext:
    """For the destination, whose certificate must name its host; without authorities, the system's count."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _complete(context, files)
    if files.authorities is None:
        context.load_default_certs()
    return context


def _complete(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
        if files.authorities is not None:
            context.load_verify_locations(files.authorities)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(f"cannot read the DICOM node's certificates or key: {exc.strerror}") from exc
