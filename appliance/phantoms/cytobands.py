"""The G-bands of the 24 human chromosomes: where they lie and how dark they stain.

The table is the 550-band ideogram of ISCN with its stain classes as the NCBI and UCSC genome browsers
publish them (`cytobands.tsv`). Positions on the ISCN axis are what a microscope shows; base pairs differ from
them because heterochromatin and G-dark bands condense differently.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from importlib import resources

from appliance.analysis import CHROMOSOME_LABELS


class Stain(enum.Enum):
    """Giemsa stain classes of the cytoband tables."""

    GNEG = "gneg"  # pale R band
    GPOS25 = "gpos25"  # faint G band
    GPOS50 = "gpos50"  # medium G band
    GPOS75 = "gpos75"  # strong G band
    GPOS100 = "gpos100"  # darkest G band
    ACEN = "acen"  # centromere
    GVAR = "gvar"  # heterochromatin whose size and stain vary between people
    STALK = "stalk"  # thin stalk of an acrocentric's satellite


@dataclass(frozen=True)
class Band:
    """One band; `start` and `end` are fractions of the chromosome's length from the p telomere."""

    name: str  # "p36.3"
    start: float
    end: float
    start_bp: int
    end_bp: int
    stain: Stain


@dataclass(frozen=True)
class Ideogram:
    """One chromosome as ISCN draws it, p telomere first."""

    label: str  # one of CHROMOSOME_LABELS
    bands: tuple[Band, ...]
    relative_length: float  # length on the ISCN axis; chromosome 1 has 1.0
    centromere: float  # fraction of the length from the p telomere
    length_bp: int

    @property
    def acrocentric(self) -> bool:
        """Whether the p arm is only a stalk with a satellite (chromosomes 13, 14, 15, 21, 22)."""
        return any(band.stain is Stain.STALK for band in self.bands)


def ideogram(label: str) -> Ideogram:
    """The ideogram of one chromosome.

    Args:
        label: "1" … "22", "X" or "Y".

    Raises:
        ValueError: for any other label.
    """
    table = _ideograms()
    if label not in table:
        raise ValueError(f"expected a chromosome label out of 1…22, X, Y and got {label!r}")
    return table[label]


@functools.cache
def _ideograms() -> dict[str, Ideogram]:
    text = resources.files("appliance.phantoms").joinpath("cytobands.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows: dict[str, list[list[str]]] = {label: [] for label in CHROMOSOME_LABELS}
    for line in lines[1:]:
        cells = line.split("\t")
        rows[cells[0]].append(cells)
    longest = max(int(cells[-1][4]) for cells in rows.values())
    return {label: _parse(label, cells, longest) for label, cells in rows.items()}


def _parse(label: str, rows: list[list[str]], longest: int) -> Ideogram:
    total = int(rows[-1][4])
    bands = tuple(
        Band(
            name=arm + name,
            start=int(start) / total,
            end=int(end) / total,
            start_bp=int(start_bp),
            end_bp=int(end_bp),
            stain=Stain(stain),
        )
        for _, arm, name, start, end, start_bp, end_bp, stain in rows
    )
    centromere = next(band.end for band in bands if band.stain is Stain.ACEN)
    return Ideogram(
        label=label,
        bands=bands,
        relative_length=total / longest,
        centromere=centromere,
        length_bp=bands[-1].end_bp,
    )
