"""Karyotyped cells → clones by the cytogenetic rule, and the single changes that make none.

Rule (ISCN 2020, section 11.1.1): cells are of one clone if at least two of them have the same gained
chromosome or the same structural change, or at least three have lost the same chromosome.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.analysis import CHROMOSOME_LABELS
from appliance.cases.cell import Cell
from appliance.cases.settings import CaseRules

AUTOSOMES = CHROMOSOME_LABELS[:22]


class ChangeKind(enum.Enum):
    """In what a cell differs from a normal one."""

    GAIN = "gain"
    LOSS = "loss"
    STRUCTURAL = "structural"


@dataclass(frozen=True)
class Change:
    """One difference from the normal cell of this case."""

    kind: ChangeKind
    name: str  # a chromosome, or the expert's words for a structural change
    copy: int = 1  # the first, second … chromosome gained or lost of that class

    @property
    def words(self) -> str:
        """As ISCN writes it: +21, -Y, or the expert's words."""
        return {ChangeKind.GAIN: "+", ChangeKind.LOSS: "-"}.get(self.kind, "") + self.name


@dataclass(frozen=True)
class Clone:
    """Cells that have the same clonal changes; without any change, the normal line."""

    changes: frozenset[Change]
    cells: tuple[int, ...]  # numbers of the spreads


@dataclass(frozen=True)
class SingleChange:
    """A change in too few cells to be a clone."""

    change: Change
    cells: tuple[int, ...]
    missing: int  # further cells with it that would make it clonal


@dataclass(frozen=True)
class Clones:
    """All that the karyotyped cells say about lines."""

    sex: str  # complement that the changes are counted from: "XX" or "XY"
    lines: tuple[Clone, ...]  # in no order; see `notation`
    single_changes: tuple[SingleChange, ...]
    unassigned: tuple[int, ...]  # spreads whose changes are no clone's


def sex_complements(cells: Iterable[Cell]) -> Counter[str]:
    """How many cells have a normal female and a normal male complement."""
    found = Counter("X" * cell.number_of("X") + "Y" * cell.number_of("Y") for cell in cells)
    return Counter({sex: found[sex] for sex in ("XX", "XY") if found[sex]})


def reference_sex(cells: Sequence[Cell]) -> str:
    """The complement to count sex chromosomes from: the more frequent normal one, if any."""
    normal = sex_complements(cells)
    if normal:
        return normal.most_common(1)[0][0]
    return "XY" if any(cell.number_of("Y") for cell in cells) else "XX"


def changes_of(cell: Cell, sex: str) -> frozenset[Change]:
    """Every difference of one cell from 46 chromosomes with this sex complement."""
    normal = normal_members(sex)
    found = [Change(ChangeKind.STRUCTURAL, words) for words in cell.structural]
    for label in CHROMOSOME_LABELS:
        difference = cell.number_of(label) - normal[label]
        kind = ChangeKind.GAIN if difference > 0 else ChangeKind.LOSS
        found.extend(Change(kind, label, copy) for copy in range(1, abs(difference) + 1))
    return frozenset(found)


def normal_members(sex: str) -> dict[str, int]:
    """Number of chromosomes of each class in a normal cell."""
    return dict.fromkeys(AUTOSOMES, 2) | {"X": sex.count("X"), "Y": sex.count("Y")}


def find_clones(cells: Sequence[Cell], rules: CaseRules) -> Clones:
    """Group karyotyped cells into lines.

    A cell belongs to the line of its clonal changes, further changes of its own set aside; one whose changes
    are all its own belongs to no line, not even to the normal one.

    Args:
        cells: karyotyped cells, at least one.
        rules: how many cells make a clone.
    """
    sex = reference_sex(cells)
    changes = {cell.number: changes_of(cell, sex) for cell in cells}
    where: dict[Change, list[int]] = {}
    for number, found in changes.items():
        for change in found:
            where.setdefault(change, []).append(number)
    clonal = {change for change, numbers in where.items() if len(numbers) >= _needed(change, rules)}
    groups: dict[frozenset[Change], list[int]] = {}
    for number, found in changes.items():
        if found and not found & clonal:
            continue
        groups.setdefault(found & clonal, []).append(number)
    lines = _settle(groups, rules)
    assigned = {number for line in lines for number in line.cells}
    single = [
        SingleChange(change, tuple(numbers), _needed(change, rules) - len(numbers))
        for change, numbers in where.items()
        if change not in clonal
    ]
    return Clones(
        sex,
        lines,
        tuple(sorted(single, key=lambda one: (one.cells, change_order(one.change)))),
        tuple(number for number in changes if number not in assigned),
    )


def sparse_normal_line(clones: Clones, rules: CaseRules) -> Clone | None:
    """The normal line beside changed ones where it has too few cells to be one, None otherwise.

    Beside a line with a gain, a normal cell is one that lost the gained chromosome, in the body or in the
    preparation: so the rule for losses asks for three.
    """
    normal = next((line for line in clones.lines if not line.changes), None)
    changes = {change.kind for line in clones.lines for change in line.changes}
    if normal is None or not changes:
        return None
    needed = rules.loss_cells if ChangeKind.GAIN in changes else rules.gain_cells
    return normal if len(normal.cells) < needed else None


def change_order(change: Change) -> tuple[int, int, str, int]:
    """Sorts changes as ISCN writes them: sex chromosomes, then autosomes, then the expert's words."""
    if change.kind is ChangeKind.STRUCTURAL:
        return (2, 0, change.name, change.copy)
    if change.name in ("X", "Y"):
        return (0, CHROMOSOME_LABELS.index(change.name), "", change.copy)
    return (1, CHROMOSOME_LABELS.index(change.name), "", change.copy)


def _needed(change: Change, rules: CaseRules) -> int:
    return rules.loss_cells if change.kind is ChangeKind.LOSS else rules.gain_cells


def _settle(groups: Mapping[frozenset[Change], list[int]], rules: CaseRules) -> tuple[Clone, ...]:
    """Keep the groups that are clones by themselves; cells of the others join the nearest line they contain.

    Three cells may share a loss and still differ otherwise: then no group of its own has enough cells.
    """
    kept = {
        changes: list(numbers)
        for changes, numbers in groups.items()
        if len(numbers) >= _least(changes, rules)
    }
    for changes, numbers in groups.items():
        if changes in kept:
            continue
        nearest = max((line for line in kept if line and line < changes), key=len, default=None)
        if nearest is not None:
            kept[nearest].extend(numbers)
    return tuple(Clone(changes, tuple(sorted(numbers))) for changes, numbers in kept.items())


def _least(changes: frozenset[Change], rules: CaseRules) -> int:
    """Cells that a line needs: one for the normal line, else as its surest change asks."""
    return min((_needed(change, rules) for change in changes), default=1)
