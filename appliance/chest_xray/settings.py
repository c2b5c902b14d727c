"""Every number that the chest X-ray path decides with, and what it must know about the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.models.film_contract import FilmContract, is_no_finding
from appliance.models.identity import ModelIdentity


@dataclass(frozen=True)
class FindingModel:
    """The model that is loaded now, and the parts of its manifest that turn films into findings."""

    identity: ModelIdentity
    contract: FilmContract
    labels: tuple[str, ...]  # in the order of the model's classes
    thresholds: Mapping[str, float] = field(default_factory=dict)  # smallest score by label, 0..1
    demonstration: bool = False  # trained on painted findings: answers carry DEMONSTRATION_MODEL
    takes_pixels: bool = False  # its engine scales grey levels by itself

    def __post_init__(self) -> None:
        unknown = sorted(set(self.thresholds) - set(self.labels))
        if unknown:
            raise ValueError(f"expected thresholds for the model's labels and got {', '.join(unknown)}")

    def limits(self, default: float) -> NDArray[np.float64]:
        """(C,) smallest score of each class: the pack's, else `default`; infinite for "No finding"."""
        limits = {label: self.thresholds.get(label, default) for label in self.labels}
        limits |= {label: math.inf for label in self.labels if is_no_finding(label)}
        return np.array([limits[label] for label in self.labels], dtype=np.float64)


@dataclass(frozen=True)
class ChestXraySettings:
    """All settings of the chest X-ray path."""

    default_threshold: float = 0.25  # smallest score of a finding where the pack names none
    max_iou: float = 0.45  # overlap above which two boxes of one class are one finding
    max_findings: int = 100  # most findings of one film
    low_contrast: float = 40.0  # grey levels between the 2nd and 98th percentile: below, LOW_CONTRAST
    min_contrast: float = 8.0  # below it the film is blank
