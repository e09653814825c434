"""The report: self-contained, escaped, complete, and well-formed."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import itertools
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
from musclemap_jax.reporting.verdict import verdict
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
    num_sessions=2,
    versions={"jax": "0.10.2"},
    facts={"devices": EVIL},
    identity=("commit 1234567", EVIL),
    files={"../config.json": EVIL},
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
        "per_activity.csv",
        "per_muscle.csv",
        "plots/per_region_ap_test.png",
        "plots/per_region_ap_val.png",
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
        assert not re.match(r"/|[a-z]+:", attributes.get("href", "#"))
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r"(https?:|url\(|@import)", text)
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in parsed.elements


def test_page_refers_to_nothing_outside(folder, parsed):
    check_is_inert(folder / "report.html", parsed)


def test_links_lead_to_sections_and_files(parsed, folder):
    anchors = {attributes["id"] for tag, attributes in parsed.elements if tag == "section"}
    links = {attributes["href"] for tag, attributes in parsed.elements if tag == "a"}
    assert {link for link in links if link.startswith("#")} == {f"#{anchor}" for anchor in anchors}
    assert anchors == {"results", "activities", "regions", "examples", "training", "data", "run", "files"}
    files = {link for link in links if not link.startswith("#")}
    assert "../config.json" in files
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in {".json", ".csv", ".png"}}
    assert files == written | {"../config.json"}


def test_every_text_of_a_user_is_escaped_and_still_there(parsed):
    text = "".join(parsed.text)
    # Title and identity twice each (tab and heading), activity, clip id, command, config, a fact, a time and a file.
    assert text.count(EVIL) == 11


def test_templates_do_not_bypass_escaping():
    for path in Path(report.__file__).parent.glob("*.html"):
        assert not re.search(r"\bsafe\b|autoescape (true|false)|Markup", path.read_text(encoding="utf-8"))


def test_page_shows_the_metrics(parsed, metrics):
    text = "".join(parsed.text)
    for headline in metrics.headlines().values():
        assert f"{100 * headline.mean_ap:.1f}" in text
        assert f"{100 * headline.all_ones_floor:.1f}" in text
        low, high = headline.interval
        assert f"{100 * low:.1f} to {100 * high:.1f}" in text
    for headline in metrics.branches["video"].values():
        assert f"{100 * headline.mean_ap:.1f}" in text
    assert "skeleton alone" in text
    assert verdict(metrics) in text
    assert "Time, over 2 sessions" in text
    assert f"No clip of test_new shows {MUSCLE_REGIONS[7]}" in text
    assert "1,200,345" in text
    assert "2 min 05 s" in text


def test_images_have_content_and_a_description(parsed):
    (image,) = [attributes for tag, attributes in parsed.elements if tag == "img"]
    data = base64.b64decode(image["src"].partition("base64,")[2])
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width >= 1000
    assert len(image["alt"]) > 20
    drawings = [attributes for tag, attributes in parsed.elements if tag == "svg"]
    (curve,) = [attributes for attributes in drawings if attributes.get("aria-hidden") != "true"]
    assert curve["aria-label"] == "train/loss: train/loss from 1 at step 0 to 0.25 at step 2"


def test_what_is_not_above_chance_is_marked_and_marks_are_beside_numbers(parsed, metrics):
    """Each meter is empty of text, so no number covers a mark; cells not above the stronger floor have a sign."""
    assert "".join(parsed.text_of("meter")).strip() == ""
    weak = [attributes for tag, attributes in parsed.elements if tag == "td" and "weak" in attributes.get("class", "")]
    expected = sum(
        value <= floor
        for of_split in metrics.splits.values()
        for value, floor in zip(of_split.average_precision, of_split.random_floor, strict=True)
    )
    assert len(weak) == expected > 0
    in_table = "".join(parsed.text_of("score"))
    assert in_table.count("▼") == expected
    # The branches of the made-up evaluation are no better than chance.
    assert "".join(parsed.text_of("pairs")).count("▼") == 2 * len(metrics.headlines())


def test_activities_are_listed_new_ones_first_with_the_regions_missed(parsed, metrics):
    text = "".join(parsed.text)
    captions = [
        f"5 activities of {split}, the worst first." for split in ("test_new", "val_new", "test_known", "val_known")
    ]
    places = [text.index(caption) for caption in captions]
    assert places == sorted(places)
    table = re.sub(r"\s+", " ", text[places[0] : places[1]])
    for row in metrics.splits["test_new"].activities:
        missed = f"{', '.join(row.missed)} ({len(row.missed)} of {len(row.regions)})"
        assert f"{row.activity} 4 clips {percent(row.clip_ap)} {missed} {', '.join(row.in_their_place)}" in table


def test_without_activities_the_page_says_so(tmp_path, predictions):
    unknown = {split: of_split._replace(activities=()) for split, of_split in predictions.items()}
    page = parse(report.write_report(tmp_path, compute_metrics(unknown, MUSCLE_REGIONS), report.RunInfo("bare")))
    text = "".join(page.text)
    assert "The clips' activities are not known, so there are no intervals and no table by activity." in text
    assert "activities" not in [attributes.get("id") for tag, attributes in page.elements if tag == "section"]
    assert (tmp_path / "per_activity.csv").read_text().count("\n") == 1


def test_the_first_curves_are_shown_and_the_rest_is_folded(tmp_path, metrics):
    steps = np.arange(3)
    scalars = {
        f"train/{name}": Series(steps, steps + 1.0) for name in ("loss", "skipped", "learning_rate", "a", "b", "c")
    }
    page = parse(report.write_report(tmp_path, metrics, report.RunInfo("bare"), scalars=scalars))
    labels = [attributes["aria-label"].split(":")[0] for tag, attributes in page.elements if "aria-label" in attributes]
    assert labels[1:] == [f"train/{name}" for name in ("loss", "learning_rate", "a", "b", "c", "skipped")]
    assert "1 more" in page.text_of("", tag="summary")


def test_the_page_has_the_structure_that_keyboards_and_screen_readers_need(folder, parsed):
    """What axe-core checks in a browser, as far as it can be read from the page."""
    elements = parsed.elements
    assert ("html", {"lang": "en"}) in elements
    for landmark in ("header", "nav", "main", "footer", "h1", "title"):
        assert sum(tag == landmark for tag, _ in elements) == 1
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in elements:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or (attributes["role"], bool(attributes["aria-label"])) == (
                "img",
                True,
            )
        assert "tabindex" not in attributes
    # Nothing scrolls sideways, so nothing is cut off and no part needs a focus of its own to be scrolled.
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"overflow(-x)?: *(auto|scroll|hidden)", text)
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_of_wcag_aa(scheme):
    sheets = "".join(
        (Path(report.__file__).parent / name).read_text() for name in ("colours.css", "base.css", "report.css")
    )
    dark = re.findall(r"@media screen and \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", sheets, re.DOTALL)
    light = re.findall(r"^:root \{(.*?)^\}", sheets, re.DOTALL | re.MULTILINE)
    blocks = light if scheme == "light" else light + dark
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", "".join(blocks)))

    def contrast(one, other):
        bright, dim = sorted((_luminance(colours.get(name, name)) for name in (one, other)), reverse=True)
        return (bright + 0.05) / (dim + 0.05)

    for text in ("ink", "soft", "link", "known", "new", "mean"):
        assert contrast(text, "surface") >= 4.5, text
    for text, ground in [
        ("ink", "weak"),
        ("soft", "weak"),
        ("ink", "ground"),
        ("soft", "ground"),
        ("#fff", "header"),
        ("#d9e2ec", "header"),
    ]:
        assert contrast(text, ground) >= 4.5, (text, ground)
    for drawn in ("known", "new", "mean", *(f"c{i}" for i in range(8))):
        assert contrast(drawn, "surface") >= 3, drawn


def test_example_marks_truth_and_orders_by_probability(parsed):
    text = "".join(parsed.text)
    names = re.findall(r"(?:● )?(" + "|".join(MUSCLE_REGIONS) + r")(?=\d+ %)", text)
    assert names == list(MUSCLE_REGIONS[::-1])
    assert set(re.findall(r"● (" + "|".join(MUSCLE_REGIONS) + ")", text)) == {MUSCLE_REGIONS[1], MUSCLE_REGIONS[4]}


def test_sections_without_content_are_left_out(tmp_path, predictions):
    metrics = compute_metrics({"val_known": predictions["val_known"]}, MUSCLE_REGIONS)
    page = parse(report.write_report(tmp_path, metrics, report.RunInfo("bare")))
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections == ["results", "activities", "regions", "run", "files"]
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
    # A row of a table, of the data and a bar of the example; remarks on each split name what is absent or at chance.
    assert [text.count(region) for region in regions] == [3 + 2, 3 + 2, 3 + 2]
    assert "Active regions: none" in text
    assert MUSCLE_REGIONS[0] not in text
    assert json.loads((tmp_path / "metrics.json").read_text())["regions"] == list(regions)
    with (tmp_path / "per_muscle.csv").open(newline="") as file:
        assert [row["region"] for row in csv.DictReader(file)] == [*regions, MACRO_ROW]
    with np.load(tmp_path / "predictions" / "predictions_test_new.npz") as stored:
        assert stored["regions"].tolist() == list(regions)


def test_cards_show_baselines_beside_the_model_and_say_what_was_ranked(tmp_path, predictions):
    known = {"linear_joints": predictions["test_known"].scores + 1, "activity_lookup": predictions["test_known"].labels}
    of_new = predictions["test_new"]
    compared = {
        "test_known": predictions["test_known"]._replace(baseline_scores=known),
        "test_new": of_new._replace(baseline_scores={"linear_joints": -of_new.scores}),
    }
    metrics = compute_metrics(compared, MUSCLE_REGIONS, ("softmax", "logits"), ["Something is missing."])
    path = report.write_report(tmp_path, metrics, report.RunInfo("bare"))
    page = parse(path)
    check_is_inert(path, page)
    text = re.sub(r"\s+", " ", "".join(page.text))
    for name in ("test_known", "test_new", "test_mean"):
        beside = metrics.baselines["linear_joints"][name]
        interval = " to ".join(f"{100 * end:+.1f}" for end in beside.above.interval)
        shown = f"linear model on joints{percent(beside.headline.mean_ap)} (model {100 * beside.above.mean_ap:+.1f}"
        assert f"{shown}, {interval}){'' if beside.above.is_clear else ' ▼'}" in text
        assert f"on logits{percent(metrics.other_scores['logits'][name].mean_ap)}" in text
    assert text.count("activity lookup100.0 (model ") == 1  # not on new activities, and never marked
    assert "Clips are ranked by a softmax over the regions" in text
    assert "; mAP on logits is given beside it." in text
    assert "Something is missing." in text


def test_without_baselines_the_page_explains_none(parsed):
    text = "".join(parsed.text)
    assert "Clips are ranked by their logits, averaged over views." in text
    assert "linear model" not in text


def test_decisions_have_a_section(tmp_path, metrics, decision_metrics):
    with_decisions = dataclasses.replace(metrics, decisions=decision_metrics)
    path = report.write_report(tmp_path, with_decisions, report.RunInfo("bare"))
    page = parse(path)
    check_is_inert(path, page)
    assert "decisions" in [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert ("a", {"href": "#decisions"}) in page.elements
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert decision_metrics.rule in text
    columns = decision_metrics.coverage.values()
    for title, values in {
        "activities": [str(of_clips.num_activities) for of_clips in columns],
        "clips": [str(of_clips.num_clips) for of_clips in columns],
        "recall": [percent(of_clips.named.recall) for of_clips in columns],
        "precision": [percent(of_clips.named.precision) for of_clips in columns],
        "regions named": [decimal(of_clips.named.mean_regions) for of_clips in columns],
    }.items():
        assert f" {title} {' '.join(values)} " in text
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
