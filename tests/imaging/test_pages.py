from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image as Picture

from appliance import RESEARCH_USE_ONLY
from appliance.imaging.drawing import AMBER, BOLD, QUIET, Canvas
from appliance.imaging.page import PAGE_DPI, Page, ink_picture
from appliance.imaging.pdf_page import PdfPage
from appliance.imaging.svg_page import SvgPage

SVG = "{http://www.w3.org/2000/svg}"
SPRITE = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (20, 1))


def draw(page: Page) -> None:
    page.text("46,XX <&> µm", 100.0, 80.0, 40, anchor=1.0)
    page.line(10.0, 20.0, 200.0, 20.0, QUIET, 3)
    page.dashed_box(30.0, 100.0, 50.0, 60.0, AMBER)
    page.print_on(SPRITE, 120, 130)
    page.notice(20, AMBER, 10.0, 190.0)


def test_svg_is_well_formed_and_keeps_text_as_text() -> None:
    page = SvgPage(300, 200, "A <title>")
    draw(page)
    root = ET.fromstring(page.file().decode())
    assert root.get("viewBox") == "0 0 300 200"
    assert root.get("width") == f"{300 * 25.4 / PAGE_DPI:.2f}mm"
    texts = {each.text: each for each in root.iter(f"{SVG}text")}
    assert {"46,XX <&> µm", RESEARCH_USE_ONLY} == set(texts)
    width = page.measure("46,XX <&> µm", 40)
    assert float(texts["46,XX <&> µm"].get("x", "")) == pytest.approx(100.0 - width, abs=0.1)
    assert texts["46,XX <&> µm"].get("textLength") == str(width)
    assert texts[RESEARCH_USE_ONLY].get("font-weight") == str(BOLD)
    assert root.findtext(f"{SVG}title") == "A <title>"
    assert root.findtext(f"{SVG}desc") == RESEARCH_USE_ONLY


def test_svg_embeds_pictures_as_ink() -> None:
    page = SvgPage(300, 200, "ink")
    draw(page)
    image = next(ET.fromstring(page.file().decode()).iter(f"{SVG}image"))
    data = base64.b64decode((image.get("href") or "").partition(",")[2])
    picture = Picture.open(io.BytesIO(data))
    assert picture.size == (30, 20)
    paper = Picture.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture.convert("RGBA"))
    assert np.abs(np.asarray(paper.convert("L")).astype(int) - SPRITE).max() <= 1


def test_pdf_is_the_same_every_time_and_names_no_machine() -> None:
    files = []
    for _ in range(2):
        page = PdfPage(300, 200, "Karyogram")
        draw(page)
        files.append(page.file())
    assert files[0] == files[1]
    assert files[0].startswith(b"%PDF-")
    assert files[0].rstrip().endswith(b"%%EOF")
    assert b"Helvetica-Bold" in files[0]
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", files[0])
    assert box is not None
    assert float(box[1]) == pytest.approx(300 * 72 / PAGE_DPI, abs=0.01)
    assert b"/SMask" in files[0]


def test_all_pages_measure_alike() -> None:
    pages: tuple[Page, ...] = (Canvas.blank(10, 10), SvgPage(10, 10, ""), PdfPage(10, 10, ""))
    assert len({page.measure("Karyogram 46,XY", 33, BOLD) for page in pages}) == 1


def test_ink_over_white_is_the_picture() -> None:
    ink = ink_picture(SPRITE).astype(float)
    assert np.allclose(ink[..., :3] * ink[..., 3:] / 255 + 255 * (1 - ink[..., 3:] / 255), SPRITE[..., None])
