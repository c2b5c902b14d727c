"""Which files an `analyze` command means, and what kind of image each one is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import click

from appliance.analysis import Modality
from appliance.errors import ApplianceError
from appliance.imaging import MediaType, sniff

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".dcm", ".dicom"})
HEADER_FIELDS = ("Modality", "BodyPartExamined", "AnatomicRegionSequence")
MICROSCOPY = frozenset({"GM", "SM"})
"""General and slide microscopy (DICOM PS3.3, C.7.3.1.1.1)."""

DICOM_PREAMBLE_BYTES = 132
"""128 free bytes and the letters DICM (DICOM PS3.10, section 7.1)."""


def find_inputs(paths: Sequence[Path]) -> list[Path]:
    """Files as named, and every image file below the folders named, each once, in order."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _looks_like_image(file))
            if not inside:
                raise click.ClickException(f"There is no image file in {path}.")
            found.update(dict.fromkeys(inside))
        else:
            found[path] = None
    return list(found)


def modality_of(data: bytes, chosen: Modality | None) -> Modality:
    """What kind of image the bytes are: as chosen, else as a DICOM header says.

    Raises:
        ClickException: nobody said, with the words that help.
    """
    if chosen is not None:
        return chosen
    guessed = _dicom_modality(data)
    if guessed is None:
        raise click.ClickException(
            "It does not say what it shows. Say so with --modality metaphase or --modality chest-xray."
        )
    return guessed


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does."""
    try:
        return sniff(data) is MediaType.DICOM
    except ApplianceError:
        return False


def _dicom_modality(data: bytes) -> Modality | None:
    if not is_dicom(data):
        return None
    try:
        from pydicom import dcmread  # an extra: only DICOM needs it

        from appliance.imaging.dicom_header import modality_hint
        from appliance.imaging.dicom_tags import read_film_tags
    except ImportError as exc:
        raise click.ClickException("DICOM files need the extra `dicom`: pip install 'pydicom>=3'.") from exc
    try:
        header = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(HEADER_FIELDS))
    except Exception as exc:  # pydicom raises errors of every type on broken bytes
        raise click.ClickException("Its DICOM header cannot be read.") from exc
    if str(header.get("Modality", "")).strip().upper() in MICROSCOPY:
        return Modality.METAPHASE
    return modality_hint(read_film_tags(header))


def _looks_like_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(DICOM_PREAMBLE_BYTES)[128:] == b"DICM"
