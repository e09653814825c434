"""RandAugment of a clip: a few random operations, drawn once and applied alike to every frame.

Source: Cubuk et al., "RandAugment", 2020, with the names, operations and magnitudes of timm's and PySlowFast's
`rand_augment.py`. MViT's recipe, and so the released code's, is `rand-m7-n4-mstd0.5-inc1`: four operations of fifteen,
each carried out with probability 0.5, at magnitude 7 of 10 with deviation 0.5.

Geometric operations move the pixels of the video, the joints of the skeleton and the optical flow by the same map, so
all branches see one clip from one camera. RGB difference is made of the augmented video, so it follows by itself.
Colours of optical flow mean motion, so colour operations leave it alone.

Differences from upstream: the operations follow the crop, as in timm, where PySlowFast crops afterwards; statistics of
colour are the whole clip's rather than each frame's (`pixel_operations.py`); pixels are interpolated bilinearly rather
than bicubically; posterize keeps one bit at least, since none is a black clip; `inc0` is off (there, it is on).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from musclemap_jax.data.affine import AFFINE_MAPS, Map, move_frames
from musclemap_jax.data.pixel_operations import PIXEL_OPERATIONS
from musclemap_jax.errors import UserError

MAX_MAGNITUDE = 10
"""Magnitudes are on this scale."""


class Operation(NamedTuple):
    """An operation that was drawn.

    Attributes:
      name: A key of `VALUES`.
      value: Its argument: degrees, a slope, a fraction, a factor, bits or levels; None where it takes none.
    """

    name: str
    value: float | None = None


def _symmetric(largest: float) -> Callable[[float, int, bool], float]:
    return lambda strength, sign, increasing: sign * largest * strength


def _factor(strength: float, sign: int, increasing: bool) -> float:
    """Of an enhancement, which does nothing at 1."""
    return 1 + sign * 0.9 * strength if increasing else 0.1 + 1.8 * strength


VALUES: dict[str, Callable[[float, int, bool], float | None]] = {
    "auto_contrast": lambda strength, sign, increasing: None,
    "equalize": lambda strength, sign, increasing: None,
    "invert": lambda strength, sign, increasing: None,
    "rotate": _symmetric(30),
    "posterize": lambda strength, sign, increasing: max(1, 4 - int(4 * strength) if increasing else int(4 * strength)),
    "solarize": lambda strength, sign, increasing: 256 - int(256 * strength) if increasing else int(256 * strength),
    "solarize_add": lambda strength, sign, increasing: int(110 * strength),
    "color": _factor,
    "contrast": _factor,
    "brightness": _factor,
    "sharpness": _factor,
    "shear_x": _symmetric(0.3),
    "shear_y": _symmetric(0.3),
    "translate_x": _symmetric(0.45),
    "translate_y": _symmetric(0.45),
}
"""(strength from 0 to 1, sign, whether severity increases with strength) -> value, by the operation's name."""


class Policy(NamedTuple):
    """What a name such as `rand-m7-n4-mstd0.5-inc1` says.

    Attributes:
      m: Mean magnitude, from 0 to 10.
      n: Number of operations drawn, with replacement.
      mstd: Standard deviation of the magnitude, which is limited to 0 to 10.
      inc: 1 if the severity of every operation increases with the magnitude.
      p: Probability that an operation drawn is carried out.
    """

    m: float = 10.0
    n: float = 2.0
    mstd: float = 0.0
    inc: float = 0.0
    p: float = 0.5


_SECTION = re.compile(r"(mstd|inc|[mnp])(\d+(?:\.\d+)?)")


@functools.lru_cache(maxsize=8)
def parse_policy(name: str) -> Policy:
    """The policy of a name in timm's form. Raises UserError for any other."""
    first, *sections = name.split("-")
    found = [_SECTION.fullmatch(section) for section in sections]
    policy = Policy(**{match[1]: float(match[2]) for match in found if match})
    possible = max(policy.m, policy.mstd) <= MAX_MAGNITUDE and policy.n >= 1 and policy.n % 1 == 0
    if first != "rand" or not all(found) or not possible or policy.inc not in (0, 1) or policy.p > 1:
        raise UserError(
            "augmentation.rand_augment: expected a name such as rand-m7-n4-mstd0.5-inc1 (m: magnitude from 0 to 10; "
            "n: number of operations, at least 1; mstd: deviation of the magnitude, from 0 to 10; inc: 0 or 1; p: "
            f"probability of each, from 0 to 1), or nothing, got {name!r}"
        )
    return policy


def draw_operations(name: str, rng: np.random.Generator) -> tuple[Operation, ...]:
    """The operations on one clip, in order; an empty name stands for none, and draws nothing."""
    if not name:
        return ()
    policy = parse_policy(name)
    size = int(policy.n)
    drawn = zip(
        rng.choice(tuple(VALUES), size),
        rng.uniform(size=size) < policy.p,
        np.clip(rng.normal(policy.m, policy.mstd, size), 0, MAX_MAGNITUDE) / MAX_MAGNITUDE,
        rng.choice((-1, 1), size),
        strict=True,
    )
    return tuple(
        Operation(str(chosen), VALUES[chosen](float(strength), int(sign), policy.inc == 1))
        for chosen, happens, strength, sign in drawn
        if happens
    )


def apply_operations(video: UInt8[np.ndarray, "T H W 3"], operations: Sequence[Operation]) -> None:
    """Carries out operations on a contiguous clip of square frames, in place."""
    for name, value in operations:
        if value is not None and name in AFFINE_MAPS:
            move_frames(video, AFFINE_MAPS[name](value, video.shape[1]))
        else:
            PIXEL_OPERATIONS[name](video, *(() if value is None else (value,)))


def affine_map(operations: Sequence[Operation], size: int) -> Map | None:
    """The map of all geometric operations, one after the other, on frames of `size` pixels; None if there are none."""
    maps = [AFFINE_MAPS[name](value, size) for name, value in operations if value is not None and name in AFFINE_MAPS]
    return functools.reduce(lambda before, after: after @ before, maps) if maps else None
