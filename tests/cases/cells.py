"""Cells with a karyotype that a test writes down, and spreads of squares that stand for chromosomes."""

from __future__ import annotations

import re
from dataclasses import replace

from appliance.analysis import CHROMOSOME_LABELS, Box, Chromosome, Polarity, Spread
from appliance.cases.cell import Cell, ReviewState
from appliance.karyotype.iscn import numerical_karyotype

SIDE = 20
WIDTH, HEIGHT = 400, 320


def members_of(karyotype: str) -> dict[str, int]:
    """Counts of each class in "47,XX,+21"."""
    _, sex, *changes = karyotype.split(",")
    members = dict.fromkeys(CHROMOSOME_LABELS[:22], 2) | {"X": sex.count("X"), "Y": sex.count("Y")}
    for change in changes:
        sign, label = re.fullmatch(r"([+-])(\w+)", change).groups()  # type: ignore[union-attr]
        members[label] += 1 if sign == "+" else -1
    return members


def cell(number: int, written: str = "46,XX", **changes: object) -> Cell:
    """A cell that stands, unless told otherwise."""
    members = members_of(written)
    made = Cell(
        number=number,
        state=ReviewState.MACHINE,
        members=tuple(members[label] for label in CHROMOSOME_LABELS),
        count_doubt=None,
        doubtful_classes=0,
        karyotype=numerical_karyotype(members),
        withheld=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def many(*groups: tuple[int, str]) -> list[Cell]:
    """So many cells of each karyotype, numbered on."""
    words = [karyotype for number, karyotype in groups for _ in range(number)]
    return [cell(number, karyotype) for number, karyotype in enumerate(words, 1)]


def square(column: int, row: int, side: float = SIDE) -> tuple[tuple[float, float], ...]:
    """An upright oblong outline, taller than wide."""
    x, y = 4.0 + column * 40.0, 4.0 + row * 60.0
    return ((x, y), (x + side, y), (x + side, y + 2 * side), (x, y + 2 * side))


def spread_of(karyotype: str = "46,XX", doubtful: frozenset[int] = frozenset()) -> Spread:
    """A spread of separate oblongs with the classes of a karyotype."""
    labels = [label for label, number in members_of(karyotype).items() for _ in range(number)]
    chromosomes = []
    for index, label in enumerate(labels):
        outline = square(index % 10, index // 10)
        (x, y), side = outline[0], float(SIDE)
        chromosomes.append(
            Chromosome(
                index=index,
                box=Box(x, y, side, 2 * side),
                mask=(outline,),
                detection_confidence=0.9,
                label=label,
                confidence=0.5 if index in doubtful else 0.95,
                runner_up="X",
                runner_up_confidence=0.02,
                angle_degrees=0.0,
                polarity=Polarity.P_ARM_UP,
                polarity_confidence=0.9,
                needs_expert=index in doubtful,
            )
        )
    pairs: dict[str, list[int]] = {}
    for one in chromosomes:
        pairs.setdefault(one.label, []).append(one.index)
    stated = None if doubtful else karyotype
    return Spread(
        chromosomes=tuple(chromosomes),
        pairs=tuple((label, tuple(members)) for label, members in pairs.items()),
        iscn=stated,
        iscn_withheld_reason=None if stated else f"{len(doubtful)} in doubt",
        region=Box(0.0, 0.0, float(WIDTH), float(HEIGHT)),
    )
