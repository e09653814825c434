"""A clip's scene: the person and the movement, the camera, the room and the light, all sampled."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from musclemap_jax.synthetic import camera as cameras
from musclemap_jax.synthetic import program_parts as parts
from musclemap_jax.synthetic import tracks
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.body import sample_proportions
from musclemap_jax.synthetic.kinematics import Body, Style, solve

_OFFSET_SCALES = {
    "lean": 2.0, "arm_raise": 3.0, "arm_plane": 5.0, "elbow": 3.0, "toe_out": 5.0, "knee_out": 4.0, "nod": 6.0,
    "look": 6.0, "twist": 2.0,
}  # fmt: skip
"""Channels of kinematics.py that differ between subjects, and the standard deviation of the difference, degrees."""

_IDLE = (
    parts.ON_HIPS | tracks.part(twist=tracks.cycle(-12.0, 14.0), look=tracks.cycle(-25.0, 20.0)),
    tracks.part(tilt=tracks.cycle(-2.0, 2.0), nod=14.0, look=tracks.cycle(0.0, 30.0)),
    parts.CROSSED | tracks.part(side=tracks.cycle(-3.0, 3.0), nod=tracks.cycle(-5.0, 10.0)),
)

_MIRRORED_PROPS = {"dumbbell left": "dumbbell right", "dumbbell right": "dumbbell left"}


def clip_rng(seed: int, clip_id: str, stream: str) -> np.random.Generator:
    """The random generator of one aspect of a clip; it depends on the arguments alone, not on order or processes."""
    return np.random.default_rng([seed, zlib.crc32(clip_id.encode()), zlib.crc32(stream.encode())])


@dataclass(frozen=True)
class Scene:
    """Everything about a clip that is fixed before drawing.

    Attributes:
      body: The subject.
      props: Names of the props, see props.py.
      bystander: A second person in the background, or None.
      camera: The camera without its motion.
      motion: (T, 2, 3) transforms of the picture's pixels by the camera's motion.
      wall_distance: Distance from the camera to the wall, metres.
      darkness: 0 is a well-lit room, 1 is nearly night.
      clutter: 0 is an empty room, 1 a crowded one.
      camouflaged: Whether the subject's clothes look like the room.
      weight_size: Factor on the size of weights.
    """

    body: Body
    props: tuple[str, ...]
    bystander: Body | None
    camera: cameras.Camera
    motion: np.ndarray
    wall_distance: float
    darkness: float
    clutter: float
    camouflaged: bool
    weight_size: float


def sample_style(activity: Activity, time: np.ndarray, rng: np.random.Generator) -> Style:
    """Samples a subject's own range of motion, posture and lag.

    Args:
      activity: What the subject does.
      time: (T,) times of the frames in seconds.
      rng: Source of randomness.
    """
    range_of_motion = 1.0 if activity.exact else float(rng.uniform(0.82, 1.06))
    offsets = {name: float(rng.normal(0, scale)) for name, scale in _OFFSET_SCALES.items()}
    if activity.exact or activity.program.modes.get("root") == "lowest":
        # The lean of these bodies is what makes them touch their supports.
        offsets["lean"] = 0.0
    wobble = 0.8 * np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * time + rng.uniform(0, 6.3)) * rng.uniform(0.2, 1.0)
    return Style(range_of_motion, offsets, float(np.clip(rng.normal(0, 0.012), -0.03, 0.03)), wobble)


def _sample_body(activity: Activity, num_frames: int, fps: float, rng: np.random.Generator) -> tuple[Body, bool]:
    """Samples a subject who does the activity with proportions, tempo, range of motion and start of their own; also
    returns whether left and right are swapped relative to the program."""
    period = rng.uniform(*activity.period_s) * rng.uniform(0.9, 1.15)
    phase = rng.uniform() + np.arange(num_frames) / (fps * period)
    style = sample_style(activity, np.arange(num_frames) / fps, rng)
    mirrored = bool(rng.random() < 0.5)
    program = tracks.mirror(activity.program) if mirrored else activity.program
    return solve(program, sample_proportions(rng), phase, style), mirrored


def _framing_points(activity: Activity, body: Body, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) points that the picture must contain: the whole body, or in some upright exercises the upper body."""
    upper_only = activity.upright and rng.random() < 0.25
    names = [n for n in body.points if not upper_only or n.split("_")[0] not in ("knee", "ankle", "heel", "toe")]
    points = np.concatenate([body.points[n] for n in names])
    margin = 0.04 * body.proportions.stature
    extra = [points + margin, points - margin]
    if "pull-up bar" in activity.props:
        extra.append(np.zeros((1, 3)))
    if "barbell" in activity.props:
        across = np.array([0.0, 0.40, 0.0]) * body.proportions.stature
        middle = (body.points["hand_l"] + body.points["hand_r"]) / 2
        extra += [middle - across, middle + across]
    return np.concatenate(extra)


