"""The packs on the disk: staged chunk by chunk in place, moved under their hash when whole, kept while
needed.

    part/ID/       being filled: every file at its final size, chunks written at their offsets
    bundles/ID/    whole: `pack/` and `release.json` with the signed facts and the chunk list
    roles/ROLE.*   which bundle serves a role, which served before, and whether that is confirmed

A chunk is content-addressed, so a half-written one is found by its hash and fetched again: resuming needs no
list of what has arrived, and a chunk that any bundle of the box holds already is never fetched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.bundles.durable import DurableFiles
from appliance.bundles.release import IndexedFile, PackIndex, ReleaseFacts, parse_index
from appliance.bundles.seeds import Seeds, hashes_to, opened
from appliance.bundles.slots import seal, unseal
from appliance.bundles.source import ReleaseSource, chunk_path, read_at_most
from appliance.bundles.trust import VerifiedRelease
from appliance.errors import ReleaseRefused, StorageUnavailable

RECORD = "release.json"
PACK = "pack"
INDEX = "index.json"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A whole pack on the disk with the facts that were signed for it."""

    bundle_id: str
    directory: Path  # the pack directory
    facts: ReleaseFacts
    index: PackIndex
    approved_by: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True)
class Filled:
    """Where the chunks of a stage came from."""

    fetched: int
    reused: int  # lay in the stage already or in another bundle
    fetched_bytes: int


Progress = Callable[[int, int], None]
"""Bytes in place, and bytes in all."""


