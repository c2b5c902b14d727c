from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.contract import EngineKind
from engines.errors import EngineLoadError
from engines.fingerprint import FingerprintParts, file_sha256
from engines.options import EngineOptions, QuantizedGraph

PARTS = FingerprintParts("a" * 64, EngineKind.OPENVINO, "2026.4", "cpu", 1, EngineOptions(), 2)


def test_the_digest_is_the_same_in_every_process() -> None:
    assert PARTS.digest() == "d05be712368e7f120e3c0cd49fee1ef7c2481c0fc190721c53b36c4c14740006"


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": "b" * 64},
        {"kind": EngineKind.ONNXRUNTIME},
        {"runtime_version": "2026.5"},
        {"device": "another cpu"},
        {"adapter_revision": 2},
        {"threads": 3},
        {"options": EngineOptions(concurrency=2)},
        {"options": EngineOptions(reduced_float=True)},
        {"options": EngineOptions(quantized_graph=QuantizedGraph.FLOAT)},
    ],
    ids=lambda change: "-".join(change),
)
def test_every_part_counts(change: dict[str, object]) -> None:
    assert replace(PARTS, **change).digest() != PARTS.digest()  # type: ignore[arg-type]


def test_file_sha256_reads_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"abc")  # FIPS 180-4, example of SHA-256
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(EngineLoadError, match="got absent: No such file"):
        file_sha256(tmp_path / "absent")


@pytest.mark.parametrize(
    "wrong",
    [{"threads": 0}, {"concurrency": 0}, {"max_batch": 0}, {"typical_batch": 0}, {"max_batch": 8}],
    ids=lambda wrong: "-".join(wrong),
)
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        EngineOptions(**wrong)
