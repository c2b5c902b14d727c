from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from highdicom.sr import ComprehensiveSR, srread
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from appliance.analysis import Film, Finding
from appliance.dicom_out.codes import FINDING_CODES, finding_code
from appliance.dicom_out.reports import DicomReports
from appliance.errors import CorruptImage, UnsupportedFormat
from appliance.imaging import ImageLimits
from appliance.imaging.dicom import decode_dicom
from appliance.imaging.film_tags import FilmReferences
from appliance.models.reference import FINDING_LABELS
from tests.dicom_out.conftest import HEIGHT, SERIES, STUDY, WIDTH, answer, film_file
from tests.simulators.dicom_tools import run_tool

DEVICE = "2.25.4711"


def references(data: bytes) -> FilmReferences | None:
    return decode_dicom(data, ImageLimits(), for_report=True).references


def report_of(film: Film, data: bytes | None = None) -> bytes:
    return DicomReports(DEVICE).begin(references(data or film_file())).structured_report(answer(film))


def texts(item: Dataset) -> list[str]:
    own = [str(item.TextValue)] if "TextValue" in item else []
    return own + [text for child in item.get("ContentSequence", []) for text in texts(child)]


def groups(report: bytes, folder: Path) -> list[Any]:
    path = folder / "report.dcm"
    path.write_bytes(report)
    document = srread(path)
    assert isinstance(document, ComprehensiveSR)
    return list(document.content.get_planar_roi_measurement_groups())


def test_every_finding_is_a_group_with_code_region_certainty_and_algorithm(
    everything: Film, tmp_path: Path
) -> None:
    data = film_file()
    found = groups(report_of(everything, data), tmp_path)
    assert len(found) == len(everything.findings) == 14
    film = dcmread(BytesIO(data))
    for group, finding in zip(found, everything.findings, strict=True):
        assert group.finding_type == FINDING_CODES[finding.label]
        assert group.tracking_identifier.endswith(finding.label)
        (certainty,) = group.get_measurements()
        assert certainty.name.value == "111012"
        assert certainty.unit.value == "%"
        assert certainty.value == pytest.approx(100 * finding.confidence, abs=0.05)
        box, points = finding.box, group.roi.value
        assert points[0].tolist() == points[-1].tolist(), "a closed outline"
        assert points.min(axis=0).tolist() == pytest.approx([box.x, box.y], abs=1e-4)
        assert points.max(axis=0).tolist() == pytest.approx([box.x + box.width, box.y + box.height], abs=1e-4)
        (source,) = group.roi.ContentSequence
        assert source.referenced_sop_instance_uid == film.SOPInstanceUID
        said = texts(group[0])
        assert {"chest-xray-demonstration", "0.1.0"} <= set(said)
        assert f"contract hash {'92ef' * 16}" in said


def test_the_document_is_unverified_and_says_what_it_is(everything: Film) -> None:
    document = dcmread(BytesIO(report_of(everything)))
    assert document.VerificationFlag == "UNVERIFIED"
    assert document.CompletionFlag == "PARTIAL"
    assert document.PreliminaryFlag == "PRELIMINARY"
    assert document.SeriesDescription == "Research use only, not for diagnosis"
    first_words = texts(document)
    assert "Research use only, not for diagnosis." in first_words
    assert any("painted findings" in text for text in first_words)
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert any(item.get("UID") == DEVICE for item in document.ContentSequence)


def test_patient_and_study_are_the_films_own_and_the_uids_are_new(everything: Film) -> None:
    data = film_file()
    film, one, other = (dcmread(BytesIO(file)) for file in (data, *(report_of(everything, data),) * 2))
    two = dcmread(BytesIO(report_of(everything, data)))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"):
        assert one[keyword].value == film[keyword].value
    for keyword in ("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"):
        assert one[keyword].value == film[keyword].value
    assert one.SOPInstanceUID == other.SOPInstanceUID
    assert len({film.SOPInstanceUID, one.SOPInstanceUID, two.SOPInstanceUID}) == 3
    assert len({film.SeriesInstanceUID, one.SeriesInstanceUID, two.SeriesInstanceUID}) == 3
    (study,) = one.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == STUDY
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
    instance = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert instance.ReferencedSOPInstanceUID == film.SOPInstanceUID


