"""A data set → the bytes of a DICOM file."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance import __version__

IMPLEMENTATION_CLASS_UID = UID("2.25.172979196404499381454419530330281887231")
"""Names this software in the files that it writes (PS3.7, D.3.3.2); made once, from a random UUID."""


def encode(data_set: Dataset) -> bytes:
    """A file with preamble and meta group, explicit VR little-endian."""
    data_set.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    data_set.file_meta.ImplementationVersionName = f"ANALYZER_{__version__}"[:16]
    file = BytesIO()
    dcmwrite(file, data_set, enforce_file_format=True)
    return file.getvalue()
