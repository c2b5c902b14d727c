"""Runs the cascade on spreads, phantoms and single chromosomes, and keeps what accuracy is counted from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from appliance.analysis import CHROMOSOME_LABELS, Chromosome, Polarity, StageEvent
from appliance.errors import UnsuitableImage
from appliance.imaging import ImageDecoder
from appliance.imaging.image import Image, MediaType
from appliance.inference.request import Inference, RequestContext
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.karyotype.orientation import fuse_classes, fuse_polarity
from appliance.karyotype.settings import ClassSettings
from appliance.models.manifest import Role
from bench.bare import BareEngines
from bench.karyotype_truth import TrueSpread, phantoms
from engine_builder.metrics import ScoredImage, match
from engine_builder.training.spreads import STAIN_UNITS
from engine_builder.training.upright import read_upright, split_upright

MIN_IOU = 0.5


@dataclass(frozen=True)
class Reading:
    """What the cascade said of one spread, beside the truth."""

    path: Path
    scored: ScoredImage
    confidence: NDArray[np.float64]  # (N,) as reported
    alone: NDArray[np.float64]  # (N,) of the same class, the classifier's uncalibrated softmax
    needs_expert: NDArray[np.bool_]  # (N,)
    iscn: str | None
    refused: bool  # taken for an image without a spread; it counts as nothing found


@dataclass(frozen=True)
class Stand:
    """How the chromosomes of one phantom, or of one slide, were turned."""

    cluster: str
    polarity_right: int
    polarity_stated: int
    angle_right: int  # within 10 degrees
    chromosomes: int
    touching_found: int = 0  # of those that touch or overlap others: outlined as one object each
    touching: int = 0


class Listening:
    """The engines, and the classifier's last answer for whoever wants to know it before calibration."""

    def __init__(self, engines: BareEngines) -> None:
        self._engines = engines
        self.class_logits: NDArray[np.float32] = np.zeros((0, len(CHROMOSOME_LABELS)), np.float32)
        self.temperature = 1.0  # of the pack's calibration

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        inference = self._engines.infer(role, tensors, context)
        if role is Role.KARYOTYPE_CLASSIFIER:
            self.class_logits = inference.outputs["class_logits"]
            fitted = inference.model.confidence
            self.temperature = fitted.class_temperature if fitted else 1.0
        return inference


def read_spreads(engines: BareEngines, spreads: Sequence[TrueSpread], title: str) -> list[Reading]:
    """Run the cascade on every spread."""
    listening = Listening(engines)
    pipeline = KaryotypePipeline(listening)
    readings = []
    with ImageDecoder() as decoder:
        for spread in track(spreads, title):
            try:
                events: list[StageEvent] = []
                image = decoder.decode(spread.path.read_bytes())
                found, _ = pipeline.analyze(image, RequestContext(), events.append)
            except UnsuitableImage:
                readings.append(reading_of(spread, (), np.zeros(0), None, refused=True))
                continue
            # The classifier saw every detection, the result holds those that make up the cell.
            detected = next(event.objects for event in events if event.report.stage == "detect")
            row_of = {one.box: row for row, one in enumerate(detected)}
            rows = [row_of[one.box] for one in found.chromosomes]
            own = [CHROMOSOME_LABELS.index(one.label) for one in found.chromosomes]
            alone = fuse_classes(listening.class_logits)[rows, own]
            readings.append(reading_of(spread, found.chromosomes, alone, found.iscn, refused=False))
    return readings


