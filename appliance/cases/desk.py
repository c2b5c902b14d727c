"""Everything one can do with a case: open it, add spreads, review them, ask what they say, close it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.analysis import Analysis, Modality, Spread
from appliance.cases.cell import ReviewState
from appliance.cases.contradictions import check_set
from appliance.cases.edits import Edit, Reviewer, ReviewEvent, Undo
from appliance.cases.fold import Reviewed, cell_of, fold, in_force
from appliance.cases.ledger import CaseLedger
from appliance.cases.notation import CaseKind
from appliance.cases.records import CaseRecord, SpreadFile, SpreadRecord, Standing
from appliance.cases.settings import CaseLimits, CaseRules
from appliance.cases.summary import CaseSummary, summarise
from appliance.cases.tally import FieldAccuracy, field_accuracy, touches_of
from appliance.clock import Clock, TimeOrderedIds
from appliance.errors import Conflict, InvalidInput, UnsuitableImage, WrongImage, WrongState
from appliance.imaging import Image, pixel_digest
from appliance.inference import RequestContext
from appliance.results import PageMark, ResultStore
from appliance.service import AnalysisRequest, Analyzer, MetaphaseArtist

MAX_REFERENCE_CHARACTERS = 128
STANDS_BEHIND = {
    ReviewState.MACHINE: "the machine's, nobody reviewed it",
    ReviewState.IN_REVIEW: "edited, not approved",
    ReviewState.APPROVED: "approved by an expert",
}
"""What a karyogram's footer says."""


@dataclass(frozen=True)
class CaseView:
    """A case, its spreads, and what they say together."""

    case: CaseRecord
    spreads: tuple[SpreadRecord, ...]
    summary: CaseSummary


@dataclass(frozen=True)
class AddedSpread:
    """What came of adding a spread."""

    spread: SpreadRecord
    analysis: Analysis
    view: CaseView


@dataclass(frozen=True)
class ReviewView:
    """A spread as it stands, with its history."""

    case_id: str
    number: int
    result_id: str
    reviewed: Reviewed
    events: tuple[ReviewEvent, ...]  # all of them, oldest first
    renderings: dict[str, bytes]  # "overlay", "karyogram.png" … → file


