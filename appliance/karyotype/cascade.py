"""The cascade: each stage looks only at what the stage before it found.

segment   the whole field, small     → the region of the spread, nuclei and debris
detect    that region at half scale  → instances with masks at full resolution
classify  upright crops, two views   → class probabilities and polarity
pair      no model                   → one class each, pairs, flags, karyotype
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import (
    CHROMOSOME_LABELS,
    Chromosome,
    DetectedObject,
    Spread,
    StageEvent,
    StageReport,
)
from appliance.imaging.image import Image
from appliance.inference.request import RequestContext
from appliance.karyotype import iscn, quality
from appliance.karyotype.assignment import assign_classes, nearest_normal, settle_classes
from appliance.karyotype.census import take_census
from appliance.karyotype.deviations import NORMAL_COUNT, explain, finding_doubt
from appliance.karyotype.instances import Candidate, Instance, fit_masks, read_candidates
from appliance.karyotype.leftover import unoutlined_stain
from appliance.karyotype.orientation import Orientation, fuse_classes, fuse_polarity, upright_crops
from appliance.karyotype.outline import bounding_box, outline
from appliance.karyotype.posterior import joint_posterior
from appliance.karyotype.region import FieldMap, RegionSearch, field_map, find_region
from appliance.karyotype.settings import ClassSettings, KaryotypeSettings
from appliance.karyotype.stages import Engines, Stage
from appliance.karyotype.suppression import suppress, touching, without_nuclei, without_repeats
from appliance.karyotype.tiling import cut_window, plan_windows, scaled_field
from appliance.models.manifest import Role
from appliance.models.preprocessing import FIELD_SCALE, FIELD_SIZE, field_input, normalise_stain, stain_range


@dataclass(frozen=True)
class _Field:
    """The image as every stage needs it."""

    stain: NDArray[np.float32]  # (H, W)
    contrast: float  # grey levels
    search: RegionSearch
    map: FieldMap
    half: NDArray[np.float32]  # the stain at FIELD_SCALE


@dataclass(frozen=True)
class _Objects:
    """What detection found."""

    instances: list[Instance]
    detected: tuple[DetectedObject, ...]
    links: list[tuple[int, ...]]  # for each object the others that touch it
    at_limit: bool
    doubtful: int = 0  # of the instances, those that only the number 46 speaks for


@dataclass(frozen=True)
class _Readings:
    """What classification found."""

    probabilities: NDArray[np.float64]  # (N, 24), each object by itself
    angles: tuple[float, ...]
    orientations: tuple[Orientation, ...]
    settings: ClassSettings  # the classifier's own thresholds where it has been calibrated


class KaryotypePipeline:
    """From a metaphase image to a finished spread.

    Args:
        engines: the inference service.
        settings: thresholds and prices.
    """

    def __init__(self, engines: Engines, settings: KaryotypeSettings | None = None) -> None:
        self._engines = engines
        self._settings = settings or KaryotypeSettings()

    def analyze(
        self,
        image: Image,
        context: RequestContext,
        on_stage: Callable[[StageEvent], None] | None = None,
    ) -> tuple[Spread, tuple[StageReport, ...]]:
        """Find, classify, orient and pair the chromosomes of one spread.

        Args:
            image: decoded, grey.
            context: deadline, cancellation and priority.
            on_stage: called at the end of each stage with what is known so far.

        Raises:
            UnsuitableImage: the image holds no metaphase spread.
            DeadlineExceeded, Cancelled: nobody waits any more.
            Unavailable, LimitExceeded, InferenceFailed: from the engines.
        """
        reports: list[StageReport] = []

        def ended(event: StageEvent) -> None:
            reports.append(event.report)
            if on_stage is not None:
                on_stage(event)

        stage = Stage("segment", self._engines, context)
        field = self._segment(image, stage)
        region = field.search.region
        ended(StageEvent(stage.report(), region))

        stage = Stage("detect", self._engines, context)
        objects = self._detect(field, stage)
        ended(StageEvent(stage.report(), region, objects.detected))

        stage = Stage("classify", self._engines, context)
        readings = self._classify(field, objects, stage)
        objects, readings = self._choose(objects, readings)
        alone = readings.probabilities.argmax(axis=1)
        first_view = _chromosomes(objects, readings, readings.probabilities, alone)
        ended(StageEvent(stage.report(), region, objects.detected, first_view))

        stage = Stage("pair", self._engines, context)
        likeliest = assign_classes(readings.probabilities, readings.settings)
        by_itself = readings.probabilities[np.arange(len(likeliest)), likeliest]
        quality.require_cell(by_itself.tolist(), self._settings.quality)
        chromosomes = _settle(objects, readings, nearest_normal(likeliest))
        spread = self._conclude(image, field, objects, chromosomes)
        ended(StageEvent(stage.report(), region, objects.detected, chromosomes))
        return spread, tuple(reports)

    def _segment(self, image: Image, stage: Stage) -> _Field:
        levels = stain_range(image.grey)
        quality.require_contrast(image.grey, levels, self._settings.quality)
        stain = normalise_stain(image.grey, levels)
        height, width = stain.shape
        half = scaled_field(stain, FIELD_SCALE)
        network_input, placement = field_input(half, max_scale=1.0)
        placement = placement.after(FIELD_SCALE)
        logits = stage.infer(Role.KARYOTYPE_SEGMENTER, {"image": network_input})["logits"]
        classes = field_map(logits, placement, width, height)
        search = find_region(classes, width, height, self._settings.region)
        if search.region is None:
            raise quality.no_spread(search)
        return _Field(stain, levels.contrast, search, classes, half)

    def _detect(self, field: _Field, stage: Stage) -> _Objects:
        settings = self._settings.detection
        region = field.search.region
        if region is None:
            raise quality.no_spread(field.search)
        half_height, half_width = field.half.shape
        candidates: list[Candidate] = []
        at_limit = False
        spare_px = self._settings.region.spare_px
        for window in plan_windows(region, FIELD_SCALE, FIELD_SIZE, settings.tile_overlap_px, spare_px):
            outputs = stage.infer(Role.KARYOTYPE_DETECTOR, {"image": cut_window(field.half, window)})
            found = read_candidates(
                outputs["boxes"],
                outputs["scores"],
                outputs["masks"],
                window,
                (half_width, half_height),
                settings,
            )
            counted = sum(one.score >= settings.counted_score for one in found)
            at_limit = at_limit or counted >= settings.slots
            candidates.extend(found)
        fitted = fit_masks(without_repeats(candidates, settings), field.stain, settings)
        instances = suppress(without_nuclei(fitted, field.map, settings), settings)
        counted_scores = [one.score for one in instances if one.score >= settings.counted_score]
        quality.require_spread(counted_scores, self._settings.quality)
        instances.sort(key=lambda one: (one.top, one.left))
        detected = tuple(
            DetectedObject(one.found or bounding_box(one), outline(one), one.score) for one in instances
        )
        return _Objects(instances, detected, touching(instances), at_limit)

    def _classify(self, field: _Field, objects: _Objects, stage: Stage) -> _Readings:
        crops = upright_crops(field.stain, objects.instances)
        outputs = stage.infer(Role.KARYOTYPE_CLASSIFIER, {"crops": crops.batch})
        fitted = stage.model.confidence if stage.model is not None else None
        settings = self._settings.classes
        class_temperature = polarity_temperature = 1.0
        if fitted is not None:
            settings = replace(
                settings, min_confidence=fitted.min_class, min_polarity_confidence=fitted.min_polarity
            )
            class_temperature, polarity_temperature = fitted.class_temperature, fitted.polarity_temperature
        probabilities = fuse_classes(outputs["class_logits"], class_temperature)
        counted = [one.score >= self._settings.detection.counted_score for one in objects.instances]
        quality.require_chromosomes(probabilities[counted], self._settings.quality)
        orientations = fuse_polarity(
            outputs["polarity_logit"], settings.min_polarity_confidence, polarity_temperature
        )
        return _Readings(probabilities, crops.angles, orientations, settings)

    def _choose(self, objects: _Objects, readings: _Readings) -> tuple[_Objects, _Readings]:
        """Leave out what is taken for no chromosome of the cell."""
        scores = np.array([one.score for one in objects.instances])
        census = take_census(scores, readings.probabilities.max(axis=1), self._settings.census)
        kept = census.kept.tolist()
        quality.require_spread(scores[census.kept].tolist(), self._settings.quality)
        place = {old: new for new, old in enumerate(kept)}
        chosen = _Objects(
            [objects.instances[old] for old in kept],
            tuple(objects.detected[old] for old in kept),
            [tuple(place[other] for other in objects.links[old] if other in place) for old in kept],
            objects.at_limit,
            census.doubtful,
        )
        return chosen, replace(
            readings,
            probabilities=readings.probabilities[census.kept],
            angles=tuple(readings.angles[old] for old in kept),
            orientations=tuple(readings.orientations[old] for old in kept),
        )

    def _conclude(
        self, image: Image, field: _Field, objects: _Objects, chromosomes: tuple[Chromosome, ...]
    ) -> Spread:
        settings = self._settings.quality
        region = field.search.region
        if region is None:
            raise quality.no_spread(field.search)
        flags = quality.spread_flags(
            chromosomes,
            field.search,
            (image.width, image.height),
            field.contrast,
            quality.sharpness(field.half, FIELD_SCALE),
            objects.at_limit,
            settings,
        )
        missing = len(chromosomes) < NORMAL_COUNT
        leftover = unoutlined_stain(field.map, objects.instances, region) if missing else ()
        deviations = explain(chromosomes, (image.width, image.height), leftover)
        karyotype, withheld = iscn.state_or_withhold(
            quality.members_of(chromosomes),
            sum(one.needs_expert for one in chromosomes),
            quality.count_doubt(flags, objects.doubtful) or finding_doubt(deviations, chromosomes),
            settings.iscn_counts,
            settings.iscn_max_changes,
        )
        return Spread(
            chromosomes=chromosomes,
            pairs=quality.pairs_of(chromosomes),
            iscn=karyotype,
            iscn_withheld_reason=withheld,
            region=region,
            quality_flags=flags,
            pixel_size_um=image.pixel_size_um,
            deviations=deviations,
        )


def _settle(objects: _Objects, readings: _Readings, normal: NDArray[np.intp]) -> tuple[Chromosome, ...]:
    """Final classes, each as sure as the cell's other objects make it."""
    posterior = joint_posterior(readings.probabilities, normal, readings.settings)
    return _chromosomes(objects, readings, posterior, settle_classes(posterior, normal, readings.settings))


def _chromosomes(
    objects: _Objects,
    readings: _Readings,
    probabilities: NDArray[np.float64],
    classes: NDArray[np.intp],
) -> tuple[Chromosome, ...]:
    """Put together what the stages found of each object; the runner-up is the likeliest other class."""
    made = []
    for index, detected in enumerate(objects.detected):
        own = int(classes[index])
        others = probabilities[index].copy()
        others[own] = -1.0
        second = int(others.argmax())
        confidence = float(probabilities[index, own])
        made.append(
            Chromosome(
                index=index,
                box=detected.box,
                mask=detected.mask,
                detection_confidence=detected.confidence,
                label=CHROMOSOME_LABELS[own],
                confidence=confidence,
                runner_up=CHROMOSOME_LABELS[second],
                runner_up_confidence=float(probabilities[index, second]),
                angle_degrees=readings.angles[index],
                polarity=readings.orientations[index].polarity,
                polarity_confidence=readings.orientations[index].confidence,
                touching=objects.links[index],
                needs_expert=confidence < readings.settings.min_confidence,
            )
        )
    return tuple(made)
