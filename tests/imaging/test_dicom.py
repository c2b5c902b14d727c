"""DICOM films: transfer syntaxes, grey as shown, hints, refusals, and no patient data in any answer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pydicom", reason='the extra "dicom" is not installed')

from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_voi_lut

from appliance.analysis import Modality
from appliance.errors import CorruptImage, ImageTooLarge, ImageTooSmall, UnsupportedFormat
from appliance.imaging import ImageDecoder, MediaType, dicom_meta
from appliance.imaging.dicom_header import read_presentation
from tests.imaging.dicom_writer import PATIENT, lut_item, write_film

FULL_WINDOW = {"WindowCenter": 128, "WindowWidth": 256}  # shows 8 bits as they are


@pytest.fixture(scope="module")
def deep() -> NDArray[np.uint16]:
    """A 12-bit film without symmetry."""
    rows, columns = np.mgrid[0:60, 0:80]
    return (rows * 40 + columns * 20 + 7 * (rows % 3)).astype(np.uint16)


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_uncompressed_syntaxes(
    decoder: ImageDecoder, grey: NDArray[np.uint8], transfer_syntax: str, dtype: type[Any]
) -> None:
    offset = -50 if dtype is np.int16 else 0
    stored = (grey.astype(np.int32) + offset).astype(dtype)
    fields = {"RescaleIntercept": -offset, "RescaleSlope": 1} if offset else {}
    image = decoder.decode(write_film(stored, transfer_syntax, **FULL_WINDOW, **fields))
    np.testing.assert_array_equal(image.grey, grey)
    assert image.media_type is MediaType.DICOM
    assert image.source_bit_depth == 8 * np.dtype(dtype).itemsize


@pytest.mark.parametrize(
    ("transfer_syntax", "package"),
    [
        (uid.RLELossless, "rle"),
        (uid.JPEG2000Lossless, "openjpeg"),
        (uid.JPEGLSLossless, "jpeg_ls"),
    ],
)
def test_lossless_compressed_syntaxes(
    decoder: ImageDecoder, deep: NDArray[np.uint16], transfer_syntax: uid.UID, package: str
) -> None:
    pytest.importorskip(package, reason=f"no {package} on this box")
    fields = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    plain = write_film(deep, **fields)
    film = dcmread(io.BytesIO(plain))
    film.compress(transfer_syntax)
    buffer = io.BytesIO()
    film.save_as(buffer)
    np.testing.assert_array_equal(decoder.decode(buffer.getvalue()).grey, decoder.decode(plain).grey)


@pytest.mark.parametrize("colour", [False, True])
def test_baseline_jpeg(
    decoder: ImageDecoder, grey: NDArray[np.uint8], rgb: NDArray[np.uint8], colour: bool
) -> None:
    picture = rgb if colour else grey
    done, frame = cv2.imencode(
        ".jpg", picture[:, :, ::-1] if colour else picture, [cv2.IMWRITE_JPEG_QUALITY, 100]
    )
    assert done
    fields = {"PhotometricInterpretation": "YBR_FULL_422"} if colour else FULL_WINDOW
    data = write_film(picture, uid.JPEGBaseline8Bit, PixelData=encapsulate([frame.tobytes()]), **fields)
    expected = rgb.astype(float) @ [0.299, 0.587, 0.114] if colour else grey.astype(float)
    assert np.abs(decoder.decode(data).grey - expected).mean() < 1


def test_real_films_in_seven_syntaxes_show_one_picture(decoder: ImageDecoder, data_dir: Path) -> None:
    shown = {}
    for path in sorted((data_dir / "dicom").glob("RG3_*.dcm")):
        shown[path.stem] = decoder.decode(path.read_bytes()).grey.astype(int)
    assert len(shown) == 7
    for name, picture in shown.items():
        exact = name in ("RG3_J2KR", "RG3_JLSL", "RG3_JPLL", "RG3_RLE")
        worst = 0 if exact else 12 if name == "RG3_JPLY" else 8  # the last is 12-bit lossy JPEG at 66 : 1
        assert np.abs(picture - shown["RG3_RLE"]).max() <= worst, name


@pytest.mark.parametrize("name", ["RG1_J2KI", "gdcm-CR-MONO1-10-chest", "Fake_MONOHR1"])
def test_real_chest_films_say_that_they_are_chest_films(
    decoder: ImageDecoder, data_dir: Path, name: str
) -> None:
    image = decoder.decode((data_dir / "dicom" / f"{name}.dcm").read_bytes())
    assert image.modality_hint is Modality.CHEST_XRAY
    assert image.grey.max() - image.grey.min() > 200


def test_monochrome1_is_inverted_once(decoder: ImageDecoder, grey: NDArray[np.uint8]) -> None:
    fields = {**FULL_WINDOW, "PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    np.testing.assert_array_equal(decoder.decode(write_film(grey, **fields)).grey, 255 - grey)


@pytest.mark.parametrize(
    ("sense", "shape"),
    [("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE"), ("MONOCHROME2", "IDENTITY")],
)
def test_the_photometric_interpretation_decides_whatever_the_presentation_lut_shape_says(
    decoder: ImageDecoder, grey: NDArray[np.uint8], sense: str, shape: str
) -> None:
    fields = {**FULL_WINDOW, "PhotometricInterpretation": sense, "PresentationLUTShape": shape}
    expected = 255 - grey if sense == "MONOCHROME1" else grey
    np.testing.assert_array_equal(decoder.decode(write_film(grey, **fields)).grey, expected)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(1000.0, 800.0), (2048.0, 4096.0), (-100.0, 3000.0)])
def test_windows_are_those_of_the_standard(
    decoder: ImageDecoder, deep: NDArray[np.uint16], function: str, centre: float, width: float
) -> None:
    """pydicom's own window functions are the second implementation."""
    fields = {
        "WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function,
        "RescaleSlope": 0.75, "RescaleIntercept": -300,
    }  # fmt: skip
    data = write_film(deep, **fields)
    film = dcmread(io.BytesIO(data))
    windowed = apply_voi_lut(deep * 0.75 - 300.0, film)
    low, high = -300.0, 65535 * 0.75 - 300.0  # pydicom stretches to the range that the stored bits allow
    assert np.abs(decoder.decode(data).grey - (windowed - low) / (high - low) * 255).max() <= 0.51


