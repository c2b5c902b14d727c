"""A finished spread → its karyogram: groups A to G in ISCN order, p arm up, pairs together, for print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Chromosome, Polarity, Spread
from appliance.imaging.drawing import AMBER, BOLD, FAINT, INK, QUIET, Canvas
from appliance.imaging.page import Page, PageFormat
from appliance.imaging.pdf_page import PdfPage
from appliance.imaging.svg_page import SvgPage
from appliance.karyotype.karyogram_frame import (
    FOOT,
    HEAD,
    MARGIN,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    draw_double_arrow,
    draw_footer,
    draw_header,
    remarks_height,
    title_of,
)
from appliance.karyotype.sprite import Frame, draw_sprite, sprite_margin, upright_frame
from appliance.models.preprocessing import StainRange, stain_range

_ROW_FOOT: Final = 108  # below a row's base line: marks, class labels, group brackets
_ROW_HEAD: Final = 34  # above the longest chromosome of a row: air, and its polarity mark
_CELL_AIR: Final = 34  # least air between neighbouring classes
_GROUP_AIR: Final = 84  # more of it between groups
_MEMBER_AIR: Final = 12
_MARK_WIDTH: Final = 46.0
_MAX_SCALE: Final = 5.0
_EMPTY_WIDTH_PX: Final = 22.0  # image pixels of the place of a chromosome that was not found
_EMPTY_HEIGHT_PX: Final = 40.0

_ROWS: Final[tuple[tuple[tuple[str, tuple[str, ...]], ...], ...]] = (
    (("A", ("1", "2", "3")), ("B", ("4", "5"))),
    (("C", ("6", "7", "8", "9", "10", "11", "12")),),
    (("D", ("13", "14", "15")), ("E", ("16", "17", "18"))),
    (("F", ("19", "20")), ("G", ("21", "22")), ("", ("X", "Y"))),
)
"""Rows of groups of classes: the seven groups of the Denver and Paris conferences, sex chromosomes last."""


@dataclass(frozen=True)
class _Cell:
    """The place of one class."""

    label: str
    members: tuple[tuple[Chromosome, Frame], ...]
    missing: int  # members fewer than a normal cell has

    def width(self, scale: float) -> float:
        widths = [_slot(one, frame, scale) for one, frame in self.members]
        widths += [_EMPTY_WIDTH_PX * scale] * self.missing
        return sum(widths) + _MEMBER_AIR * max(len(widths) - 1, 0)

    def height(self) -> float:
        """Longest member in image pixels."""
        return max([frame.height for _, frame in self.members], default=_EMPTY_HEIGHT_PX)


@dataclass(frozen=True)
class _Cutter:
    """Cuts sprites out of one spread at one scale."""

    grey: NDArray[np.uint8]
    levels: StainRange
    chromosomes: tuple[Chromosome, ...]
    scale: float

    def cut(self, chromosome: Chromosome, frame: Frame) -> NDArray[np.uint8]:
        neighbours = [self.chromosomes[index] for index in chromosome.touching]
        return draw_sprite(self.grey, self.levels, chromosome, frame, self.scale, neighbours)


def _slot(chromosome: Chromosome, frame: Frame, scale: float) -> float:
    """Width that a member takes on its base line: its own, or that of the confidence written below it."""
    return max(frame.width * scale, _MARK_WIDTH if chromosome.needs_expert else 0.0)


_Group = tuple[str, tuple[_Cell, ...]]


def draw_karyogram(
    grey: NDArray[np.uint8],
    spread: Spread,
    caption: str = "",
    page_format: PageFormat = PageFormat.PNG,
) -> bytes:
    """Draw the karyogram of a spread.

    Chromosomes stand on a base line at one common scale. Those whose class or polarity a person has to
    confirm are marked, with the confidence; deviations from a normal cell are listed at the foot.

    Args:
        grey: (H, W) uint8, the image that was analysed.
        spread: what was found in it.
        caption: a line of the caller's own for the footer, for example an identifier.
        page_format: kind of file; the layout is the same in all.

    Returns:
        The file.
    """
    if page_format is PageFormat.PNG:
        canvas = Canvas.blank(PAGE_WIDTH, PAGE_HEIGHT)
        _draw(canvas, grey, spread, caption)
        return canvas.png()
    kind = SvgPage if page_format is PageFormat.SVG else PdfPage
    page = kind(PAGE_WIDTH, PAGE_HEIGHT, title_of(spread))
    _draw(page, grey, spread, caption)
    return page.file()


def _draw(page: Page, grey: NDArray[np.uint8], spread: Spread, caption: str) -> None:
    rows = _rows(spread)
    foot = FOOT + remarks_height(spread)
    scale = _fitting_scale(rows, foot)
    cutter = _Cutter(grey, stain_range(grey), spread.chromosomes, scale)
    draw_header(page, spread)
    heights = [max(cell.height() for _, cells in row for cell in cells) * scale for row in rows]
    free = PAGE_HEIGHT - HEAD - foot - sum(heights) - len(rows) * (_ROW_FOOT + _ROW_HEAD)
    y = float(HEAD)
    for row, height in zip(rows, heights, strict=True):
        y += _ROW_HEAD + height
        _draw_row(page, cutter, row, y)
        y += _ROW_FOOT + max(free, 0.0) / len(rows)
    draw_footer(page, spread, scale, caption)


def _rows(spread: Spread) -> list[list[_Group]]:
    framed: dict[str, list[tuple[Chromosome, Frame]]] = {}
    for label, indices in spread.pairs:
        members = [spread.chromosomes[index] for index in indices]
        framed[label] = sorted(
            ((one, upright_frame(one)) for one in members), key=lambda member: -member[1].height
        )
    sex = {label: len(framed.get(label, [])) for label in ("X", "Y")}

    def missing(label: str) -> int:
        if label == "Y":
            return 0
        normal = 2 if label != "X" or sex["Y"] == 0 else 1
        return max(normal - len(framed.get(label, [])), 0)

    def cells(labels: tuple[str, ...]) -> tuple[_Cell, ...]:
        shown = [label for label in labels if label != "Y" or sex["Y"]]
        return tuple(_Cell(label, tuple(framed.get(label, ())), missing(label)) for label in shown)

    return [[(name, cells(labels)) for name, labels in row] for row in _ROWS]


def _fitting_scale(rows: list[list[_Group]], foot: float) -> float:
    """Largest common scale at which every row fits the page."""
    longest = sum(max(cell.height() for _, cells in row for cell in cells) for row in rows)
    height = PAGE_HEIGHT - HEAD - foot - len(rows) * (_ROW_FOOT + _ROW_HEAD)
    scale = min(_MAX_SCALE, height / longest)
    for row in rows:
        cells = [cell for _, group in row for cell in group]
        air = sum(cell.width(0.0) for cell in cells) + _CELL_AIR * len(cells) + _GROUP_AIR * (len(row) - 1)
        bodies = sum(cell.width(1.0) - cell.width(0.0) for cell in cells)
        scale = min(scale, (PAGE_WIDTH - 2 * MARGIN - air) / bodies)
    return max(scale, 0.2)


def _draw_row(page: Page, cutter: _Cutter, row: list[_Group], base: float) -> None:
    scale = cutter.scale
    cells = [cell for _, group in row for cell in group]
    bodies = sum(cell.width(scale) for cell in cells)
    free = PAGE_WIDTH - 2 * MARGIN - bodies - _GROUP_AIR * (len(row) - 1)
    air = free / len(cells)
    x = float(MARGIN)
    for name, group in row:
        start = x
        for cell in group:
            x += air / 2.0
            _draw_cell(page, cutter, cell, x, base)
            x += cell.width(scale) + air / 2.0
        _draw_bracket(page, name, start + _CELL_AIR / 2, x - _CELL_AIR / 2, base + 88.0)
        x += _GROUP_AIR


def _draw_bracket(page: Page, name: str, left: float, right: float, y: float) -> None:
    middle = (left + right) / 2.0
    if not name:
        page.line(left, y, right, y, FAINT, 2)
        return
    half = page.measure(name, 30, BOLD) / 2.0 + 16.0
    page.line(left, y, middle - half, y, FAINT, 2)
    page.line(middle + half, y, right, y, FAINT, 2)
    page.text(name, middle, y + 10, 30, QUIET, BOLD, 0.5)


def _draw_cell(page: Page, cutter: _Cutter, cell: _Cell, left: float, base: float) -> None:
    scale = cutter.scale
    width = cell.width(scale)
    page.line(left - 8.0, base + 6.0, left + width + 8.0, base + 6.0, INK, 2)
    page.text(cell.label, left + width / 2.0, base + 62.0, 38, INK, BOLD, 0.5)
    x = left
    margin = sprite_margin(scale)
    for chromosome, frame in cell.members:
        slot = _slot(chromosome, frame, scale)
        middle, head = x + slot / 2.0, base - frame.height * scale
        sprite = cutter.cut(chromosome, frame)
        page.print_on(sprite, round(middle - frame.width * scale / 2.0) - margin, round(head) - margin)
        if chromosome.needs_expert:
            page.text(f"{chromosome.confidence * 100:.0f} %", middle, base + 27.0, 18, AMBER, BOLD, 0.5)
        if chromosome.polarity is Polarity.UNSURE:
            draw_double_arrow(page, middle, head - 19.0)
        x += slot + _MEMBER_AIR
    for _ in range(cell.missing):
        empty_width, empty_height = _EMPTY_WIDTH_PX * scale, _EMPTY_HEIGHT_PX * scale
        page.dashed_box(x, base - empty_height, empty_width, empty_height - 2.0, QUIET)
        x += empty_width + _MEMBER_AIR
