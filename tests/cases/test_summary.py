from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.cases.cell import Cell, ReviewState
from appliance.cases.notation import CaseKind
from appliance.cases.summary import NeedKind, summarise
from tests.cases.cells import cell, many

CONSTITUTIONAL, NEOPLASTIC = CaseKind.CONSTITUTIONAL, CaseKind.NEOPLASTIC


def uncounted(number: int) -> Cell:
    return cell(number, karyotype=None, withheld="why", count_doubt="two spreads")


def only_counted(number: int) -> Cell:
    return cell(number, karyotype=None, withheld="why", doubtful_classes=3)


def test_counted_analysed_and_karyotyped_are_kept_apart() -> None:
    no_string = cell(4, karyotype=None, withheld="no chromosome 9")
    summary = summarise([cell(1), uncounted(2), only_counted(3), no_string], CONSTITUTIONAL)
    assert (summary.counted.cells, summary.analysed.cells, summary.karyotyped.cells) == (3, 2, 1)
    assert summary.modal_numbers == (46,)
    assert summary.remarks == ("not counted: spread 2",)


def test_twenty_alike_cells() -> None:
    summary = summarise(many((20, "46,XX")), CONSTITUTIONAL)
    assert summary.iscn == "46,XX"
    assert summary.excluded_share == pytest.approx(0.139, abs=5e-4)
    assert summary.needs == ()


def test_an_empty_case_says_what_it_needs() -> None:
    summary = summarise([], CONSTITUTIONAL)
    assert summary.withheld == "no cell has a karyotype yet"
    assert [(need.kind, need.cells) for need in summary.needs] == [
        (NeedKind.COUNT, 20),
        (NeedKind.ANALYSE, 5),
        (NeedKind.KARYOTYPE, 2),
    ]
    assert summary.state is ReviewState.MACHINE
    assert summary.modal_numbers == ()


def test_one_cell_is_too_few() -> None:
    summary = summarise([cell(1)], CONSTITUTIONAL)
    assert summary.iscn is None
    assert "at least 2" in str(summary.withheld)


def test_a_case_that_is_to_exclude_more() -> None:
    need = summarise(many((20, "46,XX")), CONSTITUTIONAL, exclude_share=0.1).needs
    assert [(one.kind, one.cells) for one in need] == [(NeedKind.EXCLUDE_MOSAICISM, 9)]
    assert "9 more cells" in need[0].words
    assert summarise(many((29, "46,XX")), CONSTITUTIONAL, exclude_share=0.1).needs == ()


def test_one_cell_with_a_gain_is_neither_a_clone_nor_left_out() -> None:
    summary = summarise(many((19, "46,XX"), (1, "47,XX,+21")), CONSTITUTIONAL)
    assert summary.iscn is None
    assert "+21 in 1 cell" in str(summary.withheld)
    assert summary.excluded_share is None
    assert [(need.kind, need.cells) for need in summary.needs] == [(NeedKind.EXTEND, 30)]
    assert "+21 in 1 cell (spread 20): not clonal, 1 more with it would be" in summary.remarks


def test_the_first_cell_differs_from_no_other() -> None:
    kinds = [need.kind for need in summarise([cell(1, "47,XXY")], CONSTITUTIONAL).needs]
    assert NeedKind.EXTEND not in kinds


def test_a_single_normal_cell_beside_a_trisomy_may_have_lost_it() -> None:
    summary = summarise(many((18, "47,XX,+21"), (2, "46,XX")), CONSTITUTIONAL)
    assert "no change in 2 cells only" in str(summary.withheld)
    assert [(need.kind, need.cells) for need in summary.needs] == [(NeedKind.EXTEND, 30)]
    assert [line.karyotype for line in summary.lines] == ["47,XX,+21"]
    assert "no change in 2 cells (spread 19, 20): too few for a line of their own" in summary.remarks
    assert summarise(many((18, "47,XX,+21"), (2, "46,XX")), NEOPLASTIC).iscn == "47,XX,+21[18]/46,XX[2]"


