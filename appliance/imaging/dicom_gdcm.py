"""12-bit lossy JPEG by GDCM: pydicom's plugin refuses it, GDCM itself reads it.

Importing this module imports gdcm (extra "dicom", Apache 2.0; GDCM itself BSD). Source: DICOM PS3.5, A.4.1.
"""

from __future__ import annotations

import gdcm
import numpy as np
from numpy.typing import NDArray

from appliance.errors import CorruptImage

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_BITS = 12


def decode_12_bit_jpeg(frame: bytes, width: int, height: int) -> NDArray[np.uint16]:
    """Samples (height, width) of one monochrome frame, 0…4095.

    Raises:
        CorruptImage: GDCM makes no whole frame of it.
    """
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((width, height, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_JPEG_EXTENDED)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, _BITS, _BITS - 1, 0))
    text = image.GetBuffer()  # char*, which the binding gives as text with every byte above 127 escaped
    samples = b"" if text is None else text.encode("utf-8", "surrogateescape")
    if len(samples) != 2 * width * height:
        raise CorruptImage("expected a whole 12-bit JPEG frame and got a truncated or broken one")
    return np.frombuffer(samples, "<u2").reshape(height, width).astype(np.uint16, copy=False)
