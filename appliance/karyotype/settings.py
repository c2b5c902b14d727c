"""Every number that the karyotype cascade decides with, in one place and with its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RegionSettings:
    """How the segmenter's pixels become the region of one spread."""

    margin_px: int = 24  # room around the outermost chromosome, in image pixels
    spare_px: int = 16  # of that room, what may be left out where one window then holds the whole spread
    join_ratio: float = 2.75  # gaps up to this many typical chromosome lengths lie inside one spread (95 %)
    straggler_ratio: float = (
        5.5  # a small group up to this far away still belongs to it (largest gap seen: 5.4)
    )
    straggler_share: float = 0.15  # "small": below this share of the main group's chromosome pixels
    other_spread_share: float = (
        0.25  # a group above this share of the main one's pixels is a spread of its own
    )
    min_object_px: float = 80.0  # smaller connected parts are noise, in image pixels
    min_spread_px: float = 3000.0  # fewer chromosome pixels than this are no spread, in image pixels


@dataclass(frozen=True)
class DetectionSettings:
    """How detections become instances."""

    # This and `contained_share` were chosen on validation spreads: counts are off by 1.8 objects in the mean
    # (30 spreads); at 0.5 and 0.8 they were off by 4.2 (24 spreads of the same split).
    min_score: float = 0.15  # candidates; `CensusSettings` decides which of them are chromosomes
    counted_score: float = 0.3  # those from here on say whether the field is a spread at all
    tile_overlap_px: int = 128  # network pixels that neighbouring windows share; longer than any chromosome
    repeat_iou: float = 0.8  # boxes of different windows that agree more than this, and whose masks agree ...
    repeat_difference: float = 0.15  # ... to this mean difference of probabilities, are one object
    duplicate_iou: float = 0.5  # masks that agree more than this are one object
    contained_share: float = (
        0.9  # a mask lying to this share inside another one is a part or a duplicate of it
    )
    max_nucleus_share: float = 0.6  # a mask lying to this share on nucleus or debris is no chromosome
    sure_probability: float = 0.5  # mask probability that makes a stained pixel the object's own
    rim_probability: float = 0.1  # a weaker pixel joins only where no other object claims it more
    min_mask_px: int = 60  # smaller masks are crumbs, in image pixels
    slots: int = 128  # objects that the detector can return for one window


@dataclass(frozen=True)
class CensusSettings:
    """Which detections are taken for chromosomes of the cell."""

    # Logistic regression on detections of 90 validation spreads (`python -m bench.census`); five-fold over
    # cases, the choice finds 94.3 % of the marked chromosomes with 2.3 false objects a spread, and the number
    # is exact in 80 %. Without a price of the count it is 93.2 %, 1.8 and 20 %: most cells have 46.
    offset: float = -1.6  # log-odds of an object without any evidence, in nats
    detector_weight: float = 1.19  # of the detection confidence's own log-odds
    class_weight: float = 3.3  # of the likeliest class's probability
    count_price: float = 1.5  # nats for each chromosome more or fewer than 46 ...
    count_cap: int = 3  # ... up to this many: farther away it is another kind of image


@dataclass(frozen=True)
class ClassSettings:
    """How class and polarity probabilities become answers."""

    min_confidence: float = 0.80  # below it a person has to look: `Chromosome.needs_expert`
    min_polarity_confidence: float = 0.80  # below it the polarity is UNSURE
    extra_member_price: float = (
        3.0  # nats for a member beyond a class's normal number, doubled for each further
    )
    missing_member_price: float = 1.5  # nats for a member fewer than a class's normal number


@dataclass(frozen=True)
class QualitySettings:
    """When a whole spread is refused, flagged, or left without an ISCN string."""

    min_contrast: float = (
        24.0  # grey levels between background and darkest stain: below it the field is blank
    )
    # Both limits are about the first percentile of 288 training spreads (contrast 104, sharpness 0.246).
    low_contrast: float = 100.0  # grey levels of contrast; below it the answer carries LOW_CONTRAST
    min_sharpness: float = 0.24  # of `quality.sharpness`; below it the answer carries OUT_OF_FOCUS
    min_chromosomes: int = 8  # fewer objects are no metaphase spread
    # The lowest of 40 validation spreads had medians of 0.80, 0.49 and 0.44; six pictures of pebbles and
    # clouds came to 0.70, 0.51 and 0.36 at most, and none of them passes all three. The limits were
    # set with these very pictures, so they say little of others.
    min_median_detection: float = 0.72  # of the detector's scores: below it the objects are no chromosomes
    min_median_confidence: float = 0.25  # of each object's likeliest class
    min_median_assigned: float = 0.32  # of the classes after they were shared out as one cell's
    # The highest of 36 validation spreads, all human and G-banded, was 0.39.
    max_doubtful_share: float = 0.6  # of classes below their threshold; above it UNFAMILIAR_OBJECTS
    iscn_counts: tuple[int, int] = (44, 48)  # counts for which a numerical karyotype is stated at all
    iscn_max_changes: int = 2  # more gains and losses in one cell are more likely wrong classes than biology


@dataclass(frozen=True)
class KaryotypeSettings:
    """All settings of the cascade."""

    region: RegionSettings = RegionSettings()
    detection: DetectionSettings = DetectionSettings()
    census: CensusSettings = CensusSettings()
    classes: ClassSettings = ClassSettings()
    quality: QualitySettings = QualitySettings()