def sample_scene(activity: Activity, seed: int, clip_id: str, num_frames: int, size: int, fps: float) -> Scene:
    """Samples the scene of a clip of ``size`` pixels square; its randomness depends on the seed and clip_id alone."""
    body, mirrored = _sample_body(activity, num_frames, fps, clip_rng(seed, clip_id, "body"))
    return place(activity, body, mirrored, clip_rng(seed, clip_id, "scene"), num_frames, size, fps)


def place(
    activity: Activity, body: Body, mirrored: bool, rng: np.random.Generator, num_frames: int, size: int, fps: float
) -> Scene:
    """Samples the scene around a body.

    Args:
      activity: What the body does: its props and the directions from which it is filmed.
      body: The subject.
      mirrored: Whether left and right are swapped relative to the activity's program.
      rng: Source of randomness.
      num_frames: T.
      size: Side of the clip in pixels.
      fps: Frames per second.
    """
    points = _framing_points(activity, body, rng)
    azimuth = np.deg2rad(cameras.sample_azimuth(activity.view, rng))
    distance, height = rng.uniform(3.2, 6.0), rng.uniform(0.7, 2.0)
    x, y, _ = (points.min(axis=0) + points.max(axis=0)) / 2
    position = np.array([x + distance * np.cos(azimuth), y + distance * np.sin(azimuth), height])
    offset = rng.uniform(-0.03, 0.03, 2) * size
    camera = cameras.look_at(position, points, size, fill=float(rng.uniform(0.70, 0.88)), offset=offset)
    reach = float(np.max(np.abs((points - position) @ camera.axes[2])))
    wall_distance = max(reach, distance) + rng.uniform(0.5, 2.5)
    bystander = None
    if rng.random() < 0.15:
        depth = wall_distance + rng.uniform(0.0, 0.5)
        bystander, wall_distance = _sample_bystander(camera, size, depth, num_frames, fps, rng), depth + 0.5
    kind = rng.choice(("plain", "dark", "camouflage"), p=(0.73, 0.13, 0.14))
    return Scene(
        body=body,
        props=tuple(_MIRRORED_PROPS.get(prop, prop) for prop in activity.props) if mirrored else activity.props,
        bystander=bystander,
        camera=camera,
        motion=cameras.sample_motion(num_frames, size, float(rng.choice((0.0, 0.5, 1.0), p=(0.3, 0.4, 0.3))), rng),
        wall_distance=float(wall_distance),
        darkness=float(rng.uniform(0.6, 0.9)) if kind == "dark" else float(rng.uniform(0.0, 0.25)),
        clutter=float(rng.uniform(0.8, 1.0)) if kind == "camouflage" else float(rng.beta(1.2, 2.5)),
        camouflaged=kind == "camouflage",
        weight_size=float(rng.uniform(0.85, 1.25)),
    )


def _sample_bystander(
    camera: cameras.Camera, size: int, depth: float, num_frames: int, fps: float, rng: np.random.Generator
) -> Body:
    """Samples a person who stands idle, ``depth`` metres ahead of the camera and to one side of the subject."""
    phase = rng.uniform() + np.arange(num_frames) / (fps * rng.uniform(3.0, 6.0))
    style = Style(offsets={name: float(rng.normal(0, scale)) for name, scale in _OFFSET_SCALES.items()})
    body = solve(_IDLE[rng.integers(len(_IDLE))], sample_proportions(rng), phase, style)
    pixel = size * (0.5 + rng.choice((-1, 1)) * rng.uniform(0.30, 0.42))
    right, ahead = camera.axes[0], camera.axes[2] * np.array([1.0, 1.0, 0.0])
    ahead = ahead / np.linalg.norm(ahead)
    position = camera.position + ahead * depth + right * (pixel - camera.centre[0]) / camera.focal * depth
    facing = np.rad2deg(np.arctan2(-ahead[1], -ahead[0])) + rng.uniform(-70, 70)
    return body.moved(np.array([position[0], position[1], 0.0]), facing)
