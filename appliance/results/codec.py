"""An analysis as the text that the database keeps, and back; pictures are left out."""

from __future__ import annotations

from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from appliance.analysis import Analysis
from appliance.errors import StorageUnavailable

_ANALYSIS = TypeAdapter(Analysis)


def encode(analysis: Analysis) -> bytes:
    """JSON in UTF-8."""
    return _ANALYSIS.dump_json(replace(analysis, renderings={}))


def decode(body: bytes) -> Analysis:
    """The analysis that `encode` wrote; StorageUnavailable if the text is something else."""
    try:
        return _ANALYSIS.validate_json(body)
    except ValidationError as exc:
        raise StorageUnavailable(
            f"expected a stored analysis and got {exc.error_count()} mistakes in its text"
        ) from exc


def headline(analysis: Analysis) -> str:
    """What was found, in a few words for a list."""
    if analysis.spread is not None:
        spread = analysis.spread
        chromosomes = "chromosome" if spread.count == 1 else "chromosomes"
        return f"{spread.count} {chromosomes}, {spread.iscn or 'no ISCN stated'}"
    if analysis.film is not None:
        labels = sorted({finding.label for finding in analysis.film.findings})
        return ", ".join(labels) if labels else "no finding above the threshold"
    raise ValueError("expected an analysis with a spread or a film and got neither")
