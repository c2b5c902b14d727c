"""Any encoded image → Image in this very process: what the decoder worker does with each input."""

from __future__ import annotations

from appliance.errors import UnsupportedFormat
from appliance.imaging.image import Image, ImageLimits, MediaType
from appliance.imaging.raster import decode_raster
from appliance.imaging.sniffing import sniff


def decode_here(data: bytes, limits: ImageLimits, for_report: bool = False) -> Image:
    """Decode in this process; `ImageDecoder` is the one to use where bytes come from outside.

    Args:
        data: one encoded image.
        limits: what is refused.
        for_report: read the patient's fields of a DICOM film as well, see `FilmReferences`.

    Raises:
        InvalidInput: in one of its forms, see appliance/errors.py.
        MemoryError: the process may not have the memory for it.
    """
    limits.check_bytes(len(data))
    media_type = sniff(data)
    if media_type is not MediaType.DICOM:
        return decode_raster(data, media_type, limits)
    try:
        # An extra, and 0.2 s and 20 MB that a box which only sees spreads never needs.
        from appliance.imaging.dicom import decode_dicom
    except ImportError as exc:
        raise UnsupportedFormat(
            'expected a box with the extra "dicom" installed and got one without'
        ) from exc
    return decode_dicom(data, limits, for_report)
