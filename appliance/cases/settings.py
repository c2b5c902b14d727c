"""Every number that cases are judged and bounded with, in one place and with its unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CaseRules:
    """When cells make a clone, and how many of them a case needs."""

    # ISCN 2020, section 11.1.1: the same gain or structural change in two cells, the same loss in three.
    gain_cells: int = 2
    loss_cells: int = 3
    # A laboratory's usual minimum for a constitutional study; a case may ask for more.
    counted: int = 20
    analysed: int = 5
    karyotyped: int = 2
    # Once one cell differs: as many cells exclude a second line above 6 % (Hook 1977).
    extended: int = 50
    confidence: float = 0.95  # with which mosaicism is excluded


@dataclass(frozen=True)
class CaseLimits:
    """Bounds of what is kept."""

    max_open: int  # cases open at a time
    max_spreads: int  # of one case
    max_revisions: int  # sets of edits of one spread
    max_edits: int  # of one set
    max_bytes: int  # of all cases together; the oldest closed ones go beyond it
    max_age_ms: int  # since the last change; then a case goes, open or closed
