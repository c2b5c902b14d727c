"""TUF's attacks, each against a box that already trusts a repository; and what a dead clock may do."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from appliance.bundles.durable import DurableFiles
from appliance.bundles.source import DirectorySource
from appliance.bundles.trust import ReleaseTrust, VerifiedRelease
from appliance.clock import ManualClock
from appliance.errors import ApplianceError, NotFound, ReleaseRefused, SourceUnavailable
from appliance.models.pack import ModelPack
from tests.simulators.linear import linear_pack, weights
from tests.simulators.releases import NOW, NOW_MS, Centre, TestKeys, facts_of

YEAR_MS = 365 * 86_400_000
BUILT_MS = NOW_MS - YEAR_MS


class Client:
    """The trust of a box, made anew for each start."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.folder = folder
        self.root = root
        self.clock = ManualClock(NOW_MS)

    def refresh(self, source: Any) -> tuple[str, ...]:
        source = DirectorySource(source) if isinstance(source, Path) else source
        trust = ReleaseTrust(self.folder, self.root, DurableFiles(), self.clock, BUILT_MS)
        return tuple(offer.facts.version for offer in trust.refresh(source))


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    centre = Centre(tmp_path / "releases", TestKeys())
    centre.release(linear_pack(tmp_path / "packs" / "1.0.0", "1.0.0", weights(2)), 1)
    return centre


@pytest.fixture
def client(tmp_path: Path, centre: Centre) -> Client:
    return Client(tmp_path / "trust", centre.root)


def more(centre: Centre, version: str, counter: int) -> None:
    centre.release(
        linear_pack(centre.folder.parent / "packs" / version, version, weights(counter + 3)), counter
    )


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def test_an_honest_repository_is_believed(client: Client, centre: Centre) -> None:
    assert client.refresh(centre.folder) == ("1.0.0",)
    more(centre, "1.1.0", 2)
    assert client.refresh(centre.folder) == ("1.0.0", "1.1.0")
    assert client.refresh(centre.folder) == ("1.0.0", "1.1.0")


def test_a_verified_release_cannot_be_made_up(client: Client, centre: Centre) -> None:
    trust = ReleaseTrust(client.folder, client.root, DurableFiles(), client.clock, BUILT_MS)
    source = DirectorySource(centre.folder)
    (offer,) = trust.refresh(source)
    real = trust.release(offer, source)
    with pytest.raises(ReleaseRefused, match="made-up"):
        VerifiedRelease(offer, real.index, real.index_raw, object())


def test_rollback_to_an_older_repository_is_refused(client: Client, centre: Centre, tmp_path: Path) -> None:
    old = shutil.copytree(centre.folder, tmp_path / "old")
    more(centre, "1.1.0", 2)
    client.refresh(centre.folder)
    with pytest.raises(ReleaseRefused, match="failed verification"):
        client.refresh(old)
    assert client.refresh(centre.folder) == ("1.0.0", "1.1.0")


@pytest.mark.parametrize("damage", ["timestamp.json", "snapshot.json", "targets.json", "all"])
def test_damage_of_the_local_copy_is_no_way_to_roll_back(
    client: Client, centre: Centre, tmp_path: Path, damage: str
) -> None:
    old = shutil.copytree(centre.folder, tmp_path / "old")
    more(centre, "1.1.0", 2)
    client.refresh(centre.folder)
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        if damage in (name, "all"):
            (client.folder / name).write_bytes(b"torn")
    with pytest.raises(ReleaseRefused):
        client.refresh(old)
    assert client.refresh(centre.folder) == ("1.0.0", "1.1.0")


def test_a_frozen_repository_stops_updates_once_it_has_expired(client: Client, centre: Centre) -> None:
    client.refresh(centre.folder)
    client.clock.advance(40 * 86_400)
    with pytest.raises(ReleaseRefused, match="what is installed goes on serving"):
        client.refresh(centre.folder)
    centre.now = NOW + datetime.timedelta(days=40)
    centre.publish()
    assert client.refresh(centre.folder) == ("1.0.0",)


def test_a_mixture_of_two_states_is_refused(client: Client, centre: Centre, tmp_path: Path) -> None:
    old = shutil.copytree(centre.folder, tmp_path / "old")
    more(centre, "1.1.0", 2)
    mixed = shutil.copytree(centre.folder, tmp_path / "mixed")
    shutil.copyfile(old / "metadata" / "2.targets.json", mixed / "metadata" / "3.targets.json")
    with pytest.raises(ReleaseRefused):
        client.refresh(mixed)
    mixed2 = shutil.copytree(centre.folder, tmp_path / "mixed2")
    shutil.copyfile(old / "metadata" / "2.snapshot.json", mixed2 / "metadata" / "3.snapshot.json")
    with pytest.raises(ReleaseRefused):
        Client(tmp_path / "another", centre.root).refresh(mixed2)


