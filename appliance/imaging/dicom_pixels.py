"""The one frame of a DICOM film → array of stored values, each transfer syntax with a named decoder.

Only decoders under permissive licences are named: OpenCV (libjpeg-turbo) for 8-bit JPEG, pylibjpeg-openjpeg,
pyjpegls, pylibjpeg-rle, and GDCM for lossless and for 12-bit lossy JPEG. The codestream's own size is
compared with the header's before it is decoded, so that a small header cannot hide a huge frame.

Source: DICOM PS3.5, 8.2 and annex A (transfer syntaxes); ISO/IEC 15444-1, A.5.1 (JPEG 2000 SIZ segment).
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from appliance.errors import CorruptImage, UnsupportedFormat
from appliance.imaging.dicom_display import Stored
from appliance.imaging.dicom_header import FilmHeader
from appliance.imaging.jpeg import BASELINE_TO_PROGRESSIVE, JpegFrame, read_jpeg_frame

_NATIVE = frozenset(
    (
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
    )
)
_JPEG_DCT = frozenset((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit))
_JPEG_FAMILY = frozenset((uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless))
_JPEG_2000 = frozenset(
    (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
)
_PLUGINS = {
    **dict.fromkeys(_JPEG_2000, "pylibjpeg"),
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.RLELossless: "pylibjpeg",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
}
_PACKAGES = {
    "pylibjpeg": "pylibjpeg-openjpeg and pylibjpeg-rle",
    "pyjpegls": "pyjpegls",
    "gdcm": "python-gdcm",
}


def read_stored(data_set: Dataset, header: FilmHeader, transfer_syntax: str) -> Stored:
    """Stored values (height, width) of a monochrome film, or RGB (height, width, 3) of a colour one.

    Raises:
        UnsupportedFormat: no decoder here for the transfer syntax.
        CorruptImage: the frame is another size than the header says, or does not decode.
    """
    syntax = uid.UID(transfer_syntax)
    if syntax in _NATIVE:
        return _native(data_set, header, syntax)
    if syntax in _JPEG_DCT:
        return _jpeg(get_frame(data_set.PixelData, 0, number_of_frames=1), header)
    plugin = _PLUGINS.get(syntax)
    if plugin is None:  # an unregistered UID is free text of the file and is not repeated
        name = syntax.name if syntax.is_transfer_syntax else "an unregistered one"
        raise UnsupportedFormat(f"expected a DICOM transfer syntax that is decoded here and got {name}")
    decoder = get_decoder(syntax)
    if plugin not in decoder.available_plugins:
        raise UnsupportedFormat(
            f"expected the decoder package {_PACKAGES[plugin]} for {syntax.name} and got a box without it"
        )
    if syntax in _JPEG_2000 or syntax in _JPEG_FAMILY:
        frame = get_frame(data_set.PixelData, 0, number_of_frames=1)
        size = _jpeg_2000_size(frame) if syntax in _JPEG_2000 else _jpeg_size(frame)
        _check_frame(size, header)
    array, _ = decoder.as_array(data_set, index=0, raw=not header.colour, decoding_plugin=plugin)
    return _shaped(array, header)


def _native(data_set: Dataset, header: FilmHeader, syntax: uid.UID) -> Stored:
    if header.colour or syntax == uid.ExplicitVRBigEndian:
        array, _ = get_decoder(syntax).as_array(data_set, index=0, raw=not header.colour)
        return _shaped(array, header)
    kind = "i" if header.signed else "u"
    dtype = np.dtype(f"<{kind}{header.bits_allocated // 8}")
    expected = header.width * header.height * dtype.itemsize
    if len(data_set.PixelData) < expected:
        raise CorruptImage(f"expected {expected} bytes of pixels and got {len(data_set.PixelData)}")
    words = np.frombuffer(data_set.PixelData, dtype, header.width * header.height)
    values = _shaped(words.reshape(header.height, header.width), header)
    # The bits around the stored ones may hold overlays or rubbish, and the stored ones need not be the lowest
    # (PS3.5, 8.1.1). Both shifts are arithmetic on signed values, which carries the sign down.
    unused = header.bits_allocated - header.bits_stored
    if unused:
        values = values << (header.bits_allocated - 1 - header.high_bit) >> unused
    return values


def _jpeg(frame: bytes, header: FilmHeader) -> Stored:
    """A baseline or extended frame; extended allows 12 bits too."""
    coded = read_jpeg_frame(frame)
    _check_frame((coded.width, coded.height), header)
    if coded.precision not in (8, 12) or coded.process not in BASELINE_TO_PROGRESSIVE:
        raise UnsupportedFormat(
            "expected a sequential or progressive JPEG frame with 8 or 12 bits a sample and got process"
            f" 0x{coded.process:02X} with {coded.precision}"
        )
    if coded.precision == 12:
        return _jpeg_12_bit(frame, header, coded)
    if coded.components != (3 if header.colour else 1):
        raise CorruptImage(f"expected a JPEG frame as the header says and got {coded.components} components")
    flag = cv2.IMREAD_COLOR_RGB if header.colour else cv2.IMREAD_GRAYSCALE
    decoded = cv2.imdecode(np.frombuffer(frame, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None:
        raise CorruptImage("expected a whole JPEG frame and got a truncated or broken one")
    return _shaped(decoded, header)


def _jpeg_12_bit(frame: bytes, header: FilmHeader, coded: JpegFrame) -> Stored:
    if header.colour or coded.components != 1 or header.bits_allocated != 16:
        raise CorruptImage(
            "expected 12-bit JPEG to hold one component in 16 allocated bits and got"
            f" {coded.components} in {header.bits_allocated}"
        )
    try:
        from appliance.imaging.dicom_gdcm import decode_12_bit_jpeg
    except ImportError as exc:
        raise UnsupportedFormat(
            "expected the decoder package python-gdcm for 12-bit lossy JPEG and got a box without it"
        ) from exc
    samples = decode_12_bit_jpeg(frame, header.width, header.height)
    if header.signed:  # two's complement in the stored bits
        unused = 16 - header.bits_stored
        return _shaped(samples.view(np.int16) << unused >> unused, header)
    # lossy: samples overshoot the stored range, and cutting the bits off would turn white into black
    return _shaped(np.minimum(samples, np.uint16((1 << header.bits_stored) - 1)), header)


def _shaped(array: NDArray[np.generic], header: FilmHeader) -> Stored:
    expected = (header.height, header.width, 3) if header.colour else (header.height, header.width)
    if array.shape != expected or array.dtype.kind not in "ui" or array.dtype.itemsize > 2:
        raise CorruptImage(
            f"expected integer pixels of shape {expected} and got {array.dtype}, {array.shape}"
        )
    native: Stored = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return native


def _check_frame(size: tuple[int, int], header: FilmHeader) -> None:
    if size != (header.width, header.height):
        raise CorruptImage(
            f"expected a frame of {header.width} × {header.height} pixels, as the header says, and got "
            f"{size[0]} × {size[1]}"
        )


def _jpeg_size(frame: bytes) -> tuple[int, int]:
    coded = read_jpeg_frame(frame)
    return coded.width, coded.height


def _jpeg_2000_size(frame: bytes) -> tuple[int, int]:
    """Width and height from the SIZ segment, which follows the start of codestream."""
    start = frame.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise CorruptImage("expected a JPEG 2000 codestream and got none")
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    return right - left, bottom - top
