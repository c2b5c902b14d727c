"""Films of a VinDr-CXR folder for training: decoded as on the box, scaled once, split by patient."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.chest_xray.letterbox import Letterbox
from appliance.errors import InvalidInput
from appliance.imaging.decoding import decode_here
from appliance.imaging.image import ImageLimits
from appliance.models.reference import FILM_FILL, FILM_SIZE
from engine_builder.errors import BuildFailed
from engine_builder.vindr.annotations import Part, read_parts

SUFFIXES: Final = (".dicom", ".dcm", ".png", ".jpg", ".jpeg")
MAX_REFUSED: Final = 0.01
"""Share of films that may be unreadable; they are listed in the report."""

POOL_FROM: Final = 64
"""Films from which on several processes decode: starting them takes seconds."""


@dataclass(frozen=True)
class FilmEntry:
    """One film in the cache."""

    image_id: str
    part: str  # "train" or "test", as the folder has it
    patient: str  # what films of one person share: a hash; the image's own where the header names nobody
    grouped_by: str  # "patient", "study" or "image"
    width: int  # of the film, pixels
    height: int


@dataclass(frozen=True)
class VindrFilm:
    """One film at the network's size with the truth on it."""

    entry: FilmEntry
    path: Path  # grey PNG of FILM_SIZE²
    boxes: NDArray[np.float64]  # (N, 4) corners in pixels of the network's input
    labels: NDArray[np.int64]  # (N,)

    def grey(self) -> NDArray[np.uint8]:
        """The film, (FILM_SIZE, FILM_SIZE) uint8."""
        image = cv2.imread(str(self.path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise BuildFailed(f"expected a cached film at {self.path} and got none: remove the cache")
        return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True)
class VindrSet:
    """All films of a folder, split by patient."""

    train: tuple[VindrFilm, ...]
    val: tuple[VindrFilm, ...]
    test: tuple[VindrFilm, ...]
    refused: dict[str, str]  # image id → why it could not be read
    folded: dict[str, int]  # rows by label that count as other lesions


def load_set(folder: Path, cache: Path) -> VindrSet:
    """Decode what is not in the cache yet, and split.

    A folder with a test part of its own keeps it, and patients of that part are taken out of training.
    Otherwise 15 % of the patients test. A tenth of the remaining ones validates. Which ones hangs on a hash
    of the patient alone, so that the split is the same on every machine and whatever is added later.

    Raises:
        BuildFailed: no such folder, a film is missing, or more than 1 % of the films cannot be read.
    """
    cache.mkdir(parents=True, exist_ok=True)
    parts = read_parts(folder)
    refused: dict[str, str] = {}
    films: list[VindrFilm] = []
    for part in parts:
        for entry in _prepare(part, cache, refused):
            films.append(_with_truth(part, entry, cache))
    total = len(films) + len(refused)
    if len(refused) > MAX_REFUSED * total:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(refused.items())[:3])
        raise BuildFailed(f"expected readable films and got {len(refused)} of {total} that are not: {shown}")
    folded = {label: count for part in parts for label, count in part.folded.items()}
    train, val, test = split_by_patient(films)
    return VindrSet(train, val, test, refused, folded)


def split_by_patient(
    films: Sequence[VindrFilm],
) -> tuple[tuple[VindrFilm, ...], tuple[VindrFilm, ...], tuple[VindrFilm, ...]]:
    """Training, validation and test films; no patient is in two of them."""
    own_test = {film.entry.patient for film in films if film.entry.part == "test"}
    parts: dict[str, list[VindrFilm]] = {"train": [], "val": [], "test": []}
    for film in films:
        place = int(hashlib.sha256(f"split {film.entry.patient}".encode()).hexdigest()[:8], 16) % 100
        if own_test:
            in_test = film.entry.patient in own_test
            if in_test and film.entry.part != "test":
                continue  # its patient is tested on
            name = "test" if in_test else "val" if place < 10 else "train"
        else:
            name = "test" if place < 15 else "val" if place < 24 else "train"
        parts[name].append(film)
    for name, found in parts.items():
        if not found:
            raise BuildFailed(f"expected at least one film to {name} on and got none: too few patients")
    return tuple(parts["train"]), tuple(parts["val"]), tuple(parts["test"])


