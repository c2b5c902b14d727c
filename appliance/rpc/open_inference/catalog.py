"""Which model answers to which name and version."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import ModelUnavailable, NotFound
from appliance.models.registry import ModelState
from appliance.rpc.open_inference.model import SERVED_VERSION, ModelHealth, ServedModel
from appliance.rpc.open_inference.pipeline_models import PipelineModel
from appliance.rpc.open_inference.tensor_models import TensorModels


class Catalog:
    """All models by name; a pipeline's name goes before that of a pack.

    Args:
        pipelines: always there.
        tensors: what is loaded now.
    """

    def __init__(self, pipelines: Sequence[PipelineModel], tensors: TensorModels) -> None:
        self._pipelines = tuple(pipelines)
        self._tensors = tensors

    def find(self, name: str, version: str) -> ServedModel:
        """The model of a name.

        Args:
            name: of a pipeline or of a pack.
            version: empty or SERVED_VERSION for the one that is served; or its pack's own.

        Raises:
            NotFound: no such model, or not in this version.
            ModelUnavailable: not known yet, because models are still being loaded.
        """
        for pipeline in self._pipelines:
            if pipeline.name == name:
                return _in_version(pipeline, pipeline.card().version, name, version)
        candidates = self._tensors.all()
        for model in candidates:
            if model.loaded and model.health.name == name:
                return _in_version(model, model.health.version, name, version)
        if any(model.health.state is ModelState.LOADING for model in candidates if not model.loaded):
            raise ModelUnavailable(f"no model {name[:64]!r} is ready yet: models are still being loaded")
        known = [one.name for one in self._pipelines] + [m.health.name for m in candidates if m.loaded]
        raise NotFound(f"expected one of the models {', '.join(known)} and got {name[:64]!r}")

    def index(self) -> tuple[ModelHealth, ...]:
        """Every model, and every role without one."""
        models: tuple[ServedModel, ...] = (*self._pipelines, *self._tensors.all())
        return tuple(model.health for model in models)

    def names(self) -> tuple[str, ...]:
        """Of every model that can be found."""
        tensors = (model.health.name for model in self._tensors.all() if model.loaded)
        return tuple(dict.fromkeys((*(pipeline.name for pipeline in self._pipelines), *tensors)))


def _in_version(model: ServedModel, served: str, name: str, version: str) -> ServedModel:
    if version not in {"", SERVED_VERSION, served}:
        raise NotFound(
            f"expected version {SERVED_VERSION}, {served} or none of {name} and got {version[:64]!r}"
        )
    return model
