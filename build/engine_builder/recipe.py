"""A recipe: one TOML file that says everything about how one model pack is built.

Text from outside, so pydantic: unknown keys are mistakes and all mistakes are reported at once. Callables are
named as `package.module:function`; a recipe is trusted like code, because it runs at central operations only.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from appliance.models.contract import Contract, channel_mismatch
from appliance.models.manifest import (
    Labels,
    Name,
    ObjectMatching,
    Precision,
    Preprocessing,
    Role,
    Score,
    TensorEntry,
    Tolerance,
    Version,
    vacuous_gate,
)
from appliance.models.reference import REFERENCE_CONTRACTS
from engine_builder.errors import BuildFailed
from engine_builder.export import Exporter
from engine_builder.quantize import CalibrationMethod, QuantizationSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Tensors = Mapping[str, NDArray[Any]]
Infer = Callable[[Tensors], dict[str, NDArray[Any]]]
"""Inputs by name → outputs by name, on whatever engine is being judged."""

CallableName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$")]


@dataclass(frozen=True)
class Workspace:
    """Where a build finds data and leaves what it makes."""

    data: Path  # the data sets
    work: Path  # caches, checkpoints, exported graphs


@dataclass(frozen=True)
class Measurement:
    """A measured number and how many samples stand behind it."""

    value: float
    n: int


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkPart(_Part):
    """The trained network and how it is exported."""

    build: CallableName  # checkpoint path → torch module in evaluation mode
    checkpoint: str  # path inside the work folder
    exporter: Exporter = "dynamo"
    opset: Annotated[int, Field(ge=17, le=20)] = 18


class ContractPart(_Part):
    """What a pipeline has to know; left out, it is the role's reference contract."""

    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    preprocessing: Preprocessing
    labels: Labels


class CalibrationPart(_Part):
    """Where calibration samples come from and how ranges are taken from them."""

    source: CallableName  # workspace → samples
    samples: Annotated[int, Field(ge=1, le=4096)] = 64
    method: CalibrationMethod = CalibrationMethod.MINMAX
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    exclude: tuple[str, ...] = ()

    @field_validator("exclude")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as exc:
                raise ValueError(f"expected a regular expression and got {pattern!r}: {exc}") from exc
        return patterns

    @property
    def settings(self) -> QuantizationSettings:
        """The same as what `quantize` takes."""
        return QuantizationSettings(self.method, self.percentile, self.exclude)


class MetricPart(_Part):
    """The task's own metric."""

    source: CallableName  # workspace and inference function → measurements by name


class ConfidencePart(_Part):
    """Where a classifier's validation readings come from and what its thresholds are chosen for."""

    source: CallableName  # workspace and inference function → readings
    target_accuracy: Annotated[float, Field(gt=0, le=1)]  # share right among what passes a threshold


class ThresholdPart(_Part):
    """A figure of the comparison and the limit that it has to keep; see `Comparison.figures` for the
    names.
    """

    metric: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    bound: Literal["at_least", "at_most"]
    limit: float

    @model_validator(mode="after")
    def _can_fail(self) -> ThresholdPart:
        reason = vacuous_gate(self.metric, self.bound, self.limit)
        if reason is not None:
            raise ValueError(reason)
        return self


class GoldenPart(_Part):
    """Known answers that the pack carries; their inputs have to be free to publish."""

    source: CallableName  # workspace → samples
    cases: Annotated[int, Field(ge=1, le=16)] = 1
    tolerance: dict[str, Tolerance]
    matching: ObjectMatching | None = None


class CardPart(_Part):
    """What the model card says beside what was measured."""

    summary: str
    training_data: tuple[str, ...] = Field(min_length=1)
    limitations: str
    training_command: str
    data_files: tuple[str, ...] = ()  # inside the data folder; their hashes go onto the card
    demonstration: bool = False


class Recipe(_Part):
    """All of a recipe file."""

    name: Name
    version: Version
    role: Role
    precision: Literal[Precision.INT8, Precision.FP32] = Precision.INT8
    network: NetworkPart
    contract: ContractPart | None = None
    thresholds: dict[str, Score] = Field(default_factory=dict)  # smallest score of a label, where it matters
    calibration: CalibrationPart
    metric: MetricPart
    acceptance: tuple[ThresholdPart, ...] = Field(min_length=1)
    golden: GoldenPart
    card: CardPart
    confidence: ConfidencePart | None = None  # left out, nothing is fitted

    def resolved_contract(self) -> Contract:
        """The recipe's own contract, or the role's reference contract.

        Raises:
            BuildFailed: the labels do not fit the outputs.
        """
        if self.contract is None:
            contract = replace(REFERENCE_CONTRACTS[self.role], thresholds=self.thresholds)
        else:
            part = self.contract
            contract = Contract(part.inputs, part.outputs, part.preprocessing, part.labels, self.thresholds)
        mismatch = channel_mismatch(contract)
        if mismatch is not None:
            raise BuildFailed(mismatch)
        return contract


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        BuildFailed: not readable, not TOML, or not a recipe; all mistakes in one message.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(tree)
    except OSError as exc:
        raise BuildFailed(f"expected a recipe file and got none at {path}: {exc.strerror}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise BuildFailed(f"expected {path.name} to be TOML and got: {exc}") from exc
    except ValidationError as exc:
        mistakes = "; ".join(
            f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
            for mistake in exc.errors(include_url=False, include_input=False, include_context=False)
        )
        raise BuildFailed(f"expected {path.name} to be a recipe and got mistakes: {mistakes}") from exc


def find_callable(name: str) -> Callable[..., Any]:
    """The function that a recipe names as `package.module:function`.

    Raises:
        BuildFailed: there is no such module or function.
    """
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError) as exc:
        raise BuildFailed(f"expected a function at {name} and got: {exc}") from exc
    if not callable(found):
        raise BuildFailed(f"expected a function at {name} and got {type(found).__name__}")
    return cast("Callable[..., Any]", found)
