"""Cases and reviews → reply messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance import RESEARCH_USE_ONLY
from appliance.cases import AddedSpread, CaseKind, CaseView, ReviewView
from appliance.cases.cell import ReviewState
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
)
from appliance.cases.fold import in_force
from appliance.cases.records import CaseRecord, SpreadRecord
from appliance.cases.summary import CaseSummary, NeedKind, Tally
from appliance.cases.tally import FieldAccuracy
from appliance.pb import case_pb2, review_pb2
from appliance.rpc.writing import write_polygons, write_renderings, write_result, write_spread, write_time

KINDS = {kind: case_pb2.CaseKind.Value(f"CASE_KIND_{kind.name}") for kind in CaseKind}
STATES = {state: case_pb2.ReviewState.Value(f"REVIEW_STATE_{state.name}") for state in ReviewState}
NEEDS = {kind: case_pb2.NeedKind.Value(f"NEED_KIND_{kind.name}") for kind in NeedKind}
ROLES = {role: review_pb2.ReviewerRole.Value(f"REVIEWER_ROLE_{role.name}") for role in ReviewerRole}


def write_case(view: CaseView) -> case_pb2.Case:
    """A case with its spreads."""
    return case_pb2.Case(
        line=write_line(view.case),
        exclude_share=view.case.exclude_share,
        spreads=[write_case_spread(spread) for spread in view.spreads],
        summary=write_case_summary(view.summary),
        notice=RESEARCH_USE_ONLY,
    )


def write_line(case: CaseRecord) -> case_pb2.CaseLine:
    """One line about a case."""
    return case_pb2.CaseLine(
        case_id=case.case_id,
        reference=case.reference,
        kind=KINDS[case.kind],
        opened=write_time(case.opened_ms),
        changed=write_time(case.changed_ms),
        closed=write_time(case.closed_ms) if case.closed_ms is not None else None,
        spreads=case.spreads,
        approved=case.approved,
    )


def write_case_spread(spread: SpreadRecord) -> case_pb2.CaseSpread:
    """One spread of a case."""
    cell = spread.standing.cell
    message = case_pb2.CaseSpread(
        number=spread.number,
        result_id=spread.result_id,
        request_id=spread.request_id,
        added=write_time(spread.added_ms),
        state=STATES[cell.state],
        revision=spread.revision,
        count=cell.count,
        counted=cell.counted,
        count_doubt=cell.count_doubt or "",
        analysed=cell.analysed,
        karyotyped=cell.karyotyped,
        structural_changes=cell.structural,
    )
    if cell.karyotype is not None:
        message.iscn = cell.karyotype
    else:
        message.iscn_withheld_reason = cell.withheld or ""
    return message


def write_case_summary(summary: CaseSummary) -> case_pb2.CaseSummary:
    """What the cells of a case say together."""
    message = case_pb2.CaseSummary(
        state=STATES[summary.state],
        counted=_tally(summary.counted),
        analysed=_tally(summary.analysed),
        karyotyped=_tally(summary.karyotyped),
        modal_numbers=summary.modal_numbers,
        lines=[
            case_pb2.CellLine(karyotype=line.karyotype or "", words=line.words, spreads=line.cells)
            for line in summary.lines
        ],
        single_changes=[
            case_pb2.SingleChange(change=one.change, spreads=one.cells, missing=one.missing)
            for one in summary.single_changes
        ],
        excluded_share=summary.excluded_share,
        needs=[
            case_pb2.Need(kind=NEEDS[need.kind], cells=need.cells, words=need.words) for need in summary.needs
        ],
        remarks=summary.remarks,
    )
    if summary.iscn is not None:
        message.iscn = summary.iscn
    else:
        message.iscn_withheld_reason = summary.withheld or ""
    return message


def write_added(added: AddedSpread) -> case_pb2.AddSpreadResponse:
    """A spread that was added."""
    return case_pb2.AddSpreadResponse(
        spread=write_case_spread(added.spread),
        result=write_result(added.analysis),
        renderings=write_renderings(added.analysis.renderings),
        summary=write_case_summary(added.view.summary),
    )


def write_review(view: ReviewView) -> review_pb2.Review:
    """A spread as it stands after its reviews."""
    standing = {event.revision for event in in_force(view.events)}
    reviewed = view.reviewed
    return review_pb2.Review(
        case_id=view.case_id,
        spread_number=view.number,
        result_id=view.result_id,
        revision=reviewed.revision,
        state=STATES[reviewed.state],
        spread=write_spread(reviewed.spread),
        object_ids=reviewed.object_ids,
        structural_changes=reviewed.structural,
        events=[
            review_pb2.ReviewEvent(
                revision=event.revision,
                at=write_time(event.at_ms),
                reviewer=_reviewer(event.reviewer),
                edits=[_edit(edit) for edit in event.edits],
                in_force=event.revision in standing,
            )
            for event in view.events
        ],
        renderings=write_renderings(view.renderings),
        notice=RESEARCH_USE_ONLY,
    )


def write_field_accuracy(found: FieldAccuracy) -> review_pb2.GetFieldAccuracyResponse:
    """How the machine fared."""
    return review_pb2.GetFieldAccuracyResponse(
        spreads=found.spreads,
        edits=_counts(found.edits),
        touches_per_spread=found.touches_per_spread,
        machine_objects=found.machine_objects,
        untouched=found.untouched,
    )


def _counts(edits: Mapping[str, int]) -> list[review_pb2.EditCount]:
    return [review_pb2.EditCount(kind=kind, edits=number) for kind, number in edits.items()]


def _tally(tally: Tally) -> case_pb2.CellTally:
    return case_pb2.CellTally(cells=tally.cells, approved=tally.approved)


def _reviewer(reviewer: Reviewer) -> review_pb2.Reviewer:
    return review_pb2.Reviewer(role=ROLES[reviewer.role], reviewer_id=reviewer.reviewer_id)


def _edit(edit: Edit) -> review_pb2.Edit:
    if isinstance(edit, Reclassify):
        return review_pb2.Edit(reclassify=review_pb2.Reclassify(object_id=edit.object_id, label=edit.label))
    if isinstance(edit, Rotate):
        return review_pb2.Edit(rotate=review_pb2.Rotate(object_id=edit.object_id, degrees=edit.degrees))
    if isinstance(edit, Flip):
        return review_pb2.Edit(flip=review_pb2.Flip(object_id=edit.object_id))
    if isinstance(edit, Split):
        return review_pb2.Edit(split=review_pb2.Split(object_id=edit.object_id, parts=_drawn(edit.parts)))
    if isinstance(edit, Join):
        return review_pb2.Edit(join=review_pb2.Join(object_ids=edit.object_ids, label=edit.label))
    if isinstance(edit, Add):
        return review_pb2.Edit(add=review_pb2.Add(object=_drawn([edit.outline])[0]))
    if isinstance(edit, Delete):
        return review_pb2.Edit(delete=review_pb2.Delete(object_id=edit.object_id))
    if isinstance(edit, Approve):
        return review_pb2.Edit(approve=review_pb2.Approve(structural_changes=edit.structural_changes))
    return review_pb2.Edit(undo=review_pb2.Undo())


def _drawn(outlines: Sequence[Outline]) -> list[review_pb2.DrawnObject]:
    return [review_pb2.DrawnObject(outline=write_polygons(one.polygons), label=one.label) for one in outlines]
