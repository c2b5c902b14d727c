"""Clones → the karyotype of a case in ISCN notation, with the number of cells of each line.

Notation: ISCN 2020, sections 4.1 (mos, lines in brackets, the normal line last), 8.2 and 8.3 (changes of sex
chromosomes, constitutional and acquired), 11.1.4 (related clones by complexity, unrelated ones by size).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

from appliance.cases.clones import Change, ChangeKind, Clone, change_order, normal_members
from appliance.karyotype.iscn import numerical_karyotype, validate_numerical_karyotype

_LINE = re.compile(r"(?P<karyotype>[0-9]+,[^\[\]/]+)\[(?P<cells>[1-9][0-9]*)\]")


class CaseKind(enum.Enum):
    """What a case is about, which decides how it is written."""

    CONSTITUTIONAL = "constitutional"  # the person's own karyotype; several lines are mosaicism
    NEOPLASTIC = "neoplastic"  # a tumour's or leukaemia's; several lines are clones


def line_karyotype(line: Clone, sex: str, kind: CaseKind) -> str:
    """The karyotype of one line.

    Raises:
        ValueError: the changes make no numerical karyotype.
    """
    if any(change.kind is ChangeKind.STRUCTURAL for change in line.changes):
        raise ValueError("expected numerical changes and got a structural one")
    members = members_of(line, sex)
    if kind is CaseKind.CONSTITUTIONAL or not any(change.name in ("X", "Y") for change in line.changes):
        return numerical_karyotype(members)
    ordered = sorted(line.changes, key=change_order)
    # Acquired: the complement that the person was born with, less what is lost, and then each change.
    remaining = normal_members(sex)
    for change in ordered:
        if change.kind is ChangeKind.LOSS and change.name in ("X", "Y"):
            remaining[change.name] -= 1
    born = "X" * remaining["X"] + "Y" * remaining["Y"]
    if not born:
        raise ValueError("expected at least one sex chromosome and got none")
    return ",".join([str(sum(members.values())), born, *(change.words for change in ordered)])


def members_of(line: Clone, sex: str) -> dict[str, int]:
    """Number of chromosomes of each class in a line's cells."""
    members = normal_members(sex)
    for change in line.changes:
        if change.kind is not ChangeKind.STRUCTURAL:
            members[change.name] += 1 if change.kind is ChangeKind.GAIN else -1
    return members


def in_order(lines: Sequence[Clone], kind: CaseKind) -> list[Clone]:
    """The lines as they are written: the normal one last."""
    normal = [line for line in lines if not line.changes]
    changed = [line for line in lines if line.changes]
    if kind is CaseKind.CONSTITUTIONAL:
        return sorted(changed, key=lambda line: (-len(line.cells), _by_changes(line))) + normal
    families: list[list[Clone]] = []
    for line in changed:
        related = [family for family in families if any(one.changes & line.changes for one in family)]
        families = [family for family in families if family not in related]
        families.append([one for family in related for one in family] + [line])
    families.sort(key=lambda family: -sum(len(line.cells) for line in family))
    return [
        line
        for family in families
        for line in sorted(family, key=lambda one: (len(one.changes), -len(one.cells), _by_changes(one)))
    ] + normal


def case_karyotype(lines: Sequence[Clone], sex: str, kind: CaseKind) -> str:
    """The karyotype of a case: "47,XX,+21", "mos 47,XX,+21[12]/46,XX[18]", "47,XY,+8[12]/46,XY[8]".

    Args:
        lines: at least one.
        sex: complement that the changes are counted from.
        kind: of the case.

    Raises:
        ValueError: there is no line, or the changes of one make no numerical karyotype.
    """
    if not lines:
        raise ValueError("expected at least one line of cells and got none")
    written = [(line_karyotype(line, sex, kind), len(line.cells)) for line in in_order(lines, kind)]
    if len(written) == 1 and kind is CaseKind.CONSTITUTIONAL:
        return written[0][0]
    text = "/".join(f"{karyotype}[{cells}]" for karyotype, cells in written)
    if kind is CaseKind.CONSTITUTIONAL:
        text = f"mos {text}"
    validate_case_karyotype(text)
    return text


def validate_case_karyotype(text: str) -> Mapping[str, int]:
    """Check the karyotype of a case with several lines, and give the cells of each.

    Raises:
        ValueError: saying what was expected and what was found.
    """
    cells: dict[str, int] = {}
    for line in text.removeprefix("mos ").split("/"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"expected KARYOTYPE[CELLS] and got {line!r}")
        karyotype = match["karyotype"]
        if karyotype in cells:
            raise ValueError(f"expected every line once and got {karyotype!r} twice")
        if not re.search(r"[+-][XY]", karyotype):
            validate_numerical_karyotype(karyotype)
        cells[karyotype] = int(match["cells"])
    return cells


def _by_changes(line: Clone) -> list[tuple[int, int, str, int]]:
    return [change_order(change) for change in sorted(line.changes, key=change_order)]


def describe(change: Change, cells: int) -> str:
    """A change with the number of cells that have it, for a sentence."""
    return f"{change.words} in {cells} cell{'' if cells == 1 else 's'}"
