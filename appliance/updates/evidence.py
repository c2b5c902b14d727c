"""The gate's report, signed with the box's own key: what was measured, on what, and what came of it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from appliance.bundles.durable import DurableFiles
from appliance.errors import NotFound, StorageUnavailable

KEY_NAME = "device-key.pem"
MAX_REPORTS = 500
"""The oldest go beyond it."""


class DeviceKey:
    """The box's Ed25519 key (RFC 8032), made at first use; only the daemon's user may read it.

    Args:
        folder: where it lies.
        files: makes writing durable.
    """

    def __init__(self, folder: Path, files: DurableFiles) -> None:
        path = folder / KEY_NAME
        private = _read_key(path)
        if private is None:
            files.make_directory(folder)
            if path.exists():
                # a damaged key signs nothing; it is put aside, and the centre learns the new one at enrolment
                files.remove(path.with_suffix(".damaged"))
                files.move(path, path.with_suffix(".damaged"))
            private = Ed25519PrivateKey.generate()
            pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            files.write(path, pem, 0o600)
        self._private = private

    @property
    def public(self) -> str:
        """The public half, base64 of its 32 bytes: the box's identity in evidence and rollouts."""
        raw = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    def sign(self, data: bytes) -> str:
        """Signature, base64."""
        return base64.b64encode(self._private.sign(data)).decode()


@dataclass(frozen=True)
class Evidence:
    """One report with its signature."""

    evidence_id: str
    report: dict[str, Any]
    device: str  # public key, base64
    signature: str  # over `canonical(report)`, base64

    def to_json(self) -> str:
        """As it is kept and sent."""
        return json.dumps(self.__dict__, sort_keys=True, ensure_ascii=True)


def canonical(report: dict[str, Any]) -> bytes:
    """The one spelling that is signed: sorted keys, no spaces, ASCII."""
    return json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def verify_evidence(text: str, device: str | None = None) -> dict[str, Any]:
    """Check a report's signature and give the report.

    Args:
        text: of `Evidence.to_json`.
        device: the public key that is expected; None believes the report's own.

    Raises:
        ValueError: not a report, another device, or the signature does not hold.
    """
    try:
        tree = json.loads(text)
        report, signer = dict(tree["report"]), str(tree["device"])
        if device is not None and signer != device:
            raise ValueError(f"expected a report of device {device} and got one of {signer}")
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signer))
        key.verify(base64.b64decode(tree["signature"]), canonical(report))
    except (KeyError, TypeError, InvalidSignature) as exc:
        raise ValueError(f"expected a signed report and got: {type(exc).__name__} {exc}") from exc
    return report


class EvidenceStore:
    """Keeps reports, and remembers which the centre has.

    Args:
        folder: where.
        key: signs.
        files: makes writing durable.
    """

    def __init__(self, folder: Path, key: DeviceKey, files: DurableFiles) -> None:
        self._folder = folder
        self._key = key
        self._files = files

    def keep(self, evidence_id: str, report: dict[str, Any]) -> Evidence:
        """Sign and keep a report; StorageUnavailable where that cannot be done."""
        evidence = Evidence(evidence_id, report, self._key.public, self._key.sign(canonical(report)))
        self._files.make_directory(self._folder)
        self._files.write(self._folder / f"{evidence_id}.json", evidence.to_json().encode())
        for path in self._paths()[:-MAX_REPORTS]:
            self._files.remove(path)
            self._files.remove(path.with_suffix(".sent"))
        return evidence

    def get(self, evidence_id: str) -> str:
        """The JSON text of a report; NotFound where there is none."""
        path = self._folder / f"{evidence_id}.json"
        if path not in self._paths():
            raise NotFound(f"expected the id of a kept report and got {evidence_id!r}")
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError) as exc:
            raise StorageUnavailable(f"the report {evidence_id} is damaged") from exc

    def unsent(self, limit: int) -> tuple[str, ...]:
        """Ids of reports that the centre has not acknowledged, oldest first."""
        waiting = [path.stem for path in self._paths() if not path.with_suffix(".sent").exists()]
        return tuple(waiting[:limit])

    def mark_sent(self, evidence_id: str) -> None:
        """The centre has it."""
        self._files.write(self._folder / f"{evidence_id}.sent", b"")

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []


def _read_key(path: Path) -> Ed25519PrivateKey | None:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None
