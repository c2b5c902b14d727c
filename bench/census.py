"""Fits the weights of the census on validation spreads and shows what each price of a count would do.

For whoever brings a new detector or classifier: the printed numbers go into `CensusSettings`. The weights are
fitted on all spreads; what a price does is counted on spreads of cases that its weights have not seen.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from appliance.errors import UnsuitableImage
from appliance.imaging import ImageDecoder
from appliance.inference.request import RequestContext
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.karyotype.census import take_census
from appliance.karyotype.orientation import fuse_classes
from appliance.karyotype.settings import CensusSettings, KaryotypeSettings
from bench.bare import BareEngines
from bench.cascade import FACTORY_PACKS
from bench.karyotype_run import MIN_IOU, Listening, reading_of
from bench.karyotype_truth import TrueSpread, read_split
from engine_builder.metrics import match
from engines import EngineOptions

ROOT = Path(__file__).resolve().parents[1]
FOLDS = 5
PRICES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
EVERYTHING = CensusSettings(offset=1000.0, count_price=0.0)


@dataclass(frozen=True)
class Candidates:
    """All detections of one spread, before any is left out."""

    case: str
    scores: NDArray[np.float64]  # (N,)
    best_class: NDArray[np.float64]  # (N,)
    real: NDArray[np.bool_]  # (N,) whether it takes a marked chromosome
    marked: int


def fit(spreads: Sequence[Candidates]) -> CensusSettings:
    """Logistic regression of `real` by Newton's method."""
    scores = np.clip(np.concatenate([each.scores for each in spreads]), 1e-4, 1.0 - 1e-4)
    best = np.concatenate([each.best_class for each in spreads])
    real = np.concatenate([each.real for each in spreads]).astype(np.float64)
    columns = np.stack([np.ones(len(scores)), np.log(scores / (1.0 - scores)), best], axis=1)
    weights = np.zeros(3)
    for _ in range(30):
        share = 1.0 / (1.0 + np.exp(-columns @ weights))
        slope = columns.T @ (share - real) + 1e-3 * weights
        curve = (columns * (share * (1.0 - share))[:, None]).T @ columns + 1e-3 * np.eye(3)
        weights -= np.linalg.solve(curve, slope)
    offset, detector, classes = (round(float(weight), 2) for weight in weights)
    return CensusSettings(offset=offset, detector_weight=detector, class_weight=classes)


def judge(spreads: Sequence[Candidates], price: float) -> tuple[float, float, float]:
    """Share of spreads counted exactly, share of marked chromosomes kept, false objects a spread."""
    cases = sorted({each.case for each in spreads})
    exact = kept = false = 0
    for fold in range(FOLDS):
        held = set(cases[fold::FOLDS])
        seen = [each for each in spreads if each.case not in held]
        settings = replace(fit(seen), count_price=price)
        for each in (one for one in spreads if one.case in held):
            census = take_census(each.scores, each.best_class, settings)
            right = int(each.real[census.kept].sum())
            exact += len(census.kept) == each.marked
            kept += right
            false += len(census.kept) - right
    return exact / len(spreads), kept / sum(each.marked for each in spreads), false / len(spreads)


def collect(engines: BareEngines, spreads: Sequence[TrueSpread]) -> list[Candidates]:
    """Run the cascade so that it keeps everything."""
    listening = Listening(engines)
    pipeline = KaryotypePipeline(listening, KaryotypeSettings(census=EVERYTHING))
    found = []
    with ImageDecoder() as decoder:
        for spread in track(spreads, "spreads"):
            try:
                analysed, _ = pipeline.analyze(decoder.decode(spread.path.read_bytes()), RequestContext())
            except UnsuitableImage:
                continue
            objects = analysed.chromosomes
            scored = reading_of(spread, objects, np.zeros(len(objects)), None, refused=False).scored
            best = fuse_classes(listening.class_logits, listening.temperature).max(axis=1)
            real = match(scored, MIN_IOU) >= 0
            found.append(Candidates(spread.case, scored.scores, best, real, len(spread.labels)))
    return found


def main() -> None:
    """Command line: `python -m bench.census --data DATA`."""
    parser = argparse.ArgumentParser(prog="bench.census", description=__doc__)
    default = os.environ.get("APPLIANCE_TEST_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default), help="folder with metaphases/val.json")
    parser.add_argument("--packs", type=Path, default=FACTORY_PACKS)
    parser.add_argument("--spreads", type=int, default=0, help="how many spreads; 0 means all")
    words = parser.parse_args()
    spreads = read_split(words.data / "metaphases", words.spreads or None, "val")
    with BareEngines(words.packs, EngineOptions()) as engines:
        found = collect(engines, spreads)
    print(fit(found))
    for price in PRICES:
        exact, kept, false = judge(found, price)
        print(f"price {price:g}: count exact {exact:.3f}, chromosomes kept {kept:.4f}, false {false:.2f}")


if __name__ == "__main__":
    main()
