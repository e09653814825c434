"""How far the joints of a person move in each repetition: the ranges of their angles in the picture.

A joint that rests looks at rest from every camera, while the range of one that moves depends on the view. There is one
exception: of a limb that points at the camera, the angle in the picture is that of the estimator's errors. How far each
limb is turned to the camera is estimated from its length in the picture, since the lengths of a body's segments are
about in the same proportion in everybody (Drillis and Contini, 1966; in Winter, "Biomechanics and motor control of
human movement", 4th edition, figure 4.1).

The heels have no joint in most layouts of a skeleton, and rise by a few centimetres; but the ankles rise with them. So
the last of the ranges is that of the ankles' height in the picture. A camera that is held by hand moves it too, but not
in time with the exercise: the straight line between the start and the end of a repetition is taken from it, and then
the mean over neighbouring repetitions.

Letters of shapes: S samples, R repetitions, A motions.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from musclemap_jax.coach.movement import RATE, Movement

ANGLES: dict[str, tuple[str, str, str]] = {
    "elbows": ("shoulder", "elbow", "wrist"),
    "shoulders": ("hip", "shoulder", "elbow"),
    "hips": ("shoulder", "hip", "knee"),
    "knees": ("hip", "knee", "ankle"),
}
"""Name -> the joints between which the angle is, at the middle one; that of the side that moves less counts."""

TRUNK, ANKLES = "trunk", "ankles"
MOTIONS = (*ANGLES, TRUNK, ANKLES)
"""Names of the A ranges: of the angles and of the trunk's inclination in degrees, and of the height of the ankle that
moves less in hundredths of the body's size (`movement.Movement`)."""

AT_REST = (20.0, 20.0, 20.0, 20.0, 20.0, 8.0)
"""(A,) what moves rests if its range is below this; that of what moves depends too much on the camera."""

_LENGTHS = {
    frozenset({"shoulder", "elbow"}): 0.186,
    frozenset({"elbow", "wrist"}): 0.146,
    frozenset({"shoulder", "hip"}): 0.288,
    frozenset({"hip", "knee"}): 0.245,
    frozenset({"knee", "ankle"}): 0.246,
}
"""Joints of a segment -> its length as a fraction of the person's height."""

_LEAST_SHOWN = 0.2
"""Fraction of a segment's length that the picture has to show in nine tenths of the repetition."""

_SCALE_PERCENTILE = 75
"""Of the longest segment over time, relative to its length: what is shown in full."""

_PERCENTILES = (10, 90)
_SIDES = ("left", "right")
_ENDS, _PHASES, _NEIGHBOURS = 8, 32, 2
"""The first and the last eighth of a repetition are its start and end; heights are averaged at that many phases, over a
repetition and at most two on each side of it."""


@dataclasses.dataclass(frozen=True)
class _Angle:
    """An angle of a person over time.

    Attributes:
      sides: (S,) degrees of each side that the skeleton has.
      segments: Names of the joints of the segments that must not point at the camera.
    """

    sides: list[np.ndarray]
    segments: list[tuple[str, str]]


def motion_ranges(movement: Movement, repetitions: np.ndarray) -> np.ndarray:
    """(R, A) ranges of the `MOTIONS` in each repetition; NaN where a joint is not seen, or a limb points at the camera.

    Args:
      movement: The movement.
      repetitions: (R, 2) times in seconds.
    """
    spans = [slice(start, max(end, start + 1)) for start, end in (RATE * repetitions).astype(int).tolist()]
    ranges = np.full((len(repetitions), len(MOTIONS)), np.nan)
    shown = _fractions_shown(movement)
    for motion, angle in _angles(movement).items():
        for row, inside in enumerate(spans):
            least = [np.percentile(shown[pair][inside], _PERCENTILES[0]) for pair in angle.segments]
            if min(least) >= _LEAST_SHOWN:
                ranges[row, MOTIONS.index(motion)] = min(_range(side[inside]) for side in angle.sides)
    joints = _joints(movement)
    heights = 100 * (movement.pose[..., 1] + movement.middle[:, None, 1])
    ankles = [heights[:, joints[name]] for side in _SIDES if (name := f"{side}_ankle") in joints]
    if ankles and spans:
        ranges[:, MOTIONS.index(ANKLES)] = np.min([_ranges_of_height(height, spans) for height in ankles], axis=0)
    return ranges