class CaseDesk:
    """Answers requests about cases; each answer is durable before it is returned.

    Args:
        ledger: keeps the cases.
        store: keeps the results that spreads are linked to.
        analyzer: analyses images that are added, and reads those that come with a review.
        artist: draws reviewed spreads.
        clock: dates everything.
        limits: bounds.
        rules: how many cells are needed for what.
    """

    def __init__(
        self,
        ledger: CaseLedger,
        store: ResultStore,
        analyzer: Analyzer,
        artist: MetaphaseArtist,
        clock: Clock,
        limits: CaseLimits,
        rules: CaseRules | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._analyzer = analyzer
        self._artist = artist
        self._clock = clock
        self._limits = limits
        self._rules = rules or CaseRules()
        self._ids = TimeOrderedIds(clock)

    def open(self, reference: str, kind: CaseKind, exclude_share: float | None = None) -> CaseView:
        """Begin a case.

        Args:
            reference: the caller's own, at most 128 printable characters, no patient data.
            kind: what the case is about.
            exclude_share: share of a second line of cells, 0..1, that it is to exclude.

        Raises:
            InvalidInput: a reference or a share that is none.
            LimitExceeded: too many cases are open.
        """
        if len(reference) > MAX_REFERENCE_CHARACTERS or not reference.isprintable():
            raise InvalidInput(
                f"expected a printable reference of at most {MAX_REFERENCE_CHARACTERS} characters and got"
                f" {len(reference)}"
                + ("" if reference.isprintable() else " with control characters among them")
            )
        if exclude_share is not None and not (math.isfinite(exclude_share) and 0.01 <= exclude_share <= 0.5):
            raise InvalidInput(f"expected a share from 0.01 to 0.5 to exclude and got {exclude_share:g}")
        now_ms = self._clock.now_ms()
        case = CaseRecord(self._ids.next(), reference, kind, exclude_share, now_ms, now_ms)
        self._ledger.open(case)
        return self.get(case.case_id)

    def add_image(self, case_id: str, request: AnalysisRequest, context: RequestContext) -> AddedSpread:
        """Analyse an image and add it; the result and its place in the case are one transaction.

        Raises:
            NotFound, WrongState: no such case, or it is closed.
            AlreadyExists: the case has a spread with the same pixels.
            LimitExceeded: the case is full.
            ApplianceError: whatever an analysis raises.
        """
        self._ledger.check_open(case_id)
        added: list[SpreadRecord] = []
        analysis = self._analyzer.analyze_metaphase(
            request,
            context,
            companion=lambda db, analysis: added.append(
                self._ledger.write_spread(db, case_id, analysis, _standing(0, analysis, ()))
            ),
        )
        return AddedSpread(added[0], analysis, self.get(case_id))

    def add_result(self, case_id: str, result_id: str) -> AddedSpread:
        """Add a result that is kept already; errors as in `add_image`."""
        analysis = self._store.get(result_id)
        if analysis.modality is not Modality.METAPHASE:
            raise UnsuitableImage(
                f"expected the result of a metaphase and got one of a {analysis.modality.value}"
            )
        spread = self._ledger.add(case_id, analysis, _standing(0, analysis, ()))
        return AddedSpread(spread, analysis, self.get(case_id))

    def close(self, case_id: str) -> CaseView:
        """End a case: nothing can be added or reviewed any more; NotFound, WrongState."""
        self._ledger.close(case_id)
        return self.get(case_id)

    def get(self, case_id: str) -> CaseView:
        """A case as it stands; NotFound."""
        case, spreads = self._ledger.get(case_id)
        cells = [spread.standing.cell for spread in spreads]
        summary = summarise(cells, case.kind, self._rules, case.exclude_share)
        return CaseView(case, tuple(spreads), summary)

    def page(self, size: int, behind: PageMark | None = None, only_open: bool = False) -> list[CaseRecord]:
        """At most `size` cases, newest first."""
        return self._ledger.page(size, behind, only_open)

    def review(
        self,
        case_id: str,
        number: int,
        expected_revision: int,
        reviewer: Reviewer,
        edits: Sequence[Edit],
        picture: AnalysisRequest | None,
        context: RequestContext,
    ) -> ReviewView:
        """Commit a set of edits as one event, or refuse it whole and change nothing.

        Args:
            case_id, number: which spread.
            expected_revision: that the reviewer saw.
            reviewer: who sends it.
            edits: the set.
            picture: the image again and what shall be drawn of it, if anything.
            context: the caller's patience.

        Raises:
            Conflict: the spread has another revision by now.
            EditRefused, NotAllowed: the set cannot be done.
            WrongState: the case is closed, or nothing is there to take back.
            WrongImage: not the image that was analysed.
        """
        file = self._ledger.spread(case_id, number)
        revision = file.events[-1].revision if file.events else 0
        if expected_revision != revision:
            raise Conflict(
                f"expected revision {revision}, the newest of spread {number}, and got {expected_revision}"
            )
        before = _fold(file)
        check_set(edits, reviewer, before.object_ids, self._limits.max_edits)
        if isinstance(edits[0], Undo) and not in_force(file.events):
            raise WrongState("expected a set of edits to take back and there is none in force")
        event = ReviewEvent(revision + 1, self._clock.now_ms(), reviewer, tuple(edits))
        file = replace(file, events=(*file.events, event))
        reviewed = _fold(file)
        # drawn before it is committed: whatever fails changes nothing
        renderings = self._draw(file.analysis, reviewed, picture, context)
        context.check()
        self._ledger.append(case_id, number, event, _standing(number, file.analysis, file.events, reviewed))
        return ReviewView(case_id, number, file.analysis.result_id, reviewed, file.events, renderings)

    def reviewed(
        self, case_id: str, number: int, picture: AnalysisRequest | None, context: RequestContext
    ) -> ReviewView:
        """A spread as it stands, drawn anew if its image comes along; NotFound, WrongImage."""
        file = self._ledger.spread(case_id, number)
        reviewed = _fold(file)
        renderings = self._draw(file.analysis, reviewed, picture, context)
        return ReviewView(case_id, number, file.analysis.result_id, reviewed, file.events, renderings)

    def field_accuracy(self) -> FieldAccuracy:
        """How the machine fared on the approved spreads of the kept cases."""
        return field_accuracy(
            standing.touches
            for standing in self._ledger.standings()
            if standing.cell.state is ReviewState.APPROVED
        )

    def _draw(
        self, analysis: Analysis, reviewed: Reviewed, picture: AnalysisRequest | None, context: RequestContext
    ) -> dict[str, bytes]:
        if picture is None:
            return {}
        image = self._analyzer.read_metaphase(picture, context)
        _check_same(image, analysis)
        spread, caption = reviewed.spread, f"{STANDS_BEHIND[reviewed.state]}, revision {reviewed.revision}"
        pictures = {"overlay": self._artist.overlay(image, spread)} if picture.overlay else {}
        for page_format in picture.karyogram_formats:
            drawn = self._artist.karyogram(image, spread, page_format, caption)
            pictures[f"karyogram.{page_format.value}"] = drawn
        return pictures


def _fold(file: SpreadFile) -> Reviewed:
    analysis = file.analysis
    return fold(_spread(analysis), (analysis.image_width, analysis.image_height), file.events)


def _standing(
    number: int, analysis: Analysis, events: Sequence[ReviewEvent], reviewed: Reviewed | None = None
) -> Standing:
    reviewed = reviewed or _fold(SpreadFile(analysis, tuple(events)))
    return Standing(cell_of(number, reviewed), touches_of(_spread(analysis).count, events))


def _spread(analysis: Analysis) -> Spread:
    if analysis.spread is None:
        raise UnsuitableImage("expected the result of a metaphase and got one without a spread")
    return analysis.spread


def _check_same(image: Image, analysis: Analysis) -> None:
    if not analysis.image_sha256:
        raise WrongImage(
            "the result is of a version that kept no digest of its image, so it cannot be drawn anew"
        )
    if pixel_digest(image) != analysis.image_sha256:
        raise WrongImage(
            f"expected the image that was analysed, {analysis.image_width} × {analysis.image_height} pixels,"
            f" and got another one, {image.width} × {image.height}"
        )
