"""The model card of a user's own detector: what its owner says, what the graph says, what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance import RESEARCH_USE_ONLY
from appliance.models.contract import Contract
from appliance.models.manifest import Acceptance
from engine_builder.card import file_hash
from engine_builder.yolo.graph import YoloGraph


def write_yolo_card(
    name: str,
    version: str,
    graph: YoloGraph,
    contract: Contract,
    summary: str,
    training_data: Sequence[str],
    limitations: str,
    acceptance: Sequence[Acceptance],
    source: Path,
) -> str:
    """The card's Markdown text."""
    measured = [
        f"- {entry.metric}: {entry.measured:.4f} over {entry.n} findings, at least {entry.limit:g} wanted"
        for entry in acceptance
    ]
    lines = [
        f"# {name} {version} ({graph.precision.value})",
        "",
        f"**{RESEARCH_USE_ONLY}**",
        "",
        summary,
        "",
        "## Training data, as its owner says",
        "",
        *(f"- {entry}" for entry in training_data),
        "",
        "## Limitations, as its owner says",
        "",
        limitations,
        "",
        "## Contract",
        "",
        f"- hash `{contract.hash}`",
        f"- layout {graph.layout.value}, input {graph.size}², grey levels divided by {graph.divisor}",
        *(f"- {label}: from {threshold:g}" for label, threshold in contract.thresholds.items()),
        "",
        "## Measured",
        "",
        *(measured or ["- nothing: the graph is the owner's own, unconverted"]),
        "- no accuracy was measured here: it is its owner's to know",
        "",
        "## How it was made",
        "",
        f"- from the export with sha256 `{file_hash(source)}`",
        "",
    ]
    return "\n".join(lines)
