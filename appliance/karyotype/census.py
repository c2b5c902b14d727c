"""Which detections make up the cell: sure ones stay, doubtful ones are weighed against a cell's 46.

A detector that is asked for everything it half believes in finds pieces and dirt, one that is asked for what
it is sure of misses chromosomes. Here each object's odds come from the detector and from how clearly the
classifier names it, and a number other than 46 has a price. The price is small against the odds of a sure
detection, so that a trisomy or a lost chromosome stays visible, and it is capped, so that half a spread or
two are not pulled towards one cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.karyotype.deviations import NORMAL_COUNT
from appliance.karyotype.settings import CensusSettings


@dataclass(frozen=True)
class Census:
    """The objects that are taken for chromosomes of the cell."""

    kept: NDArray[np.intp]  # indices, in the order of the objects
    doubtful: int  # of them, those that only the number 46 speaks for


def take_census(
    scores: NDArray[np.float64], best_class: NDArray[np.float64], settings: CensusSettings
) -> Census:
    """Choose the set of objects that costs least.

    Args:
        scores: (N,) detection confidences.
        best_class: (N,) probability of each object's likeliest class by itself.
        settings: weights and the price of a deviating number, in nats.
    """
    odds = log_odds(scores, best_class, settings)
    order = np.argsort(-odds, kind="stable")
    gain = np.concatenate([[0.0], np.cumsum(odds[order])])
    away = np.minimum(np.abs(np.arange(len(gain)) - NORMAL_COUNT), settings.count_cap)
    number = int(np.argmin(settings.count_price * away - gain))
    kept = np.sort(order[:number])
    return Census(kept, int((odds[kept] < 0.0).sum()))


def log_odds(
    scores: NDArray[np.float64], best_class: NDArray[np.float64], settings: CensusSettings
) -> NDArray[np.float64]:
    """(N,) log-odds that an object is one chromosome; arguments as in `take_census`."""
    sure = np.clip(scores, 1e-4, 1.0 - 1e-4)
    detector = np.log(sure / (1.0 - sure))
    return np.asarray(
        settings.offset + settings.detector_weight * detector + settings.class_weight * best_class,
        dtype=np.float64,
    )
