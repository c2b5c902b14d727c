from __future__ import annotations

import pytest

from appliance.phantoms.cells import cell_labels


@pytest.mark.parametrize(
    ("text", "count", "label", "copies"),
    [
        ("46,XX", 46, "X", 2),
        ("46,XY", 46, "Y", 1),
        ("45,X", 45, "X", 1),
        ("47,XXY", 47, "X", 2),
        ("47,XY,+21", 47, "21", 3),
        ("45,XX,-13,-15,+2", 45, "13", 1),
    ],
)
def test_numeric_karyotypes(text: str, count: int, label: str, copies: int) -> None:
    labels = cell_labels(text)
    assert len(labels) == count
    assert labels.count(label) == copies


def test_counts_and_lists_come_back_in_iscn_order() -> None:
    assert cell_labels({"X": 1, "2": 1, "10": 2}) == ("2", "10", "10", "X")
    assert cell_labels(["Y", "1"]) == ("1", "Y")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("46", "expected a karyotype like"),
        ("46,XX,t(9;22)", "expected a gain or loss"),
        ("46,XY,+21", "expected 46 chromosomes and got 47"),
        ({"23": 1}, "23"),
        ({"X": -1}, "at least 0"),
    ],
)
def test_what_cannot_be_read_is_refused(wrong: str | dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cell_labels(wrong)
