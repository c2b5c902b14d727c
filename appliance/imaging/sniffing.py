"""Tell from the first bytes what an input is; a file name or a claimed media type is never believed."""

from __future__ import annotations

from appliance.errors import EmptyInput, UnsupportedFormat
from appliance.imaging.image import MediaType

DICOM_PREAMBLE_BYTES = 128

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", MediaType.PNG),
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"II*\x00", MediaType.TIFF),
    (b"MM\x00*", MediaType.TIFF),
    (b"BM", MediaType.BMP),
)

# Formats that callers do send by mistake: naming them is kinder than "unknown".
_REFUSED = (
    (b"II+\x00", "BigTIFF"),
    (b"MM\x00+", "BigTIFF"),
    (b"GIF8", "GIF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000 outside DICOM"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 codestream outside DICOM"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy file; send its samples as raw pixels"),
)


def sniff(data: bytes) -> MediaType:
    """What `data` is, judged by its signature alone.

    Raises:
        EmptyInput: no bytes at all.
        UnsupportedFormat: the signature is of no format that is read here.
    """
    if not data:
        raise EmptyInput("expected an image and got 0 bytes")
    # First of all: a DICOM preamble may hold a TIFF header, so that one file is both (PS3.10, 7.1).
    if data[DICOM_PREAMBLE_BYTES : DICOM_PREAMBLE_BYTES + 4] == b"DICM":
        return MediaType.DICOM
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return MediaType.WEBP
    wanted = "expected PNG, JPEG, TIFF, WebP, BMP or DICOM (with its 128-byte preamble)"
    for signature, name in _REFUSED:
        if data.startswith(signature):
            raise UnsupportedFormat(f"{wanted} and got {name}")
    raise UnsupportedFormat(f"{wanted} and got {len(data)} bytes that begin like none of them")
