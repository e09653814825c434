"""A person's appearance: the rounded cones of flesh, hair and clothes on a body, and their colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musclemap_jax.synthetic.body import rotate, unit
from musclemap_jax.synthetic.cones import ConeList
from musclemap_jax.synthetic.kinematics import SIDE_SIGN, SIDES, Body

SKIN, HAIR, SHIRT, TROUSERS, SHOE, EYE, SOLE = range(1, 8)
NUM_BODY_MATERIALS = 7

PARTS = ("head", "trunk", "left arm", "right arm", "left leg", "right leg")
"""Parts of the body; an arm begins at the shoulder, a leg at the hip."""

_SKIN_TONES = np.array(
    [(244, 208, 177), (231, 180, 143), (214, 156, 118), (181, 122, 84), (141, 89, 58), (98, 62, 42), (75, 48, 34)],
    float,
)
_HAIR_TONES = np.array(
    [(28, 22, 20), (58, 40, 28), (96, 66, 40), (150, 110, 62), (205, 176, 120), (120, 118, 116)], float
)
_CLOTHES = np.array(
    [(210, 52, 50), (40, 84, 170), (38, 132, 74), (230, 190, 50), (235, 235, 235), (36, 36, 42), (120, 62, 140),
     (240, 130, 60), (64, 160, 180), (150, 150, 156), (90, 60, 46), (236, 120, 160), (26, 44, 80), (120, 140, 60)],
    float,
)  # fmt: skip


@dataclass(frozen=True)
class Appearance:
    """How a person looks.

    Attributes:
      colours: (7, 3) colours of skin, hair, shirt, trousers, shoes, eyes and soles, in [0, 255].
      sleeve: Length of the sleeves: 0 none, 1 to the elbow, 2 to the wrist.
      leg: Length of the trousers: 0.5 shorts, 1 to the knee, 2 to the ankle.
      hair: "short", "long", "tail", "bun" or "bald".
      stripes: Number of stripes along a cone of the shirt and of the trousers, 0 for plain.
      loose: Factor on the radii of clothes.
      width_bias: Width of the shoulders relative to the hips in the drawn trunk, about 1.
    """

    colours: np.ndarray
    sleeve: float
    leg: float
    hair: str
    stripes: tuple[float, ...]
    loose: float
    width_bias: float


def sample_appearance(rng: np.random.Generator, background: np.ndarray | None = None) -> Appearance:
    """Samples an appearance; given a ``background`` (N, 3), the clothes get its colours and stripes as camouflage."""
    colours = np.empty((NUM_BODY_MATERIALS, 3))
    colours[0] = _SKIN_TONES[rng.integers(len(_SKIN_TONES))] * rng.uniform(0.92, 1.06)
    colours[1] = _HAIR_TONES[rng.integers(len(_HAIR_TONES))] * rng.uniform(0.9, 1.1)
    for index in (2, 3, 4):
        colours[index] = _CLOTHES[rng.integers(len(_CLOTHES))] + rng.normal(0, 10, 3)
    stripes = tuple(float(s) for s in np.where(rng.random(2) < 0.15, rng.uniform(2.0, 4.0, 2), 0.0))
    if background is not None:
        colours[2:4] = background[rng.integers(len(background), size=2)] + rng.normal(0, 8, (2, 3))
        stripes = tuple(float(s) for s in rng.uniform(2.0, 5.0, 2))
    colours[5] = (20, 20, 24)
    colours[6] = (225, 225, 225) if rng.random() < 0.6 else (60, 60, 60)
    return Appearance(
        colours=np.clip(colours, 8, 255),
        sleeve=float(rng.choice((0.0, 0.7, 0.9, 2.0), p=(0.25, 0.35, 0.2, 0.2))),
        leg=float(rng.choice((0.55, 0.9, 2.0), p=(0.35, 0.25, 0.4))),
        hair=str(rng.choice(("short", "long", "tail", "bun", "bald"), p=(0.45, 0.12, 0.2, 0.13, 0.1))),
        stripes=stripes,
        loose=float(rng.uniform(1.0, 1.12)),
        width_bias=float(rng.uniform(0.92, 1.1)),
    )


def add_person(cones: ConeList, body: Body, appearance: Appearance, detail: bool) -> None:
    """Adds a person's cones; without ``detail``, the face has no nose, eyes and ears."""
    cones.part = "trunk"
    _add_trunk(cones, body, appearance)
    cones.part = "head"
    _add_head(cones, body, appearance, detail)
    for side, name in zip(SIDES, ("left", "right"), strict=True):
        cones.part = f"{name} arm"
        _add_arm(cones, body, appearance, side)
        cones.part = f"{name} leg"
        _add_leg(cones, body, appearance, side)
    cones.part = ""


