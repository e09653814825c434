"""Weights, bands, benches and bars: visible in RGB, absent from the skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musclemap_jax.synthetic.body import rotate, unit
from musclemap_jax.synthetic.cones import ConeList
from musclemap_jax.synthetic.kinematics import SIDE_SIGN, SIDES, Body

METAL, WEIGHT, PAD, BAND, WOOD = range(1, 6)

PROPS = (
    "dumbbells",
    "dumbbell",
    "dumbbell left",
    "dumbbell right",
    "barbell",
    "kettlebell",
    "ball",
    "band",
    "cable bar",
    "bench",
    "stool",
    "box",
    "mat",
    "pull-up bar",
    "dip bars",
)
"""Names of the props that activities may use."""

Box = tuple[np.ndarray, np.ndarray, int]
"""Lower corner and upper corner in metres, and material."""


def sample_colours(rng: np.random.Generator) -> np.ndarray:
    """Samples the colours of metal, weights, pads, bands and wood: (5, 3), in [0, 255]."""
    weights = np.array([(45, 45, 50), (70, 70, 76), (190, 40, 44), (40, 90, 180), (50, 140, 80), (215, 180, 50)], float)
    pads = np.array([(40, 42, 52), (130, 36, 40), (50, 80, 130), (90, 120, 90), (130, 90, 150)], float)
    bands = np.array([(230, 60, 60), (60, 180, 90), (240, 200, 60), (70, 110, 220)], float)
    colours = [np.array([172.0, 174.0, 180.0]) * rng.uniform(0.6, 1.1)]
    colours += [choice[rng.integers(len(choice))] + rng.normal(0, 8, 3) for choice in (weights, pads, bands)]
    colours.append(np.array([168.0, 122.0, 76.0]) * rng.uniform(0.7, 1.2))
    return np.clip(np.stack(colours), 8, 255)


def add_held(cones: ConeList, body: Body, props: Sequence[str], base: int, weight_size: float) -> None:
    """Adds the props that are held in the hands.

    Args:
      cones: The cones to add to.
      body: The body that holds the props.
      props: Names in PROPS; props that are not held are ignored.
      base: The props' materials start after this one.
      weight_size: Factor on the size of weights, about 1.
    """
    points, stature = body.points, body.proportions.stature
    across = body.frames["chest"][:, :, 1]
    left, right = points["hand_l"], points["hand_r"]
    middle = (left + right) / 2
    for prop in props:
        if prop in ("dumbbells", "dumbbell left", "dumbbell right"):
            for side in SIDES:
                if prop == "dumbbells" or prop.endswith({"l": "left", "r": "right"}[side]):
                    _add_dumbbell(cones, points[f"hand_{side}"], _grip_axis(body, side), stature, base, weight_size)
        elif prop == "dumbbell":
            hang = unit(middle - (points["elbow_l"] + points["elbow_r"]) / 2)
            _add_dumbbell(cones, middle + hang * 0.03 * stature, hang, stature, base, 1.25 * weight_size)
        elif prop == "barbell":
            axis = unit(left - right + 1e-3 * across)
            _add_bar(cones, middle, axis, 0.44 * stature, 0.0085 * stature, base)
        elif prop == "cable bar":
            axis = unit(left - right + 1e-3 * across)
            _add_bar(cones, middle, axis, 0.27 * stature, 0.008 * stature, base)
            cable_top = middle.copy()
            cable_top[:, 2] = 1.35 * stature
            cones.add(middle, cable_top, 0.004 * stature, 0.004 * stature, base + METAL)
        elif prop == "kettlebell":
            ahead = unit(middle - (points["elbow_l"] + points["elbow_r"]) / 2)
            radius = 0.052 * stature * weight_size
            cones.add(left, right, 0.012 * stature, 0.012 * stature, base + METAL)
            cones.add(middle, middle + ahead * 0.05 * stature, 0.022 * stature, 0.03 * stature, base + WEIGHT)
            ball = middle + ahead * (0.045 * stature + radius)
            cones.add(ball, ball, radius, radius, base + WEIGHT)
        elif prop == "ball":
            radius = 0.068 * stature * weight_size
            cones.add(middle, middle, radius, radius, base + WEIGHT)
        elif prop == "band":
            cones.add(left, right, 0.008 * stature, 0.008 * stature, base + BAND)


def _grip_axis(body: Body, side: str) -> np.ndarray:
    """(T, 3) direction of a bar in the hand, perpendicular to the forearm: forward if the arm hangs, otherwise across
    the body."""
    fore = unit(body.points[f"wrist_{side}"] - body.points[f"elbow_{side}"])
    chest = body.frames["chest"]
    hanging = np.clip(-4.0 * np.sum(fore * chest[:, :, 2], axis=-1, keepdims=True) - 2.6, 0.0, 1.0)
    across, ahead = rotate(chest, (0.35, SIDE_SIGN[side], 0.0)), rotate(chest, (1.0, 0.25 * SIDE_SIGN[side], 0.0))
    axis = (1.0 - hanging) * across + hanging * ahead
    return unit(axis - fore * np.sum(axis * fore, axis=-1, keepdims=True) + 1e-3)


def _add_bar(cones: ConeList, middle: np.ndarray, axis: np.ndarray, half: float, radius: float, base: int) -> None:
    cones.add(middle - axis * half, middle + axis * half, radius, radius, base + METAL)


def _add_dumbbell(cones: ConeList, hand: np.ndarray, axis: np.ndarray, stature: float, base: int, size: float) -> None:
    half, radius = 0.050 * stature * size**0.5, 0.030 * stature * size
    _add_bar(cones, hand, axis, half, 0.009 * stature, base)
    for sign in (-1.0, 1.0):
        cones.add(
            hand + axis * sign * half,
            hand + axis * sign * (half + 0.022 * stature),
            radius,
            0.92 * radius,
            base + WEIGHT,
        )


def barbell_plates(body: Body, weight_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners (T, plates, 16, 3) of a barbell's plates and their normals (T, 3)."""
    points, stature = body.points, body.proportions.stature
    axis = unit(points["hand_l"] - points["hand_r"] + 1e-3 * body.frames["chest"][:, :, 1])
    middle = (points["hand_l"] + points["hand_r"]) / 2
    up = unit(np.array([0.0, 0.0, 1.0]) - axis * axis[:, 2:])
    side = np.cross(axis, up)
    angle = np.arange(16) * (2 * np.pi / 16)
    rim = np.cos(angle)[None, :, None] * up[:, None] + np.sin(angle)[None, :, None] * side[:, None]
    radius = 0.085 * stature * weight_size
    plates = [
        (middle + axis * offset * stature)[:, None] + rim * radius
        for offset in (-0.40, -0.385, -0.37, 0.37, 0.385, 0.40)
    ]
    return np.stack(plates, axis=1), axis


