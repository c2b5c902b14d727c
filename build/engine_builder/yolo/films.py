"""Films that a user's model is tried on: a folder of the user's own, or phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.chest_xray.letterbox import film_input
from appliance.errors import ApplianceError
from appliance.imaging.decoding import decode_here
from appliance.imaging.image import ImageLimits
from appliance.models.film_contract import FilmContract
from appliance.phantoms.chest_film import chest_phantom
from engine_builder.errors import BuildFailed

PHANTOM_SIZE = 1024
MAX_FILMS = 256


def folder_films(folder: Path) -> list[NDArray[np.uint8]]:
    """Every film of a folder that the box could read as well, at most `MAX_FILMS`, grey as it is shown there.

    Raises:
        BuildFailed: a file that is no film, or no file at all.
    """
    films = []
    for path in sorted(path for path in folder.iterdir() if path.is_file())[:MAX_FILMS]:
        try:
            films.append(decode_here(path.read_bytes(), ImageLimits()).grey)
        except ApplianceError as exc:
            raise BuildFailed(f"expected films in {folder} and got {path.name}: {exc}") from exc
    if not films:
        raise BuildFailed(f"expected films in {folder} and got an empty folder")
    return films


def phantom_films(number: int, seed: int = 5) -> list[NDArray[np.uint8]]:
    """Made-up films, free to publish."""
    rng = np.random.default_rng(seed)
    return [chest_phantom(rng, PHANTOM_SIZE).image for _ in range(number)]


def tensors(film: NDArray[np.uint8], contract: FilmContract) -> dict[str, NDArray[Any]]:
    """A film as the model's input, made by the code that serves it."""
    return {contract.input_name: film_input(film, contract)[0]}
