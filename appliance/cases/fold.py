"""The machine's result and the reviewers' events → the spread as it stands: a pure fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from appliance.analysis import CHROMOSOME_LABELS, Box, Chromosome, Polarity, QualityFlag, Spread
from appliance.cases.cell import Cell, ReviewState
from appliance.cases.clones import normal_members
from appliance.cases.edits import (
    Add,
    Approve,
    Delete,
    Edit,
    Flip,
    Join,
    Outline,
    Reclassify,
    ReviewEvent,
    Rotate,
    Split,
    new_objects,
)
from appliance.cases.geometry import (
    check_different,
    check_new,
    cut_part,
    drawn_instance,
    instance_of,
    links,
    union,
    upright_angle,
)
from appliance.errors import EditRefused
from appliance.karyotype import iscn, quality
from appliance.karyotype.deviations import explain
from appliance.karyotype.instances import Instance
from appliance.karyotype.outline import bounding_box, outline
from appliance.karyotype.settings import QualitySettings

OF_THE_IMAGE = frozenset(
    {
        QualityFlag.SEVERAL_REGIONS,
        QualityFlag.LOW_CONTRAST,
        QualityFlag.OUT_OF_FOCUS,
        QualityFlag.DETECTION_LIMIT,
    }
)
"""Flags that no edit changes."""


MAX_OBJECTS = 256
"""Of one spread: twice as many as the detector returns for one window."""


@dataclass(frozen=True)
class Reviewed:
    """A spread as it stands after its reviews."""

    spread: Spread
    object_ids: tuple[int, ...]  # number of each of `spread.chromosomes`
    state: ReviewState
    revision: int  # 0 as the machine left it
    structural: tuple[str, ...]  # in the words of the expert who approved


@dataclass
class _Table:
    """The objects while events are applied, in order of their numbers."""

    width: int
    height: int
    objects: dict[int, Chromosome]
    redrawn: set[int] = field(default_factory=set)  # made by a person
    reshaped: bool = False  # an object came or went


def in_force(events: Sequence[ReviewEvent]) -> list[ReviewEvent]:
    """The sets of edits that were not taken back, oldest first."""
    standing: list[ReviewEvent] = []
    for event in events:
        if not event.undoes:
            standing.append(event)
        elif standing:
            standing.pop()
    return standing


def fold(
    machine: Spread,
    image_size: tuple[int, int],
    events: Sequence[ReviewEvent],
    settings: QualitySettings | None = None,
) -> Reviewed:
    """Apply events to the machine's result.

    Args:
        machine: the result as the pipeline left it.
        image_size: width and height in pixels.
        events: all of the spread, oldest first.
        settings: when a karyotype is stated for a spread that is not approved.

    Raises:
        EditRefused: an edit cannot be done, with the reason.
    """
    revision = events[-1].revision if events else 0
    standing = in_force(events)
    if not standing:
        ids = tuple(range(machine.count))
        return Reviewed(machine, ids, ReviewState.MACHINE, revision, ())
    first_new = _first_new_ids(machine.count, events)
    table = _Table(*image_size, dict(enumerate(machine.chromosomes)))
    for event in standing:
        next_id = first_new[event.revision]
        for edit in event.edits:
            _apply(table, edit, next_id)
            next_id += new_objects(edit)
    last = standing[-1]
    state = ReviewState.APPROVED if last.approves else ReviewState.IN_REVIEW
    structural = tuple(
        words for edit in last.edits if isinstance(edit, Approve) for words in edit.structural_changes
    )
    spread = _conclude(machine, table, state, structural, settings or QualitySettings())
    return Reviewed(spread, tuple(table.objects), state, revision, structural)


def cell_of(number: int, reviewed: Reviewed, settings: QualitySettings | None = None) -> Cell:
    """What the rules of a case need of a spread.

    Args:
        number: of the spread in its case.
        reviewed: the spread as it stands.
        settings: from which to which number a count of the machine is taken.
    """
    settings = settings or QualitySettings()
    spread, approved = reviewed.spread, reviewed.state is ReviewState.APPROVED
    least, most = settings.iscn_counts
    doubt = None if approved else quality.count_doubt(spread.quality_flags)
    if doubt is None and not approved and not least <= spread.count <= most:
        doubt = f"{spread.count} chromosomes, and a count of the machine is taken from {least} to {most} only"
    members = quality.members_of(spread.chromosomes)
    return Cell(
        number=number,
        state=reviewed.state,
        members=tuple(members.get(label, 0) for label in CHROMOSOME_LABELS),
        count_doubt=doubt,
        doubtful_classes=sum(one.needs_expert for one in spread.chromosomes),
        karyotype=spread.iscn,
        withheld=spread.iscn_withheld_reason,
        structural=reviewed.structural,
    )


def _first_new_ids(machine_count: int, events: Sequence[ReviewEvent]) -> dict[int, int]:
    """For each revision the number of the first object that it makes; sets taken back keep theirs."""
    first, ids = machine_count, {}
    for event in events:
        ids[event.revision] = first
        first += sum(new_objects(edit) for edit in event.edits)
    return ids


def _apply(table: _Table, edit: Edit, next_id: int) -> None:
    objects = table.objects
    if isinstance(edit, Reclassify):
        objects[edit.object_id] = _classified(objects[edit.object_id], edit)
    elif isinstance(edit, Rotate):
        objects[edit.object_id] = _turned(objects[edit.object_id], edit.degrees)
    elif isinstance(edit, Flip):
        objects[edit.object_id] = _turned(objects[edit.object_id], 180.0)
    elif isinstance(edit, Delete):
        del objects[edit.object_id]
        table.reshaped = True
    elif isinstance(edit, Split):
        whole = instance_of(objects.pop(edit.object_id))
        parts = [cut_part(_drawn(table, part), whole, edit.object_id) for part in edit.parts]
        check_different(parts, edit.object_id)
        for part, made in zip(edit.parts, parts, strict=True):
            _put(table, next_id, made, part.label)
            next_id += 1
    elif isinstance(edit, Join):
        whole = union([instance_of(objects.pop(number)) for number in edit.object_ids])
        _put(table, next_id, whole, edit.label)
    elif isinstance(edit, Add):
        made = _drawn(table, edit.outline)
        check_new(made, objects)
        _put(table, next_id, made, edit.outline.label)
    elif isinstance(edit, Approve):
        for number, one in objects.items():
            settled = Polarity.P_ARM_UP if one.polarity is Polarity.UNSURE else one.polarity
            objects[number] = replace(one, needs_expert=False, polarity=settled)


def _drawn(table: _Table, outlined: Outline) -> Instance:
    return drawn_instance(outlined.polygons, table.width, table.height)


def _put(table: _Table, number: int, instance: Instance, label: str) -> None:
    if len(table.objects) >= MAX_OBJECTS:
        raise EditRefused(f"expected at most {MAX_OBJECTS} objects in a spread and got another one")
    table.redrawn.add(number)
    table.reshaped = True
    table.objects[number] = Chromosome(
        index=0,  # given once all events are applied
        box=bounding_box(instance),
        mask=outline(instance),
        detection_confidence=1.0,
        label=label,
        confidence=1.0,
        runner_up="",
        runner_up_confidence=0.0,
        angle_degrees=upright_angle(instance),
        polarity=Polarity.UNSURE,
        polarity_confidence=0.5,
    )


def _classified(one: Chromosome, edit: Reclassify) -> Chromosome:
    if one.label == edit.label and not one.needs_expert:
        raise EditRefused(f"expected another class for object {edit.object_id} and got {edit.label} again")
    return replace(
        one, label=edit.label, confidence=1.0, runner_up="", runner_up_confidence=0.0, needs_expert=False
    )


def _turned(one: Chromosome, degrees: float) -> Chromosome:
    """Turn an object as it stands in the karyogram; who turns it knows which arm is up."""
    total = one.angle_degrees + (180.0 if one.polarity is Polarity.Q_ARM_UP else 0.0) + degrees
    total = (total + 180.0) % 360.0 - 180.0
    half = total > 90.0 or total <= -90.0
    angle = total - 180.0 if total > 90.0 else total + 180.0 if total <= -90.0 else total
    polarity = Polarity.Q_ARM_UP if half else Polarity.P_ARM_UP
    return replace(one, angle_degrees=angle, polarity=polarity, polarity_confidence=1.0)


def _conclude(
    machine: Spread,
    table: _Table,
    state: ReviewState,
    structural: tuple[str, ...],
    settings: QualitySettings,
) -> Spread:
    chromosomes = _numbered(table)
    flags = _flags(machine, chromosomes, table)
    members = quality.members_of(chromosomes)
    stated: str | None = None
    withheld: str | None
    if structural:
        withheld = f"structural change ({', '.join(structural)}): its string is the expert's to write"
    elif state is ReviewState.APPROVED:
        stated, withheld = _stated(members)
    else:
        doubtful = sum(one.needs_expert for one in chromosomes)
        stated, withheld = iscn.state_or_withhold(
            members, doubtful, quality.count_doubt(flags), settings.iscn_counts, settings.iscn_max_changes
        )
    return replace(
        machine,
        chromosomes=chromosomes,
        pairs=quality.pairs_of(chromosomes),
        iscn=stated,
        iscn_withheld_reason=withheld,
        quality_flags=flags,
        # whoever approved has looked into them
        deviations=() if state is ReviewState.APPROVED else explain(chromosomes, (table.width, table.height)),
    )


def _stated(members: dict[str, int]) -> tuple[str | None, str | None]:
    try:
        return iscn.numerical_karyotype(members), None
    except ValueError as exc:
        return None, f"the counts make no numerical karyotype: {exc}"


def _numbered(table: _Table) -> tuple[Chromosome, ...]:
    """The objects with their positions, and who touches whom."""
    position = {number: index for index, number in enumerate(table.objects)}
    if not table.reshaped:
        return tuple(table.objects.values())
    drawn = links([instance_of(one) for one in table.objects.values()])
    made = []
    for (number, one), near in zip(table.objects.items(), drawn, strict=True):
        # what the machine said of two objects of its own stays: its masks are finer than their outlines
        old = {position[other] for other in one.touching if other in position}
        new = {other for other in near if {number, list(position)[other]} & table.redrawn}
        touching = new if number in table.redrawn else old | new
        made.append(replace(one, index=position[number], touching=tuple(sorted(touching))))
    return tuple(made)


def _flags(machine: Spread, chromosomes: Sequence[Chromosome], table: _Table) -> tuple[QualityFlag, ...]:
    members = Counter(one.label for one in chromosomes)
    cropped = partial(_at_edge, width=table.width, height=table.height)
    holds = {flag: flag in machine.quality_flags for flag in OF_THE_IMAGE} | {
        QualityFlag.COUNT_NOT_46: len(chromosomes) != 46,
        QualityFlag.TOUCHING_CHROMOSOMES: any(one.touching for one in chromosomes),
        QualityFlag.LOW_CONFIDENCE_CLASSES: any(one.needs_expert for one in chromosomes),
        QualityFlag.UNPAIRED_CLASSES: all(members != +Counter(normal_members(sex)) for sex in ("XX", "XY")),
        QualityFlag.CROPPED_AT_EDGE: any(cropped(one.box) for one in chromosomes),
    }
    return tuple(flag for flag in QualityFlag if holds.get(flag, False))


def _at_edge(box: Box, width: int, height: int) -> bool:
    return box.x <= 0 or box.y <= 0 or box.x + box.width >= width or box.y + box.height >= height
