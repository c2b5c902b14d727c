"""How good the pseudo-masks are that training uses: measured on phantoms, and a contact sheet to look at.

`measure` makes pseudo-masks from nothing but a phantom's boxes and holds them against its exact masks;
`sheet` draws the pseudo-masks of random chromosomes of a split, one a tile.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from appliance.analysis import CHROMOSOME_LABELS
from appliance.models.preprocessing import normalise_stain
from appliance.phantoms.metaphase import MetaphasePhantom
from bench.karyotype_truth import phantoms
from bench.report import Row, publish
from engine_builder.metrics import cluster_bootstrap
from engine_builder.training.spreads import half_scale, read_split, read_stain

TILE = 120
COLUMNS = 12
GREEN = (60, 160, 30)


def overlaps(phantom: MetaphasePhantom) -> list[tuple[bool, float]]:
    """For each chromosome whether it touches another one, and the IoU of its pseudo-mask at half scale."""
    boxes = np.array(
        [(t.box.x, t.box.y, t.box.width, t.box.height) for t in phantom.chromosomes], dtype=np.float32
    )
    small, labels = half_scale(normalise_stain(phantom.image), boxes)
    height, width = phantom.image.shape
    found = []
    for index, truth in enumerate(phantom.chromosomes):
        full = truth.full_mask(height, width).astype(np.float32)
        exact = cv2.resize(full, small.shape[::-1], interpolation=cv2.INTER_AREA) >= 0.5
        own = labels.instances == index + 1
        iou = float((own & exact).sum()) / max(int((own | exact).sum()), 1)
        found.append((bool(truth.touching), iou))
    return found


def measure(how_many: int) -> list[Row]:
    """Mean IoU and the share above 0.7, of chromosomes that lie alone and of those that touch others."""
    made = [overlaps(phantom) for phantom in track(phantoms(how_many), "phantoms", total=how_many)]
    rows = []
    for name, touching in (("alone", False), ("touching", True)):
        clusters = {
            number: [iou for touches, iou in found if touches is touching]
            for number, found in enumerate(made)
        }
        clusters = {number: ious for number, ious in clusters.items() if ious}
        count = sum(map(len, clusters.values()))
        mean, low, high = cluster_bootstrap(clusters, lambda ious: float(np.mean(ious)), 500)
        rows.append(Row(f"pseudo-mask IoU, {name}", mean, "", count, low, high))
        share, low, high = cluster_bootstrap(clusters, lambda ious: float(np.mean(np.array(ious) > 0.7)), 500)
        rows.append(Row(f"pseudo-masks above IoU 0.7, {name}", share, "", count, low, high))
    return rows


def sheet(metaphases: Path, split: str, how_many: int, seed: int) -> NDArray[np.uint8]:
    """Tiles with the outline of a pseudo-mask on the stain of its box, a few for each of many spreads."""
    rng = np.random.default_rng(seed)
    records = read_split(metaphases, split)
    chosen = rng.choice(len(records), min(len(records), -(-how_many // 4)), replace=False)
    tiles: list[NDArray[np.uint8]] = []
    for number in chosen:
        record = records[int(number)]
        small, labels = half_scale(read_stain(record), record.boxes)
        for index in rng.choice(len(record.boxes), min(4, len(record.boxes)), replace=False):
            mask = labels.instances == index + 1
            label = CHROMOSOME_LABELS[int(record.labels[index])]
            tiles.append(_tile(small, mask, record.boxes[index] * 0.5, label))
    rows = -(-len(tiles) // COLUMNS)
    page = np.full((rows * TILE, COLUMNS * TILE, 3), 255, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // COLUMNS * TILE, index % COLUMNS * TILE
        page[top : top + TILE, left : left + TILE] = tile
    return page


def _tile(
    stain: NDArray[np.float32], mask: NDArray[np.bool_], box: NDArray[np.float32], label: str
) -> NDArray[np.uint8]:
    x, y, width, height = (round(float(value)) for value in box)
    top, left = max(y - 6, 0), max(x - 6, 0)
    window = (slice(top, y + height + 6), slice(left, x + width + 6))
    scale = (TILE - 4) / max(stain[window].shape)
    size = (int(stain[window].shape[1] * scale), int(stain[window].shape[0] * scale))
    grey = np.clip(255.0 * (1.0 - stain[window] / 1.1), 0, 255).astype(np.uint8)
    large = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    outline = cv2.resize(mask[window].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(large, contours, -1, GREEN, 1, cv2.LINE_AA)
    tile = np.full((TILE, TILE, 3), 255, dtype=np.uint8)
    tile[: size[1], : size[0]] = large
    cv2.putText(tile, label, (TILE - 26, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 200), 1, cv2.LINE_AA)
    return tile


def main() -> None:
    """Command line: `python -m bench.pseudo_masks measure`, or `sheet --data DATA --output SHEET.png`."""
    parser = argparse.ArgumentParser(prog="bench.pseudo_masks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measured = commands.add_parser("measure", help="against the exact masks of phantoms")
    measured.add_argument("--phantoms", type=int, default=16)
    drawn = commands.add_parser("sheet", help="draw a contact sheet")
    drawn.add_argument("--data", type=Path, required=True, help="folder that holds metaphases/SPLIT.json")
    drawn.add_argument("--split", choices=("train", "val"), default="train")
    drawn.add_argument("--masks", type=int, default=120)
    drawn.add_argument("--seed", type=int, default=1)
    drawn.add_argument("--output", type=Path, required=True, help="PNG; keep it out of the repository")
    words = parser.parse_args()
    if words.command == "measure":
        publish("pseudo_masks", measure(words.phantoms), {})
        return
    page = sheet(words.data / "metaphases", words.split, words.masks, words.seed)
    cv2.imwrite(str(words.output), page)
    print(f"written to {words.output}")


if __name__ == "__main__":
    main()
