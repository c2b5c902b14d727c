"""The two images that the demo analyses, always the same, with their truth."""

from __future__ import annotations

import numpy as np

from appliance.phantoms.chest_film import ChestPhantom, chest_phantom
from appliance.phantoms.field import FieldStyle
from appliance.phantoms.metaphase import MetaphasePhantom, SpreadStyle, metaphase_phantom
from appliance.phantoms.staining import StainStyle

_METAPHASE_SEED = 68
_CHEST_SEED = 14


def demo_metaphase() -> MetaphasePhantom:
    """A normal male spread (46,XY), 1360×1024: well banded, a few touching pairs, a nucleus, some debris."""
    style = SpreadStyle(
        stain=StainStyle(length_px=158.0, width_px=18.5, pale=0.34, dark=1.05, focus_blur_px=1.0),
        field=FieldStyle(nuclei=1, debris=9, ghosts=5),
        touching_share=0.12,
        overlapping_share=0.0,
        radius_px=300.0,
    )
    return metaphase_phantom(_METAPHASE_SEED, "46,XY", style=style)


def demo_chest_film() -> ChestPhantom:
    """A 1024×1024 film with four painted findings."""
    rng = np.random.default_rng(_CHEST_SEED)
    return chest_phantom(rng, 1024, ("Cardiomegaly", "Pleural effusion", "Nodule/Mass", "Pneumothorax"))
