from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import PackRejected
from appliance.models.manifest import Role
from appliance.models.pack import ModelPack, PackLimits, parse_manifest, safe_path
from tests.simulators.packs import Tree, rewrite


def test_a_good_pack_opens(pack_directory: Path) -> None:
    pack = ModelPack.open(pack_directory)
    assert pack.manifest.role is Role.KARYOTYPE_CLASSIFIER
    assert pack.contract_hash == pack.manifest.contract_hash
    assert pack.model_path.read_bytes().startswith(b"a graph")
    assert pack.manifest.size_bytes == sum(
        path.stat().st_size
        for path in pack_directory.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    )


def test_the_digest_names_exactly_these_bytes(pack_directory: Path) -> None:
    before = ModelPack.open(pack_directory).digest
    (pack_directory / "MODEL_CARD.md").write_text("another card")
    rewrite(pack_directory)
    assert ModelPack.open(pack_directory).digest != before


def _set(key: str, value: object) -> Callable[[Tree], None]:
    return lambda tree: tree.__setitem__(key, value)


def _file(change: Callable[[Tree], None]) -> Callable[[Tree], None]:
    return lambda tree: change(next(file for file in tree["files"] if file["path"] == "model.onnx"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_set("surprise", 1), "surprise: Extra inputs are not permitted"),
        (_set("role", "karyotype.oracle"), "role: Input should be"),
        (_set("name", "../up"), "name: String should match pattern"),
        (_set("version", "latest"), "version: String should match pattern"),
        (_set("manifest_version", 2), "manifest_version: Input should be 1"),
        (_set("model_file", "other.onnx"), "expected other.onnx among the listed files"),
        (_set("contract_hash", "1" * 64), "expected contract hash"),
        (_set("labels", {"names": ["a", "b"], "output": "logits"}), "expected 2 channels in output logits"),
        (
            _set("labels", {"names": ["a", "a", "c"], "output": "logits"}),
            "expected each label once and got a",
        ),
        (_set("labels", {"names": ["a", "b", "c"]}), "expected exactly one label where no output is named"),
        (_set("golden_cases", [{"file": "golden/first.npz", "tolerance": {"logits": {}}}]), "got neither"),
        (
            _set("golden_cases", [{"file": "golden/first.npz", "tolerance": {"boxes": {"max_abs": 1}}}]),
            "expected tolerances for logits and got boxes",
        ),
        (
            _set(
                "acceptance",
                [{"metric": "accuracy", "bound": "at_least", "limit": 0.95, "measured": 0.9, "n": 10}],
            ),
            "expected accuracy at least 0.95 and got 0.9",
        ),
        (_file(lambda file: file.__setitem__("sha256", "ab" * 32)), "expected sha256 abab"),
        (_file(lambda file: file.__setitem__("size_bytes", 3)), "expected 3 bytes in model.onnx and got 700"),
        (lambda tree: tree["files"].append(tree["files"][0]), "expected each file once"),
        (
            lambda tree: tree["inputs"].append(tree["inputs"][0]),
            "expected each input once and got crops 2 times",
        ),
    ],
)
def test_a_wrong_manifest_is_rejected_in_one_sentence(
    pack_directory: Path, change: Callable[[Tree], None], sentence: str
) -> None:
    rewrite(pack_directory, change)
    with pytest.raises(PackRejected) as caught:
        ModelPack.open(pack_directory)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_reported_at_once(pack_directory: Path) -> None:
    def spoil(tree: Tree) -> None:
        tree["name"] = "Bad Name"
        tree["precision"] = "INT2"
        tree["card"]["colour"] = "blue"

    rewrite(pack_directory, spoil)
    with pytest.raises(PackRejected, match=r"name: .*; precision: .*; card.colour: "):
        ModelPack.open(pack_directory)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b'{"name": 1, "name": 2}', b'{"limit": NaN}', b"[" * 100_000, b"[]"]
)
def test_text_that_is_no_manifest_is_rejected(raw: bytes) -> None:
    with pytest.raises(PackRejected, match="expected"):
        parse_manifest(raw)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../model.onnx", "a/../b", "a//b", "./a", "a\\b", "a\nb", ".", "a/", "manifest.json"],
)
def test_paths_that_could_leave_the_pack_are_rejected(path: str) -> None:
    with pytest.raises(PackRejected):
        safe_path(path)


