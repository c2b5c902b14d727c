"""What an analysis says: the frozen result types that pipelines make, the store keeps and rpc/ converts.

Coordinates are pixels of the image as it was sent, x to the right and y down, the origin at the outer
corner of the first pixel.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

Polygon = tuple[tuple[float, float], ...]
"""Closed outline as (x, y) vertices in pixels of the input; the last vertex joins the first."""

CHROMOSOME_LABELS: tuple[str, ...] = (*(str(n) for n in range(1, 23)), "X", "Y")
"""The 24 human chromosomes in ISCN order; a classifier's output index is an index into this tuple."""


class Modality(enum.Enum):
    """What an image shows."""

    METAPHASE = "metaphase"  # a G-banded metaphase spread seen through a light microscope
    CHEST_XRAY = "chest-xray"  # a frontal chest radiograph


class Polarity(enum.Enum):
    """Which arm points up after the object was turned by `Chromosome.angle_degrees`."""

    P_ARM_UP = "p_arm_up"
    Q_ARM_UP = "q_arm_up"
    UNSURE = "unsure"  # the classifier's two views disagree or its confidence is below the threshold


class View(str, enum.Enum):
    """From where a chest film was taken, as its DICOM header says."""

    PA = "pa"  # from the back to the front, the usual one
    AP = "ap"  # from the front to the back, of people who lie
    FRONTAL = "frontal"  # one of the two
    LATERAL = "lateral"  # from the side
    OTHER = "other"  # oblique, decubitus, or a word that is none of the standard's
    NOT_STATED = "not_stated"


class Laterality(str, enum.Enum):
    """Which side of the body a film shows, as its DICOM header says."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"
    UNPAIRED = "unpaired"  # of a part that there is once
    NOT_STATED = "not_stated"


class QualityFlag(enum.Enum):
    """What a person should know before trusting a spread or a film."""

    COUNT_NOT_46 = "count_not_46"  # another number of objects than a normal human cell has
    TOUCHING_CHROMOSOMES = "touching_chromosomes"  # outlines of some objects touch or overlap
    LOW_CONFIDENCE_CLASSES = "low_confidence_classes"  # at least one class is below the threshold
    UNPAIRED_CLASSES = "unpaired_classes"  # a class has another number of members than a normal cell
    CROPPED_AT_EDGE = "cropped_at_edge"  # an object touches the border of the image
    SEVERAL_REGIONS = "several_regions"  # the field holds more than one cluster of chromosomes
    LOW_CONTRAST = "low_contrast"  # stain contrast is below what the models were trained on
    OUT_OF_FOCUS = "out_of_focus"  # sharpness is below what the models were trained on
    DETECTION_LIMIT = (
        "detection_limit"  # the detector returned as many objects as it can: some may be missing
    )
    DEMONSTRATION_MODEL = "demonstration_model"  # the model was trained on painted findings, see its card
    VIEW_NOT_STATED = "view_not_stated"  # the DICOM header does not say that the view is frontal
    BODY_PART_NOT_STATED = "body_part_not_stated"  # the DICOM header does not say that it is a chest
    PARTIAL_SPREAD = "partial_spread"  # far fewer objects than a cell has: a part of one, or a broken one
    MORE_THAN_ONE_CELL = "more_than_one_cell"  # far more objects than a cell has: spreads lie together
    UNFAMILIAR_OBJECTS = "unfamiliar_objects"  # most classes are doubtful: another stain or species, or blur
    TURNED_UPRIGHT = "turned_upright"  # the header says that the film lies or is mirrored
    BURNED_IN_TEXT = (
        "burned_in_text"  # the film carries text, by its looks or its header: it may name somebody
    )
    LOOKS_INVERTED = "looks_inverted"  # shown as the file says, and yet as if black and white were swapped


@dataclass(frozen=True)
class Box:
    """Axis-parallel rectangle: left, top, width and height in pixels of the input."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class StageReport:
    """One stage of a pipeline as it ran for this request."""

    stage: str  # "decode", "segment", "detect", "classify", "orient", "draw", ...
    time_ms: float  # wall time of the stage, engine calls and own code together
    engine_ms: float = 0.0  # of which inside bare engine calls
    calls: int = 0  # number of engine calls
    model_name: str = ""
    model_version: str = ""
    contract_hash: str = ""
    engine: str = ""  # "openvino", "onnxruntime", "tensorrt"
    device: str = ""
    precision: str = ""  # "INT8", "FP16", "FP32", or what the adapter says it did


class DeviationKind(enum.Enum):
    """In what a spread differs from a normal cell."""

    COUNT = "count"  # another number of objects than 46
    GAIN = "gain"  # a class has more members than in a normal cell
    LOSS = "loss"  # a class has fewer members than in a normal cell


