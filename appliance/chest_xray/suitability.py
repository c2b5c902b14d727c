"""Is this film one that the model may judge? What its DICOM header says decides, and nothing is guessed.

The models know frontal films of the chest. A header that says something else is a refusal with that reason; a
header that says nothing is accepted, and the result says that it did.
"""

from __future__ import annotations

from appliance.analysis import QualityFlag, View
from appliance.errors import UnsuitableImage
from appliance.imaging.film_tags import CHEST, RADIOGRAPHY, FilmTags

_FRONTAL = frozenset((View.PA, View.AP, View.FRONTAL))


def refuse_other_films(tags: FilmTags | None) -> None:
    """Let a frontal chest film pass, and one whose header does not say.

    Args:
        tags: of a DICOM film; None for an image without a header.

    Raises:
        UnsuitableImage: another modality, another part of the body, or a view that is not frontal.
    """
    if tags is None:
        return
    if tags.modality and tags.modality not in RADIOGRAPHY:
        known = ", ".join(sorted(RADIOGRAPHY))
        raise UnsuitableImage(
            f"expected a radiograph (modality {known}) and got one whose header says {tags.modality}"
        )
    if tags.body_part and tags.body_part != CHEST:
        raise UnsuitableImage(
            f"expected a film of the chest and got one whose header says that it shows {tags.body_part}"
        )
    if tags.view is View.LATERAL:
        raise UnsuitableImage("expected a frontal chest film and got one whose header says a lateral view")
    if tags.view is View.OTHER:
        raise UnsuitableImage(
            "expected a frontal chest film (PA or AP) and got one whose header says another view"
        )


def header_flags(tags: FilmTags | None) -> frozenset[QualityFlag]:
    """What the header left open or made us do."""
    if tags is None:
        return frozenset()
    holds = {
        QualityFlag.VIEW_NOT_STATED: tags.view not in _FRONTAL,
        QualityFlag.BODY_PART_NOT_STATED: not (tags.modality and tags.body_part),
        QualityFlag.TURNED_UPRIGHT: tags.orientation != 1,
        QualityFlag.BURNED_IN_TEXT: tags.burned_in is True,
    }
    return frozenset(flag for flag, held in holds.items() if held)
