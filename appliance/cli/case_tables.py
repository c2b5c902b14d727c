"""Cases and reviewed spreads as a person reads them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from appliance import RESEARCH_USE_ONLY
from appliance.pb import case_pb2, review_pb2

STATES = {
    case_pb2.REVIEW_STATE_MACHINE: "machine",
    case_pb2.REVIEW_STATE_IN_REVIEW: "[yellow]in review[/]",
    case_pb2.REVIEW_STATE_APPROVED: "[green]approved[/]",
}
KINDS = {
    case_pb2.CASE_KIND_CONSTITUTIONAL: "constitutional",
    case_pb2.CASE_KIND_NEOPLASTIC: "neoplastic",
}


def print_case(console: Console, case: case_pb2.Case) -> None:
    """A case with its spreads and what they say together."""
    line = case.line
    state = "closed" if line.HasField("closed") else "open"
    console.print(
        f"case {line.case_id}, {KINDS.get(line.kind, '?')}, {state}"
        + (f", reference {escape(line.reference)}" if line.reference else ""),
        highlight=False,
    )
    if case.spreads:
        console.print(spreads_table(case.spreads))
    print_summary(console, case.summary)


def spreads_table(spreads: Iterable[case_pb2.CaseSpread]) -> Table:
    """One row for each spread."""
    table = Table(
        Column("", justify="right"), "cell", "state", Column("count", justify="right"), "stands", "karyotype"
    )
    for one in spreads:
        if one.karyotyped:
            stands = "karyotyped"
        elif one.analysed:
            stands = "analysed"
        else:
            stands = "counted" if one.counted else "[yellow]not counted[/]"
        structural = ", ".join(one.structural_changes)
        words = structural or one.iscn or one.count_doubt or one.iscn_withheld_reason
        table.add_row(
            str(one.number),
            escape(one.request_id or one.result_id[:8]),
            STATES.get(one.state, "?"),
            str(one.count),
            stands,
            escape(words),
        )
    return table


def print_summary(console: Console, summary: case_pb2.CaseSummary) -> None:
    """What the cells of a case say together, who stands behind it, and what is missing."""
    cells = [
        f"{tally.cells} {name}" + (f" ({tally.approved} approved)" if tally.approved else "")
        for name, tally in (
            ("counted", summary.counted),
            ("analysed", summary.analysed),
            ("karyotyped", summary.karyotyped),
        )
    ]
    console.print(f"cells: {', '.join(cells)}", highlight=False)
    if summary.modal_numbers:
        modal = ", ".join(str(number) for number in summary.modal_numbers)
        console.print(f"modal number: {modal}", highlight=False)
    for one in summary.lines:
        name = escape(one.karyotype or one.words)
        number = len(one.spreads)
        console.print(f"line: {name} in {number} cell{'s' * (number != 1)}", highlight=False)
    if summary.HasField("excluded_share"):
        console.print(
            f"mosaicism of {summary.excluded_share * 100:.1f} % and more is excluded at 95 %", highlight=False
        )
    for remark in summary.remarks:
        console.print(f"note: {escape(remark)}", highlight=False)
    for need in summary.needs:
        console.print(f"[yellow]needed:[/] {escape(need.words)}", highlight=False)
    if summary.iscn:
        console.print(f"[bold]{escape(summary.iscn)}[/] ({STATES.get(summary.state, '?')})", highlight=False)
    else:
        console.print(f"no karyotype stated: {escape(summary.iscn_withheld_reason)}", highlight=False)
    console.print(f"[dim]{RESEARCH_USE_ONLY}[/]", highlight=False)


def cases_table(lines: Iterable[case_pb2.CaseLine]) -> Table:
    """One row for each case."""
    table = Table(
        Column("case", no_wrap=True), "opened (UTC)", "kind", "reference", "spreads", "approved", "state"
    )
    for line in lines:
        table.add_row(
            line.case_id,
            line.opened.ToDatetime().strftime("%Y-%m-%d %H:%M"),
            KINDS.get(line.kind, "?"),
            escape(line.reference),
            str(line.spreads),
            str(line.approved),
            "closed" if line.HasField("closed") else "open",
        )
    return table


def print_review(console: Console, review: review_pb2.Review) -> None:
    """A spread as it stands: its objects by their numbers, and what was done to them."""
    spread = review.spread
    table = Table(Column("object", justify="right"), "where", "class", "sure", "arm up", "touches", "look at")
    for number, one in zip(review.object_ids, spread.chromosomes, strict=True):
        table.add_row(
            str(number),
            f"{one.box.x + one.box.width / 2:.0f}, {one.box.y + one.box.height / 2:.0f}",
            one.label,
            f"{one.confidence * 100:.0f} %",
            {one.P_ARM_UP: "p", one.Q_ARM_UP: "q"}.get(one.polarity, "?"),
            ", ".join(str(review.object_ids[other]) for other in one.touching),
            "[yellow]class[/]" if one.needs_expert else "",
        )
    console.print(table)
    for event in review.events:
        who = review_pb2.ReviewerRole.Name(event.reviewer.role).removeprefix("REVIEWER_ROLE_").lower()
        held = "" if event.in_force else " [dim](not in force)[/]"
        console.print(
            f"revision {event.revision}: {edit_words(event.edits)}, by {who}"
            f" {escape(event.reviewer.reviewer_id)}{held}",
            highlight=False,
        )
    stated = spread.iscn or f"no karyotype stated: {spread.iscn_withheld_reason}"
    console.print(
        f"spread {review.spread_number}, revision {review.revision}, {STATES.get(review.state, '?')}:"
        f" {spread.count} chromosomes, [bold]{escape(stated)}[/]",
        highlight=False,
    )
    console.print(f"[dim]{RESEARCH_USE_ONLY}[/]", highlight=False)


def edit_words(edits: Sequence[review_pb2.Edit]) -> str:
    """The kinds of a set of edits, for a line."""
    return ", ".join(str(edit.WhichOneof("edit")) for edit in edits)
