"""Tests of how weights of HD-GCN for NTU RGB+D serve our skeleton layouts, by hand-made edges."""

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.graph import FORWARD, LEVELS, REVERSE, skeleton_graph
from musclemap_jax.pretrained.hdgcn_joints import (
    NTU25_JOINTS,
    corresponding_graph,
    corresponding_hierarchies,
    edges_by_name,
    joint_names,
)

COCO19, NTU25 = skeleton_graph("coco19"), skeleton_graph("ntu25")
HIERARCHIES = (0, 1, 2, 4)


def test_every_joint_has_a_name_of_its_own():
    for layout in ("ntu25", "coco19", "halpe26"):
        names = joint_names(layout)
        assert len(set(names)) == len(names) == LEVELS[layout][0]
    ours = {name for name in joint_names("coco19") if not name.endswith(("eye", "ear")) and name != "nose"}
    assert len(ours) == 14
    assert ours < set(NTU25_JOINTS)


def test_left_and_right_are_symmetric_in_the_published_levels():
    mirror = {"left": "right", "right": "left"}
    flipped = [NTU25_JOINTS.index("_".join(mirror.get(p, p) for p in name.split("_"))) for name in NTU25_JOINTS]
    for levels in LEVELS["ntu25"][1].values():
        for level in levels:
            assert {flipped[joint] for joint in level} == set(level)


@pytest.mark.parametrize(
    ("layout", "centre", "published", "hierarchies"),
    [
        ("coco19", "neck", "spine_shoulder", HIERARCHIES),
        ("coco19", "pelvis", "spine_base", (0, 1, 2, 4)),
        ("halpe26", "neck", "spine_shoulder", (0, 1, 2, 4, 5)),
    ],
)
def test_centres_and_hierarchies_correspond(layout, centre, published, hierarchies):
    """On coco19: neck to shoulders, shoulders to elbows, elbows to wrists, knees to ankles."""
    ours = skeleton_graph(layout, centre)
    theirs = corresponding_graph(ours, "ntu25")
    assert theirs.centre == published
    assert corresponding_hierarchies(ours, theirs) == hierarchies


def test_untrained_edges_give_ours():
    transform = edges_by_name(COCO19, NTU25, HIERARCHIES)
    np.testing.assert_array_equal(transform.forward(NTU25.adjacency(), (4, 3, 19, 19)), COCO19.adjacency())


def test_what_training_changed_is_added_by_joint_name():
    trained = NTU25.adjacency()
    left_wrist, right_knee, hand = (NTU25_JOINTS.index(name) for name in ("left_wrist", "right_knee", "left_hand"))
    trained[4, FORWARD, left_wrist, right_knee] += 0.5  # our hierarchy 3
    trained[3, REVERSE, left_wrist, right_knee] += 0.25  # no hierarchy of ours
    trained[0, REVERSE, hand, right_knee] += 0.125  # no joint of ours
    ours = edges_by_name(COCO19, NTU25, HIERARCHIES).forward(trained, (4, 3, 19, 19))
    expected = COCO19.adjacency()
    expected[3, FORWARD, 9, 14] += 0.5
    np.testing.assert_allclose(ours, expected, atol=1e-7)


def test_edges_of_another_graph_do_not_fit():
    transform = edges_by_name(COCO19, NTU25, HIERARCHIES)
    assert transform.fits((6, 3, 25, 25), (4, 3, 19, 19))
    assert not transform.fits((4, 3, 19, 19), (4, 3, 19, 19))


def test_a_centre_without_counterpart():
    with pytest.raises(UserError, match="--from_layout: coco19 has no graph around the spine_mid: choose another"):
        corresponding_graph(skeleton_graph("ntu25", "spine_mid"), "coco19")
    with pytest.raises(UserError, match="skeleton layout: expected one of"):
        corresponding_graph(COCO19, "kinect1")
