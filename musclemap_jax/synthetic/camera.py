"""A pinhole camera in the room, and the slight motion of a camera that is held by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musclemap_jax.synthetic.body import unit


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
      position: (3,) in the world, metres.
      axes: (3, 3) rows are the image's right and down and the way the camera looks, in the world.
      focal: focal length, pixels.
      centre: (2,) principal point x, y, pixels.
    """

    position: np.ndarray
    axes: np.ndarray
    focal: float
    centre: np.ndarray

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) to pixels (..., 2) and distance along the view (...,), metres."""
        local = (points - self.position) @ self.axes.T
        depth = np.maximum(local[..., 2], 0.05)
        return self.centre + self.focal * local[..., :2] / depth[..., None], depth

    def rays(self, height: int, width: int) -> np.ndarray:
        """Directions (height, width, 3) in the world through the pixels' centres; one unit along the view."""
        x = (np.arange(width) - self.centre[0]) / self.focal
        y = (np.arange(height) - self.centre[1]) / self.focal
        right, down, ahead = self.axes
        return x[None, :, None] * right + y[:, None, None] * down + ahead


def looking_at(position: np.ndarray, target: np.ndarray) -> Camera:
    """A level camera with focal length 1 and centre 0, to be framed."""
    ahead = unit(target - position)
    right = unit(np.cross(ahead, np.array([0.0, 0.0, 1.0])))
    down = np.cross(ahead, right)
    return Camera(position, np.stack([right, down, ahead]), 1.0, np.zeros(2))


def framed(camera: Camera, points: np.ndarray, size: int, fill: float, offset: tuple[float, float]) -> Camera:
    """The camera zoomed so that points (..., 3) take ``fill`` of ``size`` pixels, ``offset`` pixels off the middle."""
    uv, _ = camera.project(points)
    uv = uv.reshape(-1, 2)
    low, high = uv.min(axis=0), uv.max(axis=0)
    focal = fill * size / float(np.max(high - low))
    centre = np.array([size / 2, size / 2]) + np.asarray(offset) - focal * (low + high) / 2
    return Camera(camera.position, camera.axes, focal, centre)


def view_azimuth(view: str, rng: np.random.Generator) -> float:
    """Azimuth of the camera about the subject in degrees; 0 is in front of it, 90 to its left.

    Views that show the movement are likelier, as people film; one clip in eight is taken from anywhere.
    """
    if view == "any" or rng.random() < 0.125:
        return float(rng.uniform(-180, 180))
    if view == "side":
        return float(rng.choice((-1, 1)) * rng.uniform(40, 125))
    return float(rng.uniform(-50, 50) + (180 if rng.random() < 0.2 else 0))


def hand_motion(num_frames: int, size: int, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Similarity transforms (T, 2, 3) of the picture by a hand-held camera: slow drift, tremor, roll and zoom.

    Args:
      num_frames: T.
      size: pixels of the picture's side.
      amount: 0 is a tripod, 1 a hand.
      rng: source of randomness.
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
    matrices = np.empty((num_frames, 2, 3))
    matrices[:, 0] = np.stack([cos, -sin, middle - cos * middle + sin * middle + dx], -1)
    matrices[:, 1] = np.stack([sin, cos, middle - sin * middle - cos * middle + dy], -1)
    return matrices
