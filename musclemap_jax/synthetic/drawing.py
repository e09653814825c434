"""Draws a scene into the frames of a clip and finds which joints are visible in them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import cv2
import numpy as np

from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic import person, props
from musclemap_jax.synthetic.body import unit
from musclemap_jax.synthetic.cones import ConeList
from musclemap_jax.synthetic.kinematics import Body
from musclemap_jax.synthetic.raster import SHADES, Canvas, colour_table
from musclemap_jax.synthetic.room import draw_room
from musclemap_jax.synthetic.scene import Scene

SUPERSAMPLING = 2
_MARGIN = 0.06
"""Fraction of the clip's size that is drawn around it, since the camera's motion may bring it into view."""

# left_knee is the body's knee_l.
JOINT_POINTS = tuple(re.sub("^(l|r)[a-z]*_(.*)", r"\2_\1", name) for name in get_layout("coco17").joints)

FLESH = np.array([0.09] * 5 + [0.13] * 6 + [0.20] * 2 + [0.13] * 4)
"""Metres of the body's own flesh in front of each joint, which do not hide it: face, arms, hips, legs."""


def joint_positions(scene: Scene, body: Body) -> np.ndarray:
    """(T, 17, 2) true positions of a body's COCO joints in the clip, pixels."""
    uv, _ = scene.camera.project(np.stack([body.points[name] for name in JOINT_POINTS], axis=1))
    matrix = scene.motion
    return np.einsum("tij,tvj->tvi", matrix[:, :, :2], uv) + matrix[:, None, :, 2]


