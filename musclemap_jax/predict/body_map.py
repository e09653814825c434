"""Muscle regions drawn on a body, from the front and from the back.

The polygons are data (`body_map.json`): those of react-body-highlighter (MIT, notice beside them), and our own where it
has nothing. The page draws them as SVG paths and the annotated video as pixels; both round the corners.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import math
from collections.abc import Sequence

import numpy as np

from musclemap_jax.predict.shading import Shading

VIEWS = ("front", "back")
BOX = (-8.0, -4.0, 116.0, 230.0)
"""Left, top, width and height of a view with its margin, in units of the polygons."""

BODY_STROKE = 3.6
"""Width of the line around every shape, in units, that joins the shapes to one body."""

_CORNER_RADIUS = 1.6
_COLUMNS = {"left": slice(0, 1), "right": slice(1, 2), "both": slice(0, 2)}
"""The columns of (K, 2) values that a shape of that side shows; the stronger one on the middle line."""

_CURVE_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """One polygon of a view.

    Attributes:
      region: Name of the muscle region; None for a part of the body without one.
      side: The person's own side, "left" or "right"; "both" for what lies on the middle line.
      corners: (C, 2) float64 corners in units.
    """

    region: str | None
    side: str
    corners: np.ndarray

    @functools.cached_property
    def path(self) -> str:
        """The shape with rounded corners as the data of an SVG path."""
        curves = [
            f"{start[0]:.1f} {start[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
            for start, corner, end in self._curves
        ]
        return "M" + "L".join(curves) + "Z"

    @functools.cached_property
    def outline(self) -> np.ndarray:
        """(N, 2) points of the shape with rounded corners, close enough to be joined by straight lines."""
        t = np.array(_CURVE_STEPS)[:, None]
        return np.concatenate([(1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in self._curves])

    @property
    def _curves(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Start, control point and end of the quadratic curve that replaces each corner."""
        before, after = np.roll(self.corners, 1, axis=0), np.roll(self.corners, -1, axis=0)
        return [
            (_towards(corner, previous), corner, _towards(corner, following))
            for previous, corner, following in zip(before, self.corners, after, strict=True)
        ]


@dataclasses.dataclass(frozen=True)
class ShadedShape:
    """A shape and what is known about its region.

    Attributes:
      shape: The shape.
      probability: In [0, 1]; NaN if the region has no value.
      strength: Opacity in [0, 1] at which it is shaded.
      active: Whether it is outlined as active.
      fainter: Whether it is shaded more faintly than the region on the other side.
    """

    shape: Shape
    probability: float
    strength: float
    active: bool
    fainter: bool


@functools.cache
def body_shapes(view: str) -> tuple[Shape, ...]:
    """All shapes of a view, one of `VIEWS`."""
    data = json.loads(
        importlib.resources.files("musclemap_jax.predict").joinpath("body_map.json").read_text(encoding="utf-8")
    )
    # The picture's left half is the person's right side where they face the viewer.
    here, there = ("right", "left") if view == "front" else ("left", "right")
    shapes = []
    for polygon in data["views"][view]:
        corners = np.array([pair.split(",") for pair in polygon["points"].split()], np.float64)
        if polygon["mirrored"]:
            shapes.append(Shape(polygon["region"], here, corners))
            shapes.append(Shape(polygon["region"], there, [100, 0] + corners * [-1, 1]))
        else:
            shapes.append(Shape(polygon["region"], "both", corners))
    return tuple(shapes)


def has_body_map(regions: Sequence[str]) -> bool:
    """Whether every region is drawn; regions are a data set's own, and other names than MuscleMap's are not."""
    return set(regions) <= {shape.region for view in VIEWS for shape in body_shapes(view)}


def shade(view: str, shading: Shading) -> list[ShadedShape]:
    """The shapes of a view, one of `VIEWS`, that have a region, with its values."""
    index = {region: k for k, region in enumerate(shading.regions)}
    shaded = []
    for shape in body_shapes(view):
        if shape.region in index:
            k, columns = index[shape.region], _COLUMNS[shape.side]
            strength = float(shading.strengths[k, columns].max())
            active = bool(shading.active[k, columns].any())
            fainter = strength < shading.strengths[k].max()
            shaded.append(ShadedShape(shape, float(shading.probabilities[k]), strength, active, fainter))
        elif shape.region is not None:
            shaded.append(ShadedShape(shape, math.nan, 0.0, False, False))
    return shaded


def _towards(corner: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """The point at the radius from a corner, at most half way to its neighbour."""
    step = neighbour - corner
    length = float(np.hypot(*step))
    return corner + step * min(_CORNER_RADIUS / length, 0.5)
