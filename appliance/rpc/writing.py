"""Domain values → reply messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from appliance import RESEARCH_USE_ONLY
from appliance.analysis import (
    Analysis,
    Box,
    Chromosome,
    Deviation,
    DeviationKind,
    Explanation,
    ExplanationKind,
    Film,
    FilmSource,
    Laterality,
    Modality,
    Polarity,
    Polygon,
    QualityFlag,
    Spread,
    StageEvent,
    StageReport,
    View,
)
from appliance.pb import analysis_pb2, chest_xray_pb2, karyotype_pb2, result_pb2
from appliance.results import Summary

POLARITIES = {
    Polarity.P_ARM_UP: analysis_pb2.Chromosome.P_ARM_UP,
    Polarity.Q_ARM_UP: analysis_pb2.Chromosome.Q_ARM_UP,
    Polarity.UNSURE: analysis_pb2.Chromosome.UNSURE,
}
MODALITIES = {
    Modality.METAPHASE: analysis_pb2.MODALITY_METAPHASE,
    Modality.CHEST_XRAY: analysis_pb2.MODALITY_CHEST_XRAY,
}
VIEWS = {
    View.PA: analysis_pb2.VIEW_PA,
    View.AP: analysis_pb2.VIEW_AP,
    View.FRONTAL: analysis_pb2.VIEW_FRONTAL,
    View.NOT_STATED: analysis_pb2.VIEW_UNSPECIFIED,
}
LATERALITIES = {
    Laterality.LEFT: analysis_pb2.LATERALITY_LEFT,
    Laterality.RIGHT: analysis_pb2.LATERALITY_RIGHT,
    Laterality.BOTH: analysis_pb2.LATERALITY_BOTH,
    Laterality.UNPAIRED: analysis_pb2.LATERALITY_UNPAIRED,
    Laterality.NOT_STATED: analysis_pb2.LATERALITY_UNSPECIFIED,
}
DEVIATIONS = {kind: analysis_pb2.Deviation.Kind.Value(f"KIND_{kind.name}") for kind in DeviationKind}
EXPLANATIONS = {kind: analysis_pb2.Explanation.Kind.Value(f"KIND_{kind.name}") for kind in ExplanationKind}
QUALITY_FLAGS = {flag: analysis_pb2.QualityFlag.Value(f"QUALITY_FLAG_{flag.name}") for flag in QualityFlag}


_VERTEX = np.dtype([("point", "u1", 2), ("x_tag", "u1"), ("x", "<f4"), ("y_tag", "u1"), ("y", "<f4")])
"""One element of `Polygon.points` on the wire."""


def write_metaphase(analysis: Analysis) -> karyotype_pb2.AnalyzeMetaphaseResponse:
    """The answer about a spread."""
    return karyotype_pb2.AnalyzeMetaphaseResponse(
        result_id=analysis.result_id,
        request_id=analysis.request_id,
        created=write_time(analysis.created_ms),
        notice=RESEARCH_USE_ONLY,
        image=analysis_pb2.ImageSize(width=analysis.image_width, height=analysis.image_height),
        stages=[write_stage(stage) for stage in analysis.stages],
        spread=write_spread(analysis.spread) if analysis.spread is not None else None,
        renderings=write_renderings(analysis.renderings),
        repeat_of=analysis.repeat_of,
    )


def write_chest_film(analysis: Analysis) -> chest_xray_pb2.AnalyzeChestXrayResponse:
    """The answer about a film."""
    return chest_xray_pb2.AnalyzeChestXrayResponse(
        result_id=analysis.result_id,
        request_id=analysis.request_id,
        created=write_time(analysis.created_ms),
        notice=RESEARCH_USE_ONLY,
        image=analysis_pb2.ImageSize(width=analysis.image_width, height=analysis.image_height),
        stages=[write_stage(stage) for stage in analysis.stages],
        film=write_film(analysis.film) if analysis.film is not None else None,
        renderings=write_renderings(analysis.renderings),
        repeat_of=analysis.repeat_of,
    )


def write_result(analysis: Analysis) -> analysis_pb2.Result:
    """A stored result."""
    return analysis_pb2.Result(
        result_id=analysis.result_id,
        request_id=analysis.request_id,
        created=write_time(analysis.created_ms),
        notice=RESEARCH_USE_ONLY,
        image=analysis_pb2.ImageSize(width=analysis.image_width, height=analysis.image_height),
        stages=[write_stage(stage) for stage in analysis.stages],
        spread=write_spread(analysis.spread) if analysis.spread is not None else None,
        film=write_film(analysis.film) if analysis.film is not None else None,
        repeat_of=analysis.repeat_of,
    )


def write_summary(summary: Summary) -> result_pb2.ResultSummary:
    """One line about a result."""
    return result_pb2.ResultSummary(
        result_id=summary.result_id,
        request_id=summary.request_id,
        modality=MODALITIES[summary.modality],
        created=write_time(summary.created_ms),
        headline=summary.headline,
        cursor=summary.cursor,
    )


def write_event(event: StageEvent) -> karyotype_pb2.StageFinished:
    """A stage that has ended."""
    return karyotype_pb2.StageFinished(
        report=write_stage(event.report),
        region=write_box(event.region) if event.region is not None else None,
        objects=[
            karyotype_pb2.DetectedObject(
                box=write_box(one.box), mask=write_polygons(one.mask), confidence=one.confidence
            )
            for one in event.objects
        ],
        chromosomes=[write_chromosome(one) for one in event.chromosomes],
        notice=RESEARCH_USE_ONLY,
    )


def write_spread(spread: Spread) -> analysis_pb2.Spread:
    """The result for a metaphase image."""
    message = analysis_pb2.Spread(
        count=spread.count,
        chromosomes=[write_chromosome(one) for one in spread.chromosomes],
        pairs=[analysis_pb2.ClassMembers(label=label, members=members) for label, members in spread.pairs],
        region=write_box(spread.region),
        quality_flags=[QUALITY_FLAGS[flag] for flag in spread.quality_flags],
        pixel_size_um=spread.pixel_size_um,
        deviations=[write_deviation(one) for one in spread.deviations],
    )
    if spread.iscn is not None:
        message.iscn = spread.iscn
    elif spread.iscn_withheld_reason is not None:
        message.iscn_withheld_reason = spread.iscn_withheld_reason
    return message


def write_chromosome(one: Chromosome) -> analysis_pb2.Chromosome:
    """One chromosome."""
    return analysis_pb2.Chromosome(
        index=one.index,
        box=write_box(one.box),
        mask=write_polygons(one.mask),
        detection_confidence=one.detection_confidence,
        label=one.label,
        confidence=one.confidence,
        runner_up=one.runner_up,
        runner_up_confidence=one.runner_up_confidence,
        angle_degrees=one.angle_degrees,
        polarity=POLARITIES[one.polarity],
        polarity_confidence=one.polarity_confidence,
        touching=one.touching,
        needs_expert=one.needs_expert,
    )


def write_deviation(one: Deviation) -> analysis_pb2.Deviation:
    """One difference from a normal cell."""
    return analysis_pb2.Deviation(
        kind=DEVIATIONS[one.kind],
        label=one.label,
        expected=one.expected,
        found=one.found,
        explanations=[_explanation(each) for each in one.explanations],
        words=one.words,
    )


def write_film(film: Film) -> analysis_pb2.Film:
    """The result for a chest film."""
    return analysis_pb2.Film(
        findings=[
            analysis_pb2.Finding(label=one.label, confidence=one.confidence, box=write_box(one.box))
            for one in film.findings
        ],
        quality_flags=[QUALITY_FLAGS[flag] for flag in film.quality_flags],
        view=VIEWS[film.view],
        laterality=LATERALITIES[film.laterality],
        source=_film_source(film.source),
    )


def _film_source(source: FilmSource | None) -> analysis_pb2.FilmSource | None:
    if source is None:
        return None
    return analysis_pb2.FilmSource(
        study_pseudonym=source.study_pseudonym,
        series_pseudonym=source.series_pseudonym,
        instance_pseudonym=source.instance_pseudonym,
    )


def write_stage(stage: StageReport) -> analysis_pb2.StageReport:
    """One stage as it ran."""
    return analysis_pb2.StageReport(
        stage=stage.stage,
        time_ms=stage.time_ms,
        engine_ms=stage.engine_ms,
        calls=stage.calls,
        model_name=stage.model_name,
        model_version=stage.model_version,
        contract_hash=stage.contract_hash,
        engine=stage.engine,
        device=stage.device,
        precision=stage.precision,
    )


def write_box(box: Box) -> analysis_pb2.Box:
    """A rectangle."""
    return analysis_pb2.Box(x=box.x, y=box.y, width=box.width, height=box.height)


def write_time(unix_ms: int) -> Timestamp:
    """Unix milliseconds as a timestamp."""
    return Timestamp(seconds=unix_ms // 1000, nanos=unix_ms % 1000 * 1_000_000)


def _explanation(one: Explanation) -> analysis_pb2.Explanation:
    at = analysis_pb2.Point(x=one.at[0], y=one.at[1]) if one.at is not None else None
    return analysis_pb2.Explanation(kind=EXPLANATIONS[one.kind], words=one.words, at=at, members=one.members)


def write_polygons(outlines: Iterable[Polygon]) -> list[analysis_pb2.Polygon]:
    """Outlines.

    A spread has some thousand vertices, and a message for each of them would take longer than the database:
    the polygons are written as the wire has them (field 1, 10 bytes: a float in field 1 and one in field 2).
    """
    polygons = []
    for outline in outlines:
        vertices = np.empty(len(outline), _VERTEX)
        vertices["point"], vertices["x_tag"], vertices["y_tag"] = (0x0A, 10), 0x0D, 0x15
        vertices["x"], vertices["y"] = np.array(outline, np.float32).reshape(-1, 2).T
        polygons.append(analysis_pb2.Polygon.FromString(vertices.tobytes()))
    return polygons


def write_renderings(renderings: Mapping[str, bytes]) -> analysis_pb2.Renderings | None:
    """The pictures asked for, None if there are none."""
    if not renderings:
        return None
    return analysis_pb2.Renderings(
        overlay_png=renderings.get("overlay", b""),
        karyogram_png=renderings.get("karyogram.png", b""),
        karyogram_svg=renderings.get("karyogram.svg", b""),
        karyogram_pdf=renderings.get("karyogram.pdf", b""),
        structured_report_dicom=renderings.get("structured_report", b""),
        secondary_capture_dicom=renderings.get("secondary_capture", b""),
    )
