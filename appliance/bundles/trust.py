"""What may be believed of a source: The Update Framework (TUF specification 1.0) over python-tuf's
updater.

python-tuf does the verification. What it leaves open is closed here: metadata is kept durably (it does not
flush files), a dead clock cannot make expired metadata valid (time floor), and damage of the local copy
cannot make older metadata acceptable again (version floor, beside the metadata that it guards).
"""

from __future__ import annotations

import datetime
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from appliance.bundles.durable import DurableFiles
from appliance.bundles.floor import Floor, TrustFloor, older_than
from appliance.bundles.release import MAX_INDEX_BYTES, Offer, PackIndex, parse_facts, parse_index
from appliance.bundles.source import METADATA, TARGETS, ReleaseSource, read_at_most
from appliance.clock import Clock
from appliance.errors import NotFound, ReleaseRefused, SourceUnavailable, StorageUnavailable

BASE = "release"
PUBLISHED_KEY = "appliance_published"
"""In signed timestamp and root metadata: when it was signed, ISO 8601; feeds the time floor."""

SIGNER_KEY = "appliance_name"
"""In a key of root metadata: whose key it is, for the history of a box."""

ROLES = (Timestamp.type, Snapshot.type, Targets.type)
_SEAL = object()


@dataclass(frozen=True)
class VerifiedRelease:
    """A release whose facts and chunk list are vouched for by the targets keys; only `ReleaseTrust` makes
    one.
    """

    offer: Offer
    index: PackIndex
    index_raw: bytes
    seal: object

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise ReleaseRefused("expected a release that went through verification and got a made-up one")


