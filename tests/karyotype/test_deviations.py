from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.analysis import (
    CHROMOSOME_LABELS,
    Box,
    Chromosome,
    DeviationKind,
    ExplanationKind,
    Polarity,
)
from appliance.karyotype.deviations import explain, finding_doubt
from appliance.karyotype.sizes import RELATIVE_AREAS, polygon_area, size_ratios

FIELD = (1000, 800)


def spread_of(labels: list[str]) -> list[Chromosome]:
    """Rectangles as large as their classes, in rows that do not touch."""
    made = []
    for index, label in enumerate(labels):
        x, y, width, height = 20.0 + 40.0 * (index % 20), 20.0 + 150.0 * (index // 20), 20.0, 50.0
        height *= RELATIVE_AREAS[label]
        corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
        made.append(
            Chromosome(
                index=index,
                box=Box(x, y, width, height),
                mask=(corners,),
                detection_confidence=0.97,
                label=label,
                confidence=0.98,
                runner_up="1" if label != "1" else "2",
                runner_up_confidence=0.001,
                angle_degrees=0.0,
                polarity=Polarity.P_ARM_UP,
                polarity_confidence=0.99,
            )
        )
    return made


def normal(sex: str = "XX") -> list[str]:
    return [label for label in CHROMOSOME_LABELS[:22] for _ in range(2)] + list(sex)


@pytest.mark.parametrize("sex", ["XX", "XY"])
def test_a_normal_cell_deviates_in_nothing(sex: str) -> None:
    assert explain(spread_of(normal(sex)), FIELD) == ()


def test_a_touching_pair_or_a_monosomy() -> None:
    labels = normal()
    labels.remove("21")
    chromosomes = spread_of(labels)
    large = chromosomes[labels.index("13")]
    box = replace(large.box, width=large.box.width * 2)
    corners = (
        (box.x, box.y),
        (box.x + box.width, box.y),
        (box.x + box.width, box.y + box.height),
        (box.x, box.y + box.height),
    )
    chromosomes[large.index] = replace(large, box=box, mask=(corners,))
    count, lost = explain(chromosomes, FIELD)
    x, y = box.x + box.width / 2, box.y + box.height / 2
    assert count.words == f"45 objects: touching pair outlined as one at ({x:.0f}, {y:.0f}), or monosomy 21"
    assert [each.kind for each in count.explanations] == [ExplanationKind.JOINED, ExplanationKind.ANEUPLOIDY]
    assert count.explanations[0].at == (x, y)
    assert count.explanations[0].members == (large.index,)
    assert (lost.kind, lost.label, lost.expected, lost.found) == (DeviationKind.LOSS, "21", 2, 1)


def test_a_misread_class_is_named_in_both_of_its_classes() -> None:
    labels = normal()
    chromosomes = spread_of(labels)
    nine = labels.index("9")
    chromosomes[nine] = replace(chromosomes[nine], label="8", runner_up="9", runner_up_confidence=0.31)
    gained, lost = explain(chromosomes, FIELD)
    assert (gained.kind, gained.label, gained.found) == (DeviationKind.GAIN, "8", 3)
    assert (lost.kind, lost.label, lost.found) == (DeviationKind.LOSS, "9", 1)
    for deviation in (gained, lost):
        first = deviation.explanations[0]
        assert (first.kind, first.members) == (ExplanationKind.MISREAD, (nine,))
        assert first.words == "the 8 may be a 9 (31 %)"
    assert gained.words.endswith("or trisomy 8")


def test_pieces_and_debris_explain_a_surplus() -> None:
    labels = [*normal(), "21", "22"]
    chromosomes = spread_of(labels)
    small = chromosomes[-2]
    half = tuple((x, small.box.y + (y - small.box.y) / 2) for x, y in small.mask[0])
    chromosomes[-2] = replace(small, mask=(half,), touching=(4,))
    chromosomes[-1] = replace(chromosomes[-1], detection_confidence=0.35)
    count = explain(chromosomes, FIELD)[0]
    assert count.found == 48
    kinds = [each.kind for each in count.explanations]
    assert kinds[:2] == [ExplanationKind.PIECES, ExplanationKind.NOT_A_CHROMOSOME]
    assert [each.words for each in count.explanations[2:]] == ["trisomy 21", "trisomy 22"]
    assert count.explanations[0].members == (46, 4)


def test_border_and_unoutlined_stain_explain_a_loss() -> None:
    labels = normal("XY")
    labels.remove("3")
    chromosomes = spread_of(labels)
    chromosomes[0] = replace(chromosomes[0], box=replace(chromosomes[0].box, x=0.0))
    count = explain(chromosomes, FIELD, [(500.0, 600.0)])[0]
    assert [each.kind for each in count.explanations] == [
        ExplanationKind.UNOUTLINED_STAIN,
        ExplanationKind.CUT_AT_BORDER,
        ExplanationKind.ANEUPLOIDY,
    ]
    assert "stain without an outline at (500, 600)" in count.words


@pytest.mark.parametrize(
    ("sex", "words"), [("X", "monosomy X"), ("XXY", "sex chromosomes XXY"), ("XYY", "sex chromosomes XYY")]
)
def test_sex_chromosomes(sex: str, words: str) -> None:
    found = explain(spread_of(normal(sex)), FIELD)
    assert found[0].explanations[-1].words == words
    assert {each.label for each in found[1:]} == ({"Y"} if sex == "XYY" else {"X"})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (normal()[:20], "20 objects: an incomplete or broken spread"),
        (normal() + normal(), "92 objects: a polyploid cell or two spreads that lie together"),
        ([], "0 objects: an incomplete or broken spread"),
    ],
)
def test_far_from_a_cell_there_is_one_deviation_only(labels: list[str], words: str) -> None:
    assert [each.words for each in explain(spread_of(labels), FIELD)] == [words]


def test_sizes_are_relative_to_the_class_in_this_spread() -> None:
    ratios = size_ratios(spread_of(normal()))
    assert ratios == pytest.approx(1.0)
    assert polygon_area(((0.0, 0.0), (4.0, 0.0), (4.0, 3.0))) == 6.0
    assert len(size_ratios([])) == 0


def test_a_clear_gain_is_not_doubted() -> None:
    chromosomes = spread_of([*normal(), "21"])
    assert finding_doubt(explain(chromosomes, FIELD), chromosomes) is None


def test_a_gain_that_may_be_debris_is_doubted() -> None:
    chromosomes = spread_of([*normal(), "21"])
    chromosomes[-1] = replace(chromosomes[-1], detection_confidence=0.4)
    doubt = finding_doubt(explain(chromosomes, FIELD), chromosomes)
    assert doubt is not None
    assert doubt.startswith("a fault of the finding is not ruled out: 47 objects:")


@pytest.mark.parametrize("touching", [False, True])
def test_a_loss_is_believed_only_where_nothing_touches(touching: bool) -> None:
    labels = normal()
    labels.remove("21")
    chromosomes = spread_of(labels)
    if touching:
        chromosomes[0] = replace(chromosomes[0], touching=(1,))
        chromosomes[1] = replace(chromosomes[1], touching=(0,))
    doubt = finding_doubt(explain(chromosomes, FIELD), chromosomes)
    assert (doubt is not None) is touching
    if doubt is not None:
        assert doubt.startswith(
            "where chromosomes touch, one may have been overlooked: chromosome 21: 1 found"
        )
