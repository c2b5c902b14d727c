"""One image from its bytes to the committed result: decode, analyse, draw, commit, and only then answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from appliance.analysis import Analysis, Film, Modality, Spread, StageEvent, StageReport
from appliance.clock import Clock, TimeOrderedIds
from appliance.errors import InvalidInput, UnsuitableImage
from appliance.imaging import Image, ImageDecoder, decode_raw, pixel_digest
from appliance.imaging.film_tags import FilmReferences
from appliance.imaging.page import PageFormat
from appliance.inference import Admission, RequestContext
from appliance.results import Companion, ResultStore
from appliance.service.repeats import AnalysisRepeats, repeated
from appliance.service.request import AnalysisRequest

OnStage = Callable[[StageEvent], None]


class MetaphasePipeline(Protocol):
    """What reads spreads."""

    def analyze(
        self, image: Image, context: RequestContext, on_stage: OnStage | None = None
    ) -> tuple[Spread, tuple[StageReport, ...]]:
        """The spread and the stages as they ran."""
        ...


class FilmPipeline(Protocol):
    """What reads chest films."""

    def analyze(self, image: Image, context: RequestContext) -> tuple[Film, tuple[StageReport, ...]]:
        """The film's findings and the stages as they ran."""
        ...


class MetaphaseArtist(Protocol):
    """What draws spreads."""

    def overlay(self, image: Image, spread: Spread) -> bytes:
        """The input with outlines, classes and confidences; PNG."""
        ...

    def karyogram(self, image: Image, spread: Spread, page_format: PageFormat, caption: str = "") -> bytes:
        """The chromosomes in ISCN order, p arms up; `caption` stands in the footer."""
        ...


class FilmArtist(Protocol):
    """What draws films."""

    def overlay(self, image: Image, film: Film) -> bytes:
        """The input with boxes, names and confidences; PNG."""
        ...


class FilmWriter(Protocol):
    """What writes about one film in DICOM; each gives a whole file."""

    def structured_report(self, analysis: Analysis) -> bytes:
        """The findings."""
        ...

    def secondary_capture(self, analysis: Analysis, overlay_png: bytes) -> bytes:
        """The drawn film."""
        ...


class FilmReports(Protocol):
    """What writes about films in DICOM."""

    def begin(self, references: FilmReferences | None) -> FilmWriter:
        """Check that a DICOM file can refer to this film; what writes it once there is an answer."""
        ...