class ClipRenderer:
    """Draws a scene frame by frame.

    Attributes:
      visible: (T, P, 17) bool, whether each joint of the subject and of the bystander is visible; complete after the
        last frame.
    """

    def __init__(self, scene: Scene, size: int, rng: np.random.Generator):
        self._scene, self._size, self._rng = scene, size, rng
        self._margin = int(np.ceil(_MARGIN * size)) * SUPERSAMPLING
        self._side = SUPERSAMPLING * size + 2 * self._margin
        centre = scene.camera.centre * SUPERSAMPLING + self._margin + (SUPERSAMPLING - 1) / 2
        self._camera = dataclasses.replace(scene.camera, focal=scene.camera.focal * SUPERSAMPLING, centre=centre)
        self._sample_photography()
        picture, self._floor, colours = draw_room(self._camera, self._side, scene.wall_distance, scene.clutter, rng)
        self._room_picture = np.clip(picture * self._gain, 0, 255).astype(np.uint8)
        self._bodies = [body for body in (scene.body, scene.bystander) if body is not None]
        self._num_frames = len(scene.motion)
        self._table = colour_table(self._prepare(colours) * self._gain)
        self.visible = np.zeros((self._num_frames, len(self._bodies), len(JOINT_POINTS)), bool)

    def _sample_photography(self) -> None:
        """Samples the light, the exposure, and the camera's noise and blur."""
        rng, dark = self._rng, self._scene.darkness
        light = unit(np.array([rng.uniform(-0.8, 0.8), -rng.uniform(0.4, 1.0), rng.uniform(0.5, 1.1)]))
        warmth = rng.normal(0, 0.06)
        self._light = tuple(light.tolist())
        self._gain = (1.0 - 0.88 * dark) * rng.uniform(0.92, 1.1) * np.array([1 + warmth, 1.0, 1 - warmth])
        self._noise = float(rng.uniform(0.5, 4.0) + 5.0 * dark)
        self._blur = float(rng.choice((0.0, 0.6, 0.9)))

    def _prepare(self, room_colours: np.ndarray) -> np.ndarray:
        """Builds the cones, the plates and the static canvas; returns the colours of all materials."""
        scene, rng, camera = self._scene, self._rng, self._camera
        cones, colours = ConeList(self._num_frames), []
        for index, body in enumerate(self._bodies):
            camouflaged = scene.camouflaged and index == 0
            appearance = person.sample_appearance(rng, room_colours if camouflaged else None)
            person.add_person(cones, body, appearance, detail=index == 0)
            colours.append(appearance.colours)
            cones.base += person.NUM_BODY_MATERIALS
            if index == 0:
                self._subject_parts = tuple(cones.parts)
        self._shadows = self._project_shadows(*cones.arrays())
        props.add_held(cones, scene.body, scene.props, scene.weight_size)
        colours.append(props.sample_colours(rng))
        self._cones = self._projected(cones)
        plates, normal = props.barbell_plates(scene.body, scene.props, scene.weight_size)
        self._plates = *camera.project(plates), np.abs(normal @ camera.axes[2])
        self._static = Canvas(self._side, self._light)
        self._base = cones.base
        for low, high, material in props.static_boxes(scene.body, scene.props):
            self._draw_box(low, high, self._base + material)
        bars = ConeList(1, self._base)
        props.add_static_bars(bars, scene.body, scene.props)
        if len(bars):
            self._static.draw_cones(self._projected(bars)[0])
        return np.concatenate(colours)

    def _projected(self, cones: ConeList) -> np.ndarray:
        """(T, N, 11): rows of arguments of `Canvas.draw_cone`."""
        start, end, rest = cones.arrays()
        (a, za), (b, zb) = self._camera.project(start), self._camera.project(end)
        focal, radii = self._camera.focal, rest[:, :2]
        numbers = (za, zb, radii[:, 0] * focal / za, radii[:, 1] * focal / zb, (za + zb) / (2 * focal))
        numbers = np.stack(np.broadcast_arrays(*numbers, *rest[:, 2:].T), axis=-1)
        return np.concatenate([a, b, numbers], axis=-1)

    def _project_shadows(self, start: np.ndarray, end: np.ndarray, rest: np.ndarray):
        """The cones' shadows on the floor under a light that is nearly overhead: segments and widths, pixels."""
        right, _, ahead = self._camera.axes
        x, _, z = self._light
        tilt = -(right * x - ahead * z)[:2] * 0.35

        def onto_floor(points: np.ndarray) -> np.ndarray:
            ground = points.copy()
            ground[..., :2] += points[..., 2:] * tilt
            ground[..., 2] = 0.0
            return ground

        (a, za), (b, _) = self._camera.project(onto_floor(start)), self._camera.project(onto_floor(end))
        width = rest[:, 0] * 1.5 * self._camera.focal / za / 2
        segments = np.rint(np.concatenate([a, b], axis=-1) / 2).astype(int)
        return segments, np.maximum(np.rint(width), 1).astype(int)

    def _draw_box(self, low: np.ndarray, high: np.ndarray, material: int) -> None:
        light_x, light_y, light_z = self._light
        right, down, ahead = self._camera.axes
        toward = right * light_x + down * light_y - ahead * light_z
        for axis in range(3):
            others = [i for i in range(3) if i != axis]
            for sign, level in ((-1.0, low), (1.0, high)):
                if (self._camera.position - level)[axis] * sign <= 0:
                    continue
                corners = np.tile(level, (4, 1))
                for row, ends in enumerate(((low, low), (high, low), (high, high), (low, high))):
                    corners[row, others] = [end[i] for end, i in zip(ends, others, strict=True)]
                uv, depth = self._camera.project(corners)
                self._static.draw_polygon(uv, depth, material, 0.45 + 0.5 * max(float(sign * toward[axis]), 0.0))

    def frames(self) -> Iterator[np.ndarray]:
        """Yields uint8 (size, size, 3) RGB frames."""
        size = self._size
        canvas = Canvas(self._side, self._light)
        plates, depths, facing = self._plates
        noise = np.rint(self._rng.normal(0, self._noise, (size + 64, size + 64, 3))).astype(np.int16)
        corners = self._rng.integers(0, 64, (self._num_frames, 2))
        for t in range(self._num_frames):
            canvas.copy_from(self._static)
            canvas.draw_cones(self._cones[t])
            for plate, depth in zip(plates[t], depths[t], strict=True):
                canvas.draw_polygon(plate, depth, self._base + props.WEIGHT, 0.5 + 0.45 * float(facing[t]))
            self._find_visible_joints(canvas, t)
            picture = self._shaded_room(t)
            # Only the box around people and props is painted, which saves a tenth of the time.
            x, y, w, h = cv2.boundingRect((canvas.code > 0).view(np.uint8))
            box = slice(y, y + h), slice(x, x + w)
            np.copyto(picture[box], self._table[canvas.code[box]], where=canvas.code[box][..., None] > 0)
            frame = self._photograph(picture, t)
            row, column = corners[t]
            yield cv2.add(frame, noise[row : row + size, column : column + size], dtype=cv2.CV_8U)

    def part_masks(self) -> Iterator[np.ndarray]:
        """Yields uint8 (size, size) for each frame: the part of the subject that is seen at each pixel.

        A value is an index into `person.PARTS` plus 1; 0 is everything else, also what hides the subject.
        """
        canvas = Canvas(self._side, self._light)
        plates, depths, _ = self._plates
        material = 9  # of the columns of `_projected`
        materials = np.zeros(self._cones.shape[1])
        materials[: len(self._subject_parts)] = [person.PARTS.index(part) + 1 for part in self._subject_parts]
        for t in range(self._num_frames):
            canvas.copy_from(self._static)
            canvas.code[:] = 0
            cones = self._cones[t].copy()
            cones[:, material] = materials
            canvas.draw_cones(cones)
            for plate, depth in zip(plates[t], depths[t], strict=True):
                canvas.draw_polygon(plate, depth, 0, 0.5)
            parts = (canvas.code // SHADES).astype(np.uint8)
            yield cv2.warpAffine(parts, self._to_picture(t), (self._size, self._size), flags=cv2.INTER_NEAREST)

    def _to_picture(self, t: int) -> np.ndarray:
        """(2, 3) from pixels of the canvas to those of the frame."""
        shrink = np.eye(3)
        shrink[:2, :2] /= SUPERSAMPLING
        shrink[:2, 2] = -(self._margin + (SUPERSAMPLING - 1) / 2) / SUPERSAMPLING
        return self._scene.motion[t] @ shrink

    def _shaded_room(self, t: int) -> np.ndarray:
        picture = self._room_picture.copy()
        half = np.zeros((self._side // 2 + 1, self._side // 2 + 1), np.uint8)
        segments, widths = self._shadows
        for (ax, ay, bx, by), width in zip(segments[t].tolist(), widths[t].tolist(), strict=True):
            cv2.line(half, (ax, ay), (bx, by), 96, width)
        half = cv2.blur(half, (7, 7))
        x, y, w, h = cv2.boundingRect(half)
        if w and h:
            box = slice(2 * y, min(2 * (y + h), self._side)), slice(2 * x, min(2 * (x + w), self._side))
            dark = cv2.resize(half[y : y + h, x : x + w], (2 * w, 2 * h))[: box[0].stop - 2 * y, : box[1].stop - 2 * x]
            keep = 255 - dark * self._floor[box]
            picture[box] = cv2.multiply(picture[box], cv2.merge((keep, keep, keep)), scale=1 / 255)
        return picture

    def _photograph(self, picture: np.ndarray, t: int) -> np.ndarray:
        """Applies blur and the camera's motion, and scales the picture down."""
        if self._blur:
            picture = cv2.GaussianBlur(picture, (5, 5), self._blur * SUPERSAMPLING * 0.6)
        size, matrix = (self._size, self._size), self._to_picture(t)
        return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _find_visible_joints(self, canvas: Canvas, t: int) -> None:
        for index, body in enumerate(self._bodies):
            uv, depth = self._camera.project(np.stack([body.points[name][t] for name in JOINT_POINTS]))
            pixel = np.rint(uv).astype(int)
            inside = ((pixel >= self._margin) & (pixel < self._side - self._margin)).all(axis=-1)
            x, y = np.clip(pixel, 0, self._side - 1).T
            self.visible[t, index] = inside & (depth - FLESH < canvas.depth[y, x])
