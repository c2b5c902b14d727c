"""Counts of the 24 chromosomes → the numerical karyotype of one cell in ISCN notation, or why it is withheld.

Notation: ISCN 2020, chapter 8 (constitutional numerical abnormalities): number of chromosomes, sex
chromosomes, then each autosomal gain or loss from chromosome 1 to 22. A deviating set of sex chromosomes is
written out (45,X; 47,XXY). Structure and mosaicism cannot be told from one cell's counts: never stated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from appliance.analysis import CHROMOSOME_LABELS

AUTOSOMES: tuple[str, ...] = CHROMOSOME_LABELS[:22]
_NORMAL_AUTOSOMES = 2
_KARYOTYPE = re.compile(
    r"(?P<count>[1-9][0-9]*),(?P<sex>X+Y*|Y+)(?P<changes>(,[+-](?:[1-9]|1[0-9]|2[0-2]))*)"
)


def numerical_karyotype(members: Mapping[str, int]) -> str:
    """Write the karyotype that these counts make.

    Args:
        members: number of chromosomes of each label; absent labels count 0.

    Raises:
        ValueError: for an unknown label, a cell without X, or one without any chromosome of a pair: such a
            cell is no whole one or needs a person.
    """
    unknown = sorted(set(members) - set(CHROMOSOME_LABELS))
    if unknown:
        raise ValueError(f"expected labels 1 to 22, X and Y and got {', '.join(unknown)}")
    if members.get("X", 0) < 1:
        raise ValueError("expected at least one X and got none")
    changes = []
    for label in AUTOSOMES:
        number = members.get(label, 0)
        if number == 0:
            raise ValueError(f"expected at least one chromosome {label} and got none")
        sign = "+" if number > _NORMAL_AUTOSOMES else "-"
        changes.extend([f"{sign}{label}"] * abs(number - _NORMAL_AUTOSOMES))
    sex = "X" * members["X"] + "Y" * members.get("Y", 0)
    text = ",".join([str(sum(members.values())), sex, *changes])
    validate_numerical_karyotype(text)
    return text


def validate_numerical_karyotype(text: str) -> None:
    """Check that a numerical karyotype is well formed, adds up and stands in order.

    Raises:
        ValueError: saying what was expected and what was found.
    """
    match = _KARYOTYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"expected COUNT,SEX[,±AUTOSOME]… and got {text!r}")
    changes = [change for change in match["changes"].split(",") if change]
    order = [int(change[1:]) for change in changes]
    if order != sorted(order):
        raise ValueError(f"expected the changes from chromosome 1 to 22 and got {','.join(changes)}")
    for label in set(order):
        signs = {change[0] for change in changes if int(change[1:]) == label}
        if len(signs) > 1:
            raise ValueError(f"expected chromosome {label} gained or lost and got both")
    expected = (
        len(AUTOSOMES) * _NORMAL_AUTOSOMES
        + len(match["sex"])
        + sum(1 if c[0] == "+" else -1 for c in changes)
    )
    if expected != int(match["count"]):
        raise ValueError(f"expected a count of {expected} for {text!r} and got {match['count']}")


def state_or_withhold(
    members: Mapping[str, int],
    doubtful: int,
    blocking_reason: str | None,
    counts: tuple[int, int],
    max_changes: int,
) -> tuple[str | None, str | None]:
    """Give the karyotype, or else the reason for giving none; exactly one of the two is set.

    Args:
        members: number of chromosomes of each label.
        doubtful: number of chromosomes whose class a person has to confirm.
        blocking_reason: what makes the count itself doubtful, if anything does.
        counts: smallest and largest number of chromosomes for which a karyotype is stated.
        max_changes: most autosomal gains and losses that are stated.
    """
    number = sum(members.values())
    if blocking_reason is not None:
        return None, blocking_reason
    if not counts[0] <= number <= counts[1]:
        return None, f"{number} chromosomes found, a karyotype is stated for {counts[0]} to {counts[1]} only"
    if doubtful:
        noun = "chromosome has" if doubtful == 1 else "chromosomes have"
        return None, f"{doubtful} {noun} a class below the confidence threshold"
    changes = sum(abs(members.get(label, 0) - _NORMAL_AUTOSOMES) for label in AUTOSOMES)
    if changes > max_changes:
        return (
            None,
            f"{changes} gains and losses in one cell, a karyotype is stated for at most {max_changes}",
        )
    try:
        return numerical_karyotype(members), None
    except ValueError as exc:
        return None, f"the counts make no numerical karyotype: {exc}"