class Analyzer:
    """Answers analysis requests; each answer is durable before it is returned.

    Args:
        decoder, metaphases, films, metaphase_artist, film_artist, film_reports: do the work.
        store: keeps the results.
        clock: dates them.
        admission: says when a request may begin, and when it has to pause.
        decoding: says whose image is decoded next; as many places as there are decoders.
        repeats: analyses that are kept for the same image again.
    """

    def __init__(
        self,
        decoder: ImageDecoder,
        metaphases: MetaphasePipeline,
        films: FilmPipeline,
        metaphase_artist: MetaphaseArtist,
        film_artist: FilmArtist,
        film_reports: FilmReports,
        store: ResultStore,
        clock: Clock,
        admission: Admission,
        decoding: Admission,
        repeats: AnalysisRepeats,
    ) -> None:
        self._decoder = decoder
        self._metaphases = metaphases
        self._films = films
        self._metaphase_artist = metaphase_artist
        self._film_artist = film_artist
        self._film_reports = film_reports
        self._store = store
        self._clock = clock
        self._admission = admission
        self._decoding = decoding
        self._repeats = repeats
        self._ids = TimeOrderedIds(clock)

    def analyze_metaphase(
        self,
        request: AnalysisRequest,
        context: RequestContext,
        on_stage: OnStage | None = None,
        companion: Companion | None = None,
    ) -> Analysis:
        """Analyse one metaphase image.

        Args:
            request: the image and what is wanted of it.
            context: the caller's patience.
            on_stage: called as each stage ends; nothing of what it tells is stored yet.
            companion: writes what belongs to the result, in the same transaction.

        Raises:
            InvalidInput: the image cannot be read or shows no spread.
            Unavailable, LimitExceeded, DeadlineExceeded, Cancelled, InferenceFailed: no answer this time.
        """
        if request.names_patient:
            raise InvalidInput(
                "expected a chest film to write a DICOM structured report about and got a metaphase image"
            )
        with self._admission.enter(context):
            return self._answer(
                Modality.METAPHASE,
                request,
                context,
                lambda: self._analyze_metaphase(request, context, on_stage),
                on_stage,
                companion,
            )

    def analyze_chest_film(self, request: AnalysisRequest, context: RequestContext) -> Analysis:
        """Analyse one chest film; arguments and errors as in `analyze_metaphase`."""
        with self._admission.enter(context):
            return self._answer(
                Modality.CHEST_XRAY, request, context, lambda: self._analyze_chest_film(request, context)
            )

    def _answer(
        self,
        modality: Modality,
        request: AnalysisRequest,
        context: RequestContext,
        analyze: Callable[[], Analysis],
        on_stage: OnStage | None = None,
        companion: Companion | None = None,
    ) -> Analysis:
        """Repeat what is kept, or analyse, commit and keep."""
        began_s = time.perf_counter()
        question = self._repeats.question(modality, request)
        earlier = self._repeats.find(question)
        if earlier is None:
            analysis = self._commit(analyze(), context, companion)
            self._repeats.keep(question, analysis)
            return analysis
        took_ms = (time.perf_counter() - began_s) * 1000
        again = repeated(earlier, self._ids.next(), request.request_id, self._clock.now_ms(), took_ms)
        if on_stage is not None:
            on_stage(StageEvent(again.stages[0]))
        return self._commit(again, context, companion)

    def _analyze_metaphase(
        self, request: AnalysisRequest, context: RequestContext, on_stage: OnStage | None
    ) -> Analysis:
        tell = on_stage or (lambda _event: None)
        image, decoded = self._read(request, Modality.METAPHASE, context)
        tell(StageEvent(decoded))
        spread, stages = self._metaphases.analyze(image, context, on_stage)
        pictures: dict[str, Callable[[], bytes]] = {}
        if request.overlay:
            pictures["overlay"] = partial(self._metaphase_artist.overlay, image, spread)
        for page_format in request.karyogram_formats:
            draw = partial(self._metaphase_artist.karyogram, image, spread, page_format)
            pictures[f"karyogram.{page_format.value}"] = draw
        renderings, drawn = _draw(pictures)
        for report in drawn:
            tell(StageEvent(report, spread.region, (), spread.chromosomes))
        return Analysis(
            result_id=self._ids.next(),
            request_id=request.request_id,
            modality=Modality.METAPHASE,
            created_ms=self._clock.now_ms(),
            image_width=image.width,
            image_height=image.height,
            stages=(decoded, *stages, *drawn),
            spread=spread,
            image_sha256=pixel_digest(image),
            renderings=renderings,
        )

    def _analyze_chest_film(self, request: AnalysisRequest, context: RequestContext) -> Analysis:
        image, decoded = self._read(request, Modality.CHEST_XRAY, context)
        writer = self._film_reports.begin(image.references) if request.names_patient else None
        film, stages = self._films.analyze(image, context)
        pictures: dict[str, Callable[[], bytes]] = {}
        if request.overlay or request.secondary_capture:
            pictures["overlay"] = partial(self._film_artist.overlay, image, film)
        renderings, drawn = _draw(pictures)
        analysis = Analysis(
            result_id=self._ids.next(),
            request_id=request.request_id,
            modality=Modality.CHEST_XRAY,
            created_ms=self._clock.now_ms(),
            image_width=image.width,
            image_height=image.height,
            stages=(decoded, *stages, *drawn),
            film=film,
            renderings=renderings,
        )
        if writer is not None:
            analysis = _written(analysis, writer, request)
        return analysis

    def read_metaphase(self, request: AnalysisRequest, context: RequestContext) -> Image:
        """Decode a metaphase image without analysing it; errors as in `analyze_metaphase`."""
        return self._read(request, Modality.METAPHASE, context)[0]

    def _read(
        self, request: AnalysisRequest, modality: Modality, context: RequestContext
    ) -> tuple[Image, StageReport]:
        context.check()
        began_s = time.perf_counter()
        if isinstance(request.image, bytes):
            self._admission.give_way(context)
            with self._decoding.enter(context):
                image = self._decoder.decode(request.image, context.deadline, request.names_patient)
        else:
            raw = request.image
            image = decode_raw(raw.data, raw.shape, raw.pixel_type, self._decoder.limits)
        if image.modality_hint not in (None, modality):
            raise UnsuitableImage(
                f"expected a {modality.value} image and got one whose header says {image.modality_hint.value}"
            )
        if request.pixel_size_um is not None:
            image = replace(image, pixel_size_um=request.pixel_size_um)
        return image, StageReport("decode", (time.perf_counter() - began_s) * 1000)

    def _commit(
        self, analysis: Analysis, context: RequestContext, companion: Companion | None = None
    ) -> Analysis:
        context.check()  # an answer that nobody waits for would come back as a second one when they retry
        self._store.commit(analysis, companion)
        return analysis


def _written(analysis: Analysis, writer: FilmWriter, request: AnalysisRequest) -> Analysis:
    began_s = time.perf_counter()
    files = dict(analysis.renderings)
    if request.structured_report:
        files["structured_report"] = writer.structured_report(analysis)
    if request.secondary_capture:
        files["secondary_capture"] = writer.secondary_capture(analysis, files["overlay"])
        if not request.overlay:
            del files["overlay"]
    report = StageReport("report", (time.perf_counter() - began_s) * 1000)
    return replace(analysis, stages=(*analysis.stages, report), renderings=files)


def _draw(pictures: dict[str, Callable[[], bytes]]) -> tuple[dict[str, bytes], tuple[StageReport, ...]]:
    if not pictures:
        return {}, ()
    began_s = time.perf_counter()
    drawn = {name: draw() for name, draw in pictures.items()}
    return drawn, (StageReport("draw", (time.perf_counter() - began_s) * 1000),)
