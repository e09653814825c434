"""Weights, bands, benches and bars: visible in RGB, absent from the skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musclemap_jax.synthetic.body import rotate, unit
from musclemap_jax.synthetic.cones import ConeList
from musclemap_jax.synthetic.kinematics import SIDE_SIGN, SIDES, Body

METAL, WEIGHT, PAD, BAND, WOOD = range(1, 6)

PROPS = (
    "dumbbells", "dumbbell", "dumbbell left", "dumbbell right", "barbell", "kettlebell", "ball", "band", "cable bar",
    "bench", "stool", "box", "mat", "pull-up bar", "dip bars",
)  # fmt: skip
"""Names of the props that activities may use."""

Box = tuple[np.ndarray, np.ndarray, int]
"""Lower corner and upper corner in metres, and material."""

_TO_FLOOR = np.array([1.0, 1.0, 0.0])


def sample_colours(rng: np.random.Generator) -> np.ndarray:
    """Samples the colours of metal, weights, pads, bands and wood: (5, 3), in [0, 255]."""
    weights = np.array([(45, 45, 50), (70, 70, 76), (190, 40, 44), (40, 90, 180), (50, 140, 80), (215, 180, 50)], float)
    pads = np.array([(40, 42, 52), (130, 36, 40), (50, 80, 130), (90, 120, 90), (130, 90, 150)], float)
    bands = np.array([(230, 60, 60), (60, 180, 90), (240, 200, 60), (70, 110, 220)], float)
    colours = [np.array([172.0, 174.0, 180.0]) * rng.uniform(0.6, 1.1)]
    colours += [choice[rng.integers(len(choice))] + rng.normal(0, 8, 3) for choice in (weights, pads, bands)]
    colours.append(np.array([168.0, 122.0, 76.0]) * rng.uniform(0.7, 1.2))
    return np.clip(np.stack(colours), 8, 255)


def add_held(cones: ConeList, body: Body, props: Sequence[str], weight_size: float) -> None:
    """Adds the props that are held in the hands; ``weight_size`` is a factor on the size of weights, about 1."""
    points, stature = body.points, body.proportions.stature
    left, right = points["hand_l"], points["hand_r"]
    middle, across = _across_hands(body)
    away = unit(middle - (points["elbow_l"] + points["elbow_r"]) / 2)
    for prop in props:
        if prop in ("dumbbells", "dumbbell left", "dumbbell right"):
            for side, name in (("l", "left"), ("r", "right")):
                if prop == "dumbbells" or prop.endswith(name):
                    _add_dumbbell(cones, points[f"hand_{side}"], _grip_axis(body, side), stature, weight_size)
        elif prop == "dumbbell":
            _add_dumbbell(cones, middle + away * 0.03 * stature, away, stature, 1.25 * weight_size)
        elif prop == "barbell":
            _add_bar(cones, middle, across, 0.44 * stature, 0.0085 * stature)
        elif prop == "cable bar":
            _add_bar(cones, middle, across, 0.27 * stature, 0.008 * stature)
            cable_top = middle.copy()
            cable_top[:, 2] = 1.35 * stature
            cones.add(middle, cable_top, 0.004 * stature, 0.004 * stature, METAL)
        elif prop == "kettlebell":
            radius = 0.052 * stature * weight_size
            cones.add(left, right, 0.012 * stature, 0.012 * stature, METAL)
            cones.add(middle, middle + away * 0.05 * stature, 0.022 * stature, 0.03 * stature, WEIGHT)
            ball = middle + away * (0.045 * stature + radius)
            cones.add(ball, ball, radius, radius, WEIGHT)
        elif prop == "ball":
            radius = 0.068 * stature * weight_size
            cones.add(middle, middle, radius, radius, WEIGHT)
        elif prop == "band":
            cones.add(left, right, 0.008 * stature, 0.008 * stature, BAND)


def _across_hands(body: Body) -> tuple[np.ndarray, np.ndarray]:
    """(T, 3) middle of a bar in both hands, and its direction."""
    left, right = body.points["hand_l"], body.points["hand_r"]
    return (left + right) / 2, unit(left - right + 1e-3 * body.frames["chest"][:, :, 1])


def _grip_axis(body: Body, side: str) -> np.ndarray:
    """(T, 3) direction of a bar in the hand, perpendicular to the forearm: forward if the arm hangs, otherwise across
    the body."""
    fore = unit(body.points[f"wrist_{side}"] - body.points[f"elbow_{side}"])
    chest = body.frames["chest"]
    hanging = np.clip(-4.0 * np.sum(fore * chest[:, :, 2], axis=-1, keepdims=True) - 2.6, 0.0, 1.0)
    across, ahead = rotate(chest, (0.35, SIDE_SIGN[side], 0.0)), rotate(chest, (1.0, 0.25 * SIDE_SIGN[side], 0.0))
    axis = (1.0 - hanging) * across + hanging * ahead
    return unit(axis - fore * np.sum(axis * fore, axis=-1, keepdims=True) + 1e-3)


def _add_bar(cones: ConeList, middle: np.ndarray, axis: np.ndarray, half: float, radius: float) -> None:
    cones.add(middle - axis * half, middle + axis * half, radius, radius, METAL)


def _add_dumbbell(cones: ConeList, hand: np.ndarray, axis: np.ndarray, stature: float, size: float) -> None:
    half, radius = 0.050 * stature * size**0.5, 0.030 * stature * size
    _add_bar(cones, hand, axis, half, 0.009 * stature)
    for sign in (-1.0, 1.0):
        end = hand + axis * sign * (half + 0.022 * stature)
        cones.add(hand + axis * sign * half, end, radius, 0.92 * radius, WEIGHT)


def barbell_plates(body: Body, props: Sequence[str], weight_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners (T, plates, 16, 3) of a barbell's plates, 0 plates without a barbell, and their normals (T, 3)."""
    stature = body.proportions.stature
    middle, axis = _across_hands(body)
    up = unit(np.array([0.0, 0.0, 1.0]) - axis * axis[:, 2:])
    side = np.cross(axis, up)
    angle = np.arange(16) * (2 * np.pi / 16)
    rim = np.cos(angle)[None, :, None] * up[:, None] + np.sin(angle)[None, :, None] * side[:, None]
    radius = 0.085 * stature * weight_size
    offsets = np.array((-0.40, -0.385, -0.37, 0.37, 0.385, 0.40) if "barbell" in props else ())[:, None]
    centres = middle[:, None] + axis[:, None] * offsets * stature
    return centres[:, :, None] + rim[:, None] * radius, axis


