"""What this machine's processor is and how much of it this process may use."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_X86 = frozenset({"x86_64", "amd64", "i686"})


@dataclass(frozen=True)
class Processor:
    """The processor: `name` for people, `features` (the kernel's flags) for decisions and the fingerprint."""

    name: str
    machine: str
    features: frozenset[str]

    @property
    def multiplies_int8_exactly(self) -> bool:
        """Whether int8 products add up in 32 bits.

        x86 before VNNI adds pairs of u8×s8 products in 16 bits and saturates (Intel SDM, VPMADDUBSW), so
        full-range INT8 answers are wrong there without any error.
        """
        return self.machine not in _X86 or bool(self.features & {"avx512_vnni", "avx_vnni", "amx_int8"})

    @property
    def identity(self) -> str:
        """Name and a digest of the features: the same for machines that the same code was compiled for."""
        digest = hashlib.sha256(" ".join(sorted(self.features)).encode()).hexdigest()
        return f"{self.machine}/{self.name}/{digest[:16]}"


def this_processor(cpuinfo: Path = _CPUINFO) -> Processor:
    """The processor of this machine; without a readable /proc/cpuinfo only what Python knows."""
    fields: dict[str, str] = {}
    try:
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        fields = {}
    name = fields.get("model name") or fields.get("Model") or fields.get("CPU part") or platform.processor()
    flags = fields.get("flags") or fields.get("Features") or ""
    return Processor(name or platform.machine(), platform.machine(), frozenset(flags.split()))


def usable_cores(quota: Path = _CPU_QUOTA) -> int:
    """Cores that this process may use: its affinity, and a container's CPU quota (cgroup v2) rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text().split()
        if limit != "max":
            cores = min(cores, -(-int(limit) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return max(1, cores)
    return max(1, cores)
