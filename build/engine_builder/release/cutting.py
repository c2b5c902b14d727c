"""Cuts the files of a pack into chunks; in a graph each large tensor begins a new one.

Where only the last layers were trained again, every chunk before them keeps its hash and is not sent again,
also when something in front grew by a few bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import onnx

from appliance.bundles.release import CHUNK_BYTES, IndexedFile, PackIndex
from appliance.models.manifest import MANIFEST_NAME
from appliance.models.pack import ModelPack

MIN_TENSOR_BYTES = 64 * 1024
"""Smaller tensors do not get a chunk of their own: there are thousands of them."""


def cut_pack(pack: ModelPack) -> tuple[PackIndex, Mapping[str, bytes]]:
    """The chunk list of a pack, and the chunks by their SHA-256."""
    chunks: dict[str, bytes] = {}
    files = []
    for path in (MANIFEST_NAME, *(file.path for file in pack.manifest.files)):
        data = (pack.directory / path).read_bytes()
        borders = tensor_borders(data) if path == pack.manifest.model_file else []
        listed = []
        for chunk in cut(data, borders):
            digest = hashlib.sha256(chunk).hexdigest()
            chunks[digest] = chunk
            listed.append((digest, len(chunk)))
        files.append(IndexedFile(path=path, size_bytes=len(data), chunks=tuple(listed)))
    return PackIndex(format=1, files=tuple(files)), chunks


def cut(data: bytes, borders: list[int]) -> Iterator[bytes]:
    """Pieces of at most `CHUNK_BYTES`, a new one at each border."""
    ends = [*(border for border in sorted(set(borders)) if 0 < border < len(data)), len(data)]
    start = 0
    for end in ends:
        for offset in range(start, end, CHUNK_BYTES):
            yield data[offset : min(end, offset + CHUNK_BYTES)]
        start = end


def tensor_borders(graph: bytes) -> list[int]:
    """Offsets in an ONNX file at which the raw data of its larger weights begin."""
    borders: list[int] = []
    position = 0
    for tensor in onnx.load_from_string(graph).graph.initializer:
        raw = tensor.raw_data
        if len(raw) >= MIN_TENSOR_BYTES:
            found = graph.find(raw, position)
            if found >= 0:
                borders.append(found)
                position = found + len(raw)
    return borders
