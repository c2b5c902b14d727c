"""Finished analyses with every field filled, without running a pipeline."""

from __future__ import annotations

from appliance.analysis import (
    Analysis,
    Box,
    Chromosome,
    Film,
    Finding,
    Modality,
    Polarity,
    QualityFlag,
    Spread,
    StageReport,
)
from appliance.clock import Clock, TimeOrderedIds

DAY_MS = 86_400_000
STAGES = (
    StageReport("decode", 5.5),
    StageReport("segment", 100.25, 90.5, 1, "segmenter", "1.2.3", "a" * 64, "openvino", "CPU", "INT8"),
)


def spread_of(number: int = 3, iscn: str | None = None) -> Spread:
    chromosomes = tuple(
        Chromosome(
            index=index,
            box=Box(10.5 * index, 20.0, 30.25, 40.0),
            mask=(((0.0, 0.0), (30.25, 0.5), (15.0, 40.0)),),
            detection_confidence=0.9,
            label=str(index % 22 + 1),
            confidence=0.8,
            runner_up="X",
            runner_up_confidence=0.1,
            angle_degrees=-12.5,
            polarity=(Polarity.P_ARM_UP, Polarity.Q_ARM_UP, Polarity.UNSURE)[index % 3],
            polarity_confidence=0.75,
            touching=(1,) if index == 0 else (),
            needs_expert=index == 2,
        )
        for index in range(number)
    )
    return Spread(
        chromosomes=chromosomes,
        pairs=tuple((one.label, (one.index,)) for one in chromosomes),
        iscn=iscn,
        iscn_withheld_reason=None if iscn else f"{number} chromosomes",
        region=Box(0.0, 0.0, 100.0, 80.0),
        quality_flags=(QualityFlag.COUNT_NOT_46, QualityFlag.TOUCHING_CHROMOSOMES),
        pixel_size_um=0.065,
    )


def film_of() -> Film:
    finding = Finding("Cardiomegaly", 0.7, Box(300.0, 500.5, 400.0, 250.0))
    return Film((finding,), (QualityFlag.DEMONSTRATION_MODEL,))


def metaphase_analysis(clock: Clock, number: int = 3, iscn: str | None = None) -> Analysis:
    return Analysis(
        result_id=TimeOrderedIds(clock).next(),
        request_id="slide 7",
        modality=Modality.METAPHASE,
        created_ms=clock.now_ms(),
        image_width=1360,
        image_height=1024,
        stages=STAGES,
        spread=spread_of(number, iscn),
        renderings={"overlay": b"a picture"},
    )


def film_analysis(clock: Clock) -> Analysis:
    return Analysis(
        result_id=TimeOrderedIds(clock).next(),
        request_id="",
        modality=Modality.CHEST_XRAY,
        created_ms=clock.now_ms(),
        image_width=1024,
        image_height=1024,
        stages=STAGES,
        film=film_of(),
    )