def _prepare(part: Part, cache: Path, refused: dict[str, str]) -> Iterable[FilmEntry]:
    """The part's films, decoded into the cache where they are not there yet."""
    jobs, entries = [], []
    for image_id in sorted(part.annotated):
        known = cache / f"{part.name}-{image_id}.json"
        if known.is_file():
            entries.append(FilmEntry(**json.loads(known.read_text(encoding="utf-8"))))
        else:
            jobs.append((_film_path(part, image_id), part.name, image_id, cache))
    for job, outcome in zip(jobs, _run(jobs), strict=True):
        if isinstance(outcome, FilmEntry):
            entries.append(outcome)
        else:
            refused[job[2]] = outcome
    return entries


def _run(jobs: list[tuple[Path, str, str, Path]]) -> Iterable[FilmEntry | str]:
    if len(jobs) < POOL_FROM:
        return [_decode(job) for job in jobs]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_decode, jobs, chunksize=16))


def _film_path(part: Part, image_id: str) -> Path:
    if not image_id or Path(image_id).name != image_id:
        raise BuildFailed(f"expected an image id that is a plain file name and got {image_id!r}")
    for suffix in SUFFIXES:
        path = part.films / f"{image_id}{suffix}"
        if path.is_file():
            return path
    raise BuildFailed(f"expected the film {image_id} in {part.films} and got none")


def _decode(job: tuple[Path, str, str, Path]) -> FilmEntry | str:
    """Decode one film into the cache; the reason where it cannot be read."""
    path, part, image_id, cache = job
    try:
        image = decode_here(path.read_bytes(), ImageLimits(), for_report=False)
    except InvalidInput as exc:
        return str(exc)
    patient, grouped_by = _patient(path, image_id)
    box = Letterbox.fit(image.width, image.height, FILM_SIZE)
    how = cv2.INTER_AREA if box.inner_width < image.width else cv2.INTER_LINEAR
    inner = cv2.resize(image.grey, (box.inner_width, box.inner_height), interpolation=how)
    square = np.full((FILM_SIZE, FILM_SIZE), FILM_FILL, np.uint8)
    square[box.top : box.top + box.inner_height, box.left : box.left + box.inner_width] = inner
    entry = FilmEntry(image_id, part, patient, grouped_by, image.width, image.height)
    cv2.imwrite(str(cache / f"{part}-{image_id}.png"), square)
    (cache / f"{part}-{image_id}.json").write_text(json.dumps(asdict(entry)), encoding="utf-8")
    return entry


def _patient(path: Path, image_id: str) -> tuple[str, str]:
    """A hash that films of one person share, and what it was made of."""
    named = {"patient": "", "study": ""}
    if path.suffix in (".dicom", ".dcm"):
        from pydicom import dcmread  # an extra: only DICOM needs it

        header = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "StudyInstanceUID"])
        named["patient"] = str(header.get("PatientID") or "").strip()
        named["study"] = str(header.get("StudyInstanceUID") or "").strip()
    for kind, value in named.items():
        if value:
            return hashlib.sha256(f"{kind} {value}".encode()).hexdigest()[:16], kind
    return hashlib.sha256(f"image {image_id}".encode()).hexdigest()[:16], "image"


def _with_truth(part: Part, entry: FilmEntry, cache: Path) -> VindrFilm:
    truth = part.annotated[entry.image_id]
    box = Letterbox.fit(entry.width, entry.height, FILM_SIZE)
    return VindrFilm(
        entry, cache / f"{part.name}-{entry.image_id}.png", box.to_input(truth.boxes), truth.labels
    )
