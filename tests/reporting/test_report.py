"""The report: self-contained, escaped, complete, and well-formed."""

from __future__ import annotations

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.eval.metrics import Metrics, compute_metrics
from musclemap_jax.eval.statistics import data_statistics
from musclemap_jax.reporting import report, report_html, report_sections
from musclemap_jax.reporting.examples import Example
from musclemap_jax.storage.scalars import Series
from musclemap_jax.taxonomy import MUSCLE_REGIONS, NUM_REGIONS

EVIL = "<script>alert('1')</script> & \"squat\""
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


class Page(html.parser.HTMLParser):
    """Collects elements, attributes and text; checks that tags are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


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
        statistics=data_statistics([("train", EVIL, (0, 1)), ("test_new", "lunge", (2,))]),
        examples=[example],
        predictions={"test_new": predictions["test_new"]},
    )
    assert path == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def parsed(folder) -> Page:
    page = Page()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


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


def test_page_refers_to_nothing_outside(folder, parsed):
    assert "script" not in {tag for tag, _ in parsed.elements}
    for tag, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(https?:|url\(|@import)", text)
    assert f'content="{report_html.POLICY}"' in text


def test_links_lead_to_sections(parsed):
    anchors = {attributes["id"] for tag, attributes in parsed.elements if tag == "section"}
    links = {attributes["href"] for tag, attributes in parsed.elements if tag == "a"}
    assert links == {f"#{anchor}" for anchor in anchors}
    assert anchors == {"results", "regions", "examples", "training", "data", "run"}


def test_every_text_of_a_user_is_escaped_and_still_there(folder, parsed):
    assert "<script" not in (folder / "report.html").read_text(encoding="utf-8")
    text = "".join(parsed.text)
    # Title twice (tab and heading), note, activity, clip id, command, config, a fact and a time.
    assert text.count(EVIL) == 9


def test_figures_of_the_metrics_stand_in_the_page(parsed, metrics):
    text = "".join(parsed.text)
    for headline in metrics.headlines().values():
        assert f"{100 * headline.mean_ap:.1f}" in text
        assert f"{100 * headline.all_ones_floor:.1f}" in text
    assert f"No clip of test_new shows {MUSCLE_REGIONS[7]}" in text
    assert "1,200,345" in text
    assert "2 min 05 s" in text


def test_images_hold_pictures_and_have_a_description(parsed):
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
    metrics = compute_metrics({"val_known": predictions["val_known"]})
    path = report.write_report(tmp_path, metrics, report.RunInfo("bare"))
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    sections = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert sections == ["results", "regions", "run"]
    assert sorted(file.name for file in (tmp_path / "plots").iterdir()) == ["per_region_ap_val.png"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.35, "350 ms"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds, text):
    assert report_sections.duration(seconds) == text


def test_a_split_without_any_positive_has_a_report_too(tmp_path):
    nothing = (np.zeros((3, NUM_REGIONS)), np.zeros((3, NUM_REGIONS), int), ["a", "b", "c"])
    path = report.write_report(tmp_path, compute_metrics({"test_new": nothing}), report.RunInfo("bare"))
    text = path.read_text(encoding="utf-8")
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)
    assert "No clip of test_new shows" in text
