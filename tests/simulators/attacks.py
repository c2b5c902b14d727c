"""TUF's attacks (specification, section 1.5.2) as folders that a box is offered instead of the honest one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.models.pack import ModelPack
from tests.simulators.linear import linear_pack, weights
from tests.simulators.releases import Centre, TestKeys, facts_of

ENDLESS_BYTES = 1 << 40
"""A sparse file: it takes no room here, and no reader would ever come to its end."""

Attack = Callable[[Centre, Path], Path]


def rollback(centre: Centre, folder: Path) -> Path:
    """The repository as it was before the release that the box has seen."""
    old = _copy(centre, folder)
    centre.release(_pack(folder, "1.5.0"), 5)
    return old


def freeze(centre: Centre, folder: Path) -> Path:
    """The repository as it is, offered when it has long expired (the caller moves the clock)."""
    return _copy(centre, folder)


def mix_and_match(centre: Centre, folder: Path) -> Path:
    """Targets of one state under the snapshot of another."""
    before = _newest(centre.folder, "targets").read_bytes()
    centre.release(_pack(folder, "1.5.0"), 5)
    mixed = _copy(centre, folder)
    _newest(mixed, "targets").write_bytes(before)
    return mixed


def endless_metadata(centre: Centre, folder: Path) -> Path:
    """A timestamp that never ends."""
    evil = _copy(centre, folder)
    with (evil / "metadata" / "timestamp.json").open("r+b") as file:
        file.truncate(ENDLESS_BYTES)
    return evil


def endless_chunk(centre: Centre, folder: Path) -> Path:
    """Chunks that never end."""
    evil = _copy(centre, folder)
    for path in (evil / "chunks").rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                file.truncate(ENDLESS_BYTES)
    return evil


def wrong_key(_centre: Centre, folder: Path) -> Path:
    """A repository of a stranger, with keys of their own."""
    stranger = Centre(folder / "evil", TestKeys())
    for _ in range(4):
        stranger.publish()
    stranger.release(_pack(folder, "6.6.6"), 66)
    return stranger.folder


def targets_below_threshold(centre: Centre, folder: Path) -> Path:
    """One stolen targets key and both online keys."""
    evil = _copy(centre, folder)
    attacker = _attacker(centre, evil)
    pack = _pack(folder, "6.6.6")
    attacker.repository.add(ModelPack.open(pack), facts_of(pack, 66))
    attacker.sign("targets", "targets-1")
    number = int(_newest(evil, "targets").name.split(".")[0]) + 1
    shutil.move(evil / "draft" / "targets.json", evil / "metadata" / f"{number}.targets.json")
    attacker.publish()
    return evil


def root_below_threshold(centre: Centre, folder: Path) -> Path:
    """One stolen root key that puts keys of the attacker's in place of all others."""
    evil = _copy(centre, folder)
    attacker = _attacker(centre, evil)
    keys = TestKeys()
    keys.signers["root-1"], keys.entries["root-1"] = (
        centre.keys.signers["root-1"],
        centre.keys.entries["root-1"],
    )
    attacker.keys = keys
    attacker.repository.rotate(keys.ring())
    attacker.sign("root", "root-1", "root-2")
    shutil.move(evil / "draft" / "root.json", evil / "metadata" / "2.root.json")
    return evil


def tampered_index(centre: Centre, folder: Path) -> Path:
    """A chunk list with one letter changed."""
    evil = _copy(centre, folder)
    for path in (evil / "targets" / "packs").iterdir():
        path.write_bytes(path.read_bytes().replace(b"model.onnx", b"model.onny"))
    return evil


def tampered_chunk(centre: Centre, folder: Path) -> Path:
    """Every chunk with one bit flipped."""
    evil = _copy(centre, folder)
    for path in (evil / "chunks").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(bytes(data))
    return evil


ATTACKS: Mapping[str, Attack] = {
    attack.__name__.replace("_", " "): attack
    for attack in (
        rollback,
        freeze,
        mix_and_match,
        endless_metadata,
        endless_chunk,
        wrong_key,
        targets_below_threshold,
        root_below_threshold,
        tampered_index,
        tampered_chunk,
    )
}


def _copy(centre: Centre, folder: Path) -> Path:
    return shutil.copytree(centre.folder, folder / "evil")


def _newest(folder: Path, role: str) -> Path:
    return max((folder / "metadata").glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))


def _attacker(centre: Centre, folder: Path) -> Centre:
    attacker = Centre.__new__(Centre)
    attacker.folder, attacker.keys, attacker.now = folder, centre.keys, centre.now
    return attacker


def _pack(folder: Path, version: str) -> Path:
    return linear_pack(folder / "attack-packs" / version, version, weights(9))
