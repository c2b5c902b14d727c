"""The model card: what a reader has to know before trusting a model, with every measured number."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance import RESEARCH_USE_ONLY
from appliance.models.contract import Contract
from appliance.models.manifest import Confidence
from engine_builder.compare import Comparison, Verdict
from engine_builder.errors import BuildFailed
from engine_builder.recipe import Measurement, Recipe, Workspace


def write_card(
    recipe: Recipe,
    contract: Contract,
    place: Workspace,
    comparison: Comparison | None,
    verdicts: Sequence[Verdict],
    commit: str,
    confidence: Confidence | None = None,
) -> str:
    """The card's Markdown text."""
    checkpoint = place.work / recipe.network.checkpoint
    lines = [
        f"# {recipe.name} {recipe.version} ({recipe.precision.value})",
        "",
        f"**{RESEARCH_USE_ONLY}**",
        "",
        recipe.card.summary,
        "",
        "## Training data",
        "",
        *(f"- {entry}" for entry in recipe.card.training_data),
        "",
        "## Limitations",
        "",
        recipe.card.limitations,
        "",
        "## Contract",
        "",
        f"- hash `{contract.hash}`",
        *(f"- input `{entry.name}` {entry.datatype} {list(entry.shape)}" for entry in contract.inputs),
        *(f"- output `{entry.name}` {entry.datatype} {list(entry.shape)}" for entry in contract.outputs),
        f"- labels: {', '.join(contract.labels.names)}",
        f"- preprocessing: {contract.preprocessing.method.value}, "
        + ", ".join(f"{name} {value}" for name, value in sorted(contract.preprocessing.parameters.items())),
        "",
        *_measured(comparison, verdicts),
        *_calibrated(confidence),
        "## How it was made",
        "",
        f"- trained with `{recipe.card.training_command}`",
        f"- checkpoint `{recipe.network.checkpoint}`, sha256 `{file_hash(checkpoint)}`",
        f"- packed at commit `{commit}`",
        f"- calibration: {recipe.calibration.samples} samples, {recipe.calibration.method.value}",
        *(f"- data `{name}`, sha256 `{file_hash(place.data / name)}`" for name in recipe.card.data_files),
        "",
    ]
    return "\n".join(lines)


def file_hash(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        BuildFailed: the file is not there.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise BuildFailed(f"expected a file at {path} and got: {exc.strerror}") from exc


def current_commit(folder: Path) -> str:
    """The commit that `folder` is at, with "+ changes" where files differ from it; "unknown" outside of
    git.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} + changes" if changed else commit


def _git(folder: Path, *words: str) -> str:
    ran = subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True, timeout=30
    )
    return ran.stdout.strip()


def _measured(comparison: Comparison | None, verdicts: Sequence[Verdict]) -> list[str]:
    if comparison is None:
        return []
    lines = ["## Measured", "", "| figure | FP32 | INT8 | n |", "|---|---|---|---|"]
    for name, measured in comparison.fp32.measurements.items():
        other = comparison.int8.measurements[name]
        lines.append(f"| {name} | {measured.value:.4f} | {other.value:.4f} | {_size(measured, other)} |")
    lines += [
        "",
        f"FP32 file on {comparison.fp32.engine} in {comparison.fp32.computed_in}, INT8 file on "
        f"{comparison.int8.engine} in {comparison.int8.computed_in}, {comparison.int8.device}.",
        "",
        "| agreement of | least cosine | mean cosine | largest difference | n |",
        "|---|---|---|---|---|",
    ]
    for title, parities in (
        ("engine and file", comparison.parity),
        ("INT8 and FP32", comparison.quantization),
    ):
        lines += [
            f"| {title}: {parity.output} | {parity.cosine_min:.5f} | {parity.cosine_mean:.5f}"
            f" | {parity.max_abs:.4g} | {parity.n} |"
            for parity in parities
        ]
    lines += ["", "| acceptance threshold | limit | measured |", "|---|---|---|"]
    lines += [
        f"| {verdict.metric} | {verdict.bound.replace('_', ' ')} {verdict.limit:g} | {verdict.measured:.4f} |"
        for verdict in verdicts
    ]
    return [*lines, ""]


def _calibrated(confidence: Confidence | None) -> list[str]:
    if confidence is None:
        return []
    return [
        "## Confidence",
        "",
        f"Fitted on {confidence.classes_n} validation chromosomes of whole cells and {confidence.polarity_n}"
        " upright ones of slides that training never saw. Thresholds: of what passes them"
        f" {100 * confidence.target_accuracy:g} % is right there.",
        "",
        "| | temperature | a person looks below |",
        "|---|---|---|",
        f"| class | {confidence.class_temperature:g} | {confidence.min_class:g} |",
        f"| polarity | {confidence.polarity_temperature:g} | {confidence.min_polarity:g} |",
        "",
    ]


def _size(first: Measurement, second: Measurement) -> str:
    return str(first.n) if first.n == second.n else f"{first.n}, {second.n}"
