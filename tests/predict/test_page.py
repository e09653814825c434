"""The page of one video: self-contained, escaped, and true to the prediction."""

import base64
import re

import numpy as np
import pytest

from musclemap_jax.data.raw.video import read_video
from musclemap_jax.predict import page as module
from musclemap_jax.predict.page import headline, write_page
from musclemap_jax.predict.recorder import Recorder
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.html_pages import parse
from tests.predict.handmade import FPS, NUM_FRAMES, prediction, real_frames

EVIL = "<script>alert('1')</script> & \"squat\""
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
NAN = np.nan


@pytest.fixture(scope="module")
def recorder():
    recorder = Recorder()
    for frame in real_frames():
        recorder(frame)
    return recorder


@pytest.fixture(scope="module")
def answer():
    """Two windows; the last five regions are active, the last one surest."""
    probabilities = np.stack([np.linspace(0.02, 0.9, 20), np.linspace(0.06, 0.98, 20)])
    probabilities[:, :15] *= 0.5
    return prediction(
        probabilities,
        source=f"videos/{EVIL}.mp4".replace("</", "<|"),
        duration_s=NUM_FRAMES / FPS,
        times_s=np.array([[0, 50], [50, 100]]) / FPS,
        warnings=(EVIL,),
        decision_rule=EVIL,
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory, recorder, answer):
    path = tmp_path_factory.mktemp("page") / "squat.html"
    write_page(path, answer, recorder, model=EVIL, thresholds=np.full(20, 0.5))
    assert [each.name for each in path.parent.iterdir()] == ["squat.html"]
    return path


@pytest.fixture(scope="module")
def parsed(path):
    return parse(path)


def test_the_page_runs_nothing_and_loads_nothing(path, parsed):
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in parsed.elements
    assert "script" not in {tag for tag, _ in parsed.elements}
    for tag, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert not {"href", "action", "data", "srcset"} & attributes.keys()
        assert re.match("data:(image/jpeg|video/mp4);base64,", attributes.get("src", "data:image/jpeg;base64,"))
    assert not re.search(r"<script|https?:|url\(|@import", path.read_text(encoding="utf-8"))


def test_text_of_others_is_escaped_and_still_there(parsed):
    text = "".join(parsed.text)
    assert text.count(EVIL) == 3  # warning, decision rule, model
    assert EVIL.replace("</", "<|") in text


def test_the_headline_and_the_table_give_the_answer(answer, parsed):
    text = re.sub(r"\s+", " ", "".join(parsed.text).replace("\u00a0", " "))
    assert headline(answer) == "Active: wrists, feet ankles, gluteus, outer thigh and inner thigh"
    assert text.count(headline(answer)) == 2  # title and heading
    assert "wrists 94 % ● 100 % feet ankles 89 % ● 100 %" in text
    assert "neck and head 2 % 0 %" in text


def test_shapes_are_shaded_by_probability_and_outlined_by_decision(answer, parsed):
    titles, opacities = [], []
    text = iter(parsed.text)
    for tag, attributes in parsed.elements:
        if tag == "path" and attributes.get("class", "").startswith("heat") and "d" in attributes:
            opacities.append((attributes["class"], attributes["fill-opacity"]))
    for piece in text:
        if re.search(r"\((left|right)\): \d+", piece):
            titles.append(piece)
    wrists = [title for title in titles if title.startswith("wrists")]
    assert len(wrists) == 8  # two on each side, front and back
    assert opacities.count(("heat active", "0.94")) == 8
    assert ("heat", "0.94") not in opacities


def test_left_and_right_are_named_where_one_moved_more(tmp_path):
    motion = np.zeros((2, 2, 2), np.float32)
    motion[0, 0] = [0.9, 0.2]
    write_page(tmp_path / "page.html", prediction(np.full((2, 20), 0.8), limb_motion=motion))
    page = parse(tmp_path / "page.html")
    text = re.sub(r"\s+", " ", "".join(page.text))
    assert "The left arm moved clearly more than the right one in 1 of 2 windows. The other side is" in text
    assert "rightFrontleft" in text
    assert "leftBackright" in text
    assert "biceps (right): 80 %; this side moved less" in text
    assert "biceps (left): 80 %; " not in text
    opacities = [
        attributes["fill-opacity"] for tag, attributes in page.elements if attributes.get("class") == "heat active"
    ]
    assert {"0.80", "0.52"} >= set(opacities)