def reading_of(
    truth: TrueSpread,
    found: Sequence[Chromosome],
    alone: NDArray[np.float64],
    iscn: str | None,
    *,
    refused: bool,
) -> Reading:
    boxes = [(c.box.x, c.box.y, c.box.x + c.box.width, c.box.y + c.box.height) for c in found]
    scored = ScoredImage(
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        scores=np.array([c.detection_confidence for c in found], dtype=np.float64),
        labels=np.array([CHROMOSOME_LABELS.index(c.label) for c in found], dtype=np.int64),
        true_boxes=truth.boxes,
        true_labels=truth.labels,
        cluster=truth.case,
    )
    return Reading(
        path=truth.path,
        scored=scored,
        confidence=np.array([c.confidence for c in found], dtype=np.float64),
        alone=alone,
        needs_expert=np.array([c.needs_expert for c in found], dtype=np.bool_),
        iscn=iscn,
        refused=refused,
    )


def read_phantoms(engines: BareEngines, how_many: int, title: str) -> list[Stand]:
    """Turn the chromosomes of phantom spreads; only those that were found are counted."""
    pipeline = KaryotypePipeline(engines)
    stands = []
    for number, phantom in enumerate(track(phantoms(how_many), title, total=how_many)):
        image = Image(phantom.image, MediaType.PNG, 8)
        try:
            found = pipeline.analyze(image, RequestContext())[0].chromosomes
        except UnsuitableImage:
            continue
        corners = [
            (t.box.x, t.box.y, t.box.x + t.box.width, t.box.y + t.box.height) for t in phantom.chromosomes
        ]
        labels = [CHROMOSOME_LABELS.index(t.label) for t in phantom.chromosomes]
        truth = TrueSpread(Path(), f"phantom {number}", np.array(corners, dtype=np.float64), np.array(labels))
        taken = match(reading_of(truth, found, np.zeros(0), None, refused=False).scored, MIN_IOU)
        pairs = [
            (one, phantom.chromosomes[index].upright_degrees)
            for one, index in zip(found, taken, strict=True)
            if index >= 0
        ]
        touching = {index for index, truth in enumerate(phantom.chromosomes) if truth.touching}
        apart = len(touching & set(taken.tolist()))
        stand = _stand(f"phantom {number}", pairs)
        stands.append(replace(stand, touching_found=apart, touching=len(touching)))
    return stands


def _stand(cluster: str, pairs: Sequence[tuple[Chromosome, float]]) -> Stand:
    right = stated = upright = 0
    for one, true_turn in pairs:
        upright += turn_error(one.angle_degrees, true_turn, 180.0) <= 10.0
        if one.polarity is Polarity.UNSURE:
            continue
        stated += 1
        turn = one.angle_degrees + (180.0 if one.polarity is Polarity.Q_ARM_UP else 0.0)
        right += turn_error(turn, true_turn, 360.0) < 90.0
    return Stand(cluster, right, stated, upright, len(pairs))


def turn_error(turn: float, true_turn: float, period: float) -> float:
    """Distance of two turns in degrees, where turns a whole period apart are the same."""
    distance = abs(turn - true_turn) % period
    return min(distance, period - distance)


def read_upright_slides(engines: BareEngines, folder: Path) -> list[Stand]:
    """Polarity of real single chromosomes of slides that training never saw; all of them stand p arm up."""
    _, held_out = split_upright(read_upright(folder))
    stands = []
    for slide in np.unique(held_out.slides):
        pixels = held_out.pixels[held_out.slides == slide]
        stain = (pixels.astype(np.float32) / STAIN_UNITS)[:, None]
        views = np.ascontiguousarray(np.concatenate([stain, stain[:, :, ::-1, ::-1]]))
        answer = engines.infer(Role.KARYOTYPE_CLASSIFIER, {"crops": views}, RequestContext())
        fitted = answer.model.confidence
        least = fitted.min_polarity if fitted else ClassSettings().min_polarity_confidence
        heat = fitted.polarity_temperature if fitted else 1.0
        found = [one.polarity for one in fuse_polarity(answer.outputs["polarity_logit"], least, heat)]
        stated = [one for one in found if one is not Polarity.UNSURE]
        right = sum(one is Polarity.P_ARM_UP for one in stated)
        stands.append(Stand(str(slide), right, len(stated), 0, len(found)))
    return stands
