"""Links between neighbouring joints, and the edge sets that ST-GCN and CTR-GCN make of them.

Source: ST-GCN (arXiv:1801.07455) and CTR-GCN (arXiv:2107.12213) as in pyskl (`pyskl/utils/graph.py`). Its links of
``coco17`` hang shoulders and hips on the nose; ``coco19`` has a neck and a pelvis, and its links are ours. The authors'
code of CTR-GCN links the hands of ``ntu25`` otherwise.

Letters of shapes: V joints.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from musclemap_jax.errors import UserError

NUM_SUBSETS = 3

Links = tuple[tuple[int, int], ...]

_COCO17: Links = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 5), (12, 6), (9, 7), (7, 5), (10, 8), (8, 6)),
    *((5, 0), (6, 0), (1, 0), (3, 1), (2, 0), (4, 2)),
)
_COCO19: Links = (
    *((0, 17), (1, 0), (2, 0), (3, 1), (4, 2), (5, 17), (6, 17), (7, 5), (8, 6), (9, 7), (10, 8)),
    *((18, 17), (11, 18), (12, 18), (13, 11), (14, 12), (15, 13), (16, 14)),
)
_OPENPOSE18: Links = (
    *((4, 3), (3, 2), (7, 6), (6, 5), (13, 12), (12, 11), (10, 9), (9, 8), (11, 5), (8, 2)),
    *((5, 1), (2, 1), (0, 1), (15, 0), (14, 0), (17, 15), (16, 14)),
)
_NTU25_BODY: Links = (
    *((0, 1), (1, 20), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (8, 20), (9, 8), (10, 9), (11, 10)),
    *((12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18)),
)
LINKS: dict[str, tuple[int, int, Links]] = {
    "coco17": (17, 0, _COCO17),
    "coco19": (19, 17, _COCO19),
    "openpose18": (18, 1, _OPENPOSE18),
    "ntu25": (25, 20, (*_NTU25_BODY, (21, 7), (22, 7), (23, 11), (24, 11))),
    "ntu25_ctrgcn": (25, 20, (*_NTU25_BODY, (21, 22), (22, 7), (23, 24), (24, 11))),
}
"""{name: (number of joints, centre, links from a joint to the next one towards the centre)}.

``ntu25_ctrgcn`` are the links of CTR-GCN's authors, between the joints of ``ntu25``.
"""


@dataclasses.dataclass(frozen=True)
class SpatialGraph:
    """The joints of a layout and their links towards a centre."""

    layout: str
    num_joints: int
    centre: int
    links: Links

    def directed(self) -> Float[np.ndarray, "3 V V"]:
        """Edge sets [subset, source, target] of CTR-GCN: the joint itself, links inward, links outward.

        Edges are divided by the number of edges with the same target.
        """
        itself = np.eye(self.num_joints)
        inward, outward = np.zeros((2, self.num_joints, self.num_joints))
        for outer, inner in self.links:
            inward[inner, outer] = outward[outer, inner] = 1
        # Columns are targets: the edge of the set `inward` at [inner, outer] leads from the inner joint to the outer.
        return np.stack([itself, *map(_divide_columns, (inward, outward))]).astype(np.float32)

    def by_distance(self) -> Float[np.ndarray, "3 V V"]:
        """Edge sets [subset, source, target] of ST-GCN: itself, sources closer to the centre or as close, and further.

        As published, only the centre and its neighbours have a distance; all other joints are equally far, so both
        directions of a link between two of them are in the second set.
        """
        distance = self._distances()
        linked = np.eye(self.num_joints, dtype=bool)
        for a, b in self.links:
            linked[a, b] = linked[b, a] = True
        edges = _divide_columns(linked.astype(float))
        source, target = distance[:, None], distance[None]
        itself = np.eye(self.num_joints, dtype=bool)
        close = linked & ~itself & (source >= target)
        further = linked & ~itself & (source < target)
        return np.stack([np.where(part, edges, 0) for part in (itself, close, further)]).astype(np.float32)

    def _distances(self) -> Int[np.ndarray, " V"]:
        """0 for the centre, 1 for its neighbours, 2 for all others."""
        distance = np.full(self.num_joints, 2)
        for link in self.links:
            if self.centre in link:
                distance[list(link)] = 1
        distance[self.centre] = 0
        return distance


def _divide_columns(edges: np.ndarray) -> np.ndarray:
    """Divides each column by its sum; columns without edges stay zero."""
    return edges / np.maximum(edges.sum(0, keepdims=True), 1)


def spatial_graph(layout: str) -> SpatialGraph:
    """The links of a layout, a key of LINKS.

    Raises:
      UserError: The layout has no links; the message lists those that have.
    """
    if layout not in LINKS:
        raise UserError(f"skeleton layout {layout!r} has no links: choose one of {', '.join(LINKS)}")
    return SpatialGraph(layout, *LINKS[layout])