def test_a_window_of_width_1_is_a_threshold(decoder: ImageDecoder, deep: NDArray[np.uint16]) -> None:
    image = decoder.decode(write_film(deep, WindowCenter=1000, WindowWidth=1))
    np.testing.assert_array_equal(image.grey, np.where(deep > 999.5, 255, 0))


def test_the_first_of_several_windows_is_taken(decoder: ImageDecoder, deep: NDArray[np.uint16]) -> None:
    several = decoder.decode(write_film(deep, WindowCenter=[1000, 10], WindowWidth=[500, 20]))
    one = decoder.decode(write_film(deep, WindowCenter=1000, WindowWidth=500))
    np.testing.assert_array_equal(several.grey, one.grey)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"WindowCenter": 500, "WindowWidth": 0},
        {"WindowCenter": 500, "WindowWidth": -4},
        {"WindowCenter": 50_000, "WindowWidth": 10},  # shows nothing of this film
    ],
)
def test_without_a_window_that_shows_anything_the_films_own_range_is_shown(
    decoder: ImageDecoder, deep: NDArray[np.uint16], fields: dict[str, Any]
) -> None:
    image = decoder.decode(write_film(deep, **fields))
    span = int(deep.max()) - int(deep.min())
    assert np.abs(image.grey - (deep.astype(float) - deep.min()) / span * 255).max() <= 0.51


def test_padding_is_no_part_of_the_films_range(decoder: ImageDecoder, deep: NDArray[np.uint16]) -> None:
    padded = deep + np.uint16(1000)
    padded[:5] = 60_000
    image = decoder.decode(write_film(padded, PixelPaddingValue=60_000))
    assert image.grey[5:].max() == 255
    assert image.grey[5:].min() == 0


@pytest.mark.parametrize("sense", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 4000}])
def test_padding_is_shown_black_in_either_sense_of_grey(
    decoder: ImageDecoder, deep: NDArray[np.uint16], sense: str, window: dict[str, Any]
) -> None:
    padded = np.maximum(deep, 20)
    padded[:5], padded[5:8] = 2, 9
    fields = {"PhotometricInterpretation": sense, "PixelPaddingValue": 2, "PixelPaddingRangeLimit": 10}
    shown = decoder.decode(write_film(padded, **fields, **window)).grey
    assert (shown[:8] == 0).all()
    assert shown[8:].max() > 200
    darkest, brightest = shown[8:].reshape(-1)[[padded[8:].argmin(), padded[8:].argmax()]]
    assert (darkest < brightest) == (sense == "MONOCHROME2")


