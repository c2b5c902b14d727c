"""`DicomReports`: writes the answer about a DICOM film as DICOM objects, for the service.

The libraries are imported with the first report: a box that answers in JSON alone never pays for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from appliance.errors import NotOffered, UnsupportedFormat
from appliance.imaging.film_tags import FilmReferences

if TYPE_CHECKING:
    from appliance.dicom_out.writer import FilmWriter

_LIBRARIES: Final = frozenset(("pydicom", "highdicom"))


class DicomReports:
    """Makes reports; keeps nothing of a film, so any number of threads may share it.

    Args:
        device_uid: DICOM UID of this box.
    """

    def __init__(self, device_uid: str) -> None:
        self._device_uid = device_uid

    def begin(self, references: FilmReferences | None) -> FilmWriter:
        """Check what a report has to refer to; what writes it once the film is analysed.

        Args:
            references: of the decoded image, with the patient's fields; None where it was no DICOM file.

        Raises:
            UnsupportedFormat: the film is not DICOM, so there is nothing to refer to.
            CorruptImage: its header names no study, series or instance.
            NotOffered: this box was installed without the libraries.
        """
        if references is None:
            raise UnsupportedFormat(
                "expected a DICOM film, which a DICOM report can refer to, and got another image"
            )
        try:
            from appliance.dicom_out.writer import FilmWriter
        except ModuleNotFoundError as exc:
            if exc.name not in _LIBRARIES:
                raise
            raise NotOffered('this box writes no DICOM: it was installed without its extra "dicom"') from exc
        return FilmWriter(references, self._device_uid)