def _add_trunk(cones: ConeList, body: Body, appearance: Appearance) -> None:
    points, stature = body.points, body.proportions.stature
    girth = stature * body.proportions.girth**0.8
    chest, pelvis = body.frames["chest"], body.frames["pelvis"]
    shirt_stripes, trouser_stripes = appearance.stripes
    waist_to_neck = points["neck"] - points["waist"]
    breast = points["waist"] + 0.62 * waist_to_neck + rotate(chest, (0.006 * stature, 0.0, 0.0))
    belly = points["waist"] + rotate(chest, (0.004 * stature, 0.0, 0.0))
    cones.add(breast, belly, 0.060 * girth, 0.053 * girth, SHIRT, shirt_stripes)
    loins = points["pelvis"] + rotate(pelvis, (0.0, 0.0, 0.050 * stature))
    cones.add(belly, loins, 0.053 * girth, 0.052 * girth, SHIRT)
    seat = rotate(pelvis, (-0.012 * stature, 0.0, 0.0))
    cones.add(points["hip_l"] + seat, points["hip_r"] + seat, 0.057 * girth, 0.057 * girth, TROUSERS)
    inner, outer = 0.056 * girth * appearance.width_bias, 0.042 * girth / appearance.width_bias
    for side, sign in SIDE_SIGN.items():
        high = points["waist"] + 0.68 * waist_to_neck + rotate(chest, (0.004 * stature, sign * inner, 0.0))
        low = points["waist"] + rotate(chest, (0.0, sign * 0.036 * girth, 0.0))
        hip = points["pelvis"] + rotate(pelvis, (-0.004 * stature, sign * outer, 0.012 * stature))
        thigh = points[f"hip_{side}"] + rotate(pelvis, (-0.008 * stature, 0.0, -0.012 * stature))
        cones.add(high, low, 0.055 * girth, 0.047 * girth, SHIRT, shirt_stripes)
        cones.add(low, hip, 0.047 * girth, 0.055 * girth, SHIRT, shirt_stripes * 0.7)
        cones.add(hip, thigh, 0.057 * girth, 0.056 * girth, TROUSERS, trouser_stripes * 0.4)
        yoke = points[f"shoulder_{side}"] + rotate(chest, (0.0, -sign * 0.012 * stature, 0.0))
        top = points["neck"] + rotate(chest, (0.0, sign * 0.02 * stature, -0.012 * stature))
        cones.add(top, yoke, 0.034 * stature, 0.036 * girth, SHIRT)
        cones.add(high, yoke, 0.05 * girth, 0.036 * girth, SHIRT)


def _add_head(cones: ConeList, body: Body, appearance: Appearance, detail: bool) -> None:
    points, radius, frame = body.points, body.proportions.head_radius, body.frames["head"]

    def at(x: float, y: float, z: float) -> np.ndarray:
        return points["head"] + rotate(frame, (x * radius, y * radius, z * radius))

    nape = points["neck"] - rotate(frame, (0.0, 0.0, 0.3 * radius))
    cones.add(nape, at(-0.15, 0, -0.5), 0.56 * radius, 0.52 * radius, SKIN)
    cones.add(at(0.02, 0, 0.22), at(0.22, 0, -0.42), 0.92 * radius, 0.62 * radius, SKIN)
    if detail:
        cones.add(at(0.90, 0, 0.05), at(1.0, 0, -0.12), 0.09 * radius, 0.15 * radius, SKIN)
        for sign in (1.0, -1.0):
            cones.add(at(0.82, 0.34 * sign, 0.16), at(0.82, 0.34 * sign, 0.10), 0.13 * radius, 0.13 * radius, EYE)
            cones.add(at(-0.05, 0.88 * sign, 0.12), at(-0.05, 0.86 * sign, -0.12), 0.14 * radius, 0.12 * radius, SKIN)
    if appearance.hair == "bald":
        return
    cones.add(at(-0.10, 0, 0.34), at(-0.30, 0, 0.0), 0.95 * radius, 0.80 * radius, HAIR)
    if appearance.hair == "long":
        cones.add(at(-0.45, 0, 0.1), at(-0.55, 0, -1.3), 0.75 * radius, 0.5 * radius, HAIR)
    elif appearance.hair == "tail":
        cones.add(at(-0.95, 0, 0.45), at(-1.35, 0, -0.7), 0.30 * radius, 0.2 * radius, HAIR)
    elif appearance.hair == "bun":
        cones.add(at(-0.75, 0, 0.95), at(-0.75, 0, 0.95), 0.42 * radius, 0.42 * radius, HAIR)


