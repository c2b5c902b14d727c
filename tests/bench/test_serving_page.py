from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.performance import DOCUMENT, document, found
from bench.report import Row, Target, publish
from bench.serving.contenders import INSTANCES
from bench.serving.page import BEGIN, END, headline, section, with_headline

TITLE = "YOLO11n, uint8 tensor"
BARE = f"{TITLE}: throughput of ours, TCP / bare engine, 16 clients"
PEER = f"{TITLE}: throughput of ours, TCP / best peer (PyTriton), 16 clients"


@pytest.fixture
def serving(tmp_path: Path) -> dict[str, Any]:
    rows = [
        Row(BARE, 0.9, "", 3, 0.89, 0.91, Target(0.95, at_most=False)),
        Row(PEER, 1.25, "", 1, 1.25, 1.25, Target(1.0, at_most=False)),
    ]
    cell = {
        "payload": "uint8",
        "contender": "ours-tcp",
        "clients": 16,
        "n": 200,
        "p50_ms": 1.0,
        "p95_ms": 2.0,
        "p99_ms": 3.0,
        "per_second": 50.0,
        "server_cpu_ms": 4.0,
        "resident_mb": 321.0,
    }
    details = {
        "cells": [cell],
        "absent": {"uint8": {"ray": "no wheel for this Python"}},
        "instances_of_each_peer": INSTANCES,
    }
    tree: dict[str, Any] = json.loads(publish("serving", rows, {}, tmp_path, details).read_text())
    return tree


def test_the_page_says_what_was_met_missed_and_not_measured(serving: dict[str, Any]) -> None:
    text = section(serving)

    assert f"| {BARE} | 0.90 | 0.89 … 0.91 | at least 0.95: **missed** |" in text
    assert "better in 1 of 1 comparisons" in text
    assert "| ours, TCP | 16 | 1.0 | 2.0 | 3.0 | 50.0 | 4.0 | 321 | 200 |" in text
    assert "Not measured: Ray Serve: no wheel for this Python." in text
    assert text in document({"serving": serving})


def test_the_readme_gets_two_ratios(serving: dict[str, Any]) -> None:
    text = with_headline(f"before\n{BEGIN}\nold\n{END}\nafter\n", headline(serving))

    assert "old" not in text
    assert "| throughput of ours, TCP / bare engine, 16 clients | 0.90 × |" in text
    assert "| throughput of ours, TCP / best peer (PyTriton), 16 clients | 1.25 × |" in text
    assert text.endswith(f"{END}\nafter\n")


def test_a_readme_without_the_place_is_refused() -> None:
    with pytest.raises(ValueError, match="expected <!-- serving"):
        with_headline("nothing here", "text")


def test_the_page_in_the_repository_shows_the_results_in_the_repository() -> None:
    results = found()
    if "serving" not in results:
        pytest.skip("nothing was measured yet")
    assert section(results["serving"]) in DOCUMENT.read_text()
