from __future__ import annotations

from pathlib import Path

import pytest

from engines.host import Processor, this_processor, usable_cores

X86 = """processor : 0
model name : Example CPU @ 2.00GHz
flags      : fpu avx2 {extra}

processor : 1
model name : another name that does not count
"""


def test_the_processor_is_read_as_the_kernel_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(X86.format(extra="avx512_vnni"))
    processor = this_processor(path)
    assert processor.name == "Example CPU @ 2.00GHz"
    assert processor.features == {"fpu", "avx2", "avx512_vnni"}


def test_without_cpuinfo_there_is_still_a_name(tmp_path: Path) -> None:
    processor = this_processor(tmp_path / "absent")
    assert processor.name
    assert processor.features == frozenset()


@pytest.mark.parametrize(
    ("machine", "features", "exact"),
    [
        ("x86_64", {"avx2"}, False),
        ("x86_64", {"avx512f"}, False),
        ("x86_64", {"avx512_vnni"}, True),
        ("x86_64", {"avx_vnni"}, True),
        ("aarch64", {"asimd"}, True),
    ],
)
def test_x86_before_vnni_saturates(machine: str, features: set[str], exact: bool) -> None:
    assert Processor("any", machine, frozenset(features)).multiplies_int8_exactly is exact


def test_identity_tells_features_apart() -> None:
    first = Processor("same", "x86_64", frozenset({"avx2"}))
    second = Processor("same", "x86_64", frozenset({"avx2", "avx512_vnni"}))
    assert first.identity != second.identity


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("broken", None)]
)
def test_a_containers_quota_limits_the_cores(tmp_path: Path, quota: str, cores: int | None) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    assert usable_cores(path) == (cores or usable_cores(tmp_path / "absent"))
