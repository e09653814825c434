"""The page of a study: complete, well-formed, without external content, and with its plots in words."""

from __future__ import annotations

import dataclasses
import math
from xml.etree import ElementTree

import pytest

from musclemap_jax.eval.predictions import FUSED
from musclemap_jax.study.comparison import compare
from musclemap_jax.study.page import render_page, render_plot
from musclemap_jax.study.plots import WIDTH, difference_plots, score_plots
from musclemap_jax.study.study import Row
from tests.html_pages import parse


@pytest.fixture(scope="module")
def page(made_up, comparison, tmp_path_factory):
    """The parsed page of the made-up study, and its text."""
    _, runs, results = made_up
    path = tmp_path_factory.mktemp("page") / "study.html"
    path.write_text(render_page(comparison, runs, results), encoding="utf-8")
    return parse(path), path.read_text(encoding="utf-8")


def test_the_page_has_tables_plots_and_commands(page):
    parsed, text = page
    assert "Study made_up" in text
    assert "4 of 4 runs · seeds 0, 1 · " in text
    assert "91.7\u00a0±\u00a011.8" in text
    captions = parsed.text_of("", "figcaption")
    assert captions == ["mAP, val, %", "Difference from worse, val, points"] * 2
    assert sum(tag == "circle" and attributes["class"] == "dot new" for tag, attributes in parsed.elements) == 8
    assert "optimizer.learning_rate = 0.002" in text
    assert "python -m musclemap_jax.main --config=hdgcn:smoke --config.optimizer.learning_rate=0.002" in text
    assert "val_new 83.3 · " in text


def test_the_page_is_one_file(page):
    parsed, text = page
    assert "<script" not in text
    sources = [attributes.get("src") or attributes.get("href") for _, attributes in parsed.elements]
    assert not [source for source in sources if source]
    assert "default-src 'none'" in text


def test_texts_of_a_study_are_escaped(made_up):
    study, runs, results = made_up
    evil = "<script>alert(1)</script>"
    rows = study.rows | {"worse": Row("hdgcn:smoke", study.rows["worse"].overrides, about=evil)}
    study = dataclasses.replace(study, summary=evil, rows=rows)
    text = render_page(compare(study, results), runs, results)
    assert evil not in text
    assert text.count("&lt;script&gt;alert(1)") == 2


def test_a_study_without_results_has_a_page(made_up):
    study, runs, _ = made_up
    text = render_page(compare(study, []), runs, [])
    assert "No run is finished yet." in text
    assert "0 of 4 runs" in text
    assert text.count("no result yet<pre>") == 4


def test_a_plot_of_scores_is_to_scale(comparison):
    (plot,) = score_plots(comparison, FUSED)
    better, worse = plot.lanes
    # 50 % and 100 % are the extremes, with a margin of 6 % at each end.
    scale = (WIDTH - 12 - plot.left) / (1.12 * 0.5)
    start = plot.left + 0.06 * 0.5 * scale
    assert worse.dots == pytest.approx((start, start))
    assert better.dots == pytest.approx((start + 0.5 * scale, start + (5 / 6 - 0.5) * scale))
    assert better.mean == pytest.approx(start + (11 / 12 - 0.5) * scale)
    assert math.isnan(better.low)
    assert math.isnan(plot.zero)
    assert 8 < better.height < worse.height < plot.bottom < plot.height
    assert [name for _, name in plot.labels] == ["better", "worse"]
    assert plot.description == "mAP, val, %. better: val_new 91.7 ± 11.8; worse: val_new 50.0 ± 0.0"
    assert {"60", "75", "90"} <= {text for _, text in plot.ticks}


def test_a_plot_of_differences_has_zero_and_the_interval(comparison):
    (plot,) = difference_plots(comparison, FUSED)
    (lane,) = plot.lanes
    assert plot.left < plot.zero < lane.low < lane.mean < lane.high < WIDTH
    assert lane.dots == ()
    found = comparison.rows[0].differences[FUSED]["val_new"]
    per_point = (lane.mean - plot.zero) / found.mean
    assert lane.low == pytest.approx(plot.zero + found.interval[0] * per_point)
    assert difference_plots(comparison, "video") == []


def test_a_plot_is_a_file_of_its_own(comparison):
    (plot,) = difference_plots(comparison, FUSED)
    root = ElementTree.fromstring(render_plot(plot))
    namespace = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{namespace}svg"
    texts = [element.text for element in root.iter(f"{namespace}text")]
    assert {plot.title, "known activities", *(name for _, name in plot.labels)} <= set(texts)
    assert "var(--known)" in root.find(f"{namespace}style").text
    assert plot.name == "val_difference"
