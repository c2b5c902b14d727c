"""The digest that a compiled form is good for: model bytes, runtime, device, options and our own adapter."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from engines.contract import EngineKind
from engines.errors import EngineLoadError
from engines.options import EngineOptions

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class FingerprintParts:
    """Everything that a compiled engine depends on."""

    model_sha256: str
    kind: EngineKind
    runtime_version: str
    device: str
    adapter_revision: int
    """Raised in an adapter when it starts to compile the same file into something else."""
    options: EngineOptions
    threads: int
    """Threads as resolved on this machine; `options.threads` may be None."""

    def digest(self) -> str:
        """64 hexadecimal digits; the same parts give the same digest in every process."""
        text = json.dumps(
            {
                "model": self.model_sha256,
                "kind": self.kind.value,
                "runtime": self.runtime_version,
                "device": self.device,
                "adapter": self.adapter_revision,
                "options": self.options.identity(),
                "threads": self.threads,
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file; raises EngineLoadError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError as exc:
        raise EngineLoadError(f"expected a readable model file, got {path.name}: {exc.strerror}") from exc
    return digest.hexdigest()
