"""Writes a pack directory: graph, manifest, golden cases, model card; whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.models.contract import Contract
from appliance.models.golden import INPUT_PREFIX, OUTPUT_PREFIX
from appliance.models.manifest import (
    MANIFEST_NAME,
    Acceptance,
    Confidence,
    GoldenCase,
    Manifest,
    ModelCard,
    ObjectMatching,
    PackFile,
    Precision,
    Role,
    Tolerance,
)
from appliance.models.pack import ModelPack

MODEL_NAME = "model.onnx"
CARD_NAME = "MODEL_CARD.md"


@dataclass(frozen=True)
class GoldenAnswer:
    """Inputs and the outputs that the unoptimised reference gave for them."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class PackDraft:
    """Everything that goes into a pack."""

    name: str
    version: str
    role: Role
    precision: Precision
    contract: Contract
    model: Path
    golden: Sequence[GoldenAnswer]
    tolerance: Mapping[str, Tolerance]
    matching: ObjectMatching | None
    acceptance: Sequence[Acceptance]
    card_text: str
    summary: str
    training_data: Sequence[str]
    limitations: str
    demonstration: bool
    confidence: Confidence | None = None


def write_pack(draft: PackDraft, directory: Path) -> ModelPack:
    """Write a pack and open it again, as a box would.

    Args:
        draft: what goes in.
        directory: replaced as a whole if it is there.

    Raises:
        PackRejected: the draft does not make a pack that a box would take.
    """
    part = directory.with_name(f".{directory.name}.part")
    if part.exists():
        shutil.rmtree(part)
    (part / "golden").mkdir(parents=True)
    shutil.copyfile(draft.model, part / MODEL_NAME)
    (part / CARD_NAME).write_text(draft.card_text, encoding="utf-8")
    cases = []
    for number, answer in enumerate(draft.golden, start=1):
        file = f"golden/{number:02}.npz"
        (part / file).write_bytes(_npz(answer))
        cases.append(GoldenCase(file=file, tolerance=dict(draft.tolerance), matching=draft.matching))
    manifest = Manifest(
        manifest_version=1,
        name=draft.name,
        version=draft.version,
        role=draft.role,
        precision=draft.precision,
        model_file=MODEL_NAME,
        files=tuple(_listed(part)),
        inputs=draft.contract.inputs,
        outputs=draft.contract.outputs,
        preprocessing=draft.contract.preprocessing,
        labels=draft.contract.labels,
        thresholds=dict(draft.contract.thresholds),
        contract_hash=draft.contract.hash,
        golden_cases=tuple(cases),
        acceptance=tuple(draft.acceptance),
        card=ModelCard(
            file=CARD_NAME,
            summary=draft.summary,
            training_data=tuple(draft.training_data),
            limitations=draft.limitations,
            demonstration=draft.demonstration,
        ),
        confidence=draft.confidence,
    )
    write_manifest(manifest, part)
    ModelPack.open(part)
    if directory.exists():
        shutil.rmtree(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    part.replace(directory)
    return ModelPack.open(directory)


def write_manifest(manifest: Manifest, directory: Path) -> None:
    """Write the manifest's file, whole or not at all."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    part = directory / f".{MANIFEST_NAME}.part"
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(directory / MANIFEST_NAME)


def _listed(directory: Path) -> list[PackFile]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return [
        PackFile(
            path=path.relative_to(directory).as_posix(),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_bytes=path.stat().st_size,
        )
        for path in files
    ]


def _npz(answer: GoldenAnswer) -> bytes:
    arrays = {f"{INPUT_PREFIX}{name}": array for name, array in answer.inputs.items()}
    # half precision keeps cases small; the tolerances are far wider than its rounding
    arrays |= {f"{OUTPUT_PREFIX}{name}": array.astype(np.float16) for name, array in answer.outputs.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
