"""Every loaded model under its pack's name, raw tensors in and out; where it takes pixels, by two names."""

from __future__ import annotations

from appliance import RESEARCH_USE_ONLY
from appliance.errors import ModelUnavailable
from appliance.inference import RepeatingEngines, RequestContext
from appliance.models.manifest import Role
from appliance.models.registry import Lease, ModelRegistry, ModelStatus
from appliance.rpc.open_inference.model import (
    FROM_CACHE,
    ModelCard,
    ModelHealth,
    Outcome,
    Parameter,
    Port,
    Tensors,
    Wanted,
)
from engines import EngineKind, TensorSpec
from engines.tensor_spec import DYNAMIC

PIXELS_SUFFIX = "-uint8"
"""After the pack's name: the same model, fed with pixels. A name of its own, because a stock client learns
from the metadata which tensors to send, and they name one datatype for an input."""


class TensorModels:
    """The models of the registry.

    Args:
        models: what is loaded.
        inference: runs it.
        max_batch: largest size of a dimension that is the caller's to choose.
    """

    def __init__(self, models: ModelRegistry, inference: RepeatingEngines, max_batch: int) -> None:
        self._models = models
        self._inference = inference
        self._max_batch = max_batch

    def all(self) -> tuple[TensorModel, ...]:
        """One for each role, those without a model included, and one more where the model takes pixels."""
        return tuple(
            TensorModel(status, self._models, self._inference, self._max_batch, pixels=pixels)
            for status in self._models.statuses()
            for pixels in ((False, True) if status.takes_pixels else (False,))
        )


class TensorModel:
    """The model of one role as it stood at one moment; fed with pixels, or with its contract's tensors."""

    def __init__(
        self,
        status: ModelStatus,
        models: ModelRegistry,
        inference: RepeatingEngines,
        max_batch: int,
        *,
        pixels: bool = False,
    ) -> None:
        self._status = status
        self._models = models
        self._inference = inference
        self._max_batch = max_batch
        self._suffix = PIXELS_SUFFIX if pixels else ""

    @property
    def health(self) -> ModelHealth:
        """How it stands; a role without a model goes by the role's name."""
        identity = self._status.identity
        name = identity.name if identity is not None else self._status.role.value
        version = identity.version if identity is not None else ""
        return ModelHealth(name + self._suffix, version, self._status.state, self._status.reason)

    @property
    def loaded(self) -> bool:
        """Whether there is a model behind the role at all."""
        return self._status.identity is not None

    def card(self) -> ModelCard:
        """What it says about itself."""
        with self._models.acquire(self._role) as lease:
            return self._card(lease)

    def infer(self, card: ModelCard, tensors: Tensors, wanted: Wanted, context: RequestContext) -> Outcome:  # noqa: ARG002
        """One engine call through the role's lane."""
        answer = self._inference.infer(self._role, tensors, context)
        if (answer.model.name + self._suffix, answer.model.version) != (card.name, card.version):
            raise ModelUnavailable(f"{card.name} {card.version} was replaced meanwhile; try again")
        facts: dict[str, Parameter] = {
            "notice": RESEARCH_USE_ONLY,
            "contract_hash": answer.model.contract_hash,
            "pack_version": answer.model.version,
        }
        if card.facts.get("demonstration_model") == "true":
            facts["demonstration_model"] = True
        if answer.repeated is not None:
            facts[FROM_CACHE] = answer.repeated
        return Outcome(
            version=answer.model.version,
            outputs=answer.outputs,
            facts=facts,
            inferences=next(iter(tensors.values())).shape[0] if card.max_batch else 1,
            queue_ns=round(answer.queue_ms * 1e6),
            infer_ns=round(answer.engine_ms * 1e6),
            shared_by=answer.shared_by,
            repeated=answer.repeated,
        )

    @property
    def _role(self) -> Role:
        return self._status.role

    def _card(self, lease: Lease) -> ModelCard:
        identity, manifest = lease.identity, lease.pack.manifest
        inputs = lease.engine.pixel_inputs if self._suffix else lease.engine.inputs
        specs = (*inputs, *lease.engine.outputs)
        batched = all(spec.shape and spec.shape[0] == DYNAMIC for spec in specs)
        return ModelCard(
            name=identity.name + self._suffix,
            version=identity.version,
            platform=f"{identity.engine}_onnx",
            backend=identity.engine,
            inputs=tuple(self._port(spec) for spec in inputs),
            outputs=tuple(self._port(spec) for spec in lease.engine.outputs),
            max_batch=self._max_batch if batched else 0,
            on_gpu=lease.engine.info.kind is EngineKind.TENSORRT,
            model_file=manifest.model_file,
            facts={
                "role": identity.role.value,
                "contract_hash": identity.contract_hash,
                "pack_version": identity.version,
                "device": identity.device,
                "precision": identity.precision,
                "demonstration_model": str(manifest.card.demonstration).lower(),
                "notice": RESEARCH_USE_ONLY,
            },
        )

    def _port(self, spec: TensorSpec) -> Port:
        return Port(spec.name, spec.datatype, spec.shape, self._max_batch)
