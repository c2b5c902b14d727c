"""Golden inputs from phantoms: they belong to nobody, so a published pack may carry them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from appliance.chest_xray.letterbox import film_input
from appliance.karyotype.instances import Instance
from appliance.karyotype.orientation import upright_crops
from appliance.models.preprocessing import field_input, normalise_stain
from appliance.models.reference import FILM_FILL, FILM_SIZE
from appliance.phantoms.chest_film import chest_phantom
from appliance.phantoms.metaphase import MetaphasePhantom, metaphase_phantom
from engine_builder.recipe import Tensors, Workspace

_FIRST_SEED = 101
_CROPS = 8


def fields(_: Workspace) -> Iterator[Tensors]:
    """Whole phantom spreads as segmenter and detector see them, without end."""
    for phantom in _spreads():
        stain, _placement = field_input(normalise_stain(phantom.image))
        yield {"image": stain}


def crops(_: Workspace) -> Iterator[Tensors]:
    """Eight upright chromosomes of a phantom spread, both views of each, without end."""
    for phantom in _spreads():
        instances = [
            Instance(int(truth.box.x), int(truth.box.y), truth.mask, 1.0, 1.0)
            for truth in phantom.chromosomes[:: max(1, len(phantom.chromosomes) // _CROPS)][:_CROPS]
        ]
        yield {"crops": upright_crops(normalise_stain(phantom.image), instances).batch}


def films(_: Workspace) -> Iterator[Tensors]:
    """Phantom films with painted findings, without end."""
    rng = np.random.default_rng(_FIRST_SEED)
    while True:
        grey: NDArray[np.uint8] = chest_phantom(rng, 1024, None).image
        tensor, _letterbox = film_input(grey, FILM_SIZE, FILM_FILL)
        yield {"images": tensor}


def _spreads() -> Iterator[MetaphasePhantom]:
    seed = _FIRST_SEED
    while True:
        yield metaphase_phantom(seed, "46,XY" if seed % 2 else "46,XX")
        seed += 1
