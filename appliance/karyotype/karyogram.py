"""A finished spread → its karyogram: groups A to G in ISCN order, p arm up, pairs together, for print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import Chromosome, Polarity, Spread
from appliance.imaging.drawing import AMBER, BOLD, FAINT, INK, QUIET, Canvas
from appliance.karyotype.sprite import Frame, draw_sprite, sprite_margin, upright_frame
from appliance.karyotype.wording import flag_words
from appliance.models.preprocessing import StainRange, stain_range

PAGE_WIDTH: Final = 2480
PAGE_HEIGHT: Final = 1754
"""A4 across at 212 dpi."""

_MARGIN: Final = 110
_TOP: Final = 250
_BOTTOM: Final = 140
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


def draw_karyogram(grey: NDArray[np.uint8], spread: Spread, caption: str = "") -> bytes:
    """Draw the karyogram of a spread.

    Chromosomes stand on a base line at one common scale. Those whose class or polarity a person has to
    confirm are marked, with the confidence.

    Args:
        grey: (H, W) uint8, the image that was analysed.
        spread: what was found in it.
        caption: a line of the caller's own for the footer, for example an identifier.

    Returns:
        A PNG file.
    """
    canvas = Canvas.blank(PAGE_WIDTH, PAGE_HEIGHT)
    rows = _rows(spread)
    scale = _fitting_scale(rows)
    cutter = _Cutter(grey, stain_range(grey), spread.chromosomes, scale)
    _draw_header(canvas, spread)
    heights = [max(cell.height() for _, cells in row for cell in cells) * scale for row in rows]
    free = PAGE_HEIGHT - _TOP - _BOTTOM - sum(heights) - len(rows) * (_ROW_FOOT + _ROW_HEAD)
    y = float(_TOP)
    for row, height in zip(rows, heights, strict=True):
        y += _ROW_HEAD + height
        _draw_row(canvas, cutter, row, y)
        y += _ROW_FOOT + max(free, 0.0) / len(rows)
    _draw_footer(canvas, spread, scale, caption)
    return canvas.png()


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


def _fitting_scale(rows: list[list[_Group]]) -> float:
    """Largest common scale at which every row fits the page."""
    longest = sum(max(cell.height() for _, cells in row for cell in cells) for row in rows)
    height = PAGE_HEIGHT - _TOP - _BOTTOM - len(rows) * (_ROW_FOOT + _ROW_HEAD)
    scale = min(_MAX_SCALE, height / longest)
    for row in rows:
        cells = [cell for _, group in row for cell in group]
        air = sum(cell.width(0.0) for cell in cells) + _CELL_AIR * len(cells) + _GROUP_AIR * (len(row) - 1)
        bodies = sum(cell.width(1.0) - cell.width(0.0) for cell in cells)
        scale = min(scale, (PAGE_WIDTH - 2 * _MARGIN - air) / bodies)
    return max(scale, 0.2)


def _draw_row(canvas: Canvas, cutter: _Cutter, row: list[_Group], base: float) -> None:
    scale = cutter.scale
    cells = [cell for _, group in row for cell in group]
    bodies = sum(cell.width(scale) for cell in cells)
    free = PAGE_WIDTH - 2 * _MARGIN - bodies - _GROUP_AIR * (len(row) - 1)
    air = free / len(cells)
    x = float(_MARGIN)
    for name, group in row:
        start = x
        for cell in group:
            x += air / 2.0
            _draw_cell(canvas, cutter, cell, x, base)
            x += cell.width(scale) + air / 2.0
        _draw_bracket(canvas, name, start + _CELL_AIR / 2, x - _CELL_AIR / 2, base + 88.0)
        x += _GROUP_AIR


def _draw_bracket(canvas: Canvas, name: str, left: float, right: float, y: float) -> None:
    middle = (left + right) / 2.0
    if not name:
        canvas.line(left, y, right, y, FAINT, 2)
        return
    half = canvas.measure(name, 30, BOLD) / 2.0 + 16.0
    canvas.line(left, y, middle - half, y, FAINT, 2)
    canvas.line(middle + half, y, right, y, FAINT, 2)
    canvas.text(name, middle, y + 10, 30, QUIET, BOLD, 0.5)


def _draw_cell(canvas: Canvas, cutter: _Cutter, cell: _Cell, left: float, base: float) -> None:
    scale = cutter.scale
    width = cell.width(scale)
    canvas.line(left - 8.0, base + 6.0, left + width + 8.0, base + 6.0, INK, 2)
    canvas.text(cell.label, left + width / 2.0, base + 62.0, 38, INK, BOLD, 0.5)
    x = left
    margin = sprite_margin(scale)
    for chromosome, frame in cell.members:
        slot = _slot(chromosome, frame, scale)
        middle, head = x + slot / 2.0, base - frame.height * scale
        sprite = cutter.cut(chromosome, frame)
        canvas.print_on(sprite, round(middle - frame.width * scale / 2.0) - margin, round(head) - margin)
        if chromosome.needs_expert:
            canvas.text(f"{chromosome.confidence * 100:.0f} %", middle, base + 27.0, 18, AMBER, BOLD, 0.5)
        if chromosome.polarity is Polarity.UNSURE:
            _draw_double_arrow(canvas, middle, head - 19.0)
        x += slot + _MEMBER_AIR
    for _ in range(cell.missing):
        empty_width, empty_height = _EMPTY_WIDTH_PX * scale, _EMPTY_HEIGHT_PX * scale
        canvas.dashed_box(x, base - empty_height, empty_width, empty_height - 2.0, QUIET)
        x += empty_width + _MEMBER_AIR


def _draw_double_arrow(canvas: Canvas, x: float, y: float) -> None:
    """The mark of an unknown polarity."""
    canvas.line(x, y - 9.0, x, y + 9.0, AMBER, 2)
    for tip, side in ((y - 9.0, 1.0), (y + 9.0, -1.0)):
        canvas.line(x, tip, x - 5.0, tip + side * 5.0, AMBER, 2)
        canvas.line(x, tip, x + 5.0, tip + side * 5.0, AMBER, 2)


def _draw_header(canvas: Canvas, spread: Spread) -> None:
    canvas.text("Karyogram", _MARGIN, 112, 34, QUIET, BOLD)
    if spread.iscn is not None:
        canvas.text(spread.iscn, _MARGIN, 186, 68, INK, BOLD)
    else:
        canvas.text("Karyotype withheld", _MARGIN, 172, 50, INK, BOLD)
        canvas.text(spread.iscn_withheld_reason or "", _MARGIN, 214, 28, AMBER)
    right = PAGE_WIDTH - _MARGIN
    canvas.text(f"{spread.count} chromosomes", right, 112, 34, INK, BOLD, 1.0)
    for line, words in enumerate(flag_words(spread.quality_flags)[:4]):
        canvas.text(words, right, 150 + 32 * line, 26, QUIET, anchor=1.0)


def _draw_footer(canvas: Canvas, spread: Spread, scale: float, caption: str) -> None:
    y = PAGE_HEIGHT - 64.0
    canvas.line(_MARGIN, y - 52.0, PAGE_WIDTH - _MARGIN, y - 52.0, FAINT, 2)
    canvas.notice(28, INK, _MARGIN, y)
    x = _MARGIN + canvas.measure("research use only, not for diagnosis", 28, BOLD) + 70.0
    if any(one.needs_expert for one in spread.chromosomes):
        canvas.text("n %", x, y, 22, AMBER, BOLD)
        x += canvas.measure("n %", 22, BOLD) + 14.0
        canvas.text("class to be confirmed", x, y, 26, QUIET)
        x += canvas.measure("class to be confirmed", 26) + 50.0
    if any(one.polarity is Polarity.UNSURE for one in spread.chromosomes):
        _draw_double_arrow(canvas, x + 6.0, y - 9.0)
        canvas.text("arms unsure", x + 26.0, y, 26, QUIET)
        x += 26.0 + canvas.measure("arms unsure", 26) + 50.0
    right = float(PAGE_WIDTH - _MARGIN)
    if spread.pixel_size_um is not None:
        right = _draw_scale_bar(canvas, spread.pixel_size_um, scale, right, y) - 50.0
    if caption:
        canvas.text(caption, right, y, 26, QUIET, anchor=1.0)


def _draw_scale_bar(canvas: Canvas, pixel_size_um: float, scale: float, right: float, y: float) -> float:
    """Draw a bar of 5 µm (10 where that is short) that ends at `right`; gives its left end."""
    length_um = 5.0 if 5.0 * scale / pixel_size_um >= 60.0 else 10.0
    length = length_um * scale / pixel_size_um
    left = right - length
    canvas.line(left, y - 8.0, right, y - 8.0, INK, 4)
    for end in (left, right):
        canvas.line(end, y - 16.0, end, y, INK, 3)
    text = f"{length_um:.0f} µm"
    canvas.text(text, left - 16.0, y, 26, INK, anchor=1.0)
    return left - 16.0 - canvas.measure(text, 26)
