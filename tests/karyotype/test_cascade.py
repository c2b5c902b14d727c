"""The whole cascade on phantoms, with engines that answer from the truth."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import (
    Chromosome,
    DeviationKind,
    ExplanationKind,
    Polarity,
    QualityFlag,
    Spread,
    StageEvent,
)
from appliance.clock import Deadline
from appliance.errors import Cancelled, DeadlineExceeded, InferenceFailed, UnsuitableImage
from appliance.inference.request import RequestContext
from appliance.karyotype.cascade import KaryotypePipeline
from appliance.karyotype.outline import fill
from appliance.models.manifest import Confidence, Role
from appliance.phantoms.metaphase import SpreadStyle, metaphase_phantom
from tests.karyotype.conftest import image_of
from tests.simulators.karyotype_engines import FieldEngines, Spoil, SpreadTruth, TruthEngines, phantom_truth


def analyze(truth: SpreadTruth, spoil: Spoil | None = None) -> Spread:
    return KaryotypePipeline(TruthEngines(truth, spoil)).analyze(image_of(truth.grey), RequestContext())[0]


def full_mask(one: Chromosome, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask, left, top = fill(one.mask, one.box)
    full = np.zeros(shape, dtype=bool)
    full[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return full


def matches(truth: SpreadTruth, spread: Spread) -> dict[int, tuple[Chromosome, float]]:
    """For each true object the found one with the largest overlap, and their mask IoU."""
    found = [full_mask(one, truth.grey.shape) for one in spread.chromosomes]
    areas = [int(mask.sum()) for mask in found]
    best = {}
    for index, instance in enumerate(truth.instances()):
        window = (instance.rows, instance.columns)
        shared = [int((instance.mask & mask[window]).sum()) for mask in found]
        ious = [s / (instance.area_px + a - s) for s, a in zip(shared, areas, strict=True)]
        top = int(np.argmax(ious))
        best[index] = (spread.chromosomes[top], ious[top])
    return best


def test_finds_names_and_outlines_every_chromosome(male: SpreadTruth) -> None:
    spread = analyze(male)
    assert spread.count == 46
    assert Counter(one.label for one in spread.chromosomes) == Counter(male.labels)
    for index, (one, iou) in matches(male, spread).items():
        assert one.label == male.labels[index]
        assert iou > 0.75
    assert spread.iscn == "46,XY"
    assert spread.iscn_withheld_reason is None
    assert QualityFlag.COUNT_NOT_46 not in spread.quality_flags
    assert QualityFlag.UNPAIRED_CLASSES not in spread.quality_flags


def test_boxes_fit_the_masks(male: SpreadTruth) -> None:
    for index, (one, _) in matches(male, analyze(male)).items():
        rows = np.flatnonzero(male.masks[index].any(axis=1))
        columns = np.flatnonzero(male.masks[index].any(axis=0))
        assert one.box.x == pytest.approx(columns[0], abs=5)
        assert one.box.y == pytest.approx(rows[0], abs=5)
        assert one.box.width == pytest.approx(len(columns), abs=8)
        assert one.box.height == pytest.approx(len(rows), abs=8)


def test_polarity_says_which_arm_is_up_after_the_turn(male: SpreadTruth) -> None:
    for index, (one, _) in matches(male, analyze(male)).items():
        dx, dy = male.p_arms[index]
        radians = np.deg2rad(one.angle_degrees)
        up = -dx * np.sin(radians) + dy * np.cos(radians)
        assert -90.0 < one.angle_degrees <= 90.0
        assert one.polarity is (Polarity.P_ARM_UP if up < 0 else Polarity.Q_ARM_UP)
        assert one.polarity_confidence > 0.9


def test_pairs_list_every_object_once_in_iscn_order(trisomy_21: SpreadTruth) -> None:
    spread = analyze(trisomy_21)
    labels = [label for label, _ in spread.pairs]
    assert labels == [*(str(n) for n in range(1, 23)), "X"]
    assert sorted(index for _, members in spread.pairs for index in members) == list(range(47))
    assert dict(spread.pairs)["21"]
    assert len(dict(spread.pairs)["21"]) == 3
    assert spread.iscn == "47,XX,+21"
    assert {QualityFlag.COUNT_NOT_46, QualityFlag.UNPAIRED_CLASSES} <= set(spread.quality_flags)


def test_region_holds_the_spread_and_leaves_nuclei_out(male: SpreadTruth) -> None:
    spread = analyze(male, Spoil(nuclei_detected=True))
    assert spread.count == 46
    region = spread.region
    for mask in male.masks:
        rows, columns = np.nonzero(mask)
        assert region.x <= columns.min()
        assert columns.max() < region.x + region.width
        assert region.y <= rows.min()
        assert rows.max() < region.y + region.height
    assert region.width < 0.8 * male.grey.shape[1]


def test_doubled_detections_are_merged(male: SpreadTruth) -> None:
    assert analyze(male, Spoil(doubled=frozenset(range(0, 46, 3)))).count == 46


def test_wide_spread_is_tiled_and_merged() -> None:

    style = replace(SpreadStyle(), radius_px=620.0, touching_share=0.0, overlapping_share=0.0)
    truth = phantom_truth(metaphase_phantom(5, "46,XX", size=(1600, 1500), style=style))
    engines = TruthEngines(truth)
    spread = KaryotypePipeline(engines).analyze(image_of(truth.grey), RequestContext())[0]
    assert engines.calls.count(Role.KARYOTYPE_DETECTOR) > 1
    assert len(set(engines.windows)) == len(engines.windows)
    assert spread.count == 46
    assert spread.iscn == "46,XX"


def test_a_missed_chromosome_is_flagged_and_never_stated_as_a_loss(male: SpreadTruth) -> None:
    missed = male.labels.index("7")
    spread = analyze(male, Spoil(missed=frozenset({missed})))
    assert spread.count == 45
    assert spread.iscn is None
    assert spread.iscn_withheld_reason is not None
    assert "a fault of the finding is not ruled out" in spread.iscn_withheld_reason
    assert "monosomy 7" in spread.iscn_withheld_reason
    assert QualityFlag.COUNT_NOT_46 in spread.quality_flags


def test_joint_assignment_corrects_a_confused_class_and_names_the_other(male: SpreadTruth) -> None:
    confused = male.labels.index("4")
    one = matches(male, analyze(male, Spoil(confused={confused: ("5", 0.7)})))[confused][0]
    assert (one.label, one.runner_up) == ("4", "5")
    assert 0.9 < one.confidence < 0.99  # a third 5 and a single 4 are unlikely, but not impossible
    assert one.runner_up_confidence > 0.01


def test_a_class_against_the_classifier_needs_the_expert(male: SpreadTruth) -> None:
    confused = male.labels.index("4")
    spread = analyze(male, Spoil(confused={confused: ("5", 0.95)}))
    one = matches(male, spread)[confused][0]
    assert (one.label, one.runner_up, one.needs_expert) == ("4", "5", True)
    assert one.confidence + one.runner_up_confidence > 0.98
    assert spread.iscn is None
    assert spread.iscn_withheld_reason == "1 chromosome has a class below the confidence threshold"


def test_the_classifiers_own_calibration_is_used(male: SpreadTruth) -> None:
    fitted = Confidence(
        class_temperature=2.0,
        polarity_temperature=8.0,
        min_class=0.999999,
        min_polarity=0.9,
        target_accuracy=0.98,
        classes_n=8002,
        polarity_n=351,
    )
    plain, calibrated = analyze(male), analyze(male, Spoil(confidence=fitted))
    for before, after in zip(plain.chromosomes, calibrated.chromosomes, strict=True):
        assert after.label == before.label
        assert after.confidence < before.confidence
        assert 0.5 < after.polarity_confidence < before.polarity_confidence < 0.99
        assert (after.needs_expert, after.polarity) == (True, Polarity.UNSURE)
        assert not before.needs_expert


def test_deviations_name_the_lost_class(male: SpreadTruth) -> None:
    spread = analyze(male, Spoil(missed=frozenset({male.labels.index("7")})))
    count, lost = spread.deviations
    assert (count.kind, count.expected, count.found) == (DeviationKind.COUNT, 46, 45)
    assert count.words.startswith("45 objects: ")
    assert count.words.endswith("monosomy 7")
    assert (lost.kind, lost.label, lost.expected, lost.found) == (DeviationKind.LOSS, "7", 2, 1)
    assert analyze(male).deviations == ()


def test_same_answer_for_both_views_is_unsure(male: SpreadTruth) -> None:
    found = matches(male, analyze(male, Spoil(blind_polarity=frozenset({10}))))
    assert found[10][0].polarity is Polarity.UNSURE
    assert found[11][0].polarity is not Polarity.UNSURE


def test_touching_links_are_mutual(male: SpreadTruth) -> None:
    spread = analyze(male)
    assert any(one.touching for one in spread.chromosomes)
    assert QualityFlag.TOUCHING_CHROMOSOMES in spread.quality_flags
    for one in spread.chromosomes:
        assert one.index not in one.touching
        for other in one.touching:
            assert one.index in spread.chromosomes[other].touching


def test_reports_and_events_tell_what_ran(male: SpreadTruth) -> None:
    events: list[StageEvent] = []
    engines = TruthEngines(male)
    spread, reports = KaryotypePipeline(engines).analyze(image_of(male.grey), RequestContext(), events.append)
    assert [report.stage for report in reports] == ["segment", "detect", "classify", "pair"]
    assert tuple(event.report for event in events) == reports
    assert [report.calls for report in reports] == [1, engines.calls.count(Role.KARYOTYPE_DETECTOR), 1, 0]
    assert reports[0].engine_ms == 1.0
    assert reports[0].model_name == "truth-segmenter"
    assert reports[3].model_name == ""
    assert all(report.time_ms > 0 for report in reports)
    assert events[0].region == spread.region
    assert not events[0].objects
    assert len(events[1].objects) == 46
    assert not events[1].chromosomes
    assert len(events[2].chromosomes) == 46
    assert events[3].chromosomes == spread.chromosomes


def test_pixel_size_is_passed_on(male: SpreadTruth) -> None:
    pipeline = KaryotypePipeline(TruthEngines(male))
    assert pipeline.analyze(image_of(male.grey, 0.07), RequestContext())[0].pixel_size_um == 0.07


def test_cut_chromosome_withholds_the_karyotype(male: SpreadTruth) -> None:
    top = min(int(np.flatnonzero(mask.any(axis=1))[0]) for mask in male.masks) + 12
    cut = SpreadTruth(
        male.grey[top:],
        tuple(mask[top:] for mask in male.masks),
        male.labels,
        male.p_arms,
        male.nuclei[top:],
    )
    spread = analyze(cut)
    assert QualityFlag.CROPPED_AT_EDGE in spread.quality_flags
    assert spread.iscn_withheld_reason == "a chromosome is cut by the border of the image"


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_image_is_refused_before_any_engine_call(male: SpreadTruth, level: int) -> None:
    engines = TruthEngines(male)
    blank = np.full((600, 800), level, dtype=np.uint8)
    with pytest.raises(UnsuitableImage, match="no metaphase spread found: the image is blank"):
        KaryotypePipeline(engines).analyze(image_of(blank), RequestContext())
    assert engines.calls == []


def test_light_objects_on_a_dark_ground_are_no_stain(male: SpreadTruth) -> None:
    engines = TruthEngines(male)
    with pytest.raises(UnsuitableImage, match="expected stain at least 24 grey levels darker than"):
        KaryotypePipeline(engines).analyze(image_of(255 - male.grey), RequestContext())
    assert engines.calls == []


def test_only_nuclei_is_refused(male: SpreadTruth) -> None:
    height, width = male.grey.shape
    grey = np.full((height, width), 220, dtype=np.uint8)
    nucleus = np.zeros((height, width), dtype=bool)
    nucleus[200:420, 300:520] = True
    grey[nucleus] = 120
    field = FieldEngines(nucleus)
    with pytest.raises(UnsuitableImage, match="only interphase nuclei or debris"):
        KaryotypePipeline(field).analyze(image_of(grey), RequestContext())
    assert field.roles == [Role.KARYOTYPE_SEGMENTER]


def test_photo_without_chromosomes_is_refused() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (500, 700), dtype=np.uint8)
    with pytest.raises(UnsuitableImage, match="nothing in the field looks like a chromosome"):
        KaryotypePipeline(FieldEngines(np.zeros((500, 700), dtype=bool))).analyze(
            image_of(grey), RequestContext()
        )


def test_too_few_objects_are_no_spread(male: SpreadTruth) -> None:
    with pytest.raises(
        UnsuitableImage, match="expected at least 8 chromosomes and got 5 chromosome-like objects"
    ):
        analyze(male, Spoil(missed=frozenset(range(41))))


def test_objects_that_resemble_nothing_are_refused(male: SpreadTruth) -> None:
    with pytest.raises(UnsuitableImage, match="resemble no human chromosome"):
        analyze(male, Spoil(certainty=0.06))


def test_pebbles_that_all_look_like_one_class_are_refused(male: SpreadTruth) -> None:
    alike = dict.fromkeys(range(len(male.masks)), ("21", 0.95))
    with pytest.raises(UnsuitableImage, match=r"do not make up a human cell.*at least 0\.32 and got 0\.0"):
        analyze(male, Spoil(confused=alike))


@pytest.mark.parametrize(
    "role", [Role.KARYOTYPE_SEGMENTER, Role.KARYOTYPE_DETECTOR, Role.KARYOTYPE_CLASSIFIER]
)
def test_an_engine_that_answers_nan_is_a_fault_and_not_an_empty_field(male: SpreadTruth, role: Role) -> None:
    with pytest.raises(InferenceFailed, match="NaN or infinity"):
        analyze(male, Spoil(not_finite=role))


def test_late_and_cancelled_requests_stop(male: SpreadTruth) -> None:
    engines = TruthEngines(male)
    pipeline = KaryotypePipeline(engines)
    late = RequestContext(deadline=Deadline(1.0, lambda: 2.0))
    with pytest.raises(DeadlineExceeded):
        pipeline.analyze(image_of(male.grey), late)
    cancelled = threading.Event()
    context = RequestContext(cancelled=cancelled)
    with pytest.raises(Cancelled):
        pipeline.analyze(image_of(male.grey), context, lambda _event: cancelled.set())
    assert engines.calls == [Role.KARYOTYPE_SEGMENTER]


def test_half_a_spread_is_flagged_for_what_it_is(male: SpreadTruth) -> None:
    spread = analyze(male, Spoil(missed=frozenset(range(0, 46, 2))))
    assert QualityFlag.PARTIAL_SPREAD in spread.quality_flags
    assert spread.iscn_withheld_reason == "the field shows only a part of a spread"
    assert len(spread.deviations) == 1
    assert spread.deviations[0].words.startswith("23 objects: stain without an outline at (")
    assert spread.deviations[0].words.endswith(", or an incomplete or broken spread")


def test_two_cells_that_lie_together_are_flagged_for_what_they_are() -> None:
    style = replace(SpreadStyle(), radius_px=420.0, touching_share=0.0, overlapping_share=0.0)
    pair = tuple(label for label in [*map(str, range(1, 23)), "X"] for _ in range(4))
    truth = phantom_truth(metaphase_phantom(7, pair, size=(1360, 1024), style=style))
    spread = analyze(truth)
    assert spread.count > 58
    assert QualityFlag.MORE_THAN_ONE_CELL in spread.quality_flags
    assert spread.iscn is None
    assert "a polyploid cell or two spreads that lie together" in spread.deviations[0].words


def test_objects_of_another_stain_or_species_are_flagged(male: SpreadTruth) -> None:
    spread = analyze(male, Spoil(certainty=0.34))
    assert QualityFlag.UNFAMILIAR_OBJECTS in spread.quality_flags
    assert spread.iscn is None


def test_a_missed_chromosome_is_pointed_at(male: SpreadTruth) -> None:
    missed = male.labels.index("1")
    spread = analyze(male, Spoil(missed=frozenset({missed})))
    places = [
        each.at for each in spread.deviations[0].explanations if each.kind is ExplanationKind.UNOUTLINED_STAIN
    ]
    assert len(places) == 1
    assert places[0] is not None
    rows, columns = np.nonzero(male.masks[missed])
    assert columns.min() <= places[0][0] <= columns.max()
    assert rows.min() <= places[0][1] <= rows.max()
