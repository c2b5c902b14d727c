"""A whole release chain in a folder: keys in memory, a repository, packs of a few nodes, and a box that
takes them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner

from appliance.bundles.release import ReleaseFacts
from appliance.bundles.trust import SIGNER_KEY
from appliance.models.pack import ModelPack
from engine_builder.release.keys import KeyEntry
from engine_builder.release.repository import ReleaseRepository

NOW = datetime(2026, 12, 1, tzinfo=timezone.utc)
NOW_MS = round(NOW.timestamp() * 1000)
STANDARD = {
    "root-1": "root",
    "root-2": "root",
    "root-3": "root",
    "targets-1": "targets",
    "targets-2": "targets",
    "snapshot": "snapshot",
    "timestamp": "timestamp",
}


class TestKeys:
    """Keys of a release in memory."""

    __test__ = False

    def __init__(self, names: Mapping[str, str] = STANDARD) -> None:
        self.signers: dict[str, CryptoSigner] = {}
        self.entries: dict[str, KeyEntry] = {}
        for name, role in names.items():
            self.add(name, role)

    def add(self, name: str, role: str) -> None:
        signer = CryptoSigner.generate_ed25519()
        key = signer.public_key
        key.unrecognized_fields[SIGNER_KEY] = name
        self.signers[name] = signer
        self.entries[name] = KeyEntry(name, role, "memory:", key.keyid, key.to_dict())

    def ring(self, *without: str) -> tuple[KeyEntry, ...]:
        return tuple(entry for name, entry in self.entries.items() if name not in without)


@cache
def keys() -> TestKeys:
    return TestKeys()


class Centre:
    """Central operations: signs and publishes into a folder."""

    def __init__(self, folder: Path, ring: TestKeys | None = None, now: datetime = NOW) -> None:
        self.folder = folder
        self.keys = ring or keys()
        self.now = now
        self.repository.initialise(self.keys.ring())
        self.sign("root", "root-1", "root-2")
        self.sign("targets", "targets-1", "targets-2")
        self.publish()
        self.root = (folder / "metadata" / "1.root.json").read_bytes()

    @property
    def repository(self) -> ReleaseRepository:
        return ReleaseRepository(self.folder, self.now)

    def sign(self, role: str, *names: str) -> None:
        for name in names:
            self.repository.sign(role, self.keys.signers[name])

    def publish(self) -> None:
        self.repository.publish(self.keys.signers["snapshot"], self.keys.signers["timestamp"])

    def replace_online_keys(self) -> None:
        """What an operator does when the online keys were stolen."""
        for role in ("snapshot", "timestamp"):
            del self.keys.signers[role], self.keys.entries[role]
            self.keys.add(role, role)
        self.repository.rotate(self.keys.ring())
        self.sign("root", "root-1", "root-2")
        self.publish()

    def release(self, pack: Path, counter: int, **changes: Any) -> str:
        """Add, sign by both, publish; the TUF path."""
        path = self.repository.add(ModelPack.open(pack), facts_of(pack, counter, **changes))
        self.sign("targets", "targets-1", "targets-2")
        self.publish()
        return path


def facts_of(pack: Path, counter: int, **changes: Any) -> ReleaseFacts:
    opened = ModelPack.open(pack)
    facts = ReleaseFacts(
        name=opened.manifest.name,
        version=opened.manifest.version,
        role=opened.manifest.role.value,
        contract_hash=opened.contract_hash,
        hardware=("any",),
        minimum_daemon="0.1.0",
        counter=counter,
        latency_ms_p95=200,
        memory_mib=100,
    )
    return facts.model_copy(update=changes)


def copy_release(source: Path, target: Path) -> Path:
    """A stick: the repository without its drafts."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("draft"))
    return target
