"""Explanations of predictions: the same model on the same windows, as data, in files and on the page."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from musclemap_jax.data.sampling import eval_indices
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.explain.explanation import Explanation
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.predict.model import Model
from musclemap_jax.predict.outputs import read_muscles, write_json
from musclemap_jax.predict.page import write_page
from tests.html_pages import parse
from tests.predict.conftest import REAL, REAL_FRAMES
from tests.predict.predictions import squat

REGION = "quadriceps"
CLIP = REAL / "pose2sim_cam01.mp4"


@pytest.fixture(scope="module")
def model(tiny_stored_model):
    return Model(tiny_stored_model)


@pytest.fixture(scope="module")
def answer(model):
    """Six windows of the real clip, its skeleton lost in the last three."""
    skeleton = read_alphapose(CLIP.with_suffix(".json"), "coco17", REAL_FRAMES)
    skeleton[51:] = 0
    return model.predict(CLIP, skeleton=skeleton, window_s=0.5, overlap=0.5).with_explanations([REGION])


@pytest.fixture(scope="module")
def explanation(answer):
    return answer.explanations[REGION]


def one_branch(stored, branch):
    """A model of one branch with random weights."""
    spec = dataclasses.replace(stored.spec.model, branches=(branch,), sites="none", fusion="none")
    modality = "video" if branch == "rgb_diff" else branch
    input_spec = dataclasses.replace(stored.spec.input, modalities=(modality,))
    names = ("skeleton", "skeleton_valid") if modality == "skeleton" else ("video",)
    shapes = {"video": ((1, 2, 4, 16, 16, 3), np.uint8), "skeleton": ((1, 8, 1, 19, 3), np.float32)}
    shapes["skeleton_valid"] = ((1, 8, 1), bool)
    batch = {name: np.ones(shapes[name][0], shapes[name][1]) for name in names}
    shapes = jax.eval_shape(lambda key: TransM3E(spec).init(key, batch, train=False), jax.random.key(1))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32) / 3, shapes["params"])
    statistics = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes.get("batch_stats", {}))
    variables = {"params": params, "batch_stats": statistics}
    stored_spec = dataclasses.replace(stored.spec, model=spec, input=input_spec)
    return Model(dataclasses.replace(stored, spec=stored_spec, variables=variables))


def test_the_scores_are_the_predictions(answer, explanation):
    k = answer.regions.index(REGION)
    np.testing.assert_array_equal(explanation.windows, range(6))
    np.testing.assert_allclose(explanation.logits, answer.logits[:, k], atol=1e-5)
    np.testing.assert_allclose(explanation.probabilities, answer.probabilities[:, k], atol=1e-6)
    assert explanation.surest == np.argmax(answer.probabilities[:, k])


def test_shapes_are_those_of_the_documentation(explanation):
    assert explanation.heat["video"].shape == explanation.attention["video"].shape == (6, 2, 2, 4, 4)
    assert explanation.heat["video"].dtype == np.float32
    assert explanation.heat["video"].min() == 0 < explanation.heat["video"].max()
    assert explanation.joint_gradient.shape == explanation.joint_occlusion.shape == (6, 19)
    assert explanation.frames.shape == (6, 2, 4)
    assert explanation.notes == ()


def test_frames_and_boxes_are_those_that_the_model_was_shown(explanation):
    stride = 8.0
    np.testing.assert_array_equal(explanation.frames[0], eval_indices(30, 4, stride, 2))
    np.testing.assert_array_equal(explanation.frames[2], 30 + eval_indices(30, 4, stride, 2))
    np.testing.assert_array_equal(explanation.frames[5, -1], 70 + eval_indices(30, 4, stride, 2)[-1])
    # The middle square of a tall picture, stored as 256 x 456 or so.
    top, left, bottom, right = explanation.boxes[0]
    assert (left, right) == (0, 1)
    assert bottom - top == pytest.approx(1080 / 1920, abs=3e-3)
    assert top == pytest.approx(1 - bottom)
    np.testing.assert_array_equal(explanation.boxes[1], explanation.boxes[0])


def test_counterfactuals_are_the_predictions_of_less(model, answer, explanation):
    k = answer.regions.index(REGION)
    without = explanation.counterfactuals
    assert list(without) == [
        "without the video",
        "without the skeleton",
        *(f"without the {limb}" for limb in ("left arm", "right arm", "left leg", "right leg", "head")),
    ]
    alone = model.predict(CLIP, pose="none", window_s=0.5, overlap=0.5)
    np.testing.assert_allclose(without["without the skeleton"], alone.probabilities[:, k], atol=1e-5)
    np.testing.assert_allclose(without["without the video"], answer.branch_probabilities["skeleton"][:, k], atol=1e-5)
    assert (np.abs(without["without the left leg"][:3] - explanation.probabilities[:3]) > 1e-6).any()


def test_where_nobody_is_seen_joints_have_no_importance(explanation):
    seen = np.array([True, True, True, True, False, False])
    np.testing.assert_array_equal(np.isfinite(explanation.joint_occlusion).all(axis=1), seen)
    np.testing.assert_array_equal(np.isfinite(explanation.joint_gradient).all(axis=1), seen)
    np.testing.assert_array_equal(np.isfinite(explanation.counterfactuals["without the left arm"]), seen)
    np.testing.assert_array_equal(np.isfinite(explanation.counterfactuals["without the video"]), seen)
    assert np.isfinite(explanation.counterfactuals["without the skeleton"]).all()
    ranked = explanation.ranked_joints()
    assert len(ranked) == 19
    assert ranked[0][1] == pytest.approx(explanation.joint_occlusion[:4].mean(axis=0).max())


def assert_equal(found: Explanation, expected: Explanation):
    for field in dataclasses.fields(Explanation):
        first, second = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(second, dict):
            assert list(first) == list(second)
            first, second = list(first.values()), list(second.values())
        elif not isinstance(second, np.ndarray):
            assert first == second, field.name
            continue
        for one, other in zip(np.array([first]), np.array([second]), strict=True):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)


def test_the_file_has_the_explanation_exactly(answer, explanation, tmp_path):
    write_json(tmp_path / "muscles.json", [answer])
    (found,) = read_muscles(tmp_path / "muscles.json")
    assert_equal(found.explain("Quadriceps"), explanation)
    with pytest.raises(UserError) as error:
        found.explain("biceps")
    assert str(error.value) == (
        "explain: this prediction has explanations of quadriceps alone, got 'biceps': predict the video again with "
        "--explain='biceps'"
    )


def test_top_are_the_most_probable_regions(answer):
    means = answer.mean_probabilities()
    expected = [answer.regions[k] for k in np.argsort(-means)[:3]]
    assert list(answer.with_explanations(["top", expected[1]]).explanations) == expected


def test_a_region_that_is_not_the_models_is_refused(answer):
    with pytest.raises(UserError, match=r"^explain: expected a muscle region .* got 'bicep': try biceps"):
        answer.explain("bicep")


def test_each_person_is_explained_on_their_own(model):
    skeleton = read_alphapose(CLIP.with_suffix(".json"), "coco17", REAL_FRAMES)
    second = skeleton * np.float32([0.5, 0.5, 1]) + np.float32([500, 0, 0]) * (skeleton[..., 2:] > 0)
    second[:70] = 0
    both = np.concatenate([skeleton, second], axis=1)
    one, two = model.predict_each_person(CLIP, skeleton=both, window_s=0.5)
    np.testing.assert_array_equal(one.explain(REGION).windows, [0, 1, 2, 3])
    np.testing.assert_array_equal(two.explain(REGION).windows, range(len(two.times_s)))
    k = one.regions.index(REGION)
    for prediction in (one, two):
        np.testing.assert_allclose(prediction.explain(REGION).logits, prediction.logits[:, k], atol=1e-5)


def test_a_model_of_frames_explains_what_it_has(tiny_stored_model, tmp_path):
    prediction = one_branch(tiny_stored_model, "rgb_diff").predict(CLIP)
    explanation = prediction.explain(REGION)
    assert list(explanation.heat) == ["rgb_diff"]
    assert explanation.joint_names == ()
    assert explanation.joint_occlusion.shape == (1, 0)
    assert explanation.counterfactuals == {}
    assert explanation.notes == (
        "The model answers by the video alone: no modality can be left out.",
        "No branch of the model that answers reads the skeleton: joints and limbs have no importance.",
    )
    prediction = prediction.with_explanations([REGION])
    write_json(tmp_path / "muscles.json", [prediction])
    assert_equal(read_muscles(tmp_path / "muscles.json")[0].explanations[REGION], explanation)
    write_page(tmp_path / "page.html", prediction)
    page = parse(tmp_path / "page.html")
    assert explanation.notes[1] in " ".join(page.text)
    assert [attributes["alt"] for tag, attributes in page.elements if tag == "img"] == [
        f"Heat map of quadriceps, frame {number} of 4" for number in (1, 2, 3, 4)
    ]


def test_a_model_of_skeletons_explains_what_it_has(tiny_stored_model, tmp_path):
    prediction = one_branch(tiny_stored_model, "skeleton").predict(CLIP)
    explanation = prediction.explain(REGION)
    assert explanation.heat == explanation.attention == {}
    assert explanation.frames.shape == (1, 0, 0)
    assert explanation.boxes.shape == (0, 4)
    assert np.isfinite(explanation.joint_occlusion).all()
    assert next(iter(explanation.counterfactuals)) == "without the left arm"
    assert explanation.notes == (
        "The model answers by the skeleton alone: no modality can be left out.",
        "No branch of the model that answers reads frames: there is no heat map.",
    )
    prediction = prediction.with_explanations([REGION])
    write_json(tmp_path / "muscles.json", [prediction])
    assert_equal(read_muscles(tmp_path / "muscles.json")[0].explanations[REGION], explanation)
    write_page(tmp_path / "page.html", prediction)
    pictures = [attributes["alt"] for tag, attributes in parse(tmp_path / "page.html").elements if tag == "img"]
    assert pictures[0] == "Joints by their importance for quadriceps, frame 1 of 6"


def test_without_an_answer_there_is_nothing_to_explain(tiny_stored_model):
    skeleton_model = one_branch(tiny_stored_model, "skeleton")
    prediction = skeleton_model.predict(np.zeros((8, 32, 32, 3), np.uint8), skeleton=np.zeros((8, 1, 17, 3)), fps=30)
    assert prediction.with_explanations(["top"]).explanations == {}
    with pytest.raises(UserError, match=r"^explain: expected a window with an answer, got none"):
        prediction.explain(REGION)


def test_the_page_shows_boxes_heat_joints_and_what_if(answer, explanation, tmp_path):
    write_page(tmp_path / "page.html", answer, truth={"biceps"})
    page = parse(tmp_path / "page.html")
    labels = [attributes["aria-label"] for _, attributes in page.elements if attributes.get("class") == "boxes"]
    assert len(labels) == 2
    assert labels[1] == "truth: biceps"
    boxes = [attributes for tag, attributes in page.elements if tag == "i" and "title" in attributes]
    assert len(boxes) == 40
    assert [box["title"] for box in boxes[20:] if "on" in box["class"].split()] == ["biceps: active"]
    assert [box["title"] for box in boxes if "this" in box["class"].split()] == [boxes[13]["title"], "quadriceps"]
    pictures = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    assert pictures[:1] + pictures[4:5] == [
        "Heat map of quadriceps, frame 1 of 4",
        *(["Joints by their importance for quadriceps, frame 1 of 4"] if explanation.surest < 4 else []),
    ]
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert "without the skeleton" in text
    assert f"all {len(explanation.windows)} that were explained" in text


def test_without_explanations_the_page_has_no_such_section(answer, tmp_path):
    write_page(tmp_path / "page.html", dataclasses.replace(answer, explanations={}))
    assert 'id="why"' not in (tmp_path / "page.html").read_text()
    assert squat().explanations == {}
