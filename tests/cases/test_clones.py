from __future__ import annotations

import pytest

from appliance.cases.clones import Clones, find_clones, reference_sex
from appliance.cases.settings import CaseRules
from tests.cases.cells import cell, many


def found(*groups: tuple[int, str]) -> tuple[Clones, dict[str, int]]:
    clones = find_clones(many(*groups), CaseRules())
    lines = {
        ",".join(sorted(change.words for change in line.changes)): len(line.cells) for line in clones.lines
    }
    return clones, lines


def test_the_same_gain_in_two_cells_is_a_clone() -> None:
    assert found((18, "46,XX"), (2, "47,XX,+8"))[1] == {"": 18, "+8": 2}


def test_a_gain_in_one_cell_is_none() -> None:
    clones, lines = found((19, "46,XX"), (1, "47,XX,+8"))
    assert lines == {"": 19}
    assert [(one.change.words, one.cells, one.missing) for one in clones.single_changes] == [("+8", (20,), 1)]
    assert clones.unassigned == (20,)


def test_the_same_loss_needs_three_cells() -> None:
    clones, lines = found((18, "46,XY"), (2, "45,XY,-7"))
    assert lines == {"": 18}
    assert clones.single_changes[0].missing == 1
    assert found((17, "46,XY"), (3, "45,XY,-7"))[1] == {"": 17, "-7": 3}


def test_loss_of_the_y_chromosome() -> None:
    clones, lines = found((10, "46,XY"), (4, "45,X"))
    assert clones.sex == "XY"
    assert lines == {"": 10, "-Y": 4}


def test_two_extra_copies_are_two_changes() -> None:
    assert found((3, "47,XX,+8"), (2, "48,XX,+8,+8"))[1] == {"+8": 3, "+8,+8": 2}


def test_a_change_of_its_own_is_set_aside() -> None:
    clones, lines = found((5, "47,XX,+8"), (1, "46,XX,-4,+8"))
    assert lines == {"+8": 6}
    assert [one.change.words for one in clones.single_changes] == ["-4"]
    assert clones.unassigned == ()


def test_a_sideline_of_one_cell_joins_the_line_that_it_comes_from() -> None:
    _, lines = found((4, "47,XX,+8"), (2, "47,XX,+21"), (1, "48,XX,+8,+21"))
    assert sorted(lines.values()) == [2, 5]


def test_a_constitutional_sex_chromosome_gain_in_all_cells() -> None:
    clones, lines = found((20, "47,XXY"))
    assert clones.sex == "XY"
    assert lines == {"+X": 20}


def test_structural_changes_count_like_gains() -> None:
    words = ("t(9;22)(q34;q11.2)",)
    clones = find_clones([cell(1), cell(2, structural=words), cell(3, structural=words)], CaseRules())
    assert sorted(len(line.cells) for line in clones.lines) == [1, 2]
    assert clones.single_changes == ()


@pytest.mark.parametrize(
    ("karyotypes", "sex"),
    [
        (["46,XX", "45,X", "45,X"], "XX"),
        (["45,X", "45,X"], "XX"),
        (["45,X", "47,XXY"], "XY"),
        (["46,XY", "46,XY", "46,XX"], "XY"),
    ],
)
def test_the_complement_that_changes_are_counted_from(karyotypes: list[str], sex: str) -> None:
    assert reference_sex([cell(number, words) for number, words in enumerate(karyotypes)]) == sex


def test_the_order_of_the_cells_does_not_matter() -> None:
    forwards = many((6, "46,XX"), (2, "47,XX,+8"), (3, "48,XX,+8,+21"), (3, "45,XX,-7"))
    rules = CaseRules()
    there = {(line.changes, line.cells) for line in find_clones(forwards, rules).lines}
    back = {(line.changes, line.cells) for line in find_clones(forwards[::-1], rules).lines}
    assert there == back
