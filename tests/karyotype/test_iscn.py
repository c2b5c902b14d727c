"""Numerical karyotypes: written, checked, and withheld where anything is doubtful."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.karyotype.iscn import numerical_karyotype, state_or_withhold, validate_numerical_karyotype


def cell(sex: str = "XX", **changes: int) -> dict[str, int]:
    members = {str(n): 2 for n in range(1, 23)}
    members["X"], members["Y"] = sex.count("X"), sex.count("Y")
    for label, change in changes.items():
        members[label.lstrip("c")] += change
    return members


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (cell("XX"), "46,XX"),
        (cell("XY"), "46,XY"),
        (cell("X"), "45,X"),
        (cell("XXY"), "47,XXY"),
        (cell("XYY"), "47,XYY"),
        (cell("XXX"), "47,XXX"),
        (cell("XY", c21=1), "47,XY,+21"),
        (cell("XX", c7=-1), "45,XX,-7"),
        (cell("XX", c13=-1, c21=1), "46,XX,-13,+21"),
        (cell("XXY", c21=1), "48,XXY,+21"),
        (cell("XX", c8=2), "48,XX,+8,+8"),
    ],
)
def test_writes_gains_and_losses_in_order(members: dict[str, int], text: str) -> None:
    assert numerical_karyotype(members) == text
    validate_numerical_karyotype(text)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (cell("Y"), "at least one X and got none"),
        (cell("XX", c3=-2), "at least one chromosome 3 and got none"),
        ({**cell("XX"), "23": 1}, "expected labels 1 to 22, X and Y and got 23"),
    ],
)
def test_refuses_cells_that_have_no_such_notation(members: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numerical_karyotype(members)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("46,XX,+21", "expected a count of 47"),
        ("47,XX", "expected a count of 46"),
        ("48,XX,+21,+8", "from chromosome 1 to 22"),
        ("46,XX,+8,-8", "gained or lost and got both"),
        ("46,YX", "COUNT,SEX"),
        ("47,XX,+23", "COUNT,SEX"),
        ("47, XX,+21", "COUNT,SEX"),
        ("46", "COUNT,SEX"),
        ("047,XX,+21", "COUNT,SEX"),
        ("46,XX\n", "COUNT,SEX"),
        ("", "COUNT,SEX"),
    ],
)
def test_validator_finds_each_way_to_be_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate_numerical_karyotype(text)


@pytest.mark.parametrize(
    ("members", "doubtful", "blocking", "reason"),
    [
        (cell("XX"), 0, "the field holds more than one spread", "the field holds more than one spread"),
        (cell("XX"), 2, None, "2 chromosomes have a class below the confidence threshold"),
        (
            cell("XX", c1=-1, c2=-1, c3=-1),
            0,
            None,
            "43 chromosomes found, a karyotype is stated for 44 to 48 only",
        ),
        (
            cell("XX", c1=-1, c2=1, c3=1),
            0,
            None,
            "3 gains and losses in one cell, a karyotype is stated for at most 2",
        ),
        (cell("YY"), 0, None, "the counts make no numerical karyotype: expected at least one X and got none"),
    ],
)
def test_withholds_with_a_reason(
    members: dict[str, int], doubtful: int, blocking: str | None, reason: str
) -> None:
    assert state_or_withhold(members, doubtful, blocking, (44, 48), 2) == (None, reason)


def test_states_a_clear_cell() -> None:
    assert state_or_withhold(cell("XY", c21=1), 0, None, (44, 48), 2) == ("47,XY,+21", None)


COPIES = st.integers(1, 4)
CELLS = st.fixed_dictionaries({**{str(n): COPIES for n in range(1, 23)}, "X": COPIES, "Y": st.integers(0, 3)})


@given(CELLS)
def test_what_is_written_is_valid_and_can_be_counted_back(members: dict[str, int]) -> None:
    text = numerical_karyotype(members)
    validate_numerical_karyotype(text)
    count, sex, *changes = text.split(",")
    assert int(count) == sum(members.values())
    assert (sex.count("X"), sex.count("Y")) == (members["X"], members["Y"])
    for label in (str(n) for n in range(1, 23)):
        gains, losses = changes.count(f"+{label}"), changes.count(f"-{label}")
        assert 2 + gains - losses == members[label]
        assert not (gains and losses)
    assert [int(change[1:]) for change in changes] == sorted(int(change[1:]) for change in changes)


@given(CELLS, st.integers(-3, 3).filter(bool))
def test_a_wrong_sum_is_never_valid(members: dict[str, int], off: int) -> None:
    count, rest = numerical_karyotype(members).split(",", 1)
    with pytest.raises(ValueError, match="expected"):
        validate_numerical_karyotype(f"{int(count) + off},{rest}")


@given(CELLS, st.randoms(use_true_random=False))
def test_changes_out_of_order_are_never_valid(members: dict[str, int], random: Random) -> None:
    count, sex, *changes = numerical_karyotype(members).split(",")
    shuffled = random.sample(changes, len(changes))
    labels = [int(change[1:]) for change in shuffled]
    text = ",".join([count, sex, *shuffled])
    if labels == sorted(labels):
        validate_numerical_karyotype(text)
    else:
        with pytest.raises(ValueError, match="from chromosome 1 to 22"):
            validate_numerical_karyotype(text)


@given(st.text(max_size=40))
def test_no_text_crashes_the_validator(text: str) -> None:
    try:
        validate_numerical_karyotype(text)
    except ValueError as exc:
        assert "expected" in str(exc)  # noqa: PT017


@given(CELLS, st.integers(0, 5), st.sampled_from([None, "the field holds more than one spread"]))
def test_a_string_or_a_reason_never_both_never_neither(
    members: dict[str, int], doubtful: int, blocking: str | None
) -> None:
    text, reason = state_or_withhold(members, doubtful, blocking, (44, 48), 2)
    assert (text is None) is not (reason is None)
    if doubtful or blocking:
        assert text is None
