"""The study of explanations on rendered clips: its measures by hand, and the whole on a tiny model."""

import json

import numpy as np
import pytest

from musclemap_jax.explain.explanation import Explanation
from musclemap_jax.predict.model import Model
from musclemap_jax.synthetic.activities.table import ACTIVITIES
from musclemap_jax.synthetic.person import PARTS
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tools.explain_study import (
    GROUPS,
    JOINTS,
    Truth,
    coverage,
    joint_motion,
    main,
    mass,
    ranking,
    study,
    summary,
    working_parts,
)


def standing(num_frames=10):
    """(T, 17, 2) joints of a person who does not move: the trunk is 40 pixels long."""
    joints = np.zeros((num_frames, 17, 2))
    for name in ("left_shoulder", "right_shoulder"):
        joints[:, JOINTS.index(name), 1] = -40
    return joints


def explanation(heat, frames, boxes):
    nothing = np.zeros((1, 0), np.float32)
    return Explanation(
        region="biceps",
        windows=np.array([0]),
        logits=np.zeros(1, np.float32),
        probabilities=np.zeros(1),
        heat={"video": heat},
        attention={},
        frames=frames,
        boxes=boxes,
        joint_names=(),
        joint_gradient=nothing,
        joint_occlusion=nothing,
        counterfactuals={},
    )


def test_coverage_is_the_fraction_of_each_patch():
    parts = np.zeros((4, 8, 8), np.uint8)
    parts[0, :4, :4] = PARTS.index("left arm") + 1  # the upper left patch of the crop, in one of two frames
    parts[3, 4:, 6:] = PARTS.index("left leg") + 1
    each = explanation(
        np.ones((1, 1, 2, 2, 2), np.float32), np.array([[[0, 1, 2, 3]]]), np.array([[0.0, 0.0, 1.0, 1.0]])
    )
    truth = Truth(parts, standing(4), ("biceps",))
    arm = coverage(truth, ("left arm", "right arm"), each, "video")
    np.testing.assert_allclose(arm, [[[[0.5, 0], [0, 0]], [[0, 0], [0, 0]]]])
    leg = coverage(truth, ("left leg",), each, "video")
    np.testing.assert_allclose(leg, [[[[0, 0], [0, 0]], [[0, 0], [0, 0.25]]]])
    assert mass(np.array([3.0, 1.0]), np.array([0.5, 0.0])) == 0.375
    assert np.isnan(mass(np.zeros(2), np.ones(2)))


def test_joints_move_relative_to_the_hips_in_trunk_lengths():
    joints = standing(11)
    joints[:, :, 0] += np.linspace(0, 500, 11)[:, None]  # the whole person walks
    joints[:, JOINTS.index("left_wrist"), 1] = np.linspace(0, 40, 11)
    motion = joint_motion(joints)
    assert motion[JOINTS.index("left_wrist")] == pytest.approx(0.8)  # between the 10th and the 90th percentile
    assert np.delete(motion, JOINTS.index("left_wrist")).max() < 1e-9


def test_ranking_is_the_probability_of_the_right_order():
    moved = np.array([True, True, False, False])
    assert ranking(np.array([3.0, 1.0, 2.0, 0.0]), moved) == 0.75
    assert ranking(np.ones(4), moved) == 0.5
    assert np.isnan(ranking(np.ones(4), np.ones(4, bool)))


def test_one_arm_works_where_it_moves_alone():
    joints = standing(60)
    joints[:, JOINTS.index("left_wrist"), 1] = 60 * np.sin(np.linspace(0, 12, 60))
    truth = Truth(np.zeros((60, 8, 8), np.uint8), joints, ("biceps",))
    assert working_parts(truth, "arms") == ("left arm",)
    assert working_parts(truth, "legs") == ("left leg", "right leg")
    assert working_parts(truth, "trunk") == ("trunk",)


def test_every_region_lies_in_one_part_of_the_body():
    assert sorted(region for regions in GROUPS.values() for region in regions) == sorted(MUSCLE_REGIONS)


def test_the_summary_averages_over_clips():
    rows = [
        {"clip": clip, "measure": "m", "group": group, "value": value, "chance": 0.5}
        for clip, group, value in (("a", "arms", 1.0), ("b", "arms", 0.6), ("b", "legs", 0.2), ("c", "legs", np.nan))
    ]
    arms, legs, everything = summary(rows)
    assert (arms["clips"], arms["value"], arms["above"]) == (2, pytest.approx(0.8), 1.0)
    assert (legs["clips"], legs["value"], legs["above"]) == (1, pytest.approx(0.2), 0.0)
    assert (everything["clips"], everything["value"]) == (2, pytest.approx((1.0 + 0.4) / 2))
    assert everything["difference"] == pytest.approx([-0.1, 0.5])  # the clip with 0.4, and that with 1


def test_the_study_measures_every_clip_and_writes_pages_with_the_truth(tiny_stored_model, tmp_path):
    table = study(Model(tiny_stored_model), 2, tmp_path, num_pages=1)
    measures = {row["measure"] for row in table}
    assert {"video: Grad-CAM: mass on the limb", "joints by occlusion: moved before unmoved"} <= measures
    assert all(0 <= row["value"] <= 1 for row in table if "mass" in row["measure"])
    content = json.loads((tmp_path / "study.json").read_text())
    assert content["summary"] == table
    assert len({row["clip"] for row in content["rows"]}) == 2
    (page,) = tmp_path.glob("*.html")
    (activity,) = (each for each in ACTIVITIES if page.stem == f"{each.slug}_0")
    assert f'aria-label="truth: {", ".join(MUSCLE_REGIONS[k] for k in activity.muscles)}"' in page.read_text()


def test_a_number_of_clips_below_one_is_refused(capsys):
    assert main(["--clips=0"]) == 2
    assert capsys.readouterr().err == "error: --clips, --pages: expected at least 1 and 0, got 0 and 6\n"
