"""Hierarchical edge sets of skeletons: which joints a graph convolution connects, level by level from a centre.

Source: HD-GCN (Lee et al., "Hierarchically Decomposed Graph Convolutional Networks for Skeleton-Based Action
Recognition", ICCV 2023). ``ntu25`` holds the published levels for its three centres; the levels of the other layouts
are ours, built in the same way, since HD-GCN was published for NTU RGB+D only.

Letters of shapes: L hierarchies, V joints.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float

from musclemap_jax.skeleton_layouts import LAYOUTS

IDENTITY, FORWARD, REVERSE = range(3)
NUM_SUBSETS = 3
"""Edge sets of one hierarchy: self-loops, edges from a level to the next, and edges back."""

Levels = tuple[tuple[int, ...], ...]

_NTU25: dict[str, Levels] = {
    "spine_shoulder": (
        (20,),
        (1, 2, 4, 8),
        (3, 5, 9, 0),
        (6, 10, 12, 16),
        (7, 11, 13, 17),
        (21, 22, 23, 24, 14, 18),
        (15, 19),
    ),
    "spine_mid": (
        (1,),
        (0, 20),
        (12, 16, 2, 4, 8),
        (13, 17, 3, 5, 9),
        (14, 18, 6, 10),
        (15, 19, 7, 11),
        (21, 22, 23, 24),
    ),
    "spine_base": (
        (0,),
        (1, 12, 16),
        (13, 17, 20),
        (2, 4, 8, 14, 18),
        (3, 5, 9, 15, 19),
        (6, 10),
        (7, 11, 21, 22, 23, 24),
    ),
}
_COCO19: dict[str, Levels] = {
    "neck": ((17,), (0, 5, 6, 18), (1, 2, 7, 8, 11, 12), (3, 4, 9, 10, 13, 14), (15, 16)),
    "pelvis": ((18,), (11, 12, 17), (0, 5, 6, 13, 14), (1, 2, 7, 8, 15, 16), (3, 4, 9, 10)),
}
_COCO20: dict[str, Levels] = {
    "spine": ((19,), (17, 18), (0, 5, 6, 11, 12), (1, 2, 7, 8, 13, 14), (3, 4, 9, 10, 15, 16)),
}
_HALPE26: dict[str, Levels] = {
    "neck": ((18,), (0, 5, 6, 17, 19), (1, 2, 7, 8, 11, 12), (3, 4, 9, 10, 13, 14), (15, 16), (20, 21, 22, 23, 24, 25)),
    "hip": ((19,), (11, 12, 18), (0, 5, 6, 13, 14, 17), (1, 2, 7, 8, 15, 16), (3, 4, 9, 10, 20, 21, 22, 23, 24, 25)),
}
LEVELS: dict[str, tuple[int, dict[str, Levels]]] = {
    "coco19": (19, _COCO19),
    "coco20": (20, _COCO20),
    "halpe26": (26, _HALPE26),
    "ntu25": (25, _NTU25),
}
"""{layout: (number of joints, {centre: levels})}; the first centre is the default."""

_SIDES = ("left", "right")
_LINKS: tuple[tuple[str, str], ...] = (
    *(("neck", joint) for joint in ("nose", "head", "pelvis", *(f"{side}_shoulder" for side in _SIDES))),
    *(("nose", f"{side}_eye") for side in _SIDES),
    *(("pelvis", f"{side}_hip") for side in _SIDES),
    *((f"{side}_{a}", f"{side}_{b}") for side in _SIDES for a, b in (
        ("eye", "ear"), ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"),
        ("ankle", "big_toe"), ("ankle", "small_toe"), ("ankle", "heel"),
    )),
)  # fmt: skip
"""Links of the body's tree between joints of levels that follow each other; a layout may lack some of the joints."""


@dataclasses.dataclass(frozen=True)
class SkeletonGraph:
    """A layout's joints as levels of a tree from a centre.

    `levels` has the zero-based joints of each level, the centre first; joints in no level have no edges.
    """

    layout: str
    centre: str
    num_joints: int
    levels: Levels

    @property
    def num_hierarchies(self) -> int:
        """L: hierarchy l connects the levels l and l + 1."""
        return len(self.levels) - 1

    @property
    def parents(self) -> tuple[int, ...]:
        """The parent of each joint: its neighbour in the body's tree on the way to the centre, whose parent is itself.

        Raises:
          ValueError: The joints of the layout have no names.
        """
        if self.layout not in LAYOUTS:
            named = ", ".join(layout for layout in LEVELS if layout in LAYOUTS)
            raise ValueError(f"skeleton layout {self.layout} has no names of joints: choose one of {named}")
        names = LAYOUTS[self.layout].joints
        links = [(names.index(a), names.index(b)) for a, b in _LINKS if a in names and b in names]
        (centre,) = self.levels[0]
        parents, reached = {centre: centre}, [centre]
        for joint in reached:  # grows while it is read: breadth first
            found = [b if a == joint else a for a, b in links if joint in (a, b)]
            reached += [other for other in found if other not in parents]
            parents |= {other: joint for other in found if other not in parents}
        return tuple(parents[joint] for joint in range(self.num_joints))

    def adjacency(self) -> Float[np.ndarray, "L 3 V V"]:
        """Returns the edge sets A[l, subset, target, source], float32.

        Subsets are identity, forward (every joint of level l to every joint of level l + 1) and reverse. Columns of
        the last two are divided by the source's number of edges; the identity is not normalised.
        """
        edges = np.zeros((self.num_hierarchies, NUM_SUBSETS, self.num_joints, self.num_joints), np.float32)
        for hierarchy, (near, far) in enumerate(itertools.pairwise(self.levels)):
            edges[hierarchy, IDENTITY, near + far, near + far] = 1
            edges[hierarchy, FORWARD][np.ix_(far, near)] = 1 / len(far)
            edges[hierarchy, REVERSE][np.ix_(near, far)] = 1 / len(near)
        return edges

    def level_mean(self) -> Float[np.ndarray, "L V"]:
        """Returns float32 weights that average over the joints of each hierarchy's two levels."""
        weights = np.zeros((self.num_hierarchies, self.num_joints), np.float32)
        for hierarchy, (near, far) in enumerate(itertools.pairwise(self.levels)):
            weights[hierarchy, near + far] = 1 / len(near + far)
        return weights


def skeleton_graph(layout: str, centre: str | None = None) -> SkeletonGraph:
    """Returns the levels of a layout.

    Args:
      layout: ``coco19`` (canonical), ``coco20``, ``halpe26`` or ``ntu25``.
      centre: The joint that the levels start from; None for the layout's first, such as ``spine_shoulder`` of ntu25,
        which is joint 21 of NTU RGB+D.

    Raises:
      ValueError: The layout or centre has no levels; the message lists those that have.
    """
    if layout not in LEVELS:
        raise ValueError(f"skeleton layout {layout!r} has no graph: choose one of {', '.join(LEVELS)}")
    num_joints, centres = LEVELS[layout]
    centre = next(iter(centres)) if centre is None else centre
    if centre not in centres:
        raise ValueError(f"skeleton layout {layout} has no centre {centre!r}: choose one of {', '.join(centres)}")
    return SkeletonGraph(layout, centre, num_joints, centres[centre])