def test_padding_of_a_signed_film_may_be_written_as_unsigned() -> None:
    header = Dataset()
    header.PixelRepresentation, header.BitsAllocated = 1, 16
    header.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert read_presentation(header).padding == (-2000, -2000)
    header.add_new("PixelPaddingRangeLimit", "SS", -2100)
    assert read_presentation(header).padding == (-2100, -2000)


def test_a_truncated_12_bit_jpeg_is_no_half_film(decoder: ImageDecoder, data_dir: Path) -> None:
    film = dcmread(data_dir / "dicom" / "RG3_JPLY.dcm")
    frame = get_frame(film.PixelData, 0, number_of_frames=1)
    for length in (40, 700, len(frame) // 2):
        film.PixelData = encapsulate([frame[:length]])
        buffer = io.BytesIO()
        film.save_as(buffer)
        with pytest.raises((CorruptImage, UnsupportedFormat)):
            decoder.decode(buffer.getvalue())


def test_voi_lut_goes_before_the_window(decoder: ImageDecoder, grey: NDArray[np.uint8]) -> None:
    entries = (np.arange(256) ** 2 // 16).astype(np.uint16)  # 12 bits, curved
    data = write_film(grey, VOILUTSequence=[lut_item(0, entries, 12)], WindowCenter=5, WindowWidth=10)
    assert np.abs(decoder.decode(data).grey - entries[grey] / 4095 * 255).max() <= 0.51


def test_values_outside_a_lut_take_its_ends(decoder: ImageDecoder, grey: NDArray[np.uint8]) -> None:
    entries = np.linspace(0, 255, 51).astype(np.uint16)
    data = write_film(grey, VOILUTSequence=[lut_item(100, entries, 8)])
    expected = entries[np.clip(grey.astype(int) - 100, 0, 50)]
    np.testing.assert_array_equal(decoder.decode(data).grey, expected)


def test_modality_lut_replaces_the_rescale(decoder: ImageDecoder, grey: NDArray[np.uint8]) -> None:
    entries = (255 - np.arange(256)).astype(np.uint16)
    item = lut_item(0, entries, 8)
    item.ModalityLUTType = "US"
    data = write_film(grey, ModalityLUTSequence=[item], **FULL_WINDOW)
    np.testing.assert_array_equal(decoder.decode(data).grey, 255 - grey)


@pytest.mark.parametrize("high_bit", [11, 15])
def test_bits_around_the_stored_ones_do_not_count(
    decoder: ImageDecoder, deep: NDArray[np.uint16], high_bit: int
) -> None:
    shift = high_bit - 11
    dirty = (deep << shift) | np.uint16(0xA000 if shift == 0 else 0x000A)
    fields = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    clean = decoder.decode(write_film(deep, HighBit=11, **fields))
    np.testing.assert_array_equal(
        decoder.decode(write_film(dirty, HighBit=high_bit, **fields)).grey, clean.grey
    )
    assert clean.source_bit_depth == 12


def test_signed_12_bits(decoder: ImageDecoder, deep: NDArray[np.uint16]) -> None:
    signed = deep.astype(np.int16) - 2000
    fields = {
        "BitsStored": 12,
        "HighBit": 11,
        "WindowCenter": 0,
        "WindowWidth": 4096,
        "PixelRepresentation": 1,
    }
    masked = signed & 0x0FFF  # the sign is bit 11, and the four bits above are 0
    image = decoder.decode(write_film(masked.astype(np.int16), **fields))
    assert np.abs(image.grey - np.clip((signed + 0.5) / 4095 + 0.5, 0, 1) * 255).max() <= 0.51


def test_colour_is_luma(decoder: ImageDecoder, rgb: NDArray[np.uint8]) -> None:
    image = decoder.decode(write_film(rgb))
    assert np.abs(image.grey - rgb.astype(float) @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"PixelSpacing": [0.2, 0.2]}, 200.0),
        ({"ImagerPixelSpacing": [0.143, 0.143]}, 143.0),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.2, 0.2]}, 100.0),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.2]}, 200.0),
        ({"PixelSpacing": [0.1, 0.2]}, None),  # no one number is the truth
        ({"PixelSpacing": [-0.1, -0.1]}, None),
        ({}, None),
    ],
)
def test_pixel_size(
    decoder: ImageDecoder, grey: NDArray[np.uint8], fields: dict[str, Any], expected: float | None
) -> None:
    assert decoder.decode(write_film(grey, **fields)).pixel_size_um == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("modality", "body_part", "expected"),
    [
        ("DX", "CHEST", Modality.CHEST_XRAY),
        ("CR", "chest", Modality.CHEST_XRAY),
        ("CR", "HAND", None),
        ("CR", None, None),
        ("CT", "CHEST", None),
    ],
)
def test_modality_hint(
    decoder: ImageDecoder,
    grey: NDArray[np.uint8],
    modality: str,
    body_part: str | None,
    expected: Modality | None,
) -> None:
    image = decoder.decode(write_film(grey, Modality=modality, BodyPartExamined=body_part))
    assert image.modality_hint is expected


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"NumberOfFrames": 30}, UnsupportedFormat, "one frame and got 30 frames"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, UnsupportedFormat, "got PALETTE COLOR with 1"),
        ({"PhotometricInterpretation": PATIENT}, UnsupportedFormat, "got another one with 1"),
        ({"Rows": 65535, "Columns": 65535}, ImageTooLarge, "got 65535 × 65535"),
        ({"Rows": 1, "Columns": 1}, ImageTooSmall, "got 1 × 1"),
        ({"Rows": None}, CorruptImage, "with Rows and got none"),
        ({"Rows": 400}, CorruptImage, "expected 28000 bytes of pixels and got 3360"),
        ({"BitsAllocated": 32}, UnsupportedFormat, "got 32"),
        ({"BitsStored": 12}, CorruptImage, "got 12 and 7"),
    ],
)
def test_refusals(
    decoder: ImageDecoder,
    grey: NDArray[np.uint8],
    fields: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        decoder.decode(write_film(grey, **fields))
    assert PATIENT not in str(caught.value)


@pytest.mark.parametrize(
    ("transfer_syntax", "message"),
    [
        (uid.JPEG2000MCLossless, "Multi-component"),
        (uid.JPEGExtended12Bit, "start of frame"),
        (uid.JPEG2000, "JPEG 2000 codestream and got none"),
        ("1.2.3.4", "an unregistered one"),
    ],
)
def test_syntaxes_without_a_frame_that_fits(
    decoder: ImageDecoder, grey: NDArray[np.uint8], transfer_syntax: str, message: str
) -> None:
    written = uid.JPEG2000Lossless  # 22 characters, as the syntaxes that take its place
    data = write_film(grey, written, PixelData=encapsulate([b"no frame"]))
    padded = transfer_syntax.ljust(len(written), "\0")
    with pytest.raises((UnsupportedFormat, CorruptImage), match=message):
        decoder.decode(data.replace(written.encode(), padded.encode(), 1))


def test_a_frame_of_another_size_than_the_header_says(decoder: ImageDecoder, grey: NDArray[np.uint8]) -> None:
    done, frame = cv2.imencode(".jpg", np.zeros((3000, 3000), np.uint8))
    assert done
    data = write_film(grey, uid.JPEGBaseline8Bit, PixelData=encapsulate([frame.tobytes()]))
    with pytest.raises(CorruptImage, match=r"a frame of 70 × 48 pixels.* got 3000 × 3000"):
        decoder.decode(data)


def test_a_deflated_data_set_is_inflated_within_a_bound(
    grey: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_film(grey, uid.DeflatedExplicitVRLittleEndian)
    body = data[dicom_meta.read_meta(data).data_set_start :]
    assert len(dicom_meta.inflate(body)) > grey.size
    with pytest.raises(CorruptImage, match="truncated"):
        dicom_meta.inflate(body[:-5])
    with pytest.raises(CorruptImage, match="broken stream"):
        dicom_meta.inflate(b"\xff" + body)
    monkeypatch.setattr(dicom_meta, "MAX_INFLATED_BYTES", 1000)
    with pytest.raises(ImageTooLarge, match="at most 1000 bytes"):
        dicom_meta.inflate(body)


def test_no_patient_data_is_kept(decoder: ImageDecoder, grey: NDArray[np.uint8]) -> None:
    assert PATIENT not in repr(vars(decoder.decode(write_film(grey))))
