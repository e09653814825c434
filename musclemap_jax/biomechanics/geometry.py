"""Angles, speeds and means of masked 2D points, in the namespace of the arrays: NumPy's or JAX's.

Gradients are finite everywhere: what a mask leaves out is replaced before anything is divided or rooted.

Shapes: T poses, E places or angles; ``*n`` are any leading axes.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float

_FIRM = 0.1
"""Sine of the angle from which on the side to which a joint bends counts in full, about 6 degrees."""


def angle_between(first: Float[Any, "*n 2"], second: Float[Any, "*n 2"]) -> tuple[Float[Any, "*n"], Float[Any, "*n"]]:
    """The angle between two directions that are not zero, from 0 to pi, and on which side the second one is.

    The side is 1 if the second lies in the sense from x to y (on an image: clockwise), -1 in the other, and goes
    through 0 where the two are parallel.
    """
    xp = first.__array_namespace__()
    cross = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    dot = xp.sum(first * second, axis=-1)
    sine = cross / xp.sqrt(cross**2 + dot**2)
    return xp.atan2(xp.abs(cross), dot), sine / xp.sqrt(sine**2 + _FIRM**2)


def speed(
    values: Float[Any, "*n T E"], valid: Bool[Any, "*n T E"], poses_per_s: Float[Any, "*n 1 1"]
) -> tuple[Float[Any, "*n T E"], Bool[Any, "*n T E"]]:
    """Change per second, and where it is defined: central differences, one-sided beside what is not valid."""
    xp = values.__array_namespace__()
    both = valid[..., 1:, :] & valid[..., :-1, :]
    steps = xp.where(both, values[..., 1:, :] - values[..., :-1, :], 0.0)
    nothing = xp.zeros_like(values[..., :1, :])
    never = xp.zeros_like(valid[..., :1, :])
    counted = xp.astype(both, values.dtype)
    total = xp.concat([nothing, steps], axis=-2) + xp.concat([steps, nothing], axis=-2)
    count = xp.concat([nothing, counted], axis=-2) + xp.concat([counted, nothing], axis=-2)
    defined = xp.concat([never, both], axis=-2) | xp.concat([both, never], axis=-2)
    return total / xp.where(defined, count, 1.0) * poses_per_s, defined


def masked_mean(values: Float[Any, "*all"], valid: Bool[Any, "*mask"], axis: tuple[int, ...]) -> Float[Any, "*rest"]:
    """The mean of valid values over some axes; 0 if none is valid. Axes of size 1 of the mask are broadcast."""
    xp = values.__array_namespace__()
    weights = xp.astype(xp.broadcast_to(valid, values.shape), values.dtype)
    count = xp.sum(weights, axis=axis)
    return xp.sum(xp.where(weights > 0, values, 0.0), axis=axis) / xp.where(count > 0, count, 1.0)
