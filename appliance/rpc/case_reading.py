"""Requests about cases and reviews → domain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from appliance.cases import CaseKind
from appliance.cases.edits import (
    Add,
    Approve,
    Delete,
    Edit,
    Flip,
    Join,
    Outline,
    Reclassify,
    Reviewer,
    ReviewerRole,
    Rotate,
    Split,
    Undo,
)
from appliance.errors import EditRefused, InvalidInput
from appliance.pb import case_pb2, review_pb2
from appliance.rpc.reading import read_image, read_karyogram_formats
from appliance.service import AnalysisRequest

KINDS = {
    case_pb2.CASE_KIND_UNSPECIFIED: CaseKind.CONSTITUTIONAL,
    case_pb2.CASE_KIND_CONSTITUTIONAL: CaseKind.CONSTITUTIONAL,
    case_pb2.CASE_KIND_NEOPLASTIC: CaseKind.NEOPLASTIC,
}
ROLES = {
    review_pb2.REVIEWER_ROLE_TECHNOLOGIST: ReviewerRole.TECHNOLOGIST,
    review_pb2.REVIEWER_ROLE_EXPERT: ReviewerRole.EXPERT,
}
EDITS: dict[str, Callable[[Any], Edit]] = {
    "reclassify": lambda edit: Reclassify(edit.object_id, edit.label),
    "rotate": lambda edit: Rotate(edit.object_id, edit.degrees),
    "flip": lambda edit: Flip(edit.object_id),
    "split": lambda edit: Split(edit.object_id, tuple(_outline(part) for part in edit.parts)),
    "join": lambda edit: Join(tuple(edit.object_ids), edit.label),
    "add": lambda edit: Add(_outline(edit.object)),
    "delete": lambda edit: Delete(edit.object_id),
    "approve": lambda edit: Approve(tuple(edit.structural_changes)),
    "undo": lambda _edit: Undo(),
}

MAX_SET_VERTICES = 20_000

ReviewRequest = review_pb2.SubmitReviewRequest | review_pb2.GetReviewRequest


def read_kind(number: case_pb2.CaseKind.ValueType) -> CaseKind:
    """What a case is about; InvalidInput for an unknown number."""
    if number not in KINDS:
        raise InvalidInput(f"expected a known kind of case and got number {number}")
    return KINDS[number]


def read_added_image(message: case_pb2.AddSpreadRequest) -> AnalysisRequest:
    """The image to analyse; EmptyInput if neither it nor a result is named."""
    return AnalysisRequest(
        image=read_image(message, message.WhichOneof("spread")),
        pixel_size_um=message.pixel_size_um if message.HasField("pixel_size_um") else None,
        request_id=message.request_id,
        overlay=message.render.overlay,
        karyogram_formats=read_karyogram_formats(message.render),
        structured_report=message.render.structured_report,
        secondary_capture=message.render.secondary_capture,
    )


def read_picture(message: ReviewRequest) -> AnalysisRequest | None:
    """The image again and what shall be drawn of it, None where nothing shall.

    Raises:
        InvalidInput: a structured report, which is written about films.
        EmptyInput: pictures are wanted and no image came along.
    """
    if message.render.structured_report:
        raise InvalidInput("expected a review without a DICOM structured report: those are about films")
    if not (message.render.overlay or read_karyogram_formats(message.render)):
        return None
    return AnalysisRequest(
        image=read_image(message, message.WhichOneof("image")),
        overlay=message.render.overlay,
        karyogram_formats=read_karyogram_formats(message.render),
    )


def read_reviewer(message: review_pb2.Reviewer) -> Reviewer:
    """Who reviews; EditRefused where that is not said."""
    if message.role not in ROLES:
        raise EditRefused("expected the reviewer's role and got none that is known")
    return Reviewer(ROLES[message.role], message.reviewer_id)


def read_edits(messages: Sequence[review_pb2.Edit]) -> list[Edit]:
    """A set of edits; EditRefused for an empty or wrong one, or for outlines finer than anybody draws."""
    vertices = sum(
        len(polygon.points)
        for message in messages
        for drawn in (*message.split.parts, message.add.object)
        for polygon in drawn.outline
    )
    if vertices > MAX_SET_VERTICES:
        raise EditRefused(f"expected at most {MAX_SET_VERTICES} vertices in one set and got {vertices}")
    return [_edit(message) for message in messages]


def _edit(message: review_pb2.Edit) -> Edit:
    """One edit; EditRefused for an empty one, or one with wrong values."""
    kind = message.WhichOneof("edit")
    if kind is None:
        raise EditRefused("expected an edit of a known kind and got an empty one")
    return EDITS[kind](getattr(message, kind))


def _outline(message: review_pb2.DrawnObject) -> Outline:
    polygons = tuple(tuple((point.x, point.y) for point in polygon.points) for polygon in message.outline)
    return Outline(polygons, message.label)
