"""The release directory: a TUF repository (specification 1.0) that a box reads from a stick, HTTPS or
MQTT alike.

What the offline keys have to sign lies in `draft/` until enough of them have; `publish` then puts it in
force with the two online keys. The timestamp is written last: a reader sees the old release or the new one.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from appliance.bundles.durable import DurableFiles
from appliance.bundles.release import FACTS_KEY, ReleaseFacts
from appliance.bundles.source import METADATA, TARGETS, chunk_path
from appliance.bundles.trust import PUBLISHED_KEY
from appliance.models.pack import ModelPack
from engine_builder.errors import BuildFailed
from engine_builder.release.cutting import cut_pack
from engine_builder.release.keys import KeyEntry

DRAFT = "draft"
OFFLINE = ("root", "targets")
THRESHOLDS = {"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1}
LIFETIMES_DAYS = {"root": 365, "targets": 180, "snapshot": 30, "timestamp": 30}
SERIALIZER = JSONSerializer(compact=True)


@dataclass(frozen=True)
class DraftStatus:
    """What an offline role still needs."""

    role: str
    version: int
    signed_by: tuple[str, ...]  # key ids
    threshold: int
    complete: bool


class ReleaseRepository:
    """A release directory at central operations.

    Args:
        folder: the directory that is published as it is, but for `draft/`.
        now: the time of signing.
        lifetimes_days: after how many days each role expires.
    """

    def __init__(
        self, folder: Path, now: datetime | None = None, lifetimes_days: dict[str, int] | None = None
    ) -> None:
        self._folder = folder
        self._now = (now or datetime.now(timezone.utc)).replace(microsecond=0)
        self._lifetimes = LIFETIMES_DAYS | (lifetimes_days or {})
        self._files = DurableFiles()

    def initialise(self, keys: Sequence[KeyEntry]) -> None:
        """Draft the first root and an empty list of releases; BuildFailed where a repository is there
        already.
        """
        if self._latest("root") is not None:
            raise BuildFailed(f"expected an empty folder and got a release repository at {self._folder}")
        root = Root(version=1, expires=self._expiry("root"), consistent_snapshot=True)
        self._assign_keys(root, keys)
        self._save_draft("root", Metadata(root))
        self._save_draft("targets", Metadata(Targets(version=1, expires=self._expiry("targets"))))

    def rotate(self, keys: Sequence[KeyEntry]) -> None:
        """Draft a root with exactly these keys, to be signed with the old root keys and with the new ones."""
        root = copy.deepcopy(self._in_force("root").signed)
        for role in THRESHOLDS:
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
        self._assign_keys(root, keys)
        root.version += 1
        root.expires = self._expiry("root")
        self._save_draft("root", Metadata(root))

    def add(self, pack: ModelPack, facts: ReleaseFacts) -> str:
        """Cut a pack into chunks, list it in the draft of targets, and give its TUF path."""
        if (facts.role, facts.contract_hash) != (pack.manifest.role.value, pack.contract_hash):
            raise BuildFailed(f"expected facts of {pack.manifest.name} and got those of {facts.name}")
        index, chunks = cut_pack(pack)
        raw = index.model_dump_json().encode()
        digest = hashlib.sha256(raw).hexdigest()
        for sha256, data in chunks.items():
            target = self._folder / chunk_path(sha256)
            if not target.exists():
                self._files.make_directory(target.parent)
                self._files.write(target, data, 0o644)
        path = f"packs/{facts.name}-{facts.version}.json"
        drafted = self._draft_of_targets()
        before = drafted.signed.targets.get(path)
        if before is not None and before.hashes["sha256"] != digest:
            raise BuildFailed(
                f"expected a new version for a changed pack and got {facts.name} {facts.version} again"
            )
        stored = self._folder / TARGETS / "packs" / f"{digest}.{facts.name}-{facts.version}.json"
        self._files.make_directory(stored.parent)
        self._files.write(stored, raw, 0o644)
        custom = {"custom": {FACTS_KEY: facts.model_dump(mode="json")}}
        drafted.signed.targets[path] = TargetFile(len(raw), {"sha256": digest}, path, custom)
        drafted.signatures.clear()
        self._save_draft("targets", drafted)
        return path

    def withdraw(self, path: str) -> None:
        """Take a release out of the draft of targets."""
        drafted = self._draft_of_targets()
        if path not in drafted.signed.targets:
            known = ", ".join(sorted(drafted.signed.targets)) or "none"
            raise BuildFailed(f"expected one of the releases {known} and got {path}")
        del drafted.signed.targets[path]
        drafted.signatures.clear()
        self._save_draft("targets", drafted)

    def releases(self) -> dict[str, ReleaseFacts]:
        """Facts of all releases, those of the draft included."""
        found = self._draft("targets") or self._latest("targets")
        targets = found.signed.targets if found is not None else {}
        return {
            path: ReleaseFacts.model_validate(target.custom[FACTS_KEY]) for path, target in targets.items()
        }

    def sign(self, role: str, signer: Signer) -> DraftStatus:
        """Add one signature to the draft of `root` or `targets`."""
        drafted = self._draft(role)
        if drafted is None:
            raise BuildFailed(f"expected a draft of {role} to sign and got none")
        drafted.sign(signer, append=True)
        self._save_draft(role, drafted)
        return self.draft_status(role)

    def draft_status(self, role: str) -> DraftStatus:
        """How far a draft is; BuildFailed where there is none."""
        drafted = self._draft(role)
        if drafted is None:
            raise BuildFailed(f"expected a draft of {role} and got none")
        judges = self._judges(role)
        results = [
            judge.get_verification_result(role, drafted.signed_bytes, drafted.signatures) for judge in judges
        ]
        return DraftStatus(
            role,
            drafted.signed.version,
            tuple(sorted(drafted.signatures)),
            max(result.threshold for result in results),
            all(bool(result) for result in results),
        )

    def publish(self, snapshot_signer: Signer, timestamp_signer: Signer) -> int:
        """Put every draft in force, date it, and give the new timestamp's version.

        Without a draft it only signs the time anew, which is what keeps boxes from taking the release for
        frozen.

        Raises:
            BuildFailed: a draft lacks signatures.
        """
        for role in OFFLINE:
            if self._draft(role) is not None:
                status = self.draft_status(role)
                if not status.complete:
                    raise BuildFailed(
                        f"expected {status.threshold} valid signatures on the draft of {role}"
                        f" and got {len(status.signed_by)}"
                    )
        for role in OFFLINE:
            drafted = self._draft(role)
            if drafted is not None:
                self._save(f"{drafted.signed.version}.{role}.json", drafted)
        snapshot = self._sign_snapshot(snapshot_signer)
        version = self._sign_timestamp(timestamp_signer, snapshot)
        for role in OFFLINE:
            self._files.remove(self._folder / DRAFT / f"{role}.json")
        return version

    def _sign_snapshot(self, signer: Signer) -> bytes:
        before = self._latest("snapshot")
        targets = self._in_force("targets")
        meta = {"targets.json": _meta_file(targets, targets.to_bytes(SERIALIZER))}
        version = before.signed.version + 1 if before is not None else 1
        snapshot = Metadata(Snapshot(version=version, expires=self._expiry("snapshot"), meta=meta))
        snapshot.sign(signer)
        return self._save(f"{version}.snapshot.json", snapshot)

    def _sign_timestamp(self, signer: Signer, snapshot_raw: bytes) -> int:
        before = self._latest("timestamp")
        snapshot: Metadata[Any] = Metadata.from_bytes(snapshot_raw)
        version = before.signed.version + 1 if before is not None else 1
        timestamp = Metadata(
            Timestamp(
                version=version,
                expires=self._expiry("timestamp"),
                snapshot_meta=_meta_file(snapshot, snapshot_raw),
                unrecognized_fields={PUBLISHED_KEY: f"{self._now:%Y-%m-%dT%H:%M:%SZ}"},
            )
        )
        timestamp.sign(signer)
        self._verify_online(snapshot, timestamp)
        self._save("timestamp.json", timestamp)
        return version

    def _verify_online(self, snapshot: Metadata[Any], timestamp: Metadata[Any]) -> None:
        root = self._in_force("root").signed
        try:
            root.verify_delegate("snapshot", snapshot.signed_bytes, snapshot.signatures)
            root.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)
        except RepositoryError as exc:
            raise BuildFailed(f"expected the online keys that the root lists and got others: {exc}") from exc

    def _assign_keys(self, root: Root, keys: Sequence[KeyEntry]) -> None:
        for role, threshold in THRESHOLDS.items():
            chosen = [entry for entry in keys if entry.role == role]
            if len(chosen) < threshold:
                raise BuildFailed(f"expected at least {threshold} keys for {role} and got {len(chosen)}")
            for entry in chosen:
                root.add_key(entry.key, role)
            root.roles[role].threshold = threshold
        root.unrecognized_fields[PUBLISHED_KEY] = f"{self._now:%Y-%m-%dT%H:%M:%SZ}"

    def _judges(self, role: str) -> list[Root]:
        drafted = self._draft("root")
        before = self._latest("root")
        new = drafted.signed if drafted is not None else None
        if role == "root":
            return [root for root in (new, before.signed if before is not None else None) if root is not None]
        if new is not None:
            return [new]
        return [self._in_force("root").signed]

    def _draft_of_targets(self) -> Metadata[Any]:
        drafted = self._draft("targets")
        if drafted is not None:
            drafted.signed.expires = self._expiry("targets")
            return drafted
        drafted = Metadata(copy.deepcopy(self._in_force("targets").signed))
        drafted.signed.version += 1
        drafted.signed.expires = self._expiry("targets")
        return drafted

    def _in_force(self, role: str) -> Metadata[Any]:
        found = self._latest(role)
        if found is None:
            raise BuildFailed(f"expected a published {role} in {self._folder} and got none; publish first")
        return found

    def _latest(self, role: str) -> Metadata[Any] | None:
        folder = self._folder / METADATA
        if role == "timestamp":
            path = folder / "timestamp.json"
            return _load(path) if path.exists() else None
        numbers = [int(path.name.split(".")[0]) for path in folder.glob(f"*.{role}.json")]
        return _load(folder / f"{max(numbers)}.{role}.json") if numbers else None

    def _draft(self, role: str) -> Metadata[Any] | None:
        path = self._folder / DRAFT / f"{role}.json"
        return _load(path) if path.exists() else None

    def _save_draft(self, role: str, metadata: Metadata[Any]) -> None:
        self._files.make_directory(self._folder / DRAFT)
        self._files.write(self._folder / DRAFT / f"{role}.json", metadata.to_bytes(SERIALIZER), 0o644)

    def _save(self, name: str, metadata: Metadata[Any]) -> bytes:
        raw = metadata.to_bytes(SERIALIZER)
        self._files.make_directory(self._folder / METADATA)
        self._files.write(self._folder / METADATA / name, raw, 0o644)
        return raw

    def _expiry(self, role: str) -> datetime:
        return self._now + timedelta(days=self._lifetimes[role])


def _meta_file(metadata: Metadata[Any], raw: bytes) -> MetaFile:
    return MetaFile(
        version=metadata.signed.version,
        length=len(raw),
        hashes={"sha256": hashlib.sha256(raw).hexdigest()},
    )


def _load(path: Path) -> Metadata[Any]:
    try:
        return Metadata.from_bytes(path.read_bytes())
    except (OSError, RepositoryError) as exc:
        raise BuildFailed(f"expected TUF metadata in {path} and got: {exc}") from exc
