"""A film's findings as a DICOM structured report: TID 1500, unverified, one measurement group a finding.

Every group names its finding, the region in pixels of the film that was sent (SCOORD, polyline), the
certainty in percent and the algorithm (TID 4019): model, version, contract hash. The first group speaks of
the whole film: how many findings reached their threshold, so that "none" is said and never only meant.
Sources: DICOM PS3.16, TID 1500, 1410, 1501, 4019; PS3.3, C.17.3 (document general), C.18.6 (SCOORD).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from appliance import RESEARCH_USE_ONLY, __version__
from appliance.analysis import Analysis, Box, Film, Finding, QualityFlag, StageReport
from appliance.dicom_out.codes import (
    CERTAINTY,
    CHEST_RADIOGRAPHY,
    COMMENT,
    FINDING_CATEGORY,
    FINDINGS,
    NUMBER_OF_FINDINGS,
    PERCENT,
    PRIVATE_SCHEME,
    PRIVATE_SCHEME_NAME,
    finding_code,
)
from appliance.dicom_out.evidence import character_set

MANUFACTURER: Final = "Hospital analyzer appliance"
NOTICE: Final = RESEARCH_USE_ONLY[0].upper() + RESEARCH_USE_ONLY[1:]
SERIES_NUMBER: Final = 9500  # far from those that a modality gives

_WORDS: Final[dict[QualityFlag, str]] = {
    QualityFlag.LOW_CONTRAST: "Contrast of the film is below what the model was trained on.",
    QualityFlag.DETECTION_LIMIT: "The detector returned as many findings as it can: some may be missing.",
    QualityFlag.VIEW_NOT_STATED: "The film's header does not say that the view is frontal.",
    QualityFlag.BODY_PART_NOT_STATED: "The film's header does not say that it shows a chest.",
    QualityFlag.TURNED_UPRIGHT: "The model saw the film upright; regions are in the film as it was sent.",
    QualityFlag.BURNED_IN_TEXT: "Text is burned into the film.",
    QualityFlag.LOOKS_INVERTED: "The film looks as if black and white were swapped.",
    QualityFlag.DEMONSTRATION_MODEL: "Demonstration model, trained on painted findings: it only shows that"
    " the machinery works.",
}


@dataclass(frozen=True)
class ReportedFilm:
    """The film that a report is about."""

    evidence: Dataset  # its UIDs, patient and study
    width: int  # pixels
    height: int  # pixels


def structured_report(
    reported: ReportedFilm, analysis: Analysis, film: Film, device_uid: str
) -> ComprehensiveSR:
    """The report, with new series and instance UIDs.

    Args:
        reported: the film as its header names it.
        analysis: what was answered about it.
        film: the findings of `analysis`.
        device_uid: of this box, DICOM UID.
    """
    when = datetime.fromtimestamp(analysis.created_ms / 1000)
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                    uid=device_uid, name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=__version__
                ),
            )
        ),
        procedure_reported=CHEST_RADIOGRAPHY,
        imaging_measurements=[
            _whole_film(reported, analysis, film),
            *(
                _finding(number, finding, reported, analysis)
                for number, finding in enumerate(film.findings, 1)
            ),
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    root = content[0].ContentSequence
    measurements = len(root) - 1  # comments come before them: a viewer shows them in this order
    for place, sentence in enumerate(comments(film), measurements):
        root.insert(place, TextContentItem(COMMENT, sentence, RelationshipTypeValues.CONTAINS))
    report = ComprehensiveSR(
        evidence=[reported.evidence],
        content=content,
        series_instance_uid=new_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=new_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        series_description=NOTICE,
        is_complete=False,  # PARTIAL: a person's part is missing
        is_verified=False,
        is_final=False,
        specific_character_set=character_set(reported.evidence),
        content_date=when.date(),
        content_time=when.time(),
        coding_schemes=[CodingSchemeIdentificationItem(designator=PRIVATE_SCHEME, name=PRIVATE_SCHEME_NAME)],
    )
    report.CompletionFlagDescription = NOTICE
    report.SeriesDate, report.SeriesTime = report.ContentDate, report.ContentTime
    return report


def comments(film: Film) -> tuple[str, ...]:
    """What a reader has to know before anything else."""
    none = (
        () if film.findings else ("No finding reached its threshold. This does not mean that there is none.",)
    )
    return (f"{NOTICE}.", *none, *(_WORDS.get(flag, f"{flag.value}.") for flag in film.quality_flags))


def new_uid() -> str:
    """A UID from a random UUID (PS3.5, B.2): needs no registered root."""
    return str(generate_uid(prefix=None))


def outline(box: Box, width: int, height: int) -> NDArray[np.float32]:
    """(5, 2) column and row of a closed rectangle, from the first pixel's outer corner (PS3.3, C.18.6).

    Kept inside the film: single precision must not push a corner over its edge.
    """
    x1, y1 = box.x + box.width, box.y + box.height
    corners = np.array([(box.x, box.y), (x1, box.y), (x1, y1), (box.x, y1), (box.x, box.y)], np.float32)
    return np.clip(corners, np.float32(0), np.array([width, height], np.float32))


def algorithm(stage: StageReport) -> AlgorithmIdentification:
    """Which model, in which version, under which contract, computed how (TID 4019)."""
    return AlgorithmIdentification(
        name=stage.model_name,
        version=stage.model_version,
        parameters=[
            f"contract hash {stage.contract_hash}",
            f"{stage.engine} {stage.device} {stage.precision}",
            NOTICE,
        ],
    )


def model_stage(analysis: Analysis) -> StageReport:
    """The stage in which the film's model ran."""
    return next(stage for stage in analysis.stages if stage.model_name)


def _whole_film(
    reported: ReportedFilm, analysis: Analysis, film: Film
) -> MeasurementsAndQualitativeEvaluations:
    evidence = reported.evidence
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=new_uid(), identifier="film"),
        algorithm_id=algorithm(model_stage(analysis)),
        measurements=[Measurement(NUMBER_OF_FINDINGS, len(film.findings), FINDINGS)],
        source_images=[SourceImageForMeasurementGroup(evidence.SOPClassUID, evidence.SOPInstanceUID)],
    )


def _finding(
    number: int, finding: Finding, reported: ReportedFilm, analysis: Analysis
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    evidence = reported.evidence
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=new_uid(), identifier=f"{number} {finding.label}"),
        referenced_region=ImageRegion(
            GraphicTypeValues.POLYLINE,
            outline(finding.box, reported.width, reported.height),
            SourceImageForRegion(evidence.SOPClassUID, evidence.SOPInstanceUID),
        ),
        finding_category=FINDING_CATEGORY,
        finding_type=finding_code(finding.label),
        algorithm_id=algorithm(model_stage(analysis)),
        measurements=[Measurement(CERTAINTY, round(finding.confidence * 100, 1), PERCENT)],
    )
