"""Figures are well-formed SVG that says what the numbers say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import pytest

from obsvty.notebook.figures import edges_figure, latency_figure

_SVG = "{http://www.w3.org/2000/svg}"


def test_each_request_is_a_dot_and_the_medians_are_told() -> None:
    points = [(1_000_000_000 * i, 100.0 if i < 5 else 400.0) for i in range(10)]
    figure = latency_figure(points, change_ns=5_000_000_000, label="POST /pay", deployed="1.0 -> 1.1")
    tree = ET.fromstring(figure.svg)
    assert len(tree.findall(f".//{_SVG}circle")) == 10
    texts = [t.text for t in tree.iter(f"{_SVG}text")]
    assert {"p50 100 ms", "p50 400 ms", "1.0 -> 1.1"} <= set(texts)
    assert (
        figure.alt
        == "Latency of POST /pay, ms per request (UTC): p50 100 ms before, 400 ms after (10 requests)"
    )


def test_no_request_is_a_figure_too() -> None:
    assert latency_figure([], change_ns=0).alt == "no requests"


def test_the_bars_are_as_long_as_the_times(story: SimpleNamespace) -> None:
    tree = ET.fromstring(edges_figure(story.DIFF).svg)
    bars: dict[str, float] = {}
    for rect in tree.findall(f"{_SVG}rect"):
        if rect.get("height") == "30.0":
            bars[rect.get("y", "")] = bars.get(rect.get("y", ""), 0) + float(rect.get("width", "0"))
    before, after = (bars[y] for y in sorted(bars, key=float))
    assert after / before == pytest.approx(4.0, rel=0.01)


def test_a_name_cannot_bring_markup_into_the_picture(story: SimpleNamespace) -> None:
    edge = replace(story.DIFF.edges[0], edge=story.HOSTILE)
    figure = edges_figure(replace(story.DIFF, operation=story.HOSTILE, edges=(edge,)))
    tree = ET.fromstring(figure.svg)
    assert {node.tag.removeprefix(_SVG) for node in tree.iter()} <= {"svg", "title", "rect", "text", "line"}
    assert not re.search(r"href|<script|<image", figure.svg)
    forms = figure._repr_mimebundle_()
    assert set(forms) == {"image/svg+xml", "text/plain", "text/markdown"}