class Endless:
    """Serves a repository, but one file never ends."""

    def __init__(self, folder: Path, endless: str) -> None:
        self._honest = DirectorySource(folder)
        self._endless = endless
        self.given = 0
        self.name = "endless"

    def stream(self, path: str) -> Iterator[bytes]:
        if self._endless not in path:
            yield from self._honest.stream(path)
            return
        while True:
            self.given += 65536
            assert self.given < 64 << 20, "expected the reader to stop"
            yield b"x" * 65536


@pytest.mark.parametrize("path", ["timestamp.json", "snapshot.json", "targets.json", "2.root.json"])
def test_endless_metadata_is_cut_off(client: Client, centre: Centre, path: str) -> None:
    source = Endless(centre.folder, path)
    with pytest.raises(ReleaseRefused, match="without end"):
        client.refresh(source)
    assert source.given <= 6 << 20


def test_an_endless_index_is_cut_off(client: Client, centre: Centre) -> None:
    trust = ReleaseTrust(client.folder, client.root, DurableFiles(), client.clock, BUILT_MS)
    source = Endless(centre.folder, "linear-1.0.0")
    (offer,) = trust.refresh(source)
    with pytest.raises(SourceUnavailable, match="and got more"):
        trust.release(offer, source)


def test_metadata_signed_with_strange_keys_is_refused(client: Client, centre: Centre, tmp_path: Path) -> None:
    client.refresh(centre.folder)
    stranger = Centre(tmp_path / "stranger", TestKeys())
    stranger.release(linear_pack(tmp_path / "packs" / "6.6.6", "6.6.6", weights(6)), 66)
    for _version in range(3, 7):  # newer than what the box knows
        stranger.publish()
    with pytest.raises(ReleaseRefused, match="failed verification"):
        client.refresh(stranger.folder)
    assert client.refresh(centre.folder) == ("1.0.0",)


@pytest.mark.parametrize("stolen", [("targets-1",), ("targets-2",), ("targets-1", "targets-1")])
def test_one_stolen_targets_key_is_not_enough(
    client: Client, centre: Centre, tmp_path: Path, stolen: tuple[str, ...]
) -> None:
    evil = shutil.copytree(centre.folder, tmp_path / "evil")
    pack = linear_pack(tmp_path / "packs" / "6.6.6", "6.6.6", weights(6))
    attacker = Centre.__new__(Centre)
    attacker.folder, attacker.keys, attacker.now = evil, centre.keys, NOW
    attacker.repository.add(ModelPack.open(pack), facts_of(pack, 66))
    attacker.sign("targets", *stolen)
    # the attacker has the online keys too, and skips the check of `publish`
    shutil.move(evil / "draft" / "targets.json", evil / "metadata" / "3.targets.json")
    attacker.publish()
    with pytest.raises(ReleaseRefused, match="failed verification"):
        client.refresh(evil)


def test_one_stolen_root_key_is_not_enough(client: Client, centre: Centre, tmp_path: Path) -> None:
    evil = shutil.copytree(centre.folder, tmp_path / "evil")
    attacker = Centre.__new__(Centre)
    attacker.folder, attacker.keys, attacker.now = evil, centre.keys, NOW
    attacker.repository.rotate(centre.keys.ring())
    attacker.sign("root", "root-1")
    shutil.move(evil / "draft" / "root.json", evil / "metadata" / "2.root.json")
    with pytest.raises(ReleaseRefused, match="failed verification"):
        client.refresh(evil)
    assert client.refresh(centre.folder) == ("1.0.0",)


def test_keys_rotate_and_the_old_ones_count_no_more(client: Client, centre: Centre, tmp_path: Path) -> None:
    client.refresh(centre.folder)
    centre.keys.add("targets-3", "targets")
    centre.repository.rotate(centre.keys.ring("targets-1"))
    centre.sign("root", "root-1", "root-3")
    drafted = linear_pack(tmp_path / "packs" / "1.1.0", "1.1.0", weights(5))
    from appliance.models.pack import ModelPack

    centre.repository.add(ModelPack.open(drafted), facts_of(drafted, 2))
    centre.sign("targets", "targets-2", "targets-3")
    centre.publish()
    assert client.refresh(centre.folder) == ("1.0.0", "1.1.0")
    # a box that was asleep follows the chain of roots from the one that it was given
    asleep = Client(tmp_path / "asleep", centre.root)
    assert asleep.refresh(centre.folder) == ("1.0.0", "1.1.0")


