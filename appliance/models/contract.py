"""The contract between a pipeline and a model: label order, thresholds, preprocessing and tensor shapes, and
one hash over them.

A pipeline lists the hashes it was written for and refuses every other pack: a model with its labels in
another order would answer without any error, and wrongly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.models.manifest import Labels, Manifest, Parameter, Preprocessing, TensorEntry


@dataclass(frozen=True)
class Contract:
    """What a pipeline has to know about a model in order to read its answers."""

    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    preprocessing: Preprocessing
    labels: Labels
    thresholds: Mapping[str, float] = field(default_factory=dict)  # smallest score of a label, 0..1

    @classmethod
    def of(cls, manifest: Manifest) -> Contract:
        """Take the contract out of a manifest."""
        return cls(
            manifest.inputs,
            manifest.outputs,
            manifest.preprocessing,
            manifest.labels,
            dict(manifest.thresholds),
        )

    @property
    def hash(self) -> str:
        """SHA-256 over `canonical_json`, 64 lower-case hexadecimal digits."""
        return hashlib.sha256(self.canonical_json().encode("ascii")).hexdigest()

    def canonical_json(self) -> str:
        """The one spelling of this contract: sorted keys, no spaces, ASCII, whole numbers without a
        fraction. What a contract does not have (thresholds, channels) leaves no key.
        """
        tree: dict[str, object] = {
            "inputs": [_tensor(entry) for entry in self.inputs],
            "outputs": [_tensor(entry) for entry in self.outputs],
            "preprocessing": {
                "method": self.preprocessing.method.value,
                "parameters": {name: _number(value) for name, value in self.preprocessing.parameters.items()},
            },
            "labels": {
                "names": list(self.labels.names),
                "output": self.labels.output,
                "axis": self.labels.axis,
                "offset": self.labels.offset,
                **({} if self.labels.channels is None else {"channels": self.labels.channels}),
            },
        }
        if self.thresholds:
            tree["thresholds"] = {name: _number(value) for name, value in self.thresholds.items()}
        return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _tensor(entry: TensorEntry) -> dict[str, object]:
    return {"name": entry.name, "datatype": entry.datatype, "shape": list(entry.shape)}


def _number(value: Parameter) -> Parameter:
    # TOML, JSON and Python spell 1 and 1.0 differently, and a contract must not hang on the spelling
    return int(value) if isinstance(value, float) and value.is_integer() else value


def channel_mismatch(contract: Contract) -> str | None:
    """Say in one sentence why the labels do not fit the outputs, or give None where they do."""
    labels = contract.labels
    if labels.channels not in (None, len(labels.names)):
        return (
            f"expected {labels.channels} labels, one for each class of the head, and got {len(labels.names)}"
        )
    if labels.output is None:
        return None
    entries = {entry.name: entry for entry in contract.outputs}
    if labels.output not in entries:
        return f"expected the labels' output among {', '.join(sorted(entries))} and got {labels.output}"
    shape = entries[labels.output].shape
    if labels.axis >= len(shape):
        return f"expected a label axis below {len(shape)} for output {labels.output} and got {labels.axis}"
    channels = shape[labels.axis]
    expected = labels.offset + len(labels.names)
    if channels != expected:
        return (
            f"expected {expected} channels in output {labels.output} for {len(labels.names)} labels"
            f" after {labels.offset} other channels and got {channels}"
        )
    return None