def test_two_normal_cells_beside_a_monosomy_are_a_line() -> None:
    assert summarise(many((18, "45,X"), (2, "46,XX")), CONSTITUTIONAL).iscn == "mos 45,X[18]/46,XX[2]"
    assert "no change in 1 cell only" in str(
        summarise(many((18, "45,X"), (1, "46,XX")), CONSTITUTIONAL).withheld
    )


def test_an_extended_study_is_stated_without_its_single_cells() -> None:
    gained = summarise(many((49, "46,XX"), (1, "47,XX,+21")), CONSTITUTIONAL)
    assert (gained.iscn, gained.needs) == ("46,XX", ())
    assert any("+21 in 1 cell" in remark for remark in gained.remarks)
    assert summarise(many((48, "47,XX,+21"), (2, "46,XX")), CONSTITUTIONAL).iscn == "47,XX,+21"


def test_a_tumour_is_written_without_its_single_cells() -> None:
    assert summarise(many((19, "46,XX"), (1, "47,XX,+21")), NEOPLASTIC).iscn == "46,XX[19]"


def test_single_losses_are_told_but_do_not_hold_up() -> None:
    summary = summarise(many((18, "46,XX"), (2, "45,X")), CONSTITUTIONAL)
    assert summary.iscn == "46,XX"
    assert summary.single_changes[0].change == "-X"
    assert summary.single_changes[0].missing == 1


def test_mosaicism() -> None:
    summary = summarise(many((18, "46,XX"), (12, "47,XX,+21")), CONSTITUTIONAL)
    assert summary.iscn == "mos 47,XX,+21[12]/46,XX[18]"
    assert [(line.karyotype, len(line.cells)) for line in summary.lines] == [("47,XX,+21", 12), ("46,XX", 18)]
    assert summary.excluded_share is None


def test_two_persons() -> None:
    summary = summarise(many((18, "46,XX"), (2, "46,XY")), CONSTITUTIONAL)
    assert summary.iscn is None
    assert "XX and others XY" in str(summary.withheld)


def test_a_clone_with_a_structural_change_is_the_experts() -> None:
    words = ("t(9;22)(q34;q11.2)",)
    cells = [cell(1), *(cell(number, structural=words, karyotype=None, withheld="s") for number in (2, 3))]
    summary = summarise(cells, NEOPLASTIC)
    assert summary.iscn is None
    assert "structural" in str(summary.withheld)
    assert summary.lines[0].karyotype is None
    assert summary.lines[0].words == words[0]


def test_a_tumour_without_a_cell_that_shows_the_birth_complement() -> None:
    summary = summarise(many((5, "45,X")), NEOPLASTIC)
    assert "born with" in str(summary.withheld)


def test_it_is_the_machines_until_every_cell_is_approved() -> None:
    cells = many((3, "46,XX"))
    approved = [replace(one, state=ReviewState.APPROVED) for one in cells]
    assert summarise(cells, CONSTITUTIONAL).state is ReviewState.MACHINE
    assert summarise([*approved[:2], cells[2]], CONSTITUTIONAL).state is ReviewState.IN_REVIEW
    whole = summarise([*approved, uncounted(4)], CONSTITUTIONAL)
    assert whole.state is ReviewState.APPROVED
    assert (whole.karyotyped.cells, whole.karyotyped.approved) == (3, 3)


def test_a_count_without_a_karyotype_that_differs() -> None:
    odd = cell(3, "47,XX,+21", karyotype=None, withheld="why", doubtful_classes=1)
    assert (
        "spread 3 has 47 chromosomes, but no karyotype"
        in summarise([cell(1), cell(2), odd], CONSTITUTIONAL).remarks
    )


def test_two_modal_numbers() -> None:
    assert summarise(many((2, "46,XX"), (2, "47,XX,+8")), NEOPLASTIC).modal_numbers == (46, 47)
