"""The four contracts that this version's pipelines are written for; their hashes are what a pipeline
accepts.
"""

from __future__ import annotations

from typing import Final

from appliance.analysis import CHROMOSOME_LABELS
from appliance.models.contract import Contract
from appliance.models.manifest import Labels, Preprocessing, PreprocessingMethod, Role, TensorEntry
from appliance.models.preprocessing import (
    CROP_HEIGHT,
    CROP_MEDIAN_AREA,
    CROP_WIDTH,
    FIELD_SCALE,
    FIELD_SIZE,
)

SEGMENTER_LABELS: Final = ("background", "chromosome", "nucleus_or_debris")
DETECTOR_SLOTS: Final = 128
"""Objects that one call of the detector can return."""
DETECTOR_MASK: Final = 28
"""Side in pixels of the mask inside a box."""

FINDING_LABELS: Final = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Consolidation",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Nodule/Mass",
    "Other lesion",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
)
"""The 14 findings of VinDr-CXR in the order of its class ids (Nguyen et al., Sci Data 9:429, 2022)."""
FILM_SIZE: Final = 640
FILM_FILL: Final = 114
_FILM_ANCHORS: Final = sum((FILM_SIZE // stride) ** 2 for stride in (8, 16, 32))


def _tensor(name: str, *shape: int) -> TensorEntry:
    return TensorEntry(name=name, datatype="FP32", shape=shape)


_FIELD: Final = Preprocessing(
    method=PreprocessingMethod.STAIN_FIELD,
    parameters={"size": FIELD_SIZE, "max_scale": FIELD_SCALE, "background": 0, "darkest": 1},
)

SEGMENTER: Final = Contract(
    inputs=(_tensor("image", 1, 1, FIELD_SIZE, FIELD_SIZE),),
    outputs=(_tensor("logits", 1, len(SEGMENTER_LABELS), FIELD_SIZE, FIELD_SIZE),),
    preprocessing=_FIELD,
    labels=Labels(names=SEGMENTER_LABELS, output="logits", axis=1),
)

DETECTOR: Final = Contract(
    inputs=(_tensor("image", 1, 1, FIELD_SIZE, FIELD_SIZE),),
    outputs=(
        _tensor("boxes", 1, DETECTOR_SLOTS, 4),
        _tensor("scores", 1, DETECTOR_SLOTS),
        _tensor("masks", 1, DETECTOR_SLOTS, DETECTOR_MASK, DETECTOR_MASK),
    ),
    preprocessing=_FIELD,
    labels=Labels(names=("chromosome",)),
)

CLASSIFIER: Final = Contract(
    inputs=(_tensor("crops", -1, 1, CROP_HEIGHT, CROP_WIDTH),),
    outputs=(_tensor("class_logits", -1, len(CHROMOSOME_LABELS)), _tensor("polarity_logit", -1, 1)),
    preprocessing=Preprocessing(
        method=PreprocessingMethod.UPRIGHT_CROP,
        parameters={"height": CROP_HEIGHT, "width": CROP_WIDTH, "median_area": CROP_MEDIAN_AREA},
    ),
    labels=Labels(names=CHROMOSOME_LABELS, output="class_logits", axis=1),
)

CHEST_XRAY: Final = Contract(
    inputs=(_tensor("images", 1, 3, FILM_SIZE, FILM_SIZE),),
    outputs=(_tensor("output0", 1, 4 + len(FINDING_LABELS), _FILM_ANCHORS),),
    preprocessing=Preprocessing(
        method=PreprocessingMethod.LETTERBOX,
        parameters={"size": FILM_SIZE, "fill": FILM_FILL, "channels": "RGB", "divisor": 255},
    ),
    labels=Labels(names=FINDING_LABELS, output="output0", axis=1, offset=4),
)

REFERENCE_CONTRACTS: Final = {
    Role.KARYOTYPE_SEGMENTER: SEGMENTER,
    Role.KARYOTYPE_DETECTOR: DETECTOR,
    Role.KARYOTYPE_CLASSIFIER: CLASSIFIER,
    Role.CHEST_XRAY_DETECTOR: CHEST_XRAY,
}
"""What each role's pipeline reads; pass the hashes to `ModelRegistry`."""
