"""The manifest of a model pack: everything that a pack promises about itself, parsed at once or refused.

A manifest is text from outside, so this is one of the few places with pydantic: unknown keys are mistakes,
every mistake is reported in one go, and what comes out is frozen.
"""

from __future__ import annotations

import enum
from collections import Counter
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MANIFEST_NAME = "manifest.json"
"""File name of the manifest inside a pack directory."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Version = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(-[0-9A-Za-z.-]{1,32})?$")
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
TensorName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$")]
Score = Annotated[float, Field(ge=0, le=1)]
Parameter = bool | int | float | str
"""A preprocessing parameter; nested structures are not needed and so not allowed."""


class Role(enum.Enum):
    """What a model is for; a pipeline asks the registry for a role, never for a name."""

    KARYOTYPE_SEGMENTER = "karyotype.segmenter"  # field → background, chromosome, nucleus or debris
    KARYOTYPE_DETECTOR = "karyotype.detector"  # region → boxes and masks of single chromosomes
    KARYOTYPE_CLASSIFIER = "karyotype.classifier"  # upright crop → one of 24 classes and which arm is up
    CHEST_XRAY_DETECTOR = "chest_xray.detector"  # film → boxes of the 14 VinDr-CXR findings


class Precision(enum.Enum):
    """Arithmetic that the graph itself asks for; what an engine made of it stands in
    `EngineInfo.precision`.
    """

    INT8 = "INT8"  # explicit QuantizeLinear / DequantizeLinear pairs, symmetric int8
    FP16 = "FP16"  # half precision written into the graph
    FP32 = "FP32"  # plain float


class PreprocessingMethod(enum.Enum):
    """How pixels become the model's input; each one is a function of `appliance.models.preprocessing`."""

    STAIN_FIELD = (
        "stain-field"  # grey field, background 0 and darkest stain 1, scaled and padded to the input
    )
    UPRIGHT_CROP = "upright-crop"  # one chromosome turned upright at a fixed scale, neighbours masked out
    LETTERBOX = "letterbox"  # scaled to fit and padded with one grey value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PackFile(_Part):
    """One file of the pack, by its path inside the pack directory with `/` between the parts."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class TensorEntry(_Part):
    """One input or output of the graph; a dimension of -1 is dynamic."""

    name: TensorName
    datatype: Literal["FP32", "FP16", "INT64", "INT32", "INT8", "UINT8", "BOOL"]
    shape: tuple[Annotated[int, Field(ge=-1, le=1 << 20)], ...] = Field(max_length=8)


class Preprocessing(_Part):
    """The method and its numbers; all of it is part of the contract hash."""

    method: PreprocessingMethod
    parameters: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Parameter] = Field(
        default_factory=dict, max_length=32
    )


class Labels(_Part):
    """Label order, and where in the outputs the labels live.

    `output[axis]` has `offset + len(names)` channels. A head that outputs class numbers instead has
    `channels`, the number of classes inside the graph, as the builder found it there. Without either the
    model knows a single kind of object.
    """

    names: tuple[Label, ...] = Field(min_length=1, max_length=1024)
    output: TensorName | None = None
    axis: Annotated[int, Field(ge=0, le=7)] = 1
    offset: Annotated[int, Field(ge=0)] = 0
    channels: Annotated[int, Field(ge=1, le=1024)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Labels:
        doubled = sorted(name for name, times in Counter(self.names).items() if times > 1)
        if doubled:
            raise ValueError(f"expected each label once and got {', '.join(doubled)} more than once")
        if self.output is not None and self.channels is not None:
            raise ValueError("expected labels.output or labels.channels and got both")
        if self.output is None and self.channels is None and len(self.names) != 1:
            raise ValueError(f"expected exactly one label where no output is named and got {len(self.names)}")
        return self


class Tolerance(_Part):
    """How far one output may be from its golden value; at least one bound has to be given."""

    min_cosine: Annotated[float, Field(ge=-1, le=1)] | None = None
    max_abs: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Tolerance:
        if self.min_cosine is None and self.max_abs is None:
            raise ValueError("expected min_cosine or max_abs and got neither")
        return self


class ObjectMatching(_Part):
    """For outputs that list objects in slots, all of shape [1, slots, …]: objects are looked for by overlap,
    and only those that are found again are held against the tolerances. Where `boxes` and `scores` name the
    same output, its rows are corners, score and class, [1, slots, 6].
    """

    boxes: TensorName  # [1, slots, 4], corners x0, y0, x1, y1
    scores: TensorName  # [1, slots]
    min_score: Annotated[float, Field(gt=0, le=1)]  # from here on an object has to be there on both sides
    min_iou: Annotated[float, Field(gt=0, le=1)]  # overlap from which on two boxes are one object
    min_share: Annotated[float, Field(gt=0, le=1)]  # of the objects, how many have to be found again


class GoldenCase(_Part):
    """A known answer: an .npz with arrays `input.NAME` and `output.NAME`; outputs without tolerance are not
    compared.
    """

    file: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    tolerance: dict[TensorName, Tolerance] = Field(min_length=1)
    matching: ObjectMatching | None = None  # None: every output is compared as it stands

    @property
    def needed_outputs(self) -> frozenset[str]:
        """Outputs that the case has to hold."""
        slots = () if self.matching is None else (self.matching.boxes, self.matching.scores)
        return frozenset((*self.tolerance, *slots))


def vacuous_gate(metric: str, bound: Literal["at_least", "at_most"], limit: float) -> str | None:
    """Say why a threshold could never be missed, or give None where it could.

    Every figure but a largest difference (`….max_abs`) is a share or a score from 0 to 1, a cosine or a
    difference of such (Comparison.figures of the builder).
    """
    if metric.endswith(".max_abs"):
        vacuous = bound == "at_least" and limit <= 0
    else:
        vacuous = limit <= 0 if bound == "at_least" else limit >= 1
    if not vacuous:
        return None
    return f"expected a threshold that {metric} can miss and got {bound.replace('_', ' ')} {limit:g}"


class Acceptance(_Part):
    """One acceptance threshold with what was measured when the pack was built."""

    metric: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    bound: Literal["at_least", "at_most"]
    limit: float
    measured: float
    n: Annotated[int, Field(ge=1)]  # number of samples behind `measured`

    @model_validator(mode="after")
    def _can_fail(self) -> Acceptance:
        reason = vacuous_gate(self.metric, self.bound, self.limit)
        if reason is not None:
            raise ValueError(reason)
        return self

    @property
    def met(self) -> bool:
        """Whether the measured value keeps the limit."""
        return self.measured >= self.limit if self.bound == "at_least" else self.measured <= self.limit


class Confidence(_Part):
    """How a classifier's numbers become probabilities, fitted on validation data (Guo et al., ICML 2017).

    No part of the contract: it changes no answer's meaning, only how sure it says it is.
    """

    class_temperature: Annotated[float, Field(gt=0, le=100)]  # divides the log-probabilities of the classes
    polarity_temperature: Annotated[float, Field(gt=0, le=100)]  # divides the polarity's logit
    min_class: Annotated[float, Field(ge=0, le=1)]  # below it a person has to confirm the class
    min_polarity: Annotated[float, Field(ge=0.5, le=1)]  # below it the polarity is not stated
    target_accuracy: Annotated[float, Field(gt=0, le=1)]  # share right, of those that both minima let pass
    classes_n: Annotated[int, Field(ge=1)]  # chromosomes behind the class figures
    polarity_n: Annotated[int, Field(ge=1)]  # chromosomes behind the polarity figures


class ModelCard(_Part):
    """What a reader has to know before trusting the model; the long form is the file."""

    file: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    summary: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    training_data: tuple[Annotated[str, StringConstraints(min_length=1, max_length=500)], ...] = Field(
        min_length=1
    )
    limitations: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    demonstration: bool = False  # trained on painted findings: its answers carry DEMONSTRATION_MODEL


class Manifest(_Part):
    """All of `manifest.json`."""

    manifest_version: Literal[1]
    name: Name
    version: Version
    role: Role
    precision: Precision
    model_file: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    files: tuple[PackFile, ...] = Field(min_length=1, max_length=256)
    inputs: tuple[TensorEntry, ...] = Field(min_length=1, max_length=16)
    outputs: tuple[TensorEntry, ...] = Field(min_length=1, max_length=16)
    preprocessing: Preprocessing
    labels: Labels
    # smallest score at which a label counts as found; where one is missing, the pipeline's default holds
    thresholds: dict[Label, Score] = Field(default_factory=dict, max_length=1024)
    contract_hash: Sha256
    golden_cases: tuple[GoldenCase, ...] = Field(max_length=64)
    acceptance: tuple[Acceptance, ...] = Field(max_length=64)
    card: ModelCard
    confidence: Confidence | None = None  # a classifier's own calibration; without it, temperatures of 1

    @model_validator(mode="after")
    def _closed(self) -> Manifest:
        listed = [file.path for file in self.files]
        for path, times in Counter(listed).items():
            if times > 1:
                raise ValueError(f"expected each file once and got {path} {times} times")
        needed = [self.model_file, self.card.file, *(case.file for case in self.golden_cases)]
        for path in needed:
            if path not in listed:
                raise ValueError(
                    f"expected {path} among the listed files and got {', '.join(sorted(listed))}"
                )
        for kind, entries in (("input", self.inputs), ("output", self.outputs)):
            for name, times in Counter(entry.name for entry in entries).items():
                if times > 1:
                    raise ValueError(f"expected each {kind} once and got {name} {times} times")
        strangers = sorted(set(self.thresholds) - set(self.labels.names))
        if strangers:
            raise ValueError(f"expected thresholds for the model's labels and got {', '.join(strangers)}")
        outputs = {entry.name for entry in self.outputs}
        for case in self.golden_cases:
            unknown = sorted(case.needed_outputs - outputs)
            if unknown:
                raise ValueError(
                    f"expected tolerances for {', '.join(sorted(outputs))} and got {', '.join(unknown)}"
                )
        return self

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of all files, in bytes."""
        return sum(file.size_bytes for file in self.files)
