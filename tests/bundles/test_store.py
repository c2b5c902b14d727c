"""Chunks in place: resumed, shared, repaired, reserved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.bundles.durable import DurableFiles
from appliance.bundles.release import CHUNK_BYTES
from appliance.bundles.source import DirectorySource, ReleaseSource
from appliance.bundles.store import BundleStore
from appliance.bundles.trust import ReleaseTrust, VerifiedRelease
from appliance.clock import ManualClock
from appliance.errors import Cancelled, ReleaseRefused, SourceUnavailable, StorageUnavailable
from engine_builder.release.cutting import cut
from tests.simulators.linear import linear_pack, weights
from tests.simulators.releases import NOW_MS, Centre

BALLAST = 5 * CHUNK_BYTES


class Counting:
    """Counts the chunks that are fetched, and breaks off after so many."""

    def __init__(self, folder: Path, most: int = 1000) -> None:
        self._source = DirectorySource(folder)
        self.most = most
        self.fetched = 0
        self.name = "counting"

    def stream(self, path: str) -> Iterator[bytes]:
        if path.startswith("chunks/"):
            if self.fetched == self.most:
                raise SourceUnavailable("the stick was pulled out")
            self.fetched += 1
        yield from self._source.stream(path)


class Site:
    """A centre, a store, and releases that went through verification."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.centre = Centre(folder / "releases")
        self.root = folder / "box"
        self.store = BundleStore(self.root, DurableFiles(), spare_bytes=0)

    def release(self, version: str, counter: int, seed: int, ballast: int = BALLAST) -> VerifiedRelease:
        pack = linear_pack(self.folder / version, version, weights(seed), ballast)
        self.centre.release(pack, counter)
        source: ReleaseSource = DirectorySource(self.centre.folder)
        trust = ReleaseTrust(self.folder / "trust", self.centre.root, DurableFiles(), ManualClock(NOW_MS), 0)
        offer = next(offer for offer in trust.refresh(source) if offer.facts.version == version)
        return trust.release(offer, source)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_bundle_is_the_pack_byte_for_byte(site: Site) -> None:
    release = site.release("1.0.0", 1, seed=2)
    source = Counting(site.centre.folder)
    told: list[tuple[int, int]] = []
    filled = site.store.stage(release, source, lambda done, total: told.append((done, total)))
    bundle = site.store.complete(release)
    original = site.folder / "1.0.0"
    for path in original.rglob("*"):
        if path.is_file():
            assert (bundle.directory / path.relative_to(original)).read_bytes() == path.read_bytes()
    assert filled.fetched == source.fetched >= 6
    assert told[-1] == (release.index.size_bytes, release.index.size_bytes)
    assert site.store.damage(bundle.bundle_id) is None


def test_a_download_goes_on_at_the_chunk_where_it_broke_off(site: Site) -> None:
    release = site.release("1.0.0", 1, seed=2)
    with pytest.raises(SourceUnavailable, match="pulled out"):
        site.store.stage(release, Counting(site.centre.folder, most=4))
    source = Counting(site.centre.folder)
    filled = site.store.stage(release, source)
    total = sum(len(file.chunks) for file in release.index.files)
    assert filled.fetched == source.fetched == total - 4
    site.store.complete(release)


def test_a_torn_chunk_is_found_by_its_hash_and_fetched_again(site: Site) -> None:
    release = site.release("1.0.0", 1, seed=2)
    site.store.stage(release, Counting(site.centre.folder))
    model = site.root / "part" / release.offer.bundle_id / "pack" / "model.onnx"
    with model.open("r+b") as file:
        file.seek(CHUNK_BYTES + 5)
        file.write(b"\0\0\0\0")
    source = Counting(site.centre.folder)
    assert site.store.stage(release, source).fetched == 1
    site.store.complete(release)


def test_chunks_that_another_bundle_holds_are_not_fetched(site: Site) -> None:
    first = site.release("1.0.0", 1, seed=2)
    site.store.stage(first, Counting(site.centre.folder))
    site.store.complete(first)
    second = site.release("1.1.0", 2, seed=3)
    source = Counting(site.centre.folder)
    filled = site.store.stage(second, source)
    site.store.complete(second)
    assert filled.fetched <= 5  # manifest, golden case, the matrix and the bytes around it
    assert filled.fetched_bytes < BALLAST / 4


def test_a_damaged_bundle_is_repaired_with_one_chunk(site: Site) -> None:
    release = site.release("1.0.0", 1, seed=2)
    site.store.stage(release, Counting(site.centre.folder))
    bundle = site.store.complete(release)
    data = bytearray((bundle.directory / "model.onnx").read_bytes())
    data[1000] ^= 4
    (bundle.directory / "model.onnx").write_bytes(bytes(data))
    (bundle.directory / "stranger").write_bytes(b"?")
    assert "model.onnx, stranger" in str(site.store.damage(bundle.bundle_id))
    assert site.store.stage(release, Counting(site.centre.folder)).fetched == 1
    site.store.complete(release)
    assert site.store.damage(bundle.bundle_id) is None


def test_a_tampered_chunk_is_refused(site: Site) -> None:
    release = site.release("1.0.0", 1, seed=2)
    victim = max((site.centre.folder / "chunks").rglob("*"), key=lambda path: path.stat().st_size)
    victim.write_bytes(bytes(victim.stat().st_size))
    with pytest.raises(ReleaseRefused, match="got other bytes from counting"):
        site.store.stage(release, Counting(site.centre.folder))


def test_room_is_asked_for_before_anything_is_fetched(site: Site) -> None:
    release = site.release("1.0.0", 1, seed=2)
    greedy = BundleStore(site.root, DurableFiles(), spare_bytes=1 << 60)
    source = Counting(site.centre.folder)
    with pytest.raises(StorageUnavailable, match=r"MiB free for linear 1\.0\.0 and got"):
        greedy.stage(release, source)
    assert source.fetched == 0


def test_a_person_may_stop_it_between_chunks(site: Site) -> None:
    release = site.release("1.0.0", 1, seed=2)
    source = Counting(site.centre.folder)

    def check() -> None:
        if source.fetched == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        site.store.stage(release, source, check=check)
    site.store.discard(release.offer.bundle_id)
    assert not list((site.root / "part").iterdir())


def test_prune_keeps_what_it_is_told_to_keep(site: Site) -> None:
    releases = [site.release(f"1.{n}.0", n + 1, seed=n + 2, ballast=0) for n in range(3)]
    for release in releases:
        site.store.stage(release, Counting(site.centre.folder))
        site.store.complete(release)
    kept = releases[1].offer.bundle_id
    assert len(site.store.prune([kept])) == 2
    assert site.store.bundle_ids() == (kept,)


def test_cutting_ends_at_borders_and_nowhere_loses_a_byte() -> None:
    data = np.random.default_rng(3).integers(0, 256, 3 * CHUNK_BYTES + 77).astype(np.uint8).tobytes()
    pieces = list(cut(data, [100, CHUNK_BYTES + 7, 0, len(data) + 5]))
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces[:2]] == [100, CHUNK_BYTES - 93]
    assert max(len(piece) for piece in pieces) <= CHUNK_BYTES
    assert list(cut(b"", [])) == []
