"""Which chromosomes a phantom cell holds, from a short karyotype such as "47,XY,+21"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from appliance.analysis import CHROMOSOME_LABELS

_AUTOSOMES = CHROMOSOME_LABELS[:22]
_CHANGE = re.compile(r"([+-])([1-9]|1\d|2[0-2]|X|Y)")


def cell_labels(karyotype: str | Mapping[str, int] | Sequence[str]) -> tuple[str, ...]:
    """The labels of all chromosomes of a cell, in ISCN order.

    Args:
        karyotype: a numeric ISCN text ("46,XX", "45,X", "47,XY,+21", "45,XX,-13,-15,+2"), counts per label,
            or the labels themselves.

    Raises:
        ValueError: unknown label, unreadable text, or a text whose count does not fit its changes.
    """
    if isinstance(karyotype, str):
        counts = _parse(karyotype)
    elif isinstance(karyotype, Mapping):
        counts = Counter(dict(karyotype))
    else:
        counts = Counter(karyotype)
    unknown = sorted(set(counts) - set(CHROMOSOME_LABELS))
    if unknown:
        raise ValueError(f"expected chromosome labels out of 1…22, X, Y and got {unknown}")
    negative = sorted(label for label, count in counts.items() if count < 0)
    if negative:
        raise ValueError(f"expected counts of at least 0 and got fewer for {negative}")
    return tuple(label for label in CHROMOSOME_LABELS for _ in range(counts[label]))


def _parse(text: str) -> Counter[str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 2 or not parts[0].isdigit() or not re.fullmatch(r"[XY]+", parts[1]):
        raise ValueError(f'expected a karyotype like "46,XX" or "47,XY,+21" and got {text!r}')
    counts: Counter[str] = Counter(dict.fromkeys(_AUTOSOMES, 2))
    counts.update(parts[1])
    for part in parts[2:]:
        change = _CHANGE.fullmatch(part)
        if change is None:
            raise ValueError(f'expected a gain or loss like "+21" and got {part!r} in {text!r}')
        counts[change[2]] += 1 if change[1] == "+" else -1
    if counts.total() != int(parts[0]):
        raise ValueError(f"expected {parts[0]} chromosomes and got {counts.total()} from {text!r}")
    return counts
