"""How weights of HD-GCN for one skeleton layout serve another: by the names of the joints.

HD-GCN was published for ``ntu25``, the 25 joints of NTU RGB+D in three dimensions; our data has ``coco19``. Almost all
of the network is the same for any graph. What is not:

- A hierarchy, two neighbouring levels of joints, takes the weights of the published hierarchy with which it has most
  pairs of joints in common. Published hierarchies that none of ours corresponds to are left out.
- The learned edges: ours are those of our layout plus what training added to the published ones, for each pair of
  joints that both layouts name.
- The input norm is left out: it normalises metres of other joints.

We prefer this to data in the layout ntu25: ten of its joints (hands, feet, spine) are in no 2D pose that we read and
would be zeros, at almost twice the cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.graph import LEVELS, NUM_SUBSETS, SkeletonGraph, skeleton_graph
from musclemap_jax.pretrained.transforms import Transform
from musclemap_jax.skeleton_layouts import get_layout

NTU25 = "ntu25"
NTU25_JOINTS = (
    *("pelvis", "spine_mid", "upper_neck", "head"),
    *("left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    *("right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    *("left_hip", "left_knee", "left_ankle", "left_foot"),
    *("right_hip", "right_knee", "right_ankle", "right_foot"),
    *("neck", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb"),
)
"""Joints 1 to 25 of NTU RGB+D.

Its "base of the spine" lies between the hips and is our pelvis, its "spine" (joint 21) between the shoulders and is our
neck; its own neck lies higher.
"""

NORM_RULE = "norm of the coordinates of another skeleton layout"
HIERARCHY_RULE = "hierarchy without counterpart in our skeleton layout"

LEFT_OUT = Transform("an array that is left out", lambda source, shape: False, np.reshape)


def joint_names(layout: str) -> tuple[str, ...]:
    """Names of the joints of a layout, equal for equal joints.

    Raises:
      UserError: Unknown layout.
    """
    return NTU25_JOINTS if layout == NTU25 else get_layout(layout).joints


def corresponding_graph(ours: SkeletonGraph, layout: str) -> SkeletonGraph:
    """The graph of a published layout whose centre is the joint of the same name as ours.

    Raises:
      UserError: The published layout has no such centre.
    """
    if layout == ours.layout:
        return ours
    names, (our_centre,) = joint_names(layout), ours.levels[0]
    wanted = joint_names(ours.layout)[our_centre]
    for centre, levels in LEVELS[layout][1].items() if layout in LEVELS else ():
        if names[levels[0][0]] == wanted:
            return skeleton_graph(layout, centre)
    raise UserError(f"--from_layout: {layout} has no graph around the {wanted}: choose another --centre")


def corresponding_hierarchies(ours: SkeletonGraph, published: SkeletonGraph) -> tuple[int, ...]:
    """For each of our hierarchies the published one with most pairs of joints in common, the first of equals.

    Where there are none in common, the one after that of the hierarchy before.
    """
    of_published, chosen = _named_pairs(published), []
    for pairs in _named_pairs(ours):
        common = [len(pairs & others) for others in of_published]
        following = min(chosen[-1] + 1 if chosen else 0, len(of_published) - 1)
        chosen.append(int(np.argmax(common)) if any(common) else following)
    return tuple(chosen)


def _named_pairs(graph: SkeletonGraph) -> list[set[tuple[str, str]]]:
    """Pairs of joints, near and far, that each hierarchy connects."""
    names = joint_names(graph.layout)
    return [
        {(names[a], names[b]) for a, b in itertools.product(near, far)}
        for near, far in itertools.pairwise(graph.levels)
    ]


def edges_by_name(ours: SkeletonGraph, published: SkeletonGraph, hierarchies: Sequence[int]) -> Transform:
    """Our edges plus what training changed in the published ones, where both layouts name the pair of joints.

    Args:
      ours: Our graph.
      published: The graph of the published weights.
      hierarchies: The result of `corresponding_hierarchies`.
    """
    names = joint_names(published.layout)
    places = [(v, names.index(name)) for v, name in enumerate(joint_names(ours.layout)) if name in names]
    here, there = (list(joints) for joints in zip(*places, strict=True))

    def forward(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        learned = (array - published.adjacency())[list(hierarchies)]
        edges = ours.adjacency()
        edges[:, :, np.array(here)[:, None], here] += learned[:, :, np.array(there)[:, None], there]
        return edges

    size = (published.num_hierarchies, NUM_SUBSETS, published.num_joints, published.num_joints)
    return Transform(
        f"edges of {published.layout}",
        lambda source, shape: source == size,
        forward,
        change=lambda source, shape: "by joint name",
    )