def test_a_fast_forward_with_stolen_online_keys_ends_with_their_rotation(
    client: Client, centre: Centre
) -> None:
    path = centre.folder / "metadata" / "timestamp.json"
    honest = path.read_bytes()
    metadata: Metadata[Any] = Metadata.from_bytes(honest)
    metadata.signed.version = 1_000_000
    metadata.sign(centre.keys.signers["timestamp"])
    path.write_bytes(metadata.to_bytes())
    client.refresh(centre.folder)
    path.write_bytes(honest)
    with pytest.raises(ReleaseRefused):
        client.refresh(centre.folder)
    centre.replace_online_keys()
    assert client.refresh(centre.folder) == ("1.0.0",)


def test_a_tampered_index_is_refused(client: Client, centre: Centre) -> None:
    trust = ReleaseTrust(client.folder, client.root, DurableFiles(), client.clock, BUILT_MS)
    source = DirectorySource(centre.folder)
    (offer,) = trust.refresh(source)
    (index,) = (centre.folder / "targets" / "packs").glob("*.json")
    index.write_bytes(index.read_bytes().replace(b"model.onnx", b"model.onny"))
    with pytest.raises(ReleaseRefused, match="expected sha256"):
        trust.release(offer, source)
    index.unlink()
    with pytest.raises(SourceUnavailable, match="does not have it"):
        trust.release(offer, source)


def test_a_clock_in_2020_does_not_make_expired_metadata_valid(client: Client, centre: Centre) -> None:
    client.refresh(centre.folder)
    centre.now = NOW + datetime.timedelta(days=25)
    centre.publish()
    client.clock = ManualClock(NOW_MS + 25 * 86_400_000)
    client.refresh(centre.folder)
    old = centre.folder.with_name("frozen")
    shutil.copytree(centre.folder, old)
    centre.now = NOW + datetime.timedelta(days=60)
    centre.publish()
    client.clock = ManualClock(NOW_MS + 60 * 86_400_000)
    client.refresh(centre.folder)
    client.clock = ManualClock(1_577_836_800_000)  # 2020-01-01
    with pytest.raises(ReleaseRefused):
        client.refresh(old)
    assert client.refresh(centre.folder) == ("1.0.0",)


def test_a_new_box_with_its_clock_in_2020_takes_the_date_of_its_software(
    client: Client, centre: Centre
) -> None:
    client.clock = ManualClock(1_577_836_800_000)
    assert client.refresh(centre.folder) == ("1.0.0",)
    stale = Client(client.folder.with_name("stale"), centre.root)
    stale.clock = ManualClock(1_577_836_800_000)
    trust = ReleaseTrust(stale.folder, stale.root, DurableFiles(), stale.clock, NOW_MS + YEAR_MS)
    with pytest.raises(ReleaseRefused, match="expired"):
        trust.refresh(DirectorySource(centre.folder))


def test_a_clock_ten_years_ahead_stops_updates_only_until_it_is_right_again(
    client: Client, centre: Centre
) -> None:
    client.refresh(centre.folder)
    right = client.clock
    client.clock = ManualClock(NOW_MS + 10 * YEAR_MS)
    with pytest.raises(ReleaseRefused, match="expired"):
        client.refresh(centre.folder)
    client.clock = right
    assert client.refresh(centre.folder) == ("1.0.0",)


def test_metadata_of_a_torn_box_comes_back_from_the_shipped_root(client: Client, centre: Centre) -> None:
    client.refresh(centre.folder)
    for path in client.folder.rglob("*.json"):
        path.write_bytes(path.read_bytes()[:40])
    assert client.refresh(centre.folder) == ("1.0.0",)


def test_a_root_that_is_no_root_is_said_to_be_none(client: Client, centre: Centre) -> None:
    client.root = b"{}"
    with pytest.raises(ReleaseRefused, match="the trust root that this box was given"):
        client.refresh(centre.folder)


def test_facts_that_are_wrong_are_refused_with_all_mistakes(client: Client, centre: Centre) -> None:
    path = centre.folder / "metadata" / "2.targets.json"
    metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    (target,) = metadata.signed.targets.values()
    target.custom["appliance"]["counter"] = 0
    target.custom["appliance"]["surprise"] = 1
    metadata.signed.version = 3
    metadata.signatures.clear()
    (centre.folder / "draft").mkdir(exist_ok=True)
    (centre.folder / "draft" / "targets.json").write_bytes(metadata.to_bytes())
    centre.sign("targets", "targets-1", "targets-2")
    centre.publish()
    with pytest.raises(ReleaseRefused, match=r"counter.*surprise"):
        client.refresh(centre.folder)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "metadata//x", "."])
def test_a_source_never_leaves_its_folder(centre: Centre, path: str) -> None:
    with pytest.raises(NotFound, match="plain path"):
        list(DirectorySource(centre.folder).stream(path))


def test_a_source_that_is_gone_is_unavailable(client: Client, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="got nothing at"):
        client.refresh(tmp_path / "no stick")
    assert issubclass(SourceUnavailable, ApplianceError)