def test_without_a_side_nothing_is_said_of_it(parsed):
    text = "".join(parsed.text)
    assert "moved clearly more" not in text
    assert "moved less" not in text
    assert "rightFront" not in text


def test_frames_and_clip_are_inlined(parsed, tmp_path):
    images = [attributes for tag, attributes in parsed.elements if tag == "img"]
    assert len(images) == 14
    assert images[0]["alt"] == "Frame at 0:00.1 with the skeletons drawn on top"
    (video,) = [attributes for tag, attributes in parsed.elements if tag == "video"]
    (tmp_path / "clip.mp4").write_bytes(base64.b64decode(video["src"].partition("base64,")[2]))
    clip = read_video(tmp_path / "clip.mp4")
    assert len(list(clip.frames)) == 25
    assert (video["width"], video["height"]) == (str(clip.size[1]), str(clip.size[0]))
    assert "autoplay" not in video


def test_without_a_recorder_the_page_has_no_pictures(answer, tmp_path):
    write_page(tmp_path / "page.html", answer)
    tags = {tag for tag, _ in parse(tmp_path / "page.html").elements}
    assert not tags & {"img", "video"}
    assert "svg" in tags


def test_other_regions_have_a_table_and_no_body_map(tmp_path):
    write_page(tmp_path / "page.html", prediction([[0.9, 0.1]], ("engine", "boiler")))
    page = parse(tmp_path / "page.html")
    text = "".join(page.text)
    assert "No body map: this model's regions are not MuscleMap's." in text
    assert "Active: engine" in text
    assert not [1 for _, attributes in page.elements if attributes.get("class") == "muscle"]


@pytest.mark.parametrize("num_windows", [0, 3])
def test_a_video_without_an_answer_says_so(num_windows, tmp_path):
    write_page(tmp_path / "page.html", prediction(np.full((num_windows, 20), NAN), warnings=("Nobody was seen.",)))
    page = parse(tmp_path / "page.html")
    text = "".join(page.text)
    assert "No answer for this video" in text
    assert "svg" not in {tag for tag, _ in page.elements}
    assert "nan" not in text.lower()
    assert "Nobody was seen." in text


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([[0.1, 0.2, 0.3]], "No muscle region stands out as active"),
        ([[0.1, 0.2, 0.9]], "Active: c"),
        ([[0.6, 0.2, 0.9]], "Active: c and a"),
        ([[0.6, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.7, 0.1]], "Active at times: b and a"),
        ([[NAN, NAN, NAN], [0.6, 0.1, 0.1]], "Active: a"),
    ],
)
def test_headlines(probabilities, expected):
    assert headline(prediction(probabilities, ("a", "b", "c"))) == expected


def test_long_headlines_end_in_a_count():
    assert headline(prediction([np.linspace(0.9, 0.6, 20)])) == (
        "Most likely: neck and head, chest and shoulder; 20 of 20 regions cannot be ruled out"
    )
    assert headline(prediction([[*np.linspace(0.9, 0.6, 9), *[0.1] * 11]])) == (
        "Active: neck and head, chest, shoulder, biceps and 5 more regions"
    )
    assert headline(prediction([[*np.linspace(0.9, 0.6, 5), *[0.1] * 15]])) == (
        "Active: neck and head, chest, shoulder, biceps and triceps"
    )


def test_names_of_files_need_not_be_valid_text(tmp_path):
    write_page(tmp_path / "page.html", prediction([[0.9, 0.1]], ("a", "b"), source="videos/squat\udcff.mp4"))
    assert "squat\\xff.mp4" in "".join(parse(tmp_path / "page.html").text)


def test_persons_are_counted():
    several = prediction(np.full((3, 20), 0.2), persons=((1,), (1, 2), ()))
    assert module._persons(several) == [
        "Seen: person 1 in 2 of 3 windows and person 2 in 1 of 3 windows.",
        "The answer is about the most prominent persons of each window.",
    ]
    chosen = prediction(np.full((3, 20), 0.2), persons=((1,), (1, 2), ()), person=2)
    assert module._persons(chosen)[1:] == ["The answer is about person 2."]


def test_an_old_page_stays_until_the_new_one_is_complete(tmp_path, answer, monkeypatch):
    path = tmp_path / "page.html"
    write_page(path, answer)
    old = path.read_text()
    monkeypatch.setattr(module, "render_page", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(path, answer)
    assert path.read_text() == old
    assert len(MUSCLE_REGIONS) == 20