def test_no_finding_is_said_in_words_and_as_a_number(tmp_path: Path) -> None:
    data = report_of(Film(()))
    assert groups(data, tmp_path) == []
    (group,) = srread(tmp_path / "report.dcm").content.get_image_measurement_groups()
    (count,) = group.get_measurements()
    assert count.value == 0
    assert any(text.startswith("No finding reached its threshold") for text in texts(dcmread(BytesIO(data))))


@pytest.mark.parametrize("name", ["山田^太郎", "Müller^Ägidius", "Doe^Jane"])
def test_names_of_every_script(name: str) -> None:
    charset = None if name.isascii() else "ISO_IR 192"
    data = report_of(Film(()), film_file(PatientName=name, SpecificCharacterSet=charset))
    document = dcmread(BytesIO(data))
    assert str(document.PatientName) == name
    assert document.get("SpecificCharacterSet") == charset


def test_a_latin_1_name_arrives_whole() -> None:
    data = film_file(PatientName="Müller^A", SpecificCharacterSet="ISO_IR 100")
    assert str(dcmread(BytesIO(report_of(Film(()), data))).PatientName) == "Müller^A"


def test_dates_and_sexes_that_dicom_forbids_are_left_empty_and_identifiers_are_kept() -> None:
    wrong_id = "-4711/b"
    data = film_file(
        PatientBirthDate="99999999", StudyDate="20261301", StudyTime="99", PatientSex="X", PatientID=wrong_id
    )
    document = dcmread(BytesIO(report_of(Film(()), data)))
    assert not any(document[k].value for k in ("PatientBirthDate", "StudyDate", "StudyTime", "PatientSex"))
    assert document.PatientID == wrong_id


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize("value", [None, "", "no.uid", "1." * 40 + "1", "1.2.840.10008.1.1"])
def test_a_film_without_what_the_report_refers_to_is_refused(keyword: str, value: str | None) -> None:
    if value == "1.2.840.10008.1.1" and keyword != "SOPClassUID":
        value = "..1"
    with pytest.raises(CorruptImage, match=keyword):
        DicomReports(DEVICE).begin(references(film_file(**{keyword: value})))


def test_an_identifier_that_is_two_is_refused() -> None:
    with pytest.raises(CorruptImage, match="one PatientID"):
        references(film_file(PatientID=["A", "B"]))


def test_only_dicom_can_be_referred_to() -> None:
    with pytest.raises(UnsupportedFormat, match="DICOM film"):
        DicomReports(DEVICE).begin(None)


def test_deflated_films() -> None:
    data = report_of(Film(()), film_file(transfer_syntax=DeflatedExplicitVRLittleEndian))
    assert dcmread(BytesIO(data)).PatientID == "MRN-4711"


def test_labels_of_other_models_get_private_codes(everything: Film, tmp_path: Path) -> None:
    label = "Fracture \\ rib\n" + "é" * 80
    film = Film((Finding(label, 0.5, everything.findings[0].box),))
    (group,) = groups(report_of(film), tmp_path)
    assert group.finding_type.scheme_designator == "99ANALYZER"
    assert group.finding_type == finding_code(label)
    assert finding_code(label) != finding_code("another")
    assert set(FINDING_CODES) == set(FINDING_LABELS)


def test_public_validators_find_no_error(everything: Film, tmp_path: Path) -> None:
    for name, film in {"some": everything, "none": Film(())}.items():
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(report_of(film))
        status, said = run_tool("dsrdump", "-Ee", path)
        assert status == 0, said
        assert "UNVERIFIED" in said
        status, said = run_tool("dciodvfy", path)
        assert "Error" not in said, said
        assert status == 0


def test_boxes_of_the_whole_film_stay_on_it(everything: Film, tmp_path: Path) -> None:
    last = groups(report_of(everything), tmp_path)[-1]
    assert last.roi.value.max(axis=0).tolist() == [WIDTH, HEIGHT]
    assert last.roi.value.min() == 0
