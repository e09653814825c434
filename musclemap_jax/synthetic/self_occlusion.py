"""Which joints of a body its own flesh hides from the camera, without drawing it.

As `drawing.ClipRenderer` finds them by a depth buffer: a joint is hidden if a cone of the body lies in front of it, by
more than the joint's own flesh. Props and other persons hide nothing here.

Letters of shapes: T frames, V joints, N cones.
"""

from __future__ import annotations

import numpy as np

from musclemap_jax.synthetic import person
from musclemap_jax.synthetic.cones import ConeList
from musclemap_jax.synthetic.drawing import FLESH, JOINT_POINTS, joint_positions
from musclemap_jax.synthetic.scene import Scene


def visible_joints(scene: Scene, size: int, rng: np.random.Generator) -> np.ndarray:
    """(T, 17) bool: the subject's joints that are inside the picture and not hidden.

    Args:
      scene: The scene.
      size: Side of the picture in pixels.
      rng: Source of the subject's clothes.
    """
    cones = ConeList(len(scene.motion))
    person.add_person(cones, scene.body, person.sample_appearance(rng), detail=False)
    start, end, rest = cones.arrays()
    camera = scene.camera
    joints, depth = camera.project(np.stack([scene.body.points[name] for name in JOINT_POINTS], axis=1))
    (a, za), (b, zb) = camera.project(start), camera.project(end)
    hidden = np.zeros(depth.shape, bool)
    for n in range(start.shape[1]):  # a loop over cones keeps the arrays at (T, V)
        along = b[:, None, n] - a[:, None, n]
        offset = joints - a[:, None, n]
        place = (offset * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-6)
        place = np.clip(place, 0, 1)
        distance = np.sqrt(np.square(offset - place[..., None] * along).sum(-1))
        cone_depth = za[:, None, n] + place * (zb - za)[:, None, n]
        radius = rest[n, 0] + place * (rest[n, 1] - rest[n, 0])
        radius_px = radius * camera.focal / cone_depth
        thickness = radius * np.sqrt(np.clip(1 - np.square(distance / radius_px), 0, 1))
        hidden |= (distance < radius_px) & (cone_depth - thickness <= depth - FLESH)
    places = joint_positions(scene, scene.body)
    inside = ((places >= 0) & (places < size)).all(axis=-1)
    return inside & ~hidden
