"""A fingerprint of an image's pixels, so that the same picture is known again whatever file it comes in."""

from __future__ import annotations

import hashlib

from appliance.imaging.image import Image


def pixel_digest(image: Image) -> str:
    """SHA-256 over width, height and the grey levels row by row, in hexadecimal."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.grey.data)
    return digest.hexdigest()
