"""What is read of a header: view, side, part, orientation, references; nothing that is free text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pydicom", reason='the extra "dicom" is not installed')

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from appliance.analysis import Laterality, View
from appliance.errors import CorruptImage
from appliance.imaging import ImageDecoder
from appliance.imaging.film_tags import FilmReferences, FilmTags, parse_references, parse_tags, to_tree
from tests.imaging.dicom_writer import PATIENT, write_film


def code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", PATIENT
    return item


@pytest.fixture
def tags_of(decoder: ImageDecoder, grey: NDArray[np.uint8]) -> Any:
    def read(**fields: Any) -> FilmTags:
        tags = decoder.decode(write_film(grey, **fields)).tags
        assert tags is not None
        assert PATIENT not in repr(tags)
        return tags

    return read


@pytest.mark.parametrize(
    ("fields", "view"),
    [
        ({"ViewPosition": "PA"}, View.PA),
        ({"ViewPosition": "ap"}, View.AP),
        ({"ViewPosition": "PA ERECT"}, View.PA),
        ({"ViewPosition": "LL"}, View.LATERAL),
        ({"ViewPosition": "LATERAL"}, View.LATERAL),
        ({"ViewPosition": "LLD"}, View.OTHER),
        ({"ViewPosition": "RLO"}, View.OTHER),
        ({"ViewPosition": "PA OBLIQUE"}, View.OTHER),
        ({"ViewPosition": "AP/PA"}, View.OTHER),
        ({"ViewPosition": PATIENT}, View.OTHER),
        ({"ViewPosition": ""}, View.NOT_STATED),
        ({}, View.NOT_STATED),
        ({"ViewCodeSequence": [code("272479007")]}, View.PA),
        ({"ViewCodeSequence": [code("399033003")]}, View.FRONTAL),
        ({"ViewCodeSequence": [code("399173006")]}, View.LATERAL),
        ({"ViewCodeSequence": [code("1234")]}, View.OTHER),
        ({"ViewPosition": "PA", "ViewCodeSequence": [code("399173006")]}, View.LATERAL),
        ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, View.LATERAL),
        ({"ViewPosition": "PA", "PatientOrientation": ["L", "F"]}, View.PA),
    ],
)
def test_view(tags_of: Any, fields: dict[str, Any], view: View) -> None:
    assert tags_of(**fields).view is view


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"BodyPartExamined": "chest"}, "CHEST"),
        ({"BodyPartExamined": "PORT CHEST"}, "CHEST"),
        ({"BodyPartExamined": "THORAX"}, "CHEST"),
        ({"BodyPartExamined": "HAND"}, "HAND"),
        ({"BodyPartExamined": "CHEST ABDOMEN"}, "ABDOMEN"),
        ({"BodyPartExamined": PATIENT}, "another one"),
        ({"BodyPartExamined": None}, ""),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": [code("816094009")]}, "CHEST"),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": [code("T-D3000")]}, "CHEST"),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": [code("85562004")]}, "another one"),
    ],
)
def test_body_part(tags_of: Any, fields: dict[str, Any], part: str) -> None:
    assert tags_of(**fields).body_part == part


def test_modality_is_a_word_of_the_standard_or_not_repeated(tags_of: Any) -> None:
    assert tags_of(Modality="CT").modality == "CT"
    assert tags_of(Modality=PATIENT).modality == "another one"
    assert tags_of(Modality=None).modality == ""


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({"Laterality": "L"}, Laterality.LEFT),
        ({"ImageLaterality": "U"}, Laterality.UNPAIRED),
        ({"ImageLaterality": "B", "Laterality": "R"}, Laterality.BOTH),
        ({"ImageLaterality": "x"}, Laterality.NOT_STATED),
        ({}, Laterality.NOT_STATED),
    ],
)
def test_laterality(tags_of: Any, fields: dict[str, Any], side: Laterality) -> None:
    assert tags_of(**fields).laterality is side


@pytest.mark.parametrize(
    ("directions", "orientation"),
    [
        (["L", "F"], 1),
        (["R", "F"], 2),
        (["R", "H"], 3),
        (["L", "H"], 4),
        (["F", "L"], 5),
        (["F", "R"], 6),
        (["H", "R"], 7),
        (["H", "L"], 8),
        (["LH", "FR"], 1),
    ],
)
def test_orientation(tags_of: Any, directions: list[str], orientation: int) -> None:
    tags = tags_of(PatientOrientation=directions)
    assert (tags.orientation, tags.orientation_stated) == (orientation, True)


@pytest.mark.parametrize("directions", [None, "", ["L", "L"], ["L", "F", "A"], "L", [PATIENT, PATIENT]])
def test_an_orientation_that_is_none_turns_nothing(tags_of: Any, directions: Any) -> None:
    tags = tags_of(PatientOrientation=directions)
    assert (tags.orientation, tags.orientation_stated) == (1, False)


def test_references_have_no_patient_unless_a_report_was_asked_for(
    decoder: ImageDecoder, grey: NDArray[np.uint8]
) -> None:
    study, series = generate_uid(), generate_uid()
    film = write_film(
        grey,
        StudyInstanceUID=study,
        SeriesInstanceUID=series,
        PatientBirthDate="19700101",
        AccessionNumber="A1",
        PixelSpacing=[0.2, 0.1],
    )
    plain = decoder.decode(film).references
    assert plain is not None
    assert plain.patient is None
    assert (plain.study_instance_uid, plain.series_instance_uid) == (study, series)
    assert (plain.rows, plain.columns, plain.pixel_spacing_mm) == (48, 70, (0.2, 0.1))
    image = decoder.decode(film, for_report=True)
    assert image.references is not None
    patient = image.references.patient
    assert patient is not None
    assert (patient.patient_name, patient.patient_id) == (PATIENT, PATIENT)
    assert (patient.patient_birth_date, patient.accession_number) == ("19700101", "A1")
    for text in (repr(image), repr(image.references), repr(patient), str(patient)):
        assert PATIENT not in text
        assert study not in text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"StudyInstanceUID": None}, "as StudyInstanceUID, for the report to refer to, and got none"),
        ({"SeriesInstanceUID": PATIENT}, "as SeriesInstanceUID, .* and got something else"),
        ({"PatientName": "x" * 1000}, "PatientName of at most 194 printable characters, .* got 1000"),
        ({"AccessionNumber": "a\x07"}, "AccessionNumber"),
    ],
)
def test_a_report_needs_whole_references(
    decoder: ImageDecoder, grey: NDArray[np.uint8], fields: dict[str, Any], message: str
) -> None:
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    film = write_film(grey, **{**uids, **fields})
    with pytest.raises(CorruptImage, match=message) as caught:
        decoder.decode(film, for_report=True)
    assert PATIENT not in str(caught.value)
    assert decoder.decode(film).references is not None


def test_records_survive_the_way_from_the_worker_and_nothing_else_does() -> None:
    tags = FilmTags("DX", "CHEST", View.AP, Laterality.UNPAIRED, 6, True, False)
    references = FilmReferences("1.2", "1.3", "1.4", "1.5", 10, 20, (0.1, 0.2))
    assert parse_tags(to_tree(tags)) == tags
    assert parse_references(to_tree(references)) == references
    assert parse_tags(None) is parse_references(None) is to_tree(None) is None
    for wrong in (
        {},
        {**(to_tree(tags) or {}), "view": "sideways"},
        {**(to_tree(tags) or {}), "orientation": 9},
    ):
        with pytest.raises((KeyError, ValueError)):
            parse_tags(wrong)
    with pytest.raises(ValueError, match="at most 256 characters"):
        parse_references({**(to_tree(references) or {}), "sop_class_uid": "1" * 300})
