"""What a release says about a model pack: the signed facts, and the list of chunks that its files are made
of.

Both are text from outside and parsed at once or refused; the limits hold before a byte is believed.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from appliance.errors import ReleaseRefused

CHUNK_BYTES = 256 * 1024
"""Largest chunk; shorter ones end at a tensor's border or at the end of a file."""

MAX_INDEX_BYTES = 4 << 20
MAX_PACK_BYTES = 1 << 30
FACTS_KEY = "appliance"
"""Key of our facts in a TUF target's `custom` object."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Semantic = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(-[0-9A-Za-z.-]{1,32})?$")
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ReleaseFacts(_Part):
    """The custom fields of a release, signed with the targets keys."""

    name: Word
    version: Semantic
    role: Word
    contract_hash: Sha256
    hardware: tuple[Word, ...] = Field(min_length=1, max_length=16)  # machines, or "any"
    minimum_daemon: Semantic
    counter: Annotated[int, Field(ge=1, le=1 << 40)]  # of the role; a box never installs a smaller one
    group: Word = "everyone"  # boxes that a scheduled install is for
    percentage: Annotated[int, Field(ge=0, le=100)] = 100  # of those boxes
    latency_ms_p95: Annotated[int, Field(ge=1, le=3_600_000)]  # budget of one call on the box
    memory_mib: Annotated[int, Field(ge=1, le=1 << 20)]  # budget of the loaded engine

    @property
    def title(self) -> str:
        """Name and version as people say them."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Chunk:
    """One content-addressed piece of a file."""

    sha256: str
    offset: int  # in its file, bytes
    size_bytes: int


class IndexedFile(_Part):
    """One file of the pack as the run of its chunks."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    size_bytes: Annotated[int, Field(ge=0, le=MAX_PACK_BYTES)]
    chunks: tuple[tuple[Sha256, Annotated[int, Field(ge=1, le=CHUNK_BYTES)]], ...] = Field(max_length=65536)

    @model_validator(mode="after")
    def _whole(self) -> IndexedFile:
        path = PurePosixPath(self.path)
        plain = path.as_posix() == self.path and not path.is_absolute() and ".." not in path.parts
        if not plain or any(char == "\\" or ord(char) < 32 for char in self.path):
            raise ValueError(f"expected a plain path inside the pack and got {self.path!r}")
        total = sum(size for _digest, size in self.chunks)
        if total != self.size_bytes:
            raise ValueError(f"expected chunks of {self.size_bytes} bytes for {self.path} and got {total}")
        return self

    def pieces(self) -> Iterator[Chunk]:
        """The chunks in the order of the file."""
        offset = 0
        for digest, size in self.chunks:
            yield Chunk(digest, offset, size)
            offset += size


class PackIndex(_Part):
    """The TUF target itself: every file of the pack, the manifest among them, as chunks."""

    format: Literal[1]
    files: tuple[IndexedFile, ...] = Field(min_length=1, max_length=512)

    @model_validator(mode="after")
    def _bounded(self) -> PackIndex:
        for path, times in Counter(file.path for file in self.files).items():
            if times > 1:
                raise ValueError(f"expected each file once and got {path} {times} times")
        if self.size_bytes > MAX_PACK_BYTES:
            raise ValueError(f"expected a pack of at most {MAX_PACK_BYTES} bytes and got {self.size_bytes}")
        return self

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class Offer:
    """A release that the signed metadata lists; nothing of its pack has been looked at yet."""

    path: str  # TUF target path
    bundle_id: str  # SHA-256 of the pack index: names exactly these bytes
    index_bytes: int
    facts: ReleaseFacts
    approved_by: tuple[str, ...]  # names of the targets keys whose signatures count


def parse_facts(custom: Mapping[str, Any], path: str) -> ReleaseFacts:
    """The facts of one TUF target; ReleaseRefused with all mistakes at once."""
    try:
        return ReleaseFacts.model_validate_json(json.dumps(custom.get(FACTS_KEY)))
    except ValidationError as exc:
        raise ReleaseRefused(f"expected release facts in {path} and got mistakes: {_mistakes(exc)}") from exc


def parse_index(raw: bytes) -> PackIndex:
    """The chunk list of a pack; ReleaseRefused with all mistakes at once."""
    try:
        return PackIndex.model_validate_json(raw)
    except ValidationError as exc:
        raise ReleaseRefused(f"expected a pack index and got mistakes: {_mistakes(exc)}") from exc


def unsuitable(facts: ReleaseFacts, daemon_version: str, machine: str = platform.machine()) -> str | None:
    """Say in one sentence why a release is not for this box, or give None where it is."""
    if "any" not in facts.hardware and machine not in facts.hardware:
        return f"expected a release for {machine} and got one for {', '.join(facts.hardware)}"
    if version_key(daemon_version) < version_key(facts.minimum_daemon):
        return f"expected a release for daemon {daemon_version} and got one that needs {facts.minimum_daemon}"
    return None


def scheduled_here(facts: ReleaseFacts, box_id: str, group: str) -> bool:
    """Whether the rollout has reached this box: its group, and its place among the hundred.

    The place hangs on the box and the role's counter alone, so raising the percentage never takes a box out.
    """
    digest = hashlib.sha256(f"{box_id} {facts.role} {facts.counter}".encode()).digest()
    return facts.group in ("everyone", group) and int.from_bytes(digest[:4], "big") % 100 < facts.percentage


def version_key(version: str) -> tuple[tuple[int, ...], bool]:
    """Sorts versions; one with a suffix comes before the one without (semver.org, item 11)."""
    numbers, _, suffix = version.partition("-")
    return tuple(int(number) for number in numbers.split(".")), not suffix


def _mistakes(exc: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in mistake['loc']) or 'it'}: {mistake['msg']}"
        for mistake in exc.errors(include_url=False, include_input=False, include_context=False)[:8]
    )
