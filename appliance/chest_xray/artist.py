"""The rendering of a film, as the service asks for it."""

from __future__ import annotations

from appliance.analysis import Film
from appliance.chest_xray.overlay import draw_overlay
from appliance.imaging.image import Image


class FilmArtist:
    """Draws films; keeps nothing, so any number of threads may share it."""

    def overlay(self, image: Image, film: Film) -> bytes:
        """The input with boxes, names and confidences; PNG."""
        return draw_overlay(image.grey, film)
