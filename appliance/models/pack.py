"""A model pack on disk, verified before anything in it is used.

A pack is a directory with `manifest.json` and exactly the files that the manifest lists. `ModelPack.open` is
the only way to get one; each way to be wrong gives `PackRejected` with one sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from pydantic import ValidationError

from appliance.errors import PackRejected
from appliance.models.contract import Contract, channel_mismatch
from appliance.models.manifest import MANIFEST_NAME, Acceptance, Manifest

_CHUNK_BYTES = 1 << 20
MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class PackLimits:
    """Bounds that hold before a byte of a pack is believed."""

    max_manifest_bytes: int = MAX_MANIFEST_BYTES
    max_file_bytes: int = 512 << 20
    max_total_bytes: int = 1 << 30


@dataclass(frozen=True)
class ModelPack:
    """A verified pack: directory, manifest, contract hash, and a digest that names exactly these bytes."""

    directory: Path
    manifest: Manifest
    contract_hash: str
    digest: str  # SHA-256 of manifest.json, which in turn holds the hash of every other file

    @classmethod
    def open(cls, directory: Path, limits: PackLimits | None = None) -> ModelPack:
        """Verify a pack directory.

        Args:
            directory: holds `manifest.json` and the listed files, nothing else.
            limits: bounds on sizes, in bytes.

        Raises:
            PackRejected: the directory is no pack, or any hash, size, path, label or contract is wrong.
        """
        limits = limits or PackLimits()
        if directory.is_symlink() or not directory.is_dir():
            raise PackRejected(f"expected a pack directory and got {_kind(directory)} at {directory.name}")
        raw = _read_manifest(directory / MANIFEST_NAME, limits)
        manifest = parse_manifest(raw)
        contract = Contract.of(manifest)
        _check_contract(manifest, contract)
        _check_acceptance(manifest.acceptance)
        _check_sizes(manifest, limits)
        _check_listing(directory, manifest)
        for file in manifest.files:
            _check_file(directory, file.path, file.size_bytes, file.sha256)
        return cls(directory, manifest, contract.hash, hashlib.sha256(raw).hexdigest())

    @property
    def model_path(self) -> Path:
        """The portable graph, an ONNX file."""
        return self.directory / self.manifest.model_file


def parse_manifest(raw: bytes) -> Manifest:
    """Parse the text of a manifest.

    Args:
        raw: the bytes of `manifest.json`.

    Raises:
        PackRejected: not UTF-8 JSON, a key given twice, or the schema is not kept (all mistakes in one
            message).
    """
    try:
        # parsed here first because a key given twice must not silently win over its twin
        json.loads(raw, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
        return Manifest.model_validate_json(raw)
    except ValidationError as exc:
        mistakes = "; ".join(
            f"{'.'.join(str(part) for part in mistake['loc']) or 'manifest'}: {mistake['msg']}"
            for mistake in exc.errors(include_url=False, include_input=False, include_context=False)
        )
        raise PackRejected(f"expected a manifest of version 1 and got mistakes: {mistakes}") from exc
    except (ValueError, RecursionError) as exc:
        raise PackRejected(f"expected {MANIFEST_NAME} to be JSON with unique keys and got: {exc}") from exc


def safe_path(text: str) -> PurePosixPath:
    """Parse a path of the manifest into one that stays inside the pack.

    Raises:
        PackRejected: absolute, empty, with `..`, a backslash or a control character.
    """
    path = PurePosixPath(text)
    if (
        path.is_absolute()
        or path.as_posix() != text
        or not path.parts
        or any(part in {"..", "."} for part in path.parts)
        or any(char == "\\" or ord(char) < 32 for char in text)
    ):
        raise PackRejected(f"expected a plain path inside the pack and got {text!r}")
    if path == PurePosixPath(MANIFEST_NAME):
        raise PackRejected(f"expected {MANIFEST_NAME} not to list itself and got it among the files")
    return path


def _read_manifest(path: Path, limits: PackLimits) -> bytes:
    if not path.is_file() or path.is_symlink():
        raise PackRejected(f"expected {MANIFEST_NAME} in the pack and got {_kind(path)}")
    with path.open("rb") as file:
        raw = file.read(limits.max_manifest_bytes + 1)
    if len(raw) > limits.max_manifest_bytes:
        raise PackRejected(f"expected a manifest of at most {limits.max_manifest_bytes} bytes and got more")
    return raw


def _check_contract(manifest: Manifest, contract: Contract) -> None:
    mismatch = channel_mismatch(contract)
    if mismatch is not None:
        raise PackRejected(mismatch)
    if contract.hash != manifest.contract_hash:
        raise PackRejected(
            f"expected contract hash {contract.hash} from labels, preprocessing and shapes"
            f" and got {manifest.contract_hash}"
        )


def _check_acceptance(acceptance: tuple[Acceptance, ...]) -> None:
    for entry in acceptance:
        if not entry.met:
            bound = entry.bound.replace("_", " ")
            raise PackRejected(f"expected {entry.metric} {bound} {entry.limit:g} and got {entry.measured:g}")


def _check_sizes(manifest: Manifest, limits: PackLimits) -> None:
    for file in manifest.files:
        if file.size_bytes > limits.max_file_bytes:
            raise PackRejected(
                f"expected files of at most {limits.max_file_bytes} bytes"
                f" and got {file.size_bytes} for {file.path}"
            )
    if manifest.size_bytes > limits.max_total_bytes:
        raise PackRejected(
            f"expected at most {limits.max_total_bytes} bytes in all and got {manifest.size_bytes}"
        )


def _check_listing(directory: Path, manifest: Manifest) -> None:
    listed = {safe_path(file.path) for file in manifest.files} | {PurePosixPath(MANIFEST_NAME)}
    for parent, folders, names in os.walk(directory):
        for name in (*folders, *names):
            found = Path(parent, name)
            relative = PurePosixPath(found.relative_to(directory).as_posix())
            if found.is_symlink():
                raise PackRejected(f"expected plain files and got a symbolic link at {relative}")
            if name in names and relative not in listed:
                raise PackRejected(f"expected only the listed files and got {relative} as well")


def _check_file(directory: Path, path: str, size_bytes: int, sha256: str) -> None:
    target = directory / safe_path(path)
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise PackRejected(f"expected the file {path} and got {_kind(target)}") from exc
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PackRejected(f"expected the file {path} and got {_kind(target)}")
        if status.st_size != size_bytes:
            raise PackRejected(f"expected {size_bytes} bytes in {path} and got {status.st_size}")
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise PackRejected(f"expected sha256 {sha256} for {path} and got {digest.hexdigest()}")


def _kind(path: Path) -> str:
    if path.is_symlink():
        return "a symbolic link"
    if not path.exists():
        return "nothing"
    if path.is_dir():
        return "a directory"
    return "a file" if path.is_file() else "a special file"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a key twice in one object")
    return tree


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text}, which is no JSON number")
