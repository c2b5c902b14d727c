"""A second implementation of the inference service for chest films: it answers from known findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Finding
from appliance.chest_xray.letterbox import Letterbox
from appliance.chest_xray.settings import FindingModel
from appliance.inference.request import Inference, ModelIdentity, RequestContext
from appliance.models.film_contract import FilmContract, HeadLayout, cells
from appliance.models.manifest import Role
from appliance.models.reference import FILM_FILL, FILM_SIZE, FINDING_LABELS


def film_contract(end_to_end: bool = False, size: int = FILM_SIZE, datatype: str = "FP32") -> FilmContract:
    """The contract of a film model as users export it."""
    layout = HeadLayout.END_TO_END if end_to_end else HeadLayout.GRID
    return FilmContract("images", datatype, size, FILM_FILL, 255, "output0", layout)


class FilmEngines:
    """Answers with these findings, each seen by three neighbouring anchors as a real grid would."""

    def __init__(
        self,
        width: int,
        height: int,
        findings: tuple[Finding, ...],
        end_to_end: bool = False,
        size: int = FILM_SIZE,
    ) -> None:
        self._box = Letterbox.fit(width, height, size)
        self._cells = cells(size)
        self.contract = film_contract(end_to_end, size)
        self.identity = ModelIdentity(
            "films", "2.1.0", Role.CHEST_XRAY_DETECTOR, "1" * 64, "truth", "CPU", "FP32"
        )
        self._findings = findings
        self._end_to_end = end_to_end
        self.inputs: list[NDArray[Any]] = []

    def infer(self, role: Role, tensors: Mapping[str, NDArray[Any]], context: RequestContext) -> Inference:
        context.check()
        assert role is Role.CHEST_XRAY_DETECTOR
        self.inputs.append(tensors["images"])
        output = self._rows() if self._end_to_end else self._grid()
        return Inference(outputs={"output0": output}, model=self.identity, engine_ms=2.0, queue_ms=0.5)

    def model(
        self,
        thresholds: Mapping[str, float] | None = None,
        demonstration: bool = False,
        takes_pixels: bool = False,
    ) -> FindingModel:
        """What the pipeline asks for."""
        return FindingModel(
            self.identity, self.contract, FINDING_LABELS, thresholds or {}, demonstration, takes_pixels
        )

    def _corners(self, finding: Finding) -> NDArray[np.float64]:
        box = finding.box
        return self._box.to_input(np.array([[box.x, box.y, box.x + box.width, box.y + box.height]]))[0]

    def _grid(self) -> NDArray[np.float32]:
        output = np.zeros((1, 4 + len(FINDING_LABELS), self._cells), np.float32)
        for index, finding in enumerate(self._findings):
            x0, y0, x1, y1 = self._corners(finding)
            for copy in range(3):
                anchor = 3 * index + copy
                output[0, :4, anchor] = ((x0 + x1) / 2 + copy, (y0 + y1) / 2, x1 - x0, y1 - y0)
                output[0, 4 + FINDING_LABELS.index(finding.label), anchor] = finding.confidence * 0.9**copy
        return output

    def _rows(self) -> NDArray[np.float32]:
        output = np.zeros((1, 300, 6), np.float32)
        for index, finding in enumerate(self._findings):
            output[0, index, :4] = self._corners(finding)
            output[0, index, 4:] = finding.confidence, FINDING_LABELS.index(finding.label)
        return output
