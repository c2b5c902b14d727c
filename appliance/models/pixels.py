"""Which packs take pixels: those whose preprocessing ends in a division of RGB levels and nothing else."""

from __future__ import annotations

from appliance.models.manifest import Manifest, PreprocessingMethod
from engines.pixels import PixelInput


def pixel_input(manifest: Manifest) -> PixelInput | None:
    """How the pack's image is made from pixels; None where it is made otherwise."""
    preprocessing = manifest.preprocessing
    divisor = preprocessing.parameters.get("divisor")
    if preprocessing.method is not PreprocessingMethod.LETTERBOX or not isinstance(divisor, int | float):
        return None
    if preprocessing.parameters.get("channels") != "RGB" or divisor <= 0:
        return None
    if [entry.datatype for entry in manifest.inputs] != ["FP32"]:
        return None
    return PixelInput(float(divisor))
