"""The report: self-contained, escaped, complete, and well-formed."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.eval.metrics import Metrics, compute_metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.statistics import data_statistics
from musclemap_jax.reporting import report
from musclemap_jax.reporting.examples import Example
from musclemap_jax.reporting.formatting import decimal, percent
from musclemap_jax.reporting.tables import MACRO_ROW
from musclemap_jax.storage.scalars import Series
from musclemap_jax.taxonomy import MUSCLE_REGIONS, NUM_REGIONS
from tests.html_pages import Page, parse

EVIL = "<script>alert('1')</script> & \"squat\""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The page's content security policy: it may load nothing from outside and run nothing."""
RUN = report.RunInfo(
    title=f"transm3e {EVIL}",
    command=f"python -m musclemap_jax.main {EVIL}",
    config=f"name: {EVIL}",
    parameters={"video": 1_200_000, "skeleton": 345},
    times_s={"training": 125.0, EVIL: 3.0},
    versions={"jax": "0.10.2"},
    facts={"devices": EVIL},
    note=EVIL,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, metrics, predictions):
    folder = tmp_path_factory.mktemp("run") / "report"
    truth = np.zeros(NUM_REGIONS)
    truth[[1, 4]] = 1
    example = Example("test_new", EVIL, EVIL, truth, np.linspace(0, 1, NUM_REGIONS), np.zeros((2, 8, 8, 3), np.uint8))
    path = report.write_report(
        folder,
        metrics,
        RUN,
        scalars={"train/loss": Series(np.arange(3), np.array([1.0, 0.5, 0.25]))},
        statistics=data_statistics([("train", EVIL, (0, 1)), ("test_new", "lunge", (2,))], MUSCLE_REGIONS),
        examples=[example],
        predictions={"test_new": predictions["test_new"]},
    )
    assert path == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def parsed(folder) -> Page:
    return parse(folder / "report.html")


def test_all_files_are_written(folder, metrics):
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "report.html",
        "metrics.json",
        "per_muscle.csv",
        "plots/per_region_ap_test.png",
        "plots/per_region_ap_val.png",
        "plots/training_curves.png",
        "plots/data_statistics.png",
        "predictions/predictions_test_new.csv",
        "predictions/predictions_test_new.npz",
    }
    assert Metrics.from_json((folder / "metrics.json").read_text()).to_json() == metrics.to_json()


def check_is_inert(path, parsed: Page) -> None:
    """Checks that a page runs nothing and loads nothing."""
    assert "script" not in {tag for tag, _ in parsed.elements}
    for tag, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r"(https?:|url\(|@import)", text)
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in parsed.elements


def test_page_refers_to_nothing_outside(folder, parsed):
    check_is_inert(folder / "report.html", parsed)


def test_links_lead_to_sections(parsed):
    anchors = {attributes["id"] for tag, attributes in parsed.elements if tag == "section"}
    links = {attributes["href"] for tag, attributes in parsed.elements if tag == "a"}
    assert links == {f"#{anchor}" for anchor in anchors}
    assert anchors == {"results", "regions", "examples", "training", "data", "run"}


def test_every_text_of_a_user_is_escaped_and_still_there(parsed):
    text = "".join(parsed.text)
    # Title twice (tab and heading), note, activity, clip id, command, config, a fact and a time.
    assert text.count(EVIL) == 9


def test_templates_do_not_bypass_escaping():
    for path in Path(report.__file__).parent.glob("*.html"):
        assert not re.search(r"\bsafe\b|autoescape (true|false)|Markup", path.read_text(encoding="utf-8"))


def test_page_shows_the_metrics(parsed, metrics):
    text = "".join(parsed.text)
    for headline in metrics.headlines().values():
        assert f"{100 * headline.mean_ap:.1f}" in text
        assert f"{100 * headline.all_ones_floor:.1f}" in text
    for headline in metrics.branches["video"].values():
        assert f"{100 * headline.mean_ap:.1f}" in text
    assert "video and skeleton: the branch's own mAP" in text
    assert f"No clip of test_new shows {MUSCLE_REGIONS[7]}" in text
    assert "1,200,345" in text
    assert "2 min 05 s" in text


