"""The pages that `lenswatch evaluate` and `lenswatch compare` write, opened from a disk without network."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from lenswatch.evaluate.compare import compare, html_report
from lenswatch.evaluate.protocol import Outcome, Plan, Trial, figures
from lenswatch.evaluate.report import html_page

PLAN = Plan()
WIDTHS = (360, 800, 1400)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both pages, of made-up figures."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("reports")
    clean = rng.normal(size=(90, 32))
    samples = {name: rng.normal(k, 1, (60, 32)) for k, name in enumerate(("reef", "harbour" * 8))}
    compared = html_report([(name, compare(clean, each)) for name, each in samples.items()])
    outcomes = [outcome(rng, name) for name in ("lenswatch", "independent MMD", "KS")]
    evaluated = html_page([figures([o], PLAN) for o in outcomes], outcomes)
    for name, page in (("compare", compared), ("evaluate", evaluated)):
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


def outcome(rng: np.random.Generator, name: str) -> Outcome:
    modes = ("sudden 1", "sudden 3", "ramp to 5")
    trials = [
        Trial(corruption, mode, 24, tuple(rng.normal(size=100)))
        for corruption in PLAN.corruptions
        for mode in modes
    ]
    return Outcome(name, "reef", 2.0, tuple(rng.normal(size=150)), tuple(trials))


@pytest.mark.parametrize(("name", "plots"), [("compare", 1), ("evaluate", 4)])
def test_a_report_is_readable_offline_on_any_width(
    reports: Path, page: Page, name: str, plots: int
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto((reports / f"{name}.html").as_uri())
        expect(page.locator(".main-svg .xtitle").last).to_be_visible()
        drawn = page.locator(".js-plotly-plot")
        expect(drawn).to_have_count(plots)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for i in range(plots):
            box = drawn.nth(i).bounding_box()
            inner = drawn.nth(i).locator(".main-svg").first.bounding_box()
            assert box
            assert inner
            assert box["x"] + box["width"] <= width
            assert inner["width"] == pytest.approx(box["width"], abs=2)
    assert all(url.startswith("file:") for url in asked)


def test_a_report_says_what_its_tables_show(reports: Path, page: Page) -> None:
    page.goto((reports / "evaluate.html").as_uri())
    expect(page.get_by_role("table")).to_have_count(5)
    expect(page.get_by_role("table", name="At the detectors' own thresholds")).to_contain_text("KS")
    expect(page.get_by_text(re.compile("asked for one false alarm in 200 images"))).to_be_visible()
