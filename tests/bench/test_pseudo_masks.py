from __future__ import annotations

from pathlib import Path

import numpy as np

from appliance.phantoms.metaphase import SpreadStyle, metaphase_phantom
from bench.pseudo_masks import COLUMNS, TILE, overlaps, sheet


def test_pseudo_masks_of_chromosomes_that_lie_alone_are_good() -> None:
    style = SpreadStyle(touching_share=0.0, overlapping_share=0.0)
    found = overlaps(metaphase_phantom(11, "46,XX", style=style))
    assert len(found) == 46
    alone = [iou for touches, iou in found if not touches]
    assert np.median(alone) > 0.85
    assert all(0.0 <= iou <= 1.0 for _, iou in found)


def test_a_contact_sheet_of_real_ones(metaphases: Path) -> None:
    page = sheet(metaphases, "val", 14, seed=3)
    assert page.shape == (2 * TILE, COLUMNS * TILE, 3)
    assert (page[..., 1].astype(int) - page[..., 2] > 60).sum() > 500
