"""`FilmWriter`: everything that is written about one film, as the bytes of DICOM files."""

from __future__ import annotations

from appliance.analysis import Analysis, Film
from appliance.dicom_out.capture import secondary_capture
from appliance.dicom_out.encoding import encode
from appliance.dicom_out.evidence import evidence_of
from appliance.dicom_out.quiet import quietly
from appliance.dicom_out.report import ReportedFilm, structured_report
from appliance.imaging.film_tags import FilmReferences


class FilmWriter:
    """Writes about one film.

    Args:
        references: which film it is, with its patient.
        device_uid: DICOM UID of this box.

    Raises:
        CorruptImage: the film's header names no study, series or instance.
    """

    def __init__(self, references: FilmReferences, device_uid: str) -> None:
        with quietly():
            self._film = ReportedFilm(evidence_of(references), references.columns, references.rows)
        self._device_uid = device_uid

    def structured_report(self, analysis: Analysis) -> bytes:
        """The findings as a DICOM structured report."""
        with quietly():
            return encode(structured_report(self._film, analysis, _found(analysis), self._device_uid))

    def secondary_capture(self, analysis: Analysis, overlay_png: bytes) -> bytes:
        """The drawn film as a DICOM image that any viewer shows."""
        with quietly():
            return encode(secondary_capture(self._film, analysis, overlay_png))


def _found(analysis: Analysis) -> Film:
    if analysis.film is None:
        raise ValueError("expected the analysis of a film and got that of a spread")
    return analysis.film
