"""A DICOM file → Image: one film, its grey as a viewer shows it, and the allow-list of `film_tags`.

Importing this module imports pydicom (extra "dicom"); only the decoder worker does, for its first film.
Source: DICOM PS3.10, section 7 (file format).
"""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
from pydicom import config, dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from appliance.errors import ApplianceError, CorruptImage, ImageTooLarge
from appliance.imaging.dicom_header import modality_hint, pixel_size_um, read_film_header, read_presentation
from appliance.imaging.dicom_meta import DEFLATED, FileMeta, inflate, read_meta
from appliance.imaging.dicom_pixels import read_stored
from appliance.imaging.dicom_tags import read_film_tags, read_references
from appliance.imaging.grey import to_grey
from appliance.imaging.header import Alpha
from appliance.imaging.image import Image, ImageLimits, MediaType

config.settings.reading_validation_mode = config.IGNORE  # we check the few fields that we use ourselves


def decode_dicom(data: bytes, limits: ImageLimits, for_report: bool = False) -> Image:
    """Decode in this process; run it where a crash of a native decoder may be afforded.

    Args:
        data: a DICOM file with its preamble.
        limits: what is refused; checked against the header before any pixel is decoded.
        for_report: read the patient's fields as well, for a report that refers to the film.

    Raises:
        CorruptImage: truncated, broken or contradicting itself.
        UnsupportedFormat: no single film, or a transfer syntax without a decoder here.
        ImageTooLarge, ImageTooSmall: against the limits.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings may quote the header, so patient data
            return _decode(data, limits, for_report)
    except ApplianceError:
        raise
    except MemoryError as exc:
        raise ImageTooLarge("expected a DICOM film that decodes in the memory there is") from exc
    except Exception as exc:  # broken bytes make pydicom and its decoders raise errors of every type
        raise CorruptImage("expected a whole DICOM film and got a truncated or broken one") from exc


def _decode(data: bytes, limits: ImageLimits, for_report: bool) -> Image:
    meta = read_meta(data)
    data_set = _read_data_set(data, meta)
    header = read_film_header(data_set)
    limits.check_size(header.width, header.height)
    tags, references = read_film_tags(data_set), read_references(data_set, for_report)
    presentation = read_presentation(data_set)
    stored = read_stored(data_set, header, meta.transfer_syntax)
    if header.colour:
        grey = to_grey(np.ascontiguousarray(stored[:, :, ::-1]).astype(np.uint8, copy=False), Alpha.IGNORED)
    else:
        grey = presentation.grey(stored)
    return Image(
        grey=np.ascontiguousarray(grey),
        media_type=MediaType.DICOM,
        source_bit_depth=header.bits_stored,
        modality_hint=modality_hint(tags),
        pixel_size_um=pixel_size_um(references.pixel_spacing_mm),
        tags=tags,
        references=references,
    )


def _read_data_set(data: bytes, meta: FileMeta) -> Dataset:
    if meta.transfer_syntax != DEFLATED:
        return dcmread(BytesIO(data))
    inflated = inflate(data[meta.data_set_start :])
    data_set = read_dataset(BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(DEFLATED)
    return data_set
