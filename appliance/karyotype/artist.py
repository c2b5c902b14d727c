"""Both renderings of a spread, as the service asks for them."""

from __future__ import annotations

from appliance.analysis import Spread
from appliance.imaging.image import Image
from appliance.imaging.page import PageFormat
from appliance.karyotype.karyogram import draw_karyogram
from appliance.karyotype.overlay import draw_overlay


class MetaphaseArtist:
    """Draws spreads; keeps nothing, so any number of threads may share it."""

    def overlay(self, image: Image, spread: Spread) -> bytes:
        """The input with outlines, classes and confidences; PNG."""
        return draw_overlay(image.grey, spread)

    def karyogram(
        self, image: Image, spread: Spread, page_format: PageFormat = PageFormat.PNG, caption: str = ""
    ) -> bytes:
        """The chromosomes in ISCN order, p arms up; `caption` stands in the footer."""
        return draw_karyogram(image.grey, spread, caption, page_format=page_format)