class ReleaseTrust:
    """The TUF client of a box.

    Args:
        directory: keeps the verified metadata; made where it is not there.
        shipped_root: root metadata that came with the box, outside of any source; the anchor of all trust.
        files: makes writes durable.
        clock: the box's own clock, which may be wrong.
        built_ms: when this software was released, Unix milliseconds; no honest clock is before it.
    """

    def __init__(
        self, directory: Path, shipped_root: bytes, files: DurableFiles, clock: Clock, built_ms: int
    ) -> None:
        self._directory = directory
        self._shipped_root = shipped_root
        self._files = files
        self._floor = TrustFloor(files, directory, clock, built_ms)

    def refresh(self, source: ReleaseSource) -> tuple[Offer, ...]:
        """Fetch and verify the metadata of a source, and keep what was verified.

        Returns:
            Every release that it offers, in the order of their paths.

        Raises:
            ReleaseRefused: a signature, version, hash or date is wrong; nothing that is older was kept.
            SourceUnavailable: the source is not reachable or gave up.
            StorageUnavailable: the metadata could not be kept.
        """
        self._files.make_directory(self._directory)
        for leftover in self._directory.glob("work-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            with tempfile.TemporaryDirectory(prefix="work-", dir=self._directory) as name:
                return self._refresh_in(Path(name), source)
        except OSError as exc:
            raise StorageUnavailable(f"cannot keep release metadata: {exc.strerror}") from exc

    def release(self, offer: Offer, source: ReleaseSource) -> VerifiedRelease:
        """Fetch the chunk list of an offer that `refresh` gave, and check it against its signed hash."""
        folder, _, name = offer.path.rpartition("/")
        path = "/".join(part for part in (TARGETS, folder, f"{offer.bundle_id}.{name}") if part)
        try:
            raw = read_at_most(source, path, offer.index_bytes)
        except NotFound as exc:
            raise SourceUnavailable(f"{source.name} offers {offer.facts.title} and does not have it") from exc
        if len(raw) != offer.index_bytes or hashlib.sha256(raw).hexdigest() != offer.bundle_id:
            raise ReleaseRefused(
                f"expected sha256 {offer.bundle_id} for {offer.path}"
                f" and got {hashlib.sha256(raw).hexdigest()}"
            )
        return VerifiedRelease(offer, parse_index(raw), raw, _SEAL)

    def _refresh_in(self, work: Path, source: ReleaseSource) -> tuple[Offer, ...]:
        self._bring_back(work)
        floor = self._floor.read()
        now = datetime.datetime.fromtimestamp(self._floor.now_ms() / 1000, datetime.timezone.utc)
        try:
            updater = Updater(
                str(work),
                f"{BASE}/{METADATA}/",
                fetcher=_SourceFetcher(source),
                config=UpdaterConfig(max_root_rotations=64, max_delegations=1),
                bootstrap=self._shipped_root,
            )
        except tuf_errors.RepositoryError as exc:
            raise ReleaseRefused(f"the trust root that this box was given is not usable: {exc}") from exc
        # the updater offers no other way to tell it the time; a test holds that it takes effect
        updater._trusted_set.reference_time = now
        try:
            updater.refresh()
        except tuf_errors.DownloadLengthMismatchError as exc:
            raise ReleaseRefused(f"{source.name} sends metadata without end: {exc}") from exc
        except tuf_errors.DownloadError as exc:
            raise SourceUnavailable(f"cannot fetch release metadata from {source.name}: {exc}") from exc
        except tuf_errors.ExpiredMetadataError as exc:
            raise ReleaseRefused(
                f"expected release metadata that is valid on {now:%Y-%m-%d} and got: {exc};"
                " what is installed goes on serving"
            ) from exc
        except tuf_errors.RepositoryError as exc:
            raise ReleaseRefused(f"{source.name} failed verification: {exc}") from exc
        finally:
            self._keep(work, floor)
        found = _Verified.read(work)
        self._floor.raise_to(found.floor(), found.published_ms())
        return found.offers()

    def _bring_back(self, work: Path) -> None:
        history = self._directory / "root_history"
        if history.is_dir():
            shutil.copytree(history, work / "root_history", ignore=shutil.ignore_patterns("*.tmp"))
        for role in ROLES:
            kept = self._directory / f"{role}.json"
            if kept.is_file():
                shutil.copyfile(kept, work / kept.name)

    def _keep(self, work: Path, floor: Floor) -> None:
        """Make durable what the updater verified, oldest link first; refuse what is below the floor."""
        self._files.make_directory(self._directory / "root_history")
        for path in sorted((work / "root_history").glob("*.root.json"), key=_number):
            self._keep_file(path, self._directory / "root_history" / path.name)
        complaint = older_than(_Verified.read(work).floor(), floor)
        if complaint is not None:
            raise ReleaseRefused(complaint)
        for role in ROLES:
            if (work / f"{role}.json").is_file():
                self._keep_file(work / f"{role}.json", self._directory / f"{role}.json")

    def _keep_file(self, source: Path, target: Path) -> None:
        data = source.read_bytes()
        if not target.is_file() or target.read_bytes() != data:
            self._files.write(target, data)


class _SourceFetcher(FetcherInterface):
    """Lets python-tuf ask a `ReleaseSource`."""

    def __init__(self, source: ReleaseSource) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from self._source.stream(url.removeprefix(f"{BASE}/"))
        except NotFound as exc:
            raise tuf_errors.DownloadHTTPError(str(exc), 404) from exc
        except SourceUnavailable as exc:
            raise tuf_errors.DownloadError(str(exc)) from exc


@dataclass(frozen=True)
class _Verified:
    """The metadata files in an updater's folder, parsed again; a damaged one counts as absent."""

    root: Metadata[Root] | None
    roles: Mapping[str, Metadata[Any]]

    @classmethod
    def read(cls, work: Path) -> _Verified:
        roots = sorted((work / "root_history").glob("*.root.json"), key=_number)
        roles = {role: _load(work / f"{role}.json") for role in ROLES}
        return cls(
            _load(roots[-1]) if roots else None,
            {role: found for role, found in roles.items() if found is not None},
        )

    def floor(self) -> Floor:
        versions = {role: int(found.signed.version) for role, found in self.roles.items()}
        keys: dict[str, tuple[str, ...]] = {}
        if self.root is not None:
            versions[Root.type] = self.root.signed.version
            keys = {role: tuple(sorted(self.root.signed.roles[role].keyids)) for role in ROLES}
        return Floor(versions, keys)

    def published_ms(self) -> int:
        stamps = [self.root, self.roles.get(Timestamp.type)]
        return max((_published_ms(found) for found in stamps if found is not None), default=0)

    def offers(self) -> tuple[Offer, ...]:
        targets = self.roles[Targets.type]
        names = self._signers(targets)
        offers = []
        for path, target in sorted(targets.signed.targets.items()):
            custom = target.custom or {}
            digest = target.hashes.get("sha256", "")
            if len(digest) != 64 or not 0 < target.length <= MAX_INDEX_BYTES:
                raise ReleaseRefused(
                    f"expected a pack index with its sha256 in {path} and got another target"
                )
            offers.append(Offer(path, digest, target.length, parse_facts(custom, path), names))
        return tuple(offers)

    def _signers(self, targets: Metadata[Any]) -> tuple[str, ...]:
        if self.root is None:
            return ()
        result = self.root.signed.get_verification_result(
            Targets.type, targets.signed_bytes, targets.signatures
        )
        return tuple(
            sorted(
                str(key.unrecognized_fields.get(SIGNER_KEY, keyid[:12]))
                for keyid, key in result.signed.items()
            )
        )


def _load(path: Path) -> Metadata[Any] | None:
    try:
        return Metadata.from_bytes(path.read_bytes())
    except (OSError, tuf_errors.RepositoryError):
        return None


def _published_ms(metadata: Metadata[Any]) -> int:
    text = metadata.signed.unrecognized_fields.get(PUBLISHED_KEY)
    try:
        stamp = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        # a date beyond its own expiry is a mistake of the signer, and must not shut the box for ever
        return round(stamp.timestamp() * 1000) if stamp <= metadata.signed.expires else 0
    except (ValueError, TypeError, OverflowError):
        return 0


def _number(path: Path) -> int:
    number = path.name.split(".")[0]
    return int(number) if number.isdigit() else -1
