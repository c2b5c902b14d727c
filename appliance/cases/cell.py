"""What the rules of a case need to know of one spread: its count, its classes, and who stands behind them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.analysis import CHROMOSOME_LABELS


class ReviewState(enum.Enum):
    """Who stands behind a spread."""

    MACHINE = "machine"  # as the pipeline left it
    IN_REVIEW = "in_review"  # edited, and not approved since
    APPROVED = "approved"  # an expert approved it as it is now


@dataclass(frozen=True)
class Cell:
    """One spread of a case.

    Counted, analysed and karyotyped cells are kept apart, each of them a part of the one before: the number
    of chromosomes stands; besides it every class stands; besides both a karyotype can be told.
    """

    number: int  # of the spread in its case, from 1
    state: ReviewState
    members: tuple[int, ...]  # number of chromosomes of each of CHROMOSOME_LABELS
    count_doubt: str | None  # why the number of chromosomes does not stand
    doubtful_classes: int  # chromosomes whose class does not stand
    karyotype: str | None  # exactly one of this and `withheld` is set
    withheld: str | None
    structural: tuple[str, ...] = ()  # structural changes in the words of the expert who approved

    @property
    def count(self) -> int:
        """Number of chromosomes."""
        return sum(self.members)

    @property
    def approved(self) -> bool:
        """Whether an expert stands behind it."""
        return self.state is ReviewState.APPROVED

    @property
    def counted(self) -> bool:
        """The number of chromosomes stands."""
        return self.count_doubt is None

    @property
    def analysed(self) -> bool:
        """The number and every class stand."""
        return self.counted and self.doubtful_classes == 0

    @property
    def karyotyped(self) -> bool:
        """A karyotype can be told, if need be with the expert's words for its structure."""
        return self.analysed and (self.karyotype is not None or bool(self.structural))

    def number_of(self, label: str) -> int:
        """Number of chromosomes of one class."""
        return self.members[CHROMOSOME_LABELS.index(label)]


def modal_numbers(cells: Sequence[Cell]) -> tuple[int, ...]:
    """The chromosome number that most counted cells have; several where as many have another one."""
    counts = [cell.count for cell in cells if cell.counted]
    most = max((counts.count(number) for number in set(counts)), default=0)
    return tuple(sorted(number for number in set(counts) if counts.count(number) == most))
