"""A pinhole camera in the room, and the slight motion of a hand-held camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musclemap_jax.synthetic.body import unit


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
      position: (3,) position in the world, metres.
      axes: (3, 3) unit vectors in the world as rows: right and down in the picture, and the viewing direction.
      focal: Focal length, pixels.
      centre: (2,) principal point x, y, pixels.
    """

    position: np.ndarray
    axes: np.ndarray
    focal: float
    centre: np.ndarray

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Projects world points (..., 3) to pixels (..., 2) and distances along the view (...,), metres."""
        local = (points - self.position) @ self.axes.T
        depth = np.maximum(local[..., 2], 0.05)
        return self.centre + self.focal * local[..., :2] / depth[..., None], depth

    def rays(self, side: int) -> np.ndarray:
        """Directions (side, side, 3) in the world through the pixels of a square, of length 1 along the view."""
        x, y = (np.arange(side) - self.centre[:, None]) / self.focal
        right, down, ahead = self.axes
        return x[None, :, None] * right + y[:, None, None] * down + ahead


def look_at(position: np.ndarray, points: np.ndarray, size: int, fill: float, offset: np.ndarray) -> Camera:
    """A level camera that looks at world points and zooms so that they fill a part of the picture.

    Args:
      position: (3,) position in the world, metres.
      points: (N, 3) world points; the camera looks at the middle of their bounding box.
      size: Side of the picture in pixels.
      fill: Fraction of the side that the points fill.
      offset: (2,) offset of the points from the middle of the picture, pixels.
    """
    ahead = unit((points.min(axis=0) + points.max(axis=0)) / 2 - position)
    right = unit(np.cross(ahead, np.array([0.0, 0.0, 1.0])))
    axes = np.stack([right, np.cross(ahead, right), ahead])
    uv, _ = Camera(position, axes, 1.0, np.zeros(2)).project(points)
    low, high = uv.min(axis=0), uv.max(axis=0)
    focal = fill * size / float(np.max(high - low))
    return Camera(position, axes, focal, size / 2 + offset - focal * (low + high) / 2)


def sample_azimuth(view: str, rng: np.random.Generator) -> float:
    """Samples the camera's azimuth around the subject in degrees; 0 is in front of it, 90 to its left.

    Most clips are filmed from where the movement shows, as people do; one in eight is filmed from anywhere.
    """
    if view == "any" or rng.random() < 0.125:
        return float(rng.uniform(-180, 180))
    if view == "side":
        return float(rng.choice((-1, 1)) * rng.uniform(40, 125))
    return float(rng.uniform(-50, 50) + (180 if rng.random() < 0.2 else 0))


def sample_motion(num_frames: int, size: int, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Samples the motion of a hand-held camera: slow drift, tremor, roll and zoom.

    Args:
      num_frames: T.
      size: Side of the picture in pixels.
      amount: 0 is a tripod, 1 a hand.
      rng: Source of randomness.

    Returns:
      (T, 2, 3) similarity transforms of the picture.
    """
    time = np.arange(num_frames)

    def waver(scale: float) -> np.ndarray:
        total = np.zeros(num_frames)
        for period in (70.0, 23.0, 9.0):
            frequency = 2 * np.pi / (period * rng.uniform(0.7, 1.3))
            total += rng.normal() * (period / 70.0) ** 0.7 * np.sin(frequency * time + rng.uniform(0, 2 * np.pi))
        return amount * scale * total

    dx, dy = waver(0.012 * size), waver(0.010 * size)
    angle, zoom = np.deg2rad(waver(0.6) + amount * rng.normal() * 1.2), np.exp(waver(0.012))
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    middle = size / 2
    x_row = np.stack([cos, -sin, middle - cos * middle + sin * middle + dx], -1)
    y_row = np.stack([sin, cos, middle - sin * middle - cos * middle + dy], -1)
    return np.stack([x_row, y_row], axis=1)
