"""Malformed files, collected and made up: each gives an Image or an InvalidInput, soon, in bounded memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import CorruptImage, InvalidInput
from appliance.imaging import Image, ImageDecoder, ImageLimits, sniff
from appliance.imaging.image import MediaType

WORST_S = 5.0
GROWTH_BYTES = 100 * 2**20  # of a worker that has met every malformed file, pydicom and its decoders included

PICTURE = cv2.GaussianBlur(np.random.default_rng(7).integers(0, 256, (64, 96), dtype=np.uint8), (5, 5), 0)
SAMPLES = {
    "png": cv2.imencode(".png", PICTURE)[1].tobytes(),
    "png 16 bit": cv2.imencode(".png", PICTURE.astype(np.uint16) * 16)[1].tobytes(),
    "jpeg": cv2.imencode(".jpg", PICTURE)[1].tobytes(),
    "tiff": cv2.imencode(".tif", PICTURE)[1].tobytes(),
    "tiff deflate": cv2.imencode(".tif", PICTURE, [cv2.IMWRITE_TIFF_COMPRESSION, 8])[1].tobytes(),
    "webp": cv2.imencode(".webp", PICTURE)[1].tobytes(),
    "webp lossless": cv2.imencode(".webp", PICTURE, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
    "bmp": cv2.imencode(".bmp", PICTURE)[1].tobytes(),
}

fuzz = settings(
    max_examples=40,
    deadline=None,  # the machine may be busy; the decode time has its own limit
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@pytest.fixture(scope="module")
def fearless() -> Iterator[ImageDecoder]:
    """A decoder that takes the tiny images of which such collections consist."""
    with ImageDecoder(ImageLimits(min_side=1), max_workers=1) as decoder:
        decoder.warm_up()
        yield decoder


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def outcome(decoder: ImageDecoder, data: bytes) -> Image | InvalidInput:
    started_s = time.monotonic()
    try:
        result: Image | InvalidInput = decoder.decode(data)
    except InvalidInput as exc:
        result = exc
    assert time.monotonic() - started_s < WORST_S
    return result


@pytest.mark.parametrize("folder", ["dicom", "jpeg_bmp", "png", "tiff_and_other"])
def test_every_file_of_the_collection(fearless: ImageDecoder, bad_input: Path, folder: str) -> None:
    files = sorted(path for path in (bad_input / folder).rglob("*") if path.is_file())
    if not files:
        pytest.skip(f"{bad_input / folder} holds no files")
    (pid,) = fearless.worker_pids
    before_bytes = resident_bytes(pid)
    refused = 0
    for path in files:
        result = outcome(fearless, path.read_bytes())
        if isinstance(result, InvalidInput):
            refused += 1
            assert len(str(result)) < 300
            assert "expected" in str(result), path.name
            assert " got " in str(result) or "to at most" in str(result), path.name
    assert refused > 0
    assert fearless.worker_pids == (pid,)  # none of them has ended the worker
    assert resident_bytes(pid) - before_bytes < GROWTH_BYTES


def test_the_collection_again_does_not_grow_the_worker(fearless: ImageDecoder, bad_input: Path) -> None:
    files = sorted(path for path in bad_input.rglob("*") if path.is_file())
    (pid,) = fearless.worker_pids
    for path in files:
        outcome(fearless, path.read_bytes())
    before_bytes = resident_bytes(pid)
    for path in files:
        outcome(fearless, path.read_bytes())
    assert fearless.worker_pids == (pid,)
    assert resident_bytes(pid) - before_bytes < 4 * 2**20


@pytest.mark.parametrize("name", SAMPLES)
@fuzz
@given(share=st.floats(0, 0.95))
def test_truncated_anywhere_is_refused(fearless: ImageDecoder, name: str, share: float) -> None:
    data = SAMPLES[name]
    result = outcome(fearless, data[: int(len(data) * share)])
    assert isinstance(result, InvalidInput), name


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "bmp", "tiff"])
def test_truncated_by_one_byte_never_shows_another_picture(fearless: ImageDecoder, name: str) -> None:
    whole = fearless.decode(SAMPLES[name])
    result = outcome(fearless, SAMPLES[name][:-1])
    if isinstance(result, Image):  # the last byte was no part of the picture
        np.testing.assert_array_equal(result.grey, whole.grey)
    else:
        assert isinstance(result, CorruptImage)


@pytest.mark.parametrize("name", SAMPLES)
@fuzz
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=12))
def test_damaged_anywhere_is_an_image_or_refused(
    fearless: ImageDecoder, name: str, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(SAMPLES[name])
    for position, mask in flips:
        data[position % len(data)] ^= mask
    result = outcome(fearless, bytes(data))
    assert isinstance(result, (Image, InvalidInput))


@pytest.mark.parametrize("name", SAMPLES)
@fuzz
@given(position=st.integers(0, 200), mask=st.integers(1, 255))
def test_a_damaged_header_is_an_image_or_refused(
    fearless: ImageDecoder, name: str, position: int, mask: int
) -> None:
    data = bytearray(SAMPLES[name])
    data[position % len(data)] ^= mask
    assert isinstance(outcome(fearless, bytes(data)), (Image, InvalidInput))


@fuzz
@given(data=st.binary(max_size=300))
def test_any_bytes_at_all(fearless: ImageDecoder, data: bytes) -> None:
    assert isinstance(outcome(fearless, data), (Image, InvalidInput))


@pytest.mark.parametrize(
    "signature",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"II*\0",
        b"MM\0*",
        b"BM",
        b"RIFF\xff\0\0\0WEBP",
        bytes(128) + b"DICM",
    ],
)
@fuzz
@given(rest=st.binary(max_size=300))
def test_a_signature_and_any_bytes(fearless: ImageDecoder, signature: bytes, rest: bytes) -> None:
    assert sniff(signature + rest) in MediaType
    assert isinstance(outcome(fearless, signature + rest), (Image, InvalidInput))


def test_truncated_and_damaged_films(fearless: ImageDecoder, data_dir: Path) -> None:
    pytest.importorskip("pydicom", reason='the extra "dicom" is not installed')
    random = np.random.default_rng(11)
    for path in sorted((data_dir / "dicom").glob("*.dcm")):
        data = path.read_bytes()
        assert isinstance(outcome(fearless, data[: len(data) // 100]), InvalidInput)
        for share in (0.3, 0.6, 0.9, 0.999):
            result = outcome(fearless, data[: int(len(data) * share)])
            assert isinstance(result, CorruptImage), (path.name, share, result)
        damaged = bytearray(data)
        for position in random.integers(0, len(data), 50):
            damaged[position] ^= 0x55
        assert isinstance(outcome(fearless, bytes(damaged)), (Image, InvalidInput))
