"""Site-local pseudonyms: the same identifier gives the same pseudonym on this box, and on no other.

A keyed hash (HMAC-SHA-256, RFC 2104) with a secret that is made at the first start and never leaves the box.
Without the secret nobody can try out identifiers; who loses it loses the link between old and new results.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from pathlib import Path

from appliance.errors import ConfigurationError, StorageUnavailable

FILE_NAME = "site-secret"
SECRET_BYTES = 32


class Pseudonyms:
    """Gives pseudonyms; any number of threads may share it.

    Args:
        secret: of this site, `SECRET_BYTES` bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"expected a secret of {SECRET_BYTES} bytes and got {len(secret)}")
        self._secret = secret

    def uid(self, uid: str) -> str:
        """A DICOM UID that stands for `uid`, of the form 2.25.… (PS3.5, B.2); empty for an empty one.

        The number is a UUID of version 8 (RFC 9562, 5.8) made of the first 128 bits of the keyed hash.
        """
        if not uid:
            return ""
        digest = hmac.new(self._secret, b"dicom-uid\0" + uid.encode("utf-8"), hashlib.sha256).digest()
        number = int.from_bytes(digest[:16], "big")
        number = number & ~(0xF << 76) | (8 << 76)  # version
        number = number & ~(0x3 << 62) | (0x2 << 62)  # variant
        return f"2.25.{uuid.UUID(int=number).int}"


def site_secret(state_directory: Path) -> bytes:
    """The secret of this site; made at the first start, readable by its owner alone.

    Raises:
        ConfigurationError: the file is there, but others may read it, or it holds something else.
        StorageUnavailable: it cannot be read or written.
    """
    path = state_directory / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        mode = path.stat().st_mode & 0o777
        secret = path.read_bytes()
    except OSError as exc:
        raise StorageUnavailable(f"cannot keep the site's secret: {exc.strerror}") from exc
    if mode & 0o077:
        raise ConfigurationError(
            f"expected {path} to be for its owner alone (mode 600) and got mode {mode:o}"
        )
    if len(secret) != SECRET_BYTES:
        raise ConfigurationError(
            f"expected {SECRET_BYTES} bytes in {path} and got {len(secret)}: bring it back from a backup, or"
            " remove it and lose the link between old and new pseudonyms"
        )
    return secret


def _make(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
