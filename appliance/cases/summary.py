"""The cells of a case → what they say together, what cannot be said and why, and how many more it takes."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.cases.cell import Cell, ReviewState, modal_numbers
from appliance.cases.clones import (
    ChangeKind,
    Clone,
    Clones,
    find_clones,
    sex_complements,
    sparse_normal_line,
)
from appliance.cases.mosaicism import cells_to_exclude, excluded_share
from appliance.cases.notation import CaseKind, case_karyotype, describe, in_order, line_karyotype
from appliance.cases.settings import CaseRules


class NeedKind(enum.Enum):
    """What more cells are needed for."""

    COUNT = "count"  # the laboratory's number of counted cells
    ANALYSE = "analyse"  # of analysed cells
    KARYOTYPE = "karyotype"  # of karyotyped cells
    EXCLUDE_MOSAICISM = "exclude_mosaicism"  # to exclude mosaicism of the share that the case asks for
    EXTEND = "extend"  # a cell differs: the study is to be extended


@dataclass(frozen=True)
class Need:
    """So many more cells are needed."""

    kind: NeedKind
    cells: int  # more than there are
    words: str  # for a person


@dataclass(frozen=True)
class Tally:
    """A number of cells."""

    cells: int
    approved: int  # of which an expert stands behind


@dataclass(frozen=True)
class Line:
    """One line of cells as it is written."""

    karyotype: str | None  # None where it has a structural change
    words: str  # the changes, for a person
    cells: tuple[int, ...]  # numbers of the spreads


@dataclass(frozen=True)
class Single:
    """A change in too few cells to be a clone."""

    change: str  # as ISCN writes it
    cells: tuple[int, ...]  # numbers of the spreads
    missing: int  # further cells with it that would make it clonal


@dataclass(frozen=True)
class CaseSummary:
    """What the cells of a case say together."""

    state: ReviewState  # APPROVED when an expert stands behind every cell that the rest is drawn from
    counted: Tally
    analysed: Tally
    karyotyped: Tally
    modal_numbers: tuple[int, ...]
    lines: tuple[Line, ...]  # in the order of ISCN
    single_changes: tuple[Single, ...]
    excluded_share: float | None  # of a second line, 0..1, at 95 %; None where the cells are not all alike
    needs: tuple[Need, ...]
    iscn: str | None  # exactly one of this and `withheld` is set
    withheld: str | None
    remarks: tuple[str, ...]  # for a person


def summarise(
    cells: Sequence[Cell],
    kind: CaseKind,
    rules: CaseRules | None = None,
    exclude_share: float | None = None,
) -> CaseSummary:
    """Put the cells of a case together.

    Args:
        cells: all spreads of the case.
        kind: of the case.
        rules: how many cells are needed for what.
        exclude_share: share of a second line, 0..1, that the case is to exclude.
    """
    rules = rules or CaseRules()
    karyotyped = [cell for cell in cells if cell.karyotyped]
    clones = find_clones(karyotyped, rules) if karyotyped else None
    alike = (
        clones is not None and len(clones.lines) == 1 and not clones.unassigned and not clones.single_changes
    )
    # a tumour's normal cells are listed however few they are
    sparse = sparse_normal_line(clones, rules) if clones and kind is CaseKind.CONSTITUTIONAL else None
    lines = [line for line in clones.lines if line is not sparse] if clones else []
    needs = _needs(cells, clones, alike, rules, exclude_share, sparse)
    iscn, withheld = _state_or_withhold(karyotyped, clones, lines, sparse, kind, rules)
    return CaseSummary(
        state=_state(karyotyped or [cell for cell in cells if cell.counted]),
        counted=_tally([cell for cell in cells if cell.counted]),
        analysed=_tally([cell for cell in cells if cell.analysed]),
        karyotyped=_tally(karyotyped),
        modal_numbers=modal_numbers(cells),
        lines=_lines(lines, clones.sex, kind) if clones else (),
        single_changes=tuple(
            Single(one.change.words, one.cells, one.missing)
            for one in (clones.single_changes if clones else ())
        ),
        excluded_share=excluded_share(len(karyotyped), rules.confidence) if alike else None,
        needs=needs,
        iscn=iscn,
        withheld=withheld,
        remarks=_remarks(cells, clones, sparse),
    )


def _state(drawn_from: Sequence[Cell]) -> ReviewState:
    if drawn_from and all(cell.approved for cell in drawn_from):
        return ReviewState.APPROVED
    touched = any(cell.state is not ReviewState.MACHINE for cell in drawn_from)
    return ReviewState.IN_REVIEW if touched else ReviewState.MACHINE


def _tally(cells: Sequence[Cell]) -> Tally:
    return Tally(len(cells), sum(cell.approved for cell in cells))


def _lines(lines: Sequence[Clone], sex: str, kind: CaseKind) -> tuple[Line, ...]:
    made = []
    for line in in_order(lines, kind):
        words = ", ".join(sorted(change.words for change in line.changes)) or "no change"
        try:
            karyotype: str | None = line_karyotype(line, sex, kind)
        except ValueError:  # a structural change, or a cell that no numerical karyotype describes
            karyotype = None
        made.append(Line(karyotype, words, line.cells))
    return tuple(made)


def _needs(
    cells: Sequence[Cell],
    clones: Clones | None,
    alike: bool,
    rules: CaseRules,
    exclude_share: float | None,
    sparse: Clone | None,
) -> tuple[Need, ...]:
    counted = sum(cell.counted for cell in cells)
    analysed = sum(cell.analysed for cell in cells)
    karyotyped = sum(cell.karyotyped for cell in cells)
    wanted = [
        (NeedKind.COUNT, counted, rules.counted, "counted"),
        (NeedKind.ANALYSE, analysed, rules.analysed, "analysed"),
        (NeedKind.KARYOTYPE, karyotyped, rules.karyotyped, "karyotyped"),
    ]
    if exclude_share is not None and (alike or clones is None):
        least = cells_to_exclude(exclude_share, rules.confidence)
        aim = f"karyotyped alike, to exclude mosaicism of {exclude_share * 100:g} %"
        wanted.append((NeedKind.EXCLUDE_MOSAICISM, karyotyped, least, aim))
    # a change that every cell has shown so far sets no cell apart
    apart = [one for one in (clones.single_changes if clones else ()) if len(one.cells) < karyotyped]
    if apart:
        first = apart[0]
        aim = f"karyotyped, because of {describe(first.change, len(first.cells))}"
        wanted.append((NeedKind.EXTEND, karyotyped, rules.extended, aim))
    elif sparse is not None:
        aim = f"karyotyped, because of {_few_normal(sparse)}"
        wanted.append((NeedKind.EXTEND, karyotyped, rules.extended, aim))
    return tuple(
        Need(
            kind,
            least - there,
            f"{least - there} more cell{'s' * (least - there > 1)} {aim} ({there} of {least})",
        )
        for kind, there, least, aim in wanted
        if there < least
    )


def _state_or_withhold(
    karyotyped: Sequence[Cell],
    clones: Clones | None,
    lines: Sequence[Clone],
    sparse: Clone | None,
    kind: CaseKind,
    rules: CaseRules,
) -> tuple[str | None, str | None]:
    if clones is None:
        return None, "no cell has a karyotype yet"
    if len(karyotyped) < rules.karyotyped:
        return None, f"{len(karyotyped)} cell has a karyotype, a case needs at least {rules.karyotyped}"
    if len(sex_complements(karyotyped)) > 1:
        return None, (
            "some cells are XX and others XY: two persons' cells, a chimera, or misread classes;"
            " an expert has to look"
        )
    if any(change.kind is ChangeKind.STRUCTURAL for line in clones.lines for change in line.changes):
        return None, "a clone has a structural change: its string is the expert's to write"
    gains = [one for one in clones.single_changes if one.change.kind is not ChangeKind.LOSS]
    extended = len(karyotyped) >= rules.extended
    if sparse is not None and not extended:
        return None, (
            f"{_few_normal(sparse)} only: neither a line of its own nor to be left out, more cells are needed"
        )
    if gains and kind is CaseKind.CONSTITUTIONAL and not extended:
        return None, (
            f"{describe(gains[0].change, len(gains[0].cells))} only: neither a clone nor to be left out,"
            " more cells are needed"
        )
    if kind is CaseKind.NEOPLASTIC and not sex_complements(karyotyped):
        return None, "no cell shows the sex complement that the person was born with"
    try:
        return case_karyotype(lines, clones.sex, kind), None
    except ValueError as exc:
        return None, f"the cells make no karyotype: {exc}"


def _few_normal(line: Clone) -> str:
    return f"no change in {len(line.cells)} cell{'s' * (len(line.cells) > 1)}"


def _remarks(cells: Sequence[Cell], clones: Clones | None, sparse: Clone | None) -> tuple[str, ...]:
    words = []
    if sparse is not None:
        words.append(
            f"{_few_normal(sparse)} (spread {_listed(sparse.cells)}): too few for a line of their own"
        )
    if clones is not None:
        for one in clones.single_changes:
            words.append(
                f"{describe(one.change, len(one.cells))} (spread {_listed(one.cells)}): not clonal,"
                f" {one.missing} more with it would be"
            )
        modes = {cell.count for cell in cells if cell.karyotyped}
        odd = [cell for cell in cells if cell.counted and not cell.karyotyped and cell.count not in modes]
        for cell in odd:
            words.append(f"spread {cell.number} has {cell.count} chromosomes, but no karyotype")
    uncounted = [cell.number for cell in cells if not cell.counted]
    if uncounted:
        words.append(f"not counted: spread {_listed(uncounted)}")
    return tuple(words)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers)