def test_images_have_content_and_a_description(parsed):
    images = [attributes for tag, attributes in parsed.elements if tag == "img"]
    assert len(images) == 5
    for attributes in images:
        data = base64.b64decode(attributes["src"].partition("base64,")[2])
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.width >= 1000
        assert len(attributes["alt"]) > 20
    charts = [base64.b64decode(attributes["src"].partition("base64,")[2]) for attributes in images[:2]]
    for chart in charts:
        assert np.asarray(Image.open(io.BytesIO(chart)).convert("L")).std() > 20


def test_example_marks_truth_and_orders_by_probability(parsed):
    text = "".join(parsed.text)
    names = re.findall(r"(?:● )?(" + "|".join(MUSCLE_REGIONS) + r")(?=\d+ %)", text)
    assert names == list(MUSCLE_REGIONS[::-1])
    assert set(re.findall(r"● (" + "|".join(MUSCLE_REGIONS) + ")", text)) == {MUSCLE_REGIONS[1], MUSCLE_REGIONS[4]}


def test_sections_without_content_are_left_out(tmp_path, predictions):
    metrics = compute_metrics({"val_known": predictions["val_known"]}, MUSCLE_REGIONS)
    page = parse(report.write_report(tmp_path, metrics, report.RunInfo("bare")))
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections == ["results", "regions", "run"]
    assert sorted(file.name for file in (tmp_path / "plots").iterdir()) == ["per_region_ap_val.png"]


def test_labels_of_the_data_set_name_everything(tmp_path):
    regions = (f"leg {EVIL}", r"$\frac{arm$", "torso")
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8)
    scores = np.arange(9, dtype=np.float32).reshape(3, 3)
    predictions = {split: SplitPredictions(scores, labels, ["a", "b", "c"]) for split in ("test_known", "test_new")}
    background = Example(
        "test_new", "c", "standing", labels[2], np.array([0.1, 0.5, 0.2]), np.zeros((1, 8, 8, 3), np.uint8)
    )
    path = report.write_report(
        tmp_path,
        compute_metrics(predictions, regions),
        report.RunInfo("own labels"),
        statistics=data_statistics([("train", "standing", ()), ("test_new", "lunge", (0,))], regions),
        examples=[background],
        predictions=predictions,
    )
    page = parse(path)
    check_is_inert(path, page)
    text = "".join(page.text)
    # A row of the table and a bar of the example; the absent region also in a remark on each split.
    assert [text.count(region) for region in regions] == [2, 2, 2 + 2]
    assert "Active regions: none" in text
    assert MUSCLE_REGIONS[0] not in text
    assert json.loads((tmp_path / "metrics.json").read_text())["regions"] == list(regions)
    with (tmp_path / "per_muscle.csv").open(newline="") as file:
        assert [row["region"] for row in csv.DictReader(file)] == [*regions, MACRO_ROW]
    with np.load(tmp_path / "predictions" / "predictions_test_new.npz") as stored:
        assert stored["regions"].tolist() == list(regions)


def test_decisions_have_a_section(tmp_path, metrics, decision_metrics):
    with_decisions = dataclasses.replace(metrics, decisions=decision_metrics)
    path = report.write_report(tmp_path, with_decisions, report.RunInfo("bare"))
    page = parse(path)
    check_is_inert(path, page)
    assert "decisions" in [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert ("a", {"href": "#decisions"}) in page.elements
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert decision_metrics.rule in text
    for name, of_clips in decision_metrics.coverage.items():
        row = [percent(of_clips.named.recall), percent(of_clips.named.precision), decimal(of_clips.named.mean_regions)]
        assert f"{name}{of_clips.num_activities}{of_clips.num_clips} {''.join(row)}" in text
    for split, (before, after) in decision_metrics.calibration_error.items():
        assert f"{split}{percent(before)}{percent(after)}" in text
    assert Metrics.from_json((tmp_path / "metrics.json").read_text()).decisions == decision_metrics


def test_a_split_of_background_clips_only_has_a_report_too(tmp_path):
    nothing = SplitPredictions(np.zeros((3, NUM_REGIONS)), np.zeros((3, NUM_REGIONS), int), ["a", "b", "c"])
    metrics = compute_metrics({"test_new": nothing}, MUSCLE_REGIONS)
    path = report.write_report(tmp_path, metrics, report.RunInfo("bare"))
    text = path.read_text(encoding="utf-8")
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)
    assert "No clip of test_new shows" in text