class ExplanationKind(enum.Enum):
    """What may lie behind a deviation; all but the last are faults of the finding, not of the cell."""

    CUT_AT_BORDER = "cut_at_border"  # the border of the image cuts an object, others may lie beyond it
    UNOUTLINED_STAIN = "unoutlined_stain"  # chromosome-like stain that no outline covers
    JOINED = "joined"  # one outline that may hold two chromosomes
    PIECES = "pieces"  # two outlines that may be pieces of one chromosome
    NOT_A_CHROMOSOME = "not_a_chromosome"  # an object that may be debris
    MISREAD = "misread"  # an object whose class may be another one
    ANEUPLOIDY = "aneuploidy"  # the cell itself: a chromosome gained or lost


@dataclass(frozen=True)
class Chromosome:
    """One chromosome of a spread."""

    index: int  # 0-based position in `Spread.chromosomes`
    box: Box
    mask: tuple[Polygon, ...]
    detection_confidence: float  # 0..1
    label: str  # one of CHROMOSOME_LABELS
    confidence: float  # 0..1, of `label`
    runner_up: str
    runner_up_confidence: float  # 0..1
    angle_degrees: float  # counter-clockwise turn that brings the long axis upright, in (-90, 90]
    polarity: Polarity  # which arm points up after that turn; Q_ARM_UP needs another half turn for display
    polarity_confidence: float  # 0.5..1
    touching: tuple[int, ...] = ()  # indices of objects whose outlines touch or overlap this one
    needs_expert: bool = False  # below the confidence threshold


@dataclass(frozen=True)
class Explanation:
    """One thing that may lie behind a deviation."""

    kind: ExplanationKind
    words: str  # a phrase for a person, for example "monosomy 21"
    at: tuple[float, float] | None = None  # x, y in pixels of the input, where there is a place to look at
    members: tuple[int, ...] = ()  # indices of the objects concerned


@dataclass(frozen=True)
class Deviation:
    """One difference from a normal cell, with what may explain it."""

    kind: DeviationKind
    label: str  # the class concerned, empty where the whole cell is
    expected: int  # number that a normal cell has
    found: int
    explanations: tuple[Explanation, ...]  # what a person should check first comes first
    words: str  # all of it as one sentence


@dataclass(frozen=True)
class Spread:
    """The finished result for one metaphase image."""

    chromosomes: tuple[Chromosome, ...]
    pairs: tuple[tuple[str, tuple[int, ...]], ...]  # class label and the indices of its members, ISCN order
    iscn: str | None  # exactly one of iscn and iscn_withheld_reason is set
    iscn_withheld_reason: str | None
    region: Box  # where the spread was found
    quality_flags: tuple[QualityFlag, ...] = ()
    pixel_size_um: float | None = None  # micrometres per pixel, if the caller gave it
    deviations: tuple[Deviation, ...] = ()  # the count first, then the classes in ISCN order

    @property
    def count(self) -> int:
        """Number of chromosomes found."""
        return len(self.chromosomes)


@dataclass(frozen=True)
class DetectedObject:
    """One object after detection, before it has a class."""

    box: Box
    mask: tuple[Polygon, ...]
    confidence: float  # 0..1


@dataclass(frozen=True)
class StageEvent:
    """A stage of the karyotype pipeline has ended: what is known so far, for a screen that fills up."""

    report: StageReport
    region: Box | None = None  # known once the segmenter has run
    objects: tuple[DetectedObject, ...] = ()  # known once the detector has run
    chromosomes: tuple[Chromosome, ...] = ()  # known once the classifier has run


@dataclass(frozen=True)
class Finding:
    """One finding on a chest film."""

    label: str
    confidence: float  # 0..1
    box: Box


@dataclass(frozen=True)
class FilmSource:
    """Which DICOM film it was, in pseudonyms of this site; empty where the header did not say."""

    study_pseudonym: str = ""
    series_pseudonym: str = ""
    instance_pseudonym: str = ""


@dataclass(frozen=True)
class Film:
    """The finished result for one chest X-ray. No findings means that none reached the threshold."""

    findings: tuple[Finding, ...]
    quality_flags: tuple[QualityFlag, ...] = ()
    view: View = View.NOT_STATED  # as the DICOM header says
    laterality: Laterality = Laterality.NOT_STATED
    source: FilmSource | None = None  # of a DICOM film


@dataclass(frozen=True)
class Analysis:
    """One answered request: what is committed to the store and sent to the caller."""

    result_id: str  # UUID version 7, made by the daemon
    request_id: str  # the caller's own id, or empty
    modality: Modality
    created_ms: int  # Unix time in milliseconds
    image_width: int
    image_height: int
    stages: tuple[StageReport, ...]
    spread: Spread | None = None  # exactly one of spread and film is set
    film: Film | None = None
    image_sha256: str = ""  # of a spread's decoded pixels, see imaging/digest.py; empty in results of old
    repeat_of: str = ""  # the earlier result whose findings these are; empty where they were computed anew
    renderings: dict[str, bytes] = field(default_factory=dict, compare=False)  # name → file, as asked for
