"""Tests of the skeletons' levels and edge sets."""

from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.models.skeleton.graph import LEVELS, skeleton_graph
from musclemap_jax.skeleton_layouts import LAYOUTS

GOLDENS = Path(__file__).parents[2] / "data" / "goldens" / "hdgcn"
EVERY_GRAPH = [(layout, centre) for layout, (_, centres) in LEVELS.items() for centre in centres]


@pytest.mark.parametrize(("centre", "name"), [(None, "A"), ("spine_mid", "A_com2"), ("spine_base", "A_com1")])
def test_ntu25_edges_are_the_published_ones(centre, name):
    with np.load(GOLDENS / "hdgcn_ntu25.npz") as goldens:
        np.testing.assert_array_equal(skeleton_graph("ntu25", centre).adjacency(), goldens[name])


@pytest.mark.parametrize(("layout", "centre"), EVERY_GRAPH)
def test_levels_part_the_joints(layout, centre):
    graph = skeleton_graph(layout, centre)
    joints = sorted(joint for level in graph.levels for joint in level)
    assert len(set(joints)) == len(joints)
    assert joints == list(range(graph.num_joints))
    assert len(graph.levels[0]) == 1
    assert graph.num_hierarchies >= 4  # attention over hierarchies chooses 3 of them


def test_edges_of_a_hierarchy_by_hand():
    identity, forward, reverse = skeleton_graph("coco19").adjacency()[0]  # neck to nose, shoulders and pelvis
    assert set(np.flatnonzero(np.diag(identity))) == {17, 0, 5, 6, 18}
    assert identity.sum() == 5
    np.testing.assert_array_equal(np.flatnonzero(forward[:, 17]), [0, 5, 6, 18])
    np.testing.assert_allclose(forward[:, 17].sum(), 1)  # the neck has four edges out, a quarter each
    np.testing.assert_array_equal(reverse[17, [0, 5, 6, 18]], 1)
    assert forward.sum() == 1
    assert reverse.sum() == 4


@pytest.mark.parametrize(("layout", "centre"), [each for each in EVERY_GRAPH if each[0] in LAYOUTS])
def test_the_parent_of_a_joint_is_one_level_nearer_to_the_centre(layout, centre):
    graph = skeleton_graph(layout, centre)
    level = {joint: number for number, joints in enumerate(graph.levels) for joint in joints}
    names = LAYOUTS[layout].joints
    for joint, parent in enumerate(graph.parents):
        assert level[parent] == max(level[joint] - 1, 0), names[joint]
        side = names[joint].partition("_")[0]
        assert side == names[parent].partition("_")[0] or "_" not in names[parent]
    assert names[graph.parents[names.index("left_wrist")]] == "left_elbow"


def test_joints_without_names_have_no_parents():
    with pytest.raises(ValueError, match=r"ntu25 has no names of joints: choose one of coco19, halpe26"):
        _ = skeleton_graph("ntu25").parents


def test_level_mean_averages_both_levels():
    weights = skeleton_graph("coco19", "pelvis").level_mean()
    values = np.arange(19.0)
    np.testing.assert_allclose((weights @ values)[0], np.mean([18, 11, 12, 17]))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)


def test_unknown_layout_and_centre_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'coco17' has no graph: choose one of coco19, coco20, halpe26, ntu25"):
        skeleton_graph("coco17")
    with pytest.raises(ValueError, match=r"halpe26 has no centre 'nose': choose one of neck, hip"):
        skeleton_graph("halpe26", "nose")
