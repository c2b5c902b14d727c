"""The keys of a release: encrypted files for a start, hardware tokens through the same signer interface.

`keys.json` names each key, its role, its public half and where its private half is: a URI of
securesystemslib, for instance `encrypted:targets-1.pem` (a file beside it) or `hsm:2?label=SN` (PKCS#11).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, Signer, SSlibKey
from securesystemslib.signer import SecretsHandler as AskSecret

from appliance.bundles.durable import DurableFiles
from appliance.bundles.trust import SIGNER_KEY
from engine_builder.errors import BuildFailed

KEYS_NAME = "keys.json"
MIN_PASSPHRASE = 8
ROLES = ("root", "targets", "snapshot", "timestamp")


class EncryptedKeySigner(CryptoSigner):
    """Signs with a private key in an encrypted PKCS#8 file (RFC 5958)."""

    SCHEME = "encrypted"

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: AskSecret | None = None
    ) -> EncryptedKeySigner:
        """Open `encrypted:/PATH`; the handler is asked for the passphrase by the file's name."""
        path = Path(priv_key_uri.partition(":")[2])
        if secrets_handler is None or not isinstance(public_key, SSlibKey):
            raise BuildFailed(f"expected a way to ask for the passphrase of {path.name} and got none")
        try:
            secret = secrets_handler(path.stem).encode()
            private: Any = load_pem_private_key(path.read_bytes(), secret)
        except OSError as exc:
            raise BuildFailed(f"cannot read the key {path}: {exc.strerror}") from exc
        except (ValueError, TypeError) as exc:
            raise BuildFailed(f"expected the passphrase of {path.name} and got another") from exc
        return cls(private, public_key)


SIGNER_FOR_URI_SCHEME[EncryptedKeySigner.SCHEME] = EncryptedKeySigner


@dataclass(frozen=True)
class KeyEntry:
    """One key: what it is for and where its private half is."""

    name: str
    role: str  # root, targets, snapshot or timestamp
    uri: str  # of securesystemslib; a path after `encrypted:` may be relative to the key ring
    keyid: str
    public: dict[str, Any]

    @property
    def key(self) -> Key:
        """The public half, as TUF metadata lists it."""
        return Key.from_dict(self.keyid, json.loads(json.dumps(self.public)))


class KeyRing:
    """The keys that are known here; a holder of one key needs only that one's private half.

    Args:
        folder: holds `keys.json` and encrypted key files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = DurableFiles()

    def entries(self, role: str | None = None) -> tuple[KeyEntry, ...]:
        """All keys, or those of a role."""
        path = self._folder / KEYS_NAME
        if not path.exists():
            return ()
        try:
            found = tuple(KeyEntry(**entry) for entry in json.loads(path.read_text()))
        except (ValueError, TypeError) as exc:
            raise BuildFailed(f"expected a list of keys in {path} and got: {exc}") from exc
        return tuple(entry for entry in found if role in (None, entry.role))

    def find(self, name: str) -> KeyEntry:
        """The key of that name; BuildFailed where there is none."""
        for entry in self.entries():
            if entry.name == name:
                return entry
        names = ", ".join(entry.name for entry in self.entries()) or "none"
        raise BuildFailed(f"expected one of the keys {names} and got {name}")

    def create(self, name: str, role: str, passphrase: str) -> KeyEntry:
        """Make an Ed25519 key; its private half goes into an encrypted file that only this user may read."""
        if len(passphrase) < MIN_PASSPHRASE:
            raise BuildFailed(
                f"expected a passphrase of at least {MIN_PASSPHRASE} characters for {name}"
                f" and got {len(passphrase)}"
            )
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode())
        )
        self._files.make_directory(self._folder)
        self._files.write(self._folder / f"{name}.pem", pem)
        return self._remember(name, role, f"{EncryptedKeySigner.SCHEME}:{name}.pem", private.public_key())

    def adopt(self, name: str, role: str, uri: str, public_pem: bytes) -> KeyEntry:
        """List a key whose private half is elsewhere, for instance on a hardware token."""
        try:
            public = load_pem_public_key(public_pem)
        except ValueError as exc:
            raise BuildFailed(f"expected a public key in PEM for {name} and got: {exc}") from exc
        return self._remember(name, role, uri, public)

    def signer(self, entry: KeyEntry, ask: AskSecret) -> Signer:
        """What signs with a key; `ask` is called for passphrases and PINs."""
        scheme, _, rest = entry.uri.partition(":")
        uri = f"{scheme}:{self._folder / rest}" if scheme == EncryptedKeySigner.SCHEME else entry.uri
        try:
            return Signer.from_priv_key_uri(uri, entry.key, ask)
        except (ValueError, OSError) as exc:
            raise BuildFailed(f"cannot use the key {entry.name}: {exc}") from exc

    def _remember(self, name: str, role: str, uri: str, public: Any) -> KeyEntry:
        known = self.entries()
        if any(entry.name == name for entry in known):
            raise BuildFailed(f"expected a new name for a key and got {name}, which is taken")
        if role not in ROLES:
            raise BuildFailed(f"expected a role among {', '.join(ROLES)} and got {role}")
        key = SSlibKey.from_crypto(public)
        key.unrecognized_fields[SIGNER_KEY] = name
        entry = KeyEntry(name, role, uri, key.keyid, key.to_dict())
        self._save((*known, entry))
        return entry

    def _save(self, entries: Sequence[KeyEntry]) -> None:
        self._files.make_directory(self._folder)
        text = json.dumps([asdict(entry) for entry in entries], indent=2)
        self._files.write(self._folder / KEYS_NAME, text.encode())