def _add_arm(cones: ConeList, body: Body, appearance: Appearance, side: str) -> None:
    points, stature = body.points, body.proportions.stature
    girth = stature * body.proportions.girth
    shoulder, elbow, wrist, hand = (points[f"{n}_{side}"] for n in ("shoulder", "elbow", "wrist", "hand"))
    sleeve, stripes = appearance.sleeve, appearance.stripes[0]
    material, sleeve_stripes = (SHIRT, stripes) if sleeve > 1 else (SKIN, 0.0)
    cones.add(shoulder, elbow, 0.030 * girth, 0.023 * girth, material, sleeve_stripes)
    cap = shoulder + 0.15 * (elbow - shoulder)
    cones.add(shoulder, cap, 0.035 * girth, 0.033 * girth, SHIRT if sleeve else SKIN)
    if 0 < sleeve <= 1:
        end, factor = shoulder + sleeve * 0.75 * (elbow - shoulder), appearance.loose
        cones.add(shoulder, end, 0.033 * girth * factor, 0.029 * girth * factor, SHIRT, stripes * 0.5)
    swell = elbow + 0.25 * (wrist - elbow)
    cones.add(elbow, swell, 0.0225 * girth, 0.0235 * girth, material)
    cones.add(swell, wrist, 0.0235 * girth, 0.0150 * girth, material, sleeve_stripes * 0.8)
    tip = hand + 0.35 * (hand - wrist)
    cones.add(wrist + 0.3 * (hand - wrist), tip, 0.0165 * stature, 0.0175 * stature, SKIN)


def _add_leg(cones: ConeList, body: Body, appearance: Appearance, side: str) -> None:
    points, stature = body.points, body.proportions.stature
    girth = stature * body.proportions.girth
    hip, knee, ankle, heel, toe = (points[f"{n}_{side}"] for n in ("hip", "knee", "ankle", "heel", "toe"))
    stripes, covered = appearance.stripes[1], appearance.leg
    long = covered > 1
    material, leg_stripes = (TROUSERS, stripes) if long else (SKIN, 0.0)
    cones.add(hip, knee, 0.052 * girth, 0.034 * girth, material, leg_stripes)
    if not long:
        end, factor = hip + covered * (knee - hip), appearance.loose * 1.04
        thickness = (0.052 - 0.018 * covered) * girth
        cones.add(hip, end, 0.052 * girth * factor, thickness * factor, TROUSERS, stripes * covered)
    # The calf bulges behind the line from knee to ankle, away from the toes.
    back = unit(heel - toe) * 0.008 * stature
    swell = knee + 0.30 * (ankle - knee) + back
    cones.add(knee, swell, 0.033 * girth, 0.0335 * girth, material)
    cones.add(swell, ankle, 0.0335 * girth, 0.0195 * girth, material, leg_stripes * 0.8)
    cones.add(ankle, heel, 0.0235 * stature, 0.0195 * stature, SHOE)
    cones.add(heel, toe, 0.0200 * stature, 0.0155 * stature, SHOE)
    cones.add(ankle, heel + 0.62 * (toe - heel), 0.0235 * stature, 0.0190 * stature, SHOE)
    drop = unit((heel + toe) / 2 - ankle) * 0.006 * stature
    cones.add(heel + drop, toe + drop, 0.0175 * stature, 0.0130 * stature, SOLE)