def test_a_listed_path_outside_the_pack_is_never_read(pack_directory: Path) -> None:
    outside = pack_directory.parent / "secret"
    outside.write_bytes(b"s")

    def point_outside(tree: Tree) -> None:
        tree["files"].append({"path": "../secret", "sha256": "0" * 64, "size_bytes": 1})

    rewrite(pack_directory, point_outside)
    with pytest.raises(PackRejected, match=r"expected a plain path inside the pack and got '../secret'"):
        ModelPack.open(pack_directory)


def test_symbolic_links_are_rejected(pack_directory: Path) -> None:
    target = pack_directory.parent / "elsewhere.onnx"
    (pack_directory / "model.onnx").rename(target)
    (pack_directory / "model.onnx").symlink_to(target)
    with pytest.raises(PackRejected, match=r"got a symbolic link at model.onnx"):
        ModelPack.open(pack_directory)


def test_a_linked_folder_and_a_linked_pack_are_rejected(pack_directory: Path) -> None:
    linked = pack_directory.parent / "linked"
    linked.symlink_to(pack_directory)
    with pytest.raises(PackRejected, match="expected a pack directory and got a symbolic link at linked"):
        ModelPack.open(linked)
    (pack_directory / "golden").rename(pack_directory.parent / "golden")
    (pack_directory / "golden").symlink_to(pack_directory.parent / "golden")
    with pytest.raises(PackRejected, match="got a symbolic link at golden"):
        ModelPack.open(pack_directory)


def test_a_pipe_in_place_of_a_file_does_not_hang(pack_directory: Path) -> None:
    (pack_directory / "model.onnx").unlink()
    os.mkfifo(pack_directory / "model.onnx")
    with pytest.raises(PackRejected, match=r"expected the file model.onnx and got a special file"):
        ModelPack.open(pack_directory)


def test_missing_and_unlisted_files_are_rejected(pack_directory: Path) -> None:
    (pack_directory / "extra.bin").write_bytes(b"x")
    with pytest.raises(PackRejected, match=r"expected only the listed files and got extra.bin as well"):
        ModelPack.open(pack_directory)
    (pack_directory / "extra.bin").unlink()
    (pack_directory / "model.onnx").unlink()
    with pytest.raises(PackRejected, match=r"expected the file model.onnx and got nothing"):
        ModelPack.open(pack_directory)


def test_a_changed_byte_is_found(pack_directory: Path) -> None:
    path = pack_directory / "model.onnx"
    raw = bytearray(path.read_bytes())
    raw[350] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(PackRejected, match=r"expected sha256 [0-9a-f]{64} for model.onnx and got"):
        ModelPack.open(pack_directory)


def test_bounds_hold(pack_directory: Path) -> None:
    with pytest.raises(
        PackRejected, match=r"expected files of at most 699 bytes and got 700|got [0-9]+ for golden"
    ):
        ModelPack.open(pack_directory, PackLimits(max_file_bytes=699))
    with pytest.raises(PackRejected, match="expected at most 800 bytes in all"):
        ModelPack.open(pack_directory, PackLimits(max_total_bytes=800))
    size = (pack_directory / "manifest.json").stat().st_size
    with pytest.raises(PackRejected, match=f"expected a manifest of at most {size - 1} bytes and got more"):
        ModelPack.open(pack_directory, PackLimits(max_manifest_bytes=size - 1))


def test_a_directory_that_is_no_pack_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(PackRejected, match="expected a pack directory and got nothing at absent"):
        ModelPack.open(tmp_path / "absent")
    with pytest.raises(PackRejected, match=r"expected manifest.json in the pack and got nothing"):
        ModelPack.open(tmp_path)


def test_the_manifest_survives_a_round_trip(pack_directory: Path) -> None:
    manifest = ModelPack.open(pack_directory).manifest
    assert parse_manifest(json.dumps(manifest.model_dump(mode="json")).encode()) == manifest
