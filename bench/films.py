"""The films of the X-ray benchmark: phantoms as a scanner would send them, JPEG and 12-bit DICOM."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from appliance.phantoms.chest_film import chest_phantom

JPEG_QUALITY = 90
BITS = 12


def jpeg_film(seed: int, side: int) -> bytes:
    """A square film as JPEG.

    Args:
        seed: of the phantom.
        side: pixels.
    """
    done, data = cv2.imencode(".jpg", _grey(seed, side), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise RuntimeError("expected OpenCV to write a JPEG file and it did not")
    return data.tobytes()


def dicom_film(seed: int, side: int) -> bytes:
    """A square film as DICOM: 12 bits in 16, MONOCHROME2, one window, not compressed."""
    values = _grey(seed, side).astype(np.uint16) << (BITS - 8)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    film = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    fields = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(prefix=None),
        "SeriesInstanceUID": generate_uid(prefix=None),
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "Rows": side,
        "Columns": side,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": BITS,
        "HighBit": BITS - 1,
        "PixelRepresentation": 0,
        "WindowCenter": 1 << (BITS - 1),
        "WindowWidth": 1 << BITS,
        "PixelData": values.tobytes(),
    }
    for keyword, value in fields.items():
        setattr(film, keyword, value)
    film["PixelData"].VR = "OW"
    file = BytesIO()
    dcmwrite(file, film, enforce_file_format=True)
    return file.getvalue()


def _grey(seed: int, side: int) -> NDArray[np.uint8]:
    return chest_phantom(np.random.default_rng(seed), side, ("Cardiomegaly", "Pleural effusion")).image
