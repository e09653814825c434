"""Curves, tables and the page of a made-up stress test."""

import csv
import json
import math

import numpy as np
import pytest

from musclemap_jax.eval.metrics import compute_metrics
from musclemap_jax.reporting.curves import AREA
from musclemap_jax.stress.page import panel
from musclemap_jax.stress.perturbations import PERTURBATIONS
from musclemap_jax.stress.robustness import Curve, Robustness, curves_of
from musclemap_jax.stress.run import write_outputs
from musclemap_jax.stress.tables import half_table, half_text, strength_table
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.html_pages import parse

EVIL = "<script>alert('1')</script>"


BLUR = PERTURBATIONS["blur"]


@pytest.fixture(scope="module")
def robustness(metrics, predictions):
    """Blur that reverses the model's scores of more and more clips, and leaves those of its branches as they are."""
    changed = {}
    for number, strength in enumerate(BLUR.strengths, 1):
        reversed_scores = {}
        for split, of_split in predictions.items():
            sign = np.where(np.arange(len(of_split.scores)) % 5 < number, -1, 1)[:, None]
            reversed_scores[split] = of_split._replace(scores=sign * of_split.scores)
        changed[strength] = compute_metrics(reversed_scores, MUSCLE_REGIONS)
    curves = tuple(curves_of("blur", "fused", metrics, changed))
    return Robustness("newest checkpoint, step 5", 3, {"test_known": 30, "test_new": 20}, (BLUR,), curves)


@pytest.fixture(scope="module")
def folder(robustness, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stress")
    write_outputs(folder, robustness, f"demo {EVIL}", ("commit 1234567", EVIL))
    return folder


def curve(*values, chance=0.2):
    strengths = tuple(float(number) for number in range(len(values)))
    return Curve("blur", "test_new", "video", strengths, values, (None,) * len(values), chance)


@pytest.mark.parametrize(
    ("values", "half", "text"),
    [
        ((0.8, 0.7, 0.3), 1.5, "1.5"),  # half of 0.6 above chance is lost at 0.5, halfway between 0.7 and 0.3
        ((0.8, 0.5, 0.9), 1.0, "1"),
        ((0.8, 0.8, 0.8), math.inf, "> 2"),
        ((0.2, 0.1, 0.1), math.nan, "–"),  # noqa: RUF001 - a dash is meant
        ((math.nan, math.nan, math.nan), math.nan, "–"),  # noqa: RUF001 - a dash is meant
    ],
)
def test_half_of_what_is_above_chance_is_lost_where_the_line_says(values, half, text):
    assert curve(*values).half_strength == pytest.approx(half, nan_ok=True)
    assert half_text(curve(*values)) == text


def test_curves_begin_with_the_clean_metrics(robustness, metrics):
    assert robustness.branches == ["fused", "video", "skeleton"]
    assert robustness.splits == list(metrics.headlines())
    for split, headline in metrics.headlines().items():
        of_model = robustness.curve("blur", split, "fused")
        assert (of_model.mean_ap[0], of_model.intervals[0]) == (headline.mean_ap, headline.interval)
        assert of_model.chance == headline.chance
        assert of_model.strengths == (0.0, *BLUR.strengths)
        of_branch = robustness.curve("blur", split, "skeleton").mean_ap
        assert set(of_branch) == {metrics.branches["skeleton"][split].mean_ap}


def test_json_and_csv_hold_every_number(robustness, folder):
    data = json.loads((folder / "stress.json").read_text())
    assert (data["seed"], data["num_clips"]) == (3, {"test_known": 30, "test_new": 20})
    blur = data["perturbations"]["blur"]
    assert (blur["strengths"], blur["modalities"]) == ([0.0, *BLUR.strengths], ["video"])
    of_json = {(each["split"], each["branch"]): each for each in blur["curves"]}
    with (folder / "stress.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == len(robustness.curves) * 5
    for row in rows:
        found = robustness.curve(row["perturbation"], row["split"], row["branch"])
        place = found.strengths.index(float(row["strength"]))
        assert float(row["mAP"]) == pytest.approx(found.mean_ap[place], abs=1e-6)
        assert float(row["low"]) == pytest.approx(found.intervals[place][0], abs=1e-6)
        assert of_json[found.split, found.branch]["mAP"][place] == found.mean_ap[place]
    half = of_json["test_new", "skeleton"]["half_strength"]
    assert half is None or math.isfinite(half)


def test_tables_have_a_row_for_each_strength_and_leave_out_means(robustness):
    lines = strength_table(robustness).splitlines()
    assert [[cell.strip() for cell in line.split("|")[1:3]] for line in lines[2:]] == [
        ["clean", ""],
        *(["blur", f"{strength}"] for strength in BLUR.strengths),
    ]
    assert "test_known fused" in lines[0]
    assert "mean" not in lines[0]
    assert half_table(robustness).splitlines()[2].count("|") == 2 + 1 + 2 * 3


def test_a_panel_draws_curves_intervals_and_chance_where_they_belong(robustness):
    left, top, right, bottom = AREA
    drawn = panel(robustness, BLUR, "test_known")
    assert [each.name for each in drawn.curves] == ["fused", "video", "skeleton", "chance"]
    found = robustness.curve("blur", "test_known", "fused")
    height = bottom - found.mean_ap[0] * (bottom - top)
    assert drawn.curves[0].path.startswith(f"M{left:.1f} {height:.1f}L")
    low, high = (bottom - value * (bottom - top) for value in found.intervals[0])
    assert drawn.curves[0].pale.startswith(f"M{left:.1f} {low:.1f}V{high:.1f}")
    chance = bottom - found.chance * (bottom - top)
    assert drawn.curves[3].path == f"M{left:.1f} {chance:.1f}L{right:.1f} {chance:.1f}"
    assert [text for _, text in drawn.steps] == ["0", "2", "4", "8", "16"]


def test_the_page_is_self_contained_escaped_and_complete(folder):
    page = parse(folder / "stress.html")
    text = "".join(page.text)
    assert EVIL in text
    assert EVIL not in (folder / "stress.html").read_text()
    assert BLUR.description in text
    elements = {tag for tag, _ in page.elements}
    assert not elements & {"script", "link", "img"}
    policies = [each["content"] for tag, each in page.elements if tag == "meta" and "http-equiv" in each]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    sections = {"summary", "blur", "run"}
    assert {each["id"] for _, each in page.elements if "id" in each} == sections
    links = {each["href"] for tag, each in page.elements if tag == "a"}
    assert links == {f"#{name}" for name in sections} | {"stress.json", "stress.csv"}