class BundleStore:
    """The bundles of a box.

    Args:
        root: folder of the model releases.
        files: makes changes durable.
        spare_bytes: what has to be left free on the disk beside a new bundle.
    """

    def __init__(self, root: Path, files: DurableFiles, spare_bytes: int) -> None:
        self._root = root
        self._files = files
        self._spare_bytes = spare_bytes

    def stage(
        self,
        release: VerifiedRelease,
        source: ReleaseSource,
        progress: Progress = lambda _done, _total: None,
        check: Callable[[], None] = lambda: None,
    ) -> Filled:
        """Fetch what is missing of a release into its stage; goes on where it was cut off.

        Args:
            release: went through verification.
            source: where missing chunks are fetched.
            progress: told after each chunk.
            check: raises Cancelled where a person wants it to stop.

        Raises:
            StorageUnavailable: no room, or the disk failed; what is there stays.
            SourceUnavailable: a chunk could not be had; what is there stays.
            ReleaseRefused: a chunk is not what was signed.
        """
        bundle_id = release.offer.bundle_id
        self._take_apart_if_damaged(bundle_id)
        if self.find(bundle_id) is not None:
            progress(release.index.size_bytes, release.index.size_bytes)
            return Filled(0, sum(len(file.chunks) for file in release.index.files), 0)
        part = self._part(bundle_id)
        seeds = Seeds(self._seed_files())
        self._reserve(part, release)
        fetched = reused = fetched_bytes = done = 0
        for file in release.index.files:
            target = part / PACK / file.path
            with opened(target) as descriptor:
                for chunk in file.pieces():
                    check()
                    lying = os.pread(descriptor, chunk.size_bytes, chunk.offset)
                    if not hashes_to(lying, chunk.sha256):
                        data = seeds.find(chunk.sha256)
                        if data is None:
                            data = self._fetch(source, chunk.sha256, chunk.size_bytes)
                            fetched, fetched_bytes = fetched + 1, fetched_bytes + len(data)
                        else:
                            reused += 1
                        self._files.write_at(descriptor, data, chunk.offset, target)
                    else:
                        reused += 1
                    done += chunk.size_bytes
                    progress(done, release.index.size_bytes)
        self._files.flush_tree(part)
        return Filled(fetched, reused, fetched_bytes)

    def complete(self, release: VerifiedRelease) -> Bundle:
        """Read the stage back, check every chunk, and move it under its own name.

        Raises:
            ReleaseRefused: a chunk is not what was signed: the disk gave back other bytes than it was given.
        """
        bundle_id = release.offer.bundle_id
        found = self.find(bundle_id)
        if found is not None:
            return found
        part = self._part(bundle_id)
        self._remove_strangers(part / PACK, release.index)
        wrong = wrong_files(part / PACK, release.index)
        if wrong:
            raise ReleaseRefused(
                f"expected the staged files as they were signed and got others: {', '.join(wrong)}"
            )
        record = {
            "bundle_id": bundle_id,
            "facts": release.offer.facts.model_dump(mode="json"),
            "approved_by": list(release.offer.approved_by),
        }
        self._files.write(part / INDEX, release.index_raw)
        self._files.write(part / RECORD, seal(record))
        self._files.make_directory(self._root / "bundles")
        self._files.move(part, self._bundle(bundle_id))
        bundle = self.find(bundle_id)
        if bundle is None:
            raise StorageUnavailable(f"expected the bundle {bundle_id[:12]} on the disk and got nothing")
        return bundle

    def find(self, bundle_id: str) -> Bundle | None:
        """A whole bundle; None where it is not there, or its record or its manifest is damaged.

        The manifest carries the hashes of the pack's other files, which opening the pack checks; what guards
        the manifest itself is the chunk list.
        """
        directory = self._bundle(bundle_id)
        record = unseal(directory / RECORD)
        if record is None or record.get("bundle_id") != bundle_id:
            return None
        try:
            raw = (directory / INDEX).read_bytes()
            facts = ReleaseFacts.model_validate_json(json.dumps(record["facts"]))
            approved_by = tuple(str(name) for name in record["approved_by"])
            index = parse_index(raw)
        except (OSError, ValueError, KeyError, TypeError, ReleaseRefused):
            return None
        if not hashes_to(raw, bundle_id) or not _manifest_whole(directory / PACK, index):
            return None
        return Bundle(bundle_id, directory / PACK, facts, index, approved_by, index.size_bytes)

    def damage(self, bundle_id: str) -> str | None:
        """Say in one sentence what is wrong with a stored bundle, or give None where every byte is as
        signed.
        """
        bundle = self.find(bundle_id)
        if bundle is None:
            return f"bundle {bundle_id[:12]} is missing, or its record is damaged"
        wrong = wrong_files(bundle.directory, bundle.index)
        return f"{bundle.facts.title} is damaged in {', '.join(wrong)}" if wrong else None

    def discard(self, bundle_id: str) -> None:
        """Delete a stage or a bundle."""
        self._files.remove(self._part(bundle_id))
        self._files.remove(self._bundle(bundle_id))

    def prune(self, keep: Iterable[str]) -> tuple[str, ...]:
        """Delete every bundle and stage but those of `keep`; the ids of what went."""
        kept = set(keep)
        gone = []
        for folder in (self._root / "bundles", self._root / "part"):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.name not in kept:
                    self._files.remove(path)
                    gone.append(path.name)
        return tuple(gone)

    def bundle_ids(self) -> tuple[str, ...]:
        """Ids of the whole bundles."""
        folder = self._root / "bundles"
        return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()

    def _take_apart_if_damaged(self, bundle_id: str) -> None:
        """Make a damaged bundle a stage again: what is whole in it need not be fetched."""
        if self._bundle(bundle_id).is_dir() and self.damage(bundle_id) is not None:
            self._files.remove(self._part(bundle_id))
            self._files.make_directory(self._root / "part")
            self._files.move(self._bundle(bundle_id), self._part(bundle_id))

    def _reserve(self, part: Path, release: VerifiedRelease) -> None:
        self._files.make_directory(part / PACK)
        status = os.statvfs(part)
        free = status.f_bavail * status.f_frsize
        lying = sum(path.stat().st_blocks * 512 for path in part.rglob("*") if path.is_file())
        needed = release.index.size_bytes + self._spare_bytes - lying
        if needed > free:
            raise StorageUnavailable(
                f"expected {needed >> 20} MiB free for {release.offer.facts.title} and got {free >> 20} MiB"
            )
        for file in release.index.files:
            target = part / PACK / file.path
            self._files.make_directory(target.parent)
            self._files.reserve(target, file.size_bytes)

    def _remove_strangers(self, pack: Path, index: PackIndex) -> None:
        listed = {file.path for file in index.files}
        for path in sorted(pack.rglob("*")):
            if not path.is_dir() and path.relative_to(pack).as_posix() not in listed:
                self._files.remove(path)

    def _fetch(self, source: ReleaseSource, sha256: str, size_bytes: int) -> bytes:
        data = read_at_most(source, chunk_path(sha256), size_bytes)
        if not hashes_to(data, sha256):
            raise ReleaseRefused(
                f"expected chunk {sha256[:12]} of {size_bytes} bytes and got other bytes from {source.name}"
            )
        return data

    def _seed_files(self) -> Iterator[tuple[Path, PackIndex]]:
        for bundle_id in self.bundle_ids():
            bundle = self.find(bundle_id)
            if bundle is not None:
                yield bundle.directory, bundle.index

    def _part(self, bundle_id: str) -> Path:
        return self._root / "part" / bundle_id

    def _bundle(self, bundle_id: str) -> Path:
        return self._root / "bundles" / bundle_id


def wrong_files(pack: Path, index: PackIndex) -> list[str]:
    """Paths of the files that are not, byte for byte, what the index lists; strangers among them."""
    wrong = [file.path for file in index.files if not _file_whole(pack, file)]
    listed = {file.path for file in index.files}
    found = {path.relative_to(pack).as_posix() for path in pack.rglob("*") if not path.is_dir()}
    return wrong + sorted(found - listed)


def _manifest_whole(pack: Path, index: PackIndex) -> bool:
    return any(file.path == MANIFEST and _file_whole(pack, file) for file in index.files)


def _file_whole(pack: Path, file: IndexedFile) -> bool:
    try:
        with (pack / file.path).open("rb", buffering=0) as opened:
            whole = all(hashes_to(opened.read(chunk.size_bytes), chunk.sha256) for chunk in file.pieces())
            return whole and not opened.read(1)
    except OSError:
        return False
