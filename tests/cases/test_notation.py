from __future__ import annotations

import pytest

from appliance.cases.clones import find_clones
from appliance.cases.notation import CaseKind, case_karyotype, validate_case_karyotype
from appliance.cases.settings import CaseRules
from tests.cases.cells import cell, many

CONSTITUTIONAL, NEOPLASTIC = CaseKind.CONSTITUTIONAL, CaseKind.NEOPLASTIC


@pytest.mark.parametrize(
    ("groups", "kind", "text"),
    [
        ([(20, "46,XX")], CONSTITUTIONAL, "46,XX"),
        ([(20, "47,XY,+21")], CONSTITUTIONAL, "47,XY,+21"),
        ([(20, "47,XXY")], CONSTITUTIONAL, "47,XXY"),
        ([(18, "46,XX"), (12, "47,XX,+21")], CONSTITUTIONAL, "mos 47,XX,+21[12]/46,XX[18]"),
        ([(10, "45,X"), (5, "47,XXX"), (5, "46,XX")], CONSTITUTIONAL, "mos 45,X[10]/47,XXX[5]/46,XX[5]"),
        ([(20, "46,XY")], NEOPLASTIC, "46,XY[20]"),
        ([(8, "46,XY"), (12, "47,XY,+8")], NEOPLASTIC, "47,XY,+8[12]/46,XY[8]"),
        ([(3, "46,XY"), (5, "45,X")], NEOPLASTIC, "45,X,-Y[5]/46,XY[3]"),
        ([(3, "46,XX"), (5, "47,XXX")], NEOPLASTIC, "47,XX,+X[5]/46,XX[3]"),
        ([(2, "46,XY"), (4, "46,X,+8")], NEOPLASTIC, "46,X,-Y,+8[4]/46,XY[2]"),
        (
            [(2, "46,XX"), (9, "48,XX,+8,+21"), (3, "47,XX,+8"), (5, "45,XX,-7")],
            NEOPLASTIC,
            "47,XX,+8[3]/48,XX,+8,+21[9]/45,XX,-7[5]/46,XX[2]",
        ),
    ],
)
def test_cases_as_they_are_written(groups: list[tuple[int, str]], kind: CaseKind, text: str) -> None:
    clones = find_clones(many(*groups), CaseRules())
    assert case_karyotype(clones.lines, clones.sex, kind) == text


def test_a_case_without_a_line() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        case_karyotype((), "XX", CONSTITUTIONAL)


def test_a_structural_change_is_not_written() -> None:
    words = ("del(5)(q13q33)",)
    clones = find_clones([cell(1, structural=words), cell(2, structural=words)], CaseRules())
    with pytest.raises(ValueError, match="structural"):
        case_karyotype(clones.lines, clones.sex, CONSTITUTIONAL)


def test_the_validator_gives_the_cells_of_each_line() -> None:
    assert validate_case_karyotype("mos 47,XX,+21[12]/46,XX[18]") == {"47,XX,+21": 12, "46,XX": 18}


@pytest.mark.parametrize(
    "text", ["46,XX", "46,XX[0]", "46,XX[3]/", "47,XX[2]/46,XX[3]", "46,XX[2]/46,XX[3]", "mos", ""]
)
def test_what_is_no_karyotype_of_a_case(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        validate_case_karyotype(text)
