"""Which model answered: the few words that every result carries about it."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.models.manifest import Confidence, Role


@dataclass(frozen=True)
class ModelIdentity:
    """A loaded model and the engine that runs it."""

    name: str
    version: str
    role: Role
    contract_hash: str
    engine: str  # "openvino", "onnxruntime", "tensorrt"
    device: str
    precision: str  # what the engine really computes in, as the adapter says it
    confidence: Confidence | None = None  # how its numbers become probabilities, if that was fitted
    fingerprint: str = ""  # of the compiled form: the graph's bytes, the runtime, the device and its options