def static_boxes(props: Sequence[str], body: Body, base: int) -> list[Box]:
    """Benches, stools, boxes and mats as axis-aligned boxes, placed where the body needs them."""
    points, stature = body.points, body.proportions.stature
    boxes: list[Box] = []

    def box(
        low: tuple[float, float, float], high: tuple[float, float, float], material: int, origin: np.ndarray
    ) -> None:
        shift = np.array([origin[0], origin[1], 0.0])
        boxes.append((np.array(low) * stature + shift, np.array(high) * stature + shift, base + material))

    pelvis = points["pelvis"].mean(axis=0)
    seat = (pelvis[2] - 0.060 * stature) / stature
    for prop in props:
        if prop == "bench":
            seat -= 0.01
            box((-0.50, -0.085, seat - 0.05), (0.07, 0.085, seat), PAD, pelvis)
            for x in (-0.42, -0.02):
                box((x - 0.02, -0.06, 0.0), (x + 0.02, 0.06, seat - 0.05), METAL, pelvis)
        elif prop == "stool":
            seat -= 0.02
            box((-0.10, -0.12, seat - 0.05), (0.12, 0.12, seat), PAD, pelvis)
            box((-0.03, -0.03, 0.0), (0.03, 0.03, seat - 0.05), METAL, pelvis)
        elif prop == "box":
            # Under the ball of the raised foot: its position in the step-up's program, in statures.
            box((0.20, -0.20, 0.0), (0.46, 0.20, 0.195), WOOD, np.zeros(3))
        elif prop == "mat":
            spread = np.concatenate([points[n] for n in ("head", "pelvis", "ankle_l", "ankle_r", "hand_l", "hand_r")])
            low, high = spread[:, :2].min(axis=0), spread[:, :2].max(axis=0)
            centre, half = (low + high) / 2, (high - low) / 2
            half = np.maximum(half + 0.06 * stature, 0.17 * stature)
            half[1] = min(half[1], 0.3 * stature)
            boxes.append((np.array([*(centre - half), 0.0]), np.array([*(centre + half), 0.008 * stature]), base + PAD))
    return boxes


def add_static_bars(cones: ConeList, props: Sequence[str], body: Body, base: int) -> None:
    """Adds pull-up and dip bars with their posts."""
    stature = body.proportions.stature
    hands = {side: body.points[f"hand_{side}"].mean(axis=0) for side in SIDES}
    thick = 0.011 * stature

    def bar(start: np.ndarray, end: np.ndarray, radius: float = thick) -> None:
        cones.add(start, end, radius, radius, base + METAL)

    if "pull-up bar" in props:
        middle = (hands["l"] + hands["r"]) / 2
        half = np.array([0.0, 0.42 * stature, 0.0])
        bar(middle - half, middle + half)
        for end in (middle - half, middle + half):
            bar(end, np.array([end[0], end[1], 0.0]), 1.5 * thick)
    if "dip bars" in props:
        for side in SIDES:
            ends = [hands[side] + np.array([x * stature, 0.0, -0.016 * stature]) for x in (-0.16, 0.16)]
            bar(ends[0], ends[1], 1.3 * thick)
            for end in ends:
                bar(end, np.array([end[0], end[1], 0.0]), 1.3 * thick)
