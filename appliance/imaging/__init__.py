"""Bytes → Image: hard limits, one clear error per way to be wrong, and decoders that cannot take us down."""

from appliance.imaging.decoder import ImageDecoder
from appliance.imaging.digest import pixel_digest
from appliance.imaging.image import Image, ImageLimits, MediaType
from appliance.imaging.png import encode_png
from appliance.imaging.raw import PixelType, decode_raw
from appliance.imaging.sniffing import sniff

__all__ = [
    "Image",
    "ImageDecoder",
    "ImageLimits",
    "MediaType",
    "PixelType",
    "decode_raw",
    "encode_png",
    "pixel_digest",
    "sniff",
]