def static_boxes(body: Body, props: Sequence[str]) -> list[Box]:
    """Benches, stools, boxes and mats as axis-aligned boxes, placed where the body needs them."""
    points, stature = body.points, body.proportions.stature
    boxes: list[Box] = []

    pelvis = points["pelvis"].mean(axis=0)
    below = pelvis * _TO_FLOOR

    def box(low: Sequence[float], high: Sequence[float], material: int, at: np.ndarray | float = below) -> None:
        boxes.append((np.array(low) * stature + at, np.array(high) * stature + at, material))

    seat = (pelvis[2] - 0.060 * stature) / stature
    for prop in props:
        if prop == "bench":
            seat -= 0.01
            box((-0.50, -0.085, seat - 0.05), (0.07, 0.085, seat), PAD)
            for x in (-0.42, -0.02):
                box((x - 0.02, -0.06, 0.0), (x + 0.02, 0.06, seat - 0.05), METAL)
        elif prop == "stool":
            seat -= 0.02
            box((-0.10, -0.12, seat - 0.05), (0.12, 0.12, seat), PAD)
            box((-0.03, -0.03, 0.0), (0.03, 0.03, seat - 0.05), METAL)
        elif prop == "box":
            # Under the ball of the raised foot: its position in the step-up's program, in statures.
            box((0.20, -0.20, 0.0), (0.46, 0.20, 0.195), WOOD, at=0.0)
        elif prop == "mat":
            spread = np.concatenate([points[n] for n in ("head", "pelvis", "ankle_l", "ankle_r", "hand_l", "hand_r")])
            low, high = spread[:, :2].min(axis=0), spread[:, :2].max(axis=0)
            centre, half = (low + high) / 2, (high - low) / 2
            half = np.maximum(half + 0.06 * stature, 0.17 * stature)
            half[1] = min(half[1], 0.3 * stature)
            boxes.append((np.array([*(centre - half), 0.0]), np.array([*(centre + half), 0.008 * stature]), PAD))
    return boxes


def add_static_bars(cones: ConeList, body: Body, props: Sequence[str]) -> None:
    """Adds pull-up and dip bars with their posts."""
    stature = body.proportions.stature
    hands = {side: body.points[f"hand_{side}"].mean(axis=0) for side in SIDES}
    thick = 0.011 * stature

    def bar(start: np.ndarray, end: np.ndarray, radius: float, post_radius: float) -> None:
        cones.add(start, end, radius, radius, METAL)
        for top in (start, end):
            cones.add(top, top * _TO_FLOOR, post_radius, post_radius, METAL)

    if "pull-up bar" in props:
        middle = (hands["l"] + hands["r"]) / 2
        half = np.array([0.0, 0.42 * stature, 0.0])
        bar(middle - half, middle + half, thick, 1.5 * thick)
    if "dip bars" in props:
        for side in SIDES:
            back, front = (hands[side] + np.array([x * stature, 0.0, -0.016 * stature]) for x in (-0.16, 0.16))
            bar(back, front, 1.3 * thick, 1.3 * thick)
