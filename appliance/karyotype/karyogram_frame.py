"""What stands round the chromosomes of a karyogram: title, flags, what to check, legend and scale bar."""

from __future__ import annotations

from typing import Final

from appliance import RESEARCH_USE_ONLY
from appliance.analysis import Polarity, Spread
from appliance.imaging.drawing import AMBER, BOLD, FAINT, INK, QUIET
from appliance.imaging.page import Page
from appliance.karyotype.wording import flag_words

PAGE_WIDTH: Final = 2480
PAGE_HEIGHT: Final = 1754
"""A4 across at 212 dpi."""
MARGIN: Final = 110
HEAD: Final = 250
"""Page pixels above the rows."""
FOOT: Final = 140
"""Page pixels below the rows, without the remarks."""

_REMARK_SIZE: Final = 24
_REMARK_LINE: Final = 33
_MOST_REMARKS: Final = 5


def title_of(spread: Spread) -> str:
    """The karyogram's name for a viewer's title bar."""
    stated = spread.iscn if spread.iscn is not None else "karyotype withheld"
    return f"Karyogram: {spread.count} chromosomes, {stated}"


def remarks_height(spread: Spread) -> float:
    """Page pixels that the list of deviations takes."""
    lines = min(len(spread.deviations), _MOST_REMARKS)
    return lines * _REMARK_LINE + 14.0 if lines else 0.0


def draw_double_arrow(page: Page, x: float, y: float) -> None:
    """The mark of an unknown polarity."""
    page.line(x, y - 9.0, x, y + 9.0, AMBER, 2)
    for tip, side in ((y - 9.0, 1.0), (y + 9.0, -1.0)):
        page.line(x, tip, x - 5.0, tip + side * 5.0, AMBER, 2)
        page.line(x, tip, x + 5.0, tip + side * 5.0, AMBER, 2)


def draw_header(page: Page, spread: Spread) -> None:
    """Write the karyotype or why there is none, the count and the flags."""
    page.text("Karyogram", MARGIN, 112, 34, QUIET, BOLD)
    if spread.iscn is not None:
        page.text(spread.iscn, MARGIN, 186, 68, INK, BOLD)
    else:
        page.text("Karyotype withheld", MARGIN, 172, 50, INK, BOLD)
        page.text(spread.iscn_withheld_reason or "", MARGIN, 214, 28, AMBER)
    right = PAGE_WIDTH - MARGIN
    page.text(f"{spread.count} chromosomes", right, 112, 34, INK, BOLD, 1.0)
    for line, words in enumerate(flag_words(spread.quality_flags)[:4]):
        page.text(words, right, 150 + 32 * line, 26, QUIET, anchor=1.0)


def draw_footer(page: Page, spread: Spread, scale: float, caption: str) -> None:
    """Write the deviations, the notice, the legend of the marks and, where it is known, the scale."""
    y = PAGE_HEIGHT - 64.0
    page.line(MARGIN, y - 52.0, PAGE_WIDTH - MARGIN, y - 52.0, FAINT, 2)
    _draw_remarks(page, spread, y - 52.0 - remarks_height(spread))
    page.notice(28, INK, MARGIN, y)
    x = MARGIN + page.measure(RESEARCH_USE_ONLY, 28, BOLD) + 70.0
    if any(one.needs_expert for one in spread.chromosomes):
        page.text("n %", x, y, 22, AMBER, BOLD)
        x += page.measure("n %", 22, BOLD) + 14.0
        page.text("class to be confirmed", x, y, 26, QUIET)
        x += page.measure("class to be confirmed", 26) + 50.0
    if any(one.polarity is Polarity.UNSURE for one in spread.chromosomes):
        draw_double_arrow(page, x + 6.0, y - 9.0)
        page.text("arms unsure", x + 26.0, y, 26, QUIET)
        x += 26.0 + page.measure("arms unsure", 26) + 50.0
    right = float(PAGE_WIDTH - MARGIN)
    if spread.pixel_size_um is not None:
        right = _draw_scale_bar(page, spread.pixel_size_um, scale, right, y) - 50.0
    if caption:
        page.text(caption, right, y, 26, QUIET, anchor=1.0)


def _draw_scale_bar(page: Page, pixel_size_um: float, scale: float, right: float, y: float) -> float:
    """Draw a bar of 5 µm (10 where that is short) that ends at `right`; gives its left end."""
    length_um = 5.0 if 5.0 * scale / pixel_size_um >= 60.0 else 10.0
    length = length_um * scale / pixel_size_um
    left = right - length
    page.line(left, y - 8.0, right, y - 8.0, INK, 4)
    for end in (left, right):
        page.line(end, y - 16.0, end, y, INK, 3)
    text = f"{length_um:.0f} µm"
    page.text(text, left - 16.0, y, 26, INK, anchor=1.0)
    return left - 16.0 - page.measure(text, 26)


def _draw_remarks(page: Page, spread: Spread, top: float) -> None:
    """The deviations, one a line; what does not fit the page's width or the list ends in an ellipsis."""
    shown = [deviation.words for deviation in spread.deviations]
    if len(shown) > _MOST_REMARKS:
        left_out = len(shown) - _MOST_REMARKS + 1
        shown = [*shown[: _MOST_REMARKS - 1], f"and {left_out} further deviations"]
    for line, words in enumerate(shown):
        y = top + (line + 0.75) * _REMARK_LINE
        page.text(_fitting(page, words, PAGE_WIDTH - 2 * MARGIN), MARGIN, y, _REMARK_SIZE, INK)


def _fitting(page: Page, words: str, width: float) -> str:
    """The words, cut off behind a whole word where they are wider than `width`."""
    if page.measure(words, _REMARK_SIZE) <= width:
        return words
    parts = words.split(" ")
    while len(parts) > 1 and page.measure(" ".join(parts) + " …", _REMARK_SIZE) > width:
        parts.pop()
    return " ".join(parts) + " …"
