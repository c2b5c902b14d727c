"""DICOM films made on purpose: any pixels, any header field, any transfer syntax that pydicom encodes."""

from __future__ import annotations

import io
from typing import Any

from numpy.typing import NDArray
from pydicom import config, dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

PATIENT = "SECRET^NAME"

# A test writes what the standard forbids.
config.settings.writing_validation_mode = config.IGNORE
config.settings.reading_validation_mode = config.IGNORE


def write_film(pixels: NDArray[Any], transfer_syntax: str = ExplicitVRLittleEndian, **fields: Any) -> bytes:
    """A chest film of `pixels` (height, width) with `fields` set over the defaults; None removes one."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    film = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * pixels.dtype.itemsize
    defaults: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientName": PATIENT,
        "PatientID": PATIENT,
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1 if pixels.ndim == 2 else pixels.shape[2],
        "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if pixels.ndim == 3:
        defaults["PlanarConfiguration"] = 0
    for keyword, value in {**defaults, **fields}.items():
        if value is not None:
            setattr(film, keyword, value)
    order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
    if "PixelData" not in fields:
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        film.PixelData = data + b"\0" * (len(data) % 2)
    film["PixelData"].VR = "OW" if bits > 8 else "OB"
    buffer = io.BytesIO()
    dcmwrite(
        buffer,
        film,
        implicit_vr=transfer_syntax == ImplicitVRLittleEndian,
        little_endian=order == "<",
        force_encoding=True,
    )
    return buffer.getvalue()


def lut_item(first: int, entries: NDArray[Any], bits: int) -> Dataset:
    """One item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item
