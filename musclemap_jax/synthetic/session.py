"""Training sessions with the truth beside them: one exercise, repeated or held, done right or wrong.

A session is what a coach watches, where a clip of `generate.py` is what a model is trained on. Its skeleton has the
errors of a pose estimator and costs no pixels: which joints are hidden is computed from the body's own shapes.
`drawing.ClipRenderer` draws its scene.

Letters of shapes: T frames, R repetitions, V joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from musclemap_jax.synthetic import program_parts as parts
from musclemap_jax.synthetic import tracks
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.body import Proportions, sample_proportions
from musclemap_jax.synthetic.drawing import joint_positions
from musclemap_jax.synthetic.kinematics import Body, Style, solve
from musclemap_jax.synthetic.mixtures import Mixture
from musclemap_jax.synthetic.scene import Scene, clip_rng, place, sample_style
from musclemap_jax.synthetic.self_occlusion import visible_joints
from musclemap_jax.synthetic.session_timeline import Timeline, sample_holds, sample_repetitions
from musclemap_jax.synthetic.skeleton_noise import corrupt, sample_corruption

FPS = 15.0
LAYOUT = "coco17"
"""Joint order of the skeletons."""

SIZE = 128
"""Side of the picture in pixels, in which the skeleton is given."""

HOLD_PHASE = 0.47
"""Phase at which most exercises are at their peak, where they are held."""

FALSE_START = (0.25, 0.45)
"""How far a false start goes, as a fraction of the way from the rest to the farthest pose."""

_BLEND_S = 0.3
"""Time in which one program turns into another."""

_RESTS = {"forearm plank": parts.ALL_FOURS}
"""Where the rest before a hold is another pose than the program's own."""


@dataclasses.dataclass(frozen=True)
class Session:
    """A session and its truth.

    Attributes:
      activity: The exercise.
      mixture: How it is done wrong; None if it is done right.
      timeline: Repetitions, holds and the false start.
      wrong: (R,) bool, the repetitions that are done wrong.
      scene: The subject and the camera.
      skeleton: (T, 1, 17, 3) float32 x, y in pixels and score as a pose estimator would find them (coco17).
    """

    activity: Activity
    mixture: Mixture | None
    timeline: Timeline
    wrong: np.ndarray
    scene: Scene
    skeleton: np.ndarray


def sample_session(
    activity: Activity, seed: int, name: str, *, mixture: Mixture | None = None, wrong_from: float = 0.0
) -> Session:
    """Samples a session of repetitions.

    Args:
      activity: The exercise.
      seed: Random seed; equal arguments give equal sessions.
      name: Name of the session; other names give other subjects, cameras and tempos.
      mixture: How repetitions are done wrong; its base is the exercise.
      wrong_from: Fraction of the repetitions that are done right before the first wrong one, below 1.
    """
    rng = clip_rng(seed, name, "session")
    turn = _false_start_phase(activity.program, rng)
    timeline = sample_repetitions(activity.period_s, turn, FPS, rng)
    wrong = np.arange(len(timeline.repetitions)) >= round(wrong_from * len(timeline.repetitions))
    wrong &= mixture is not None
    inside = _inside(timeline.times_s, timeline.repetitions[wrong])
    others = [(mixture.program, inside.astype(float))] if mixture else []
    return _session(activity, mixture, timeline, wrong, others, seed, name)


def sample_hold_session(activity: Activity, seed: int, name: str) -> Session:
    """As `sample_session`, of one to three holds of the exercise's peak."""
    timeline = sample_holds(HOLD_PHASE, FPS, clip_rng(seed, name, "session"))
    others = []
    if activity.name in _RESTS:
        rest = ~_inside(timeline.times_s, timeline.holds)
        others = [(_RESTS[activity.name], rest.astype(float))]
    return _session(activity, None, timeline, np.zeros(0, bool), others, seed, name)


def _session(
    activity: Activity,
    mixture: Mixture | None,
    timeline: Timeline,
    wrong: np.ndarray,
    others: Sequence[tuple[tracks.Part, np.ndarray]],
    seed: int,
    name: str,
) -> Session:
    rng = clip_rng(seed, name, "body")
    style = sample_style(activity, timeline.times_s, rng)
    mirrored, proportions = bool(rng.random() < 0.5), sample_proportions(rng)
    body = _solve(activity.program, timeline.phase, style, proportions, mirrored)
    for program, weight in others:
        other = _solve(program, timeline.phase, style, proportions, mirrored)
        body = _blend(body, other, _smoothed(weight, _BLEND_S * timeline.fps))
    scene_rng = clip_rng(seed, name, "scene")
    scene = place(activity, body, mirrored, scene_rng, timeline.num_frames, SIZE, timeline.fps)
    scene = dataclasses.replace(scene, bystander=None)
    rng = clip_rng(seed, name, "skeleton")
    visible = visible_joints(scene, SIZE, rng)
    skeleton = corrupt(joint_positions(scene, body), visible, sample_corruption(rng), rng)
    return Session(activity, mixture, timeline, wrong, scene, skeleton[:, None].astype(np.float32))


def _solve(program: tracks.Part, phase: np.ndarray, style: Style, proportions: Proportions, mirrored: bool) -> Body:
    return solve(tracks.mirror(program) if mirrored else program, proportions, phase, style)


def _blend(first: Body, second: Body, weight: np.ndarray) -> Body:
    """Weight (T,) 0 is the first body, 1 the second; between them points move on straight lines."""
    points = {name: place + weight[:, None] * (second.points[name] - place) for name, place in first.points.items()}
    frames = {
        name: np.where(weight[:, None, None] < 0.5, frame, second.frames[name]) for name, frame in first.frames.items()
    }
    return Body(points, frames, first.proportions)


def _smoothed(weight: np.ndarray, num_frames: float) -> np.ndarray:
    half = max(1, round(num_frames / 2))
    return np.convolve(np.pad(weight, half, mode="edge"), np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")


def _inside(times_s: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """(T,) bool: in one of the (N, 2) spans."""
    return ((times_s[:, None] >= spans[:, 0]) & (times_s[:, None] < spans[:, 1])).any(axis=1)


def _false_start_phase(program: tracks.Part, rng: np.random.Generator) -> float:
    """Phase at which the body has gone a part of the way to its farthest pose for the first time."""
    phases = np.linspace(0, 0.5, 101)
    body = solve(program, sample_proportions(np.random.default_rng(0)), np.append(phases, np.linspace(0.5, 1, 50)))
    points = np.stack([body.points[name] for name in sorted(body.points)], axis=1)
    distance = np.sqrt(np.square(points - points[0]).sum(axis=(1, 2)))
    reached = distance[: len(phases)] >= rng.uniform(*FALSE_START) * distance.max()
    return float(phases[np.argmax(reached)]) if reached.any() else 0.2
