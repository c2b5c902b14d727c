"""How much mosaicism a number of alike cells excludes, and how many cells exclude a given share.

Source: E. B. Hook, Exclusion of chromosomal mosaicism: tables of 90 %, 95 % and 99 % confidence limits and
comments on use, American Journal of Human Genetics 29 (1977) 94–97. If a share p of the cells belonged to
another line, n cells would all miss it with probability (1 - p)ⁿ.
"""

from __future__ import annotations

import math


def excluded_share(cells: int, confidence: float = 0.95) -> float:
    """The smallest share of a second cell line that so many alike cells exclude; 0.139 for 20.

    Args:
        cells: that were analysed and are all alike; at least 1.
        confidence: of the exclusion, between 0 and 1.

    Raises:
        ValueError: without a cell.
    """
    if cells < 1:
        raise ValueError(f"expected at least one cell and got {cells}")
    return -math.expm1(math.log1p(-confidence) / cells)


def cells_to_exclude(share: float, confidence: float = 0.95) -> int:
    """Number of alike cells that exclude a second line of this share; 29 for 0.10.

    Args:
        share: of the second line, between 0 and 1.
        confidence: of the exclusion, between 0 and 1.

    Raises:
        ValueError: for a share that is none.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share between 0 and 1 and got {share:g}")
    return math.ceil(math.log1p(-confidence) / math.log1p(-share) - 1e-9)