def _joints(movement: Movement) -> dict[str, int]:
    """{name of a joint: its number}."""
    return {name: v for v, name in enumerate(movement.joint_names)}


def _angles(movement: Movement) -> dict[str, _Angle]:
    """The angles of `ANGLES` and of the trunk whose joints the skeleton has, by name."""
    joints, angles = _joints(movement), {}
    for motion, chain in ANGLES.items():
        sides = [[f"{side}_{joint}" for joint in chain] for side in _SIDES]
        if seen := [side for side in sides if set(side) <= set(joints)]:
            paths = [_angle(movement.pose, [joints[name] for name in side]) for side in seen]
            angles[motion] = _Angle(paths, [pair for side in seen for pair in itertools.pairwise(side)])
    shoulders, hips = ([f"{side}_{joint}" for side in _SIDES] for joint in ("shoulder", "hip"))
    if {*shoulders, *hips} <= set(joints):
        corners = [[joints[name] for name in ends] for ends in (shoulders, hips)]
        angles[TRUNK] = _Angle([_inclination(movement.pose, corners)], list(zip(shoulders, hips, strict=True)))
    return angles


def _range(values: np.ndarray) -> float:
    return float(np.ptp(np.percentile(values, _PERCENTILES)))


def _ranges_of_height(height: np.ndarray, spans: list[slice]) -> list[float]:
    """The range in each of R repetitions of a height of which (S,) samples are given."""
    cycles = []
    for inside in spans:
        cycle = _without_line(height[inside])
        phases = np.linspace(0, len(cycle) - 1, _PHASES)
        cycles.append(np.interp(phases, np.arange(len(cycle)), cycle) - cycle.mean())
    around = [cycles[max(0, row - _NEIGHBOURS) : row + _NEIGHBOURS + 1] for row in range(len(cycles))]
    return [_range(np.mean(neighbours, axis=0)) for neighbours in around]


def _fractions_shown(movement: Movement) -> dict[tuple[str, str], np.ndarray]:
    """{names of a segment's joints, either way: (S,) fraction of its length that the picture shows}."""
    index, relative = _joints(movement), {}
    for side in _SIDES:
        for joints, length in _LENGTHS.items():
            first, second = (f"{side}_{joint}" for joint in sorted(joints))
            if first in index and second in index:
                offset = movement.pose[:, index[first]] - movement.pose[:, index[second]]
                relative[first, second] = relative[second, first] = np.linalg.norm(offset, axis=-1) / length
    if not relative:
        return {}
    scale = np.percentile(np.max(list(relative.values()), axis=0), _SCALE_PERCENTILE)
    return {pair: lengths / max(float(scale), 1e-9) for pair, lengths in relative.items()}


def _without_line(height: np.ndarray) -> np.ndarray:
    """(S,) heights, less the straight line through the means of the first and of the last part."""
    part = max(1, len(height) // _ENDS)
    rise = height[-part:].mean() - height[:part].mean()
    return height - rise / max(1, len(height) - part) * np.arange(len(height))


def _inclination(pose: np.ndarray, corners: list[list[int]]) -> np.ndarray:
    """(S,) angle in degrees from the vertical to the line from the hips to the shoulders, without jumps by 360."""
    x, y = (pose[:, corners[0]].mean(axis=1) - pose[:, corners[1]].mean(axis=1)).T
    return np.degrees(np.unwrap(np.arctan2(x, -y)))


def _angle(pose: np.ndarray, joints: list[int]) -> np.ndarray:
    """(S,) angle in degrees at the second of three joints, in [0, 180]."""
    first, middle, last = (pose[:, v] for v in joints)
    a, b = first - middle, last - middle
    cosine = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), 1e-9)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
