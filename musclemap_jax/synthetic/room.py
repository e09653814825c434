"""The room: a floor and a wall in perspective, their textures, and clutter on the wall."""

from __future__ import annotations

import cv2
import numpy as np

from musclemap_jax.synthetic.camera import Camera

_WALLS = np.array(
    [(205, 200, 190), (170, 180, 186), (120, 128, 138), (188, 170, 150), (92, 98, 110), (214, 214, 210),
     (150, 166, 150)], float
)  # fmt: skip
_FLOORS = np.array(
    [(150, 118, 84), (96, 96, 100), (186, 168, 140), (62, 66, 74), (120, 140, 128), (140, 92, 62)], float
)


def draw_room(
    camera: Camera, side: int, wall_distance: float, clutter: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws the room that a camera sees.

    Args:
      side: H and W, pixels.
      wall_distance: Distance from the camera to the wall in metres, along the view.
      clutter: 0 is an empty room, 1 a crowded one with loud textures.
      rng: Source of randomness.

    Returns:
      The picture, (H, W, 3) float32 RGB in [0, 255]; (H, W) uint8, 1 where the floor is visible and shadows may fall;
      and (N, 3) colours of the wall and the clutter, for clothes that camouflage a person.
    """
    rays = camera.rays(side).astype(np.float32)
    ahead = camera.axes[2]
    yaw = np.deg2rad(rng.uniform(-16, 16)) + np.arctan2(ahead[1], ahead[0])
    normal = np.array([np.cos(yaw), np.sin(yaw), 0.0], np.float32)
    along = np.array([-np.sin(yaw), np.cos(yaw), 0.0], np.float32)
    start = camera.position.astype(np.float32)
    to_wall = wall_distance / np.maximum(rays @ normal, 0.1)
    down = rays[..., 2]
    to_floor = np.where(down < -1e-4, -start[2] / np.minimum(down, -1e-4), np.inf)
    floor = to_floor < to_wall
    distance = np.where(floor, to_floor, to_wall)[..., None]
    points = start + rays * distance
    wall_rgb, colours = _wall(points @ along, points[..., 2], clutter, rng)
    picture = np.where(floor[..., None], _floor(points, clutter, rng), wall_rgb)
    # A skirting board: a dark band where the wall meets the floor.
    edge = np.exp(-np.abs(to_floor - to_wall) / (0.05 * wall_distance))
    picture *= 1.0 - 0.28 * np.where(np.isfinite(to_floor), edge, 0.0)[..., None]
    return picture.astype(np.float32), floor.astype(np.uint8), colours


def _blotches(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W) smooth noise around 0 with about ``cells`` blotches across."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def _wall(u: np.ndarray, z: np.ndarray, clutter: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    base = _WALLS[rng.integers(len(_WALLS))] * rng.uniform(0.75, 1.1) + rng.normal(0, 6, 3)
    tone = 1.0 + 0.08 * np.clip(z - 1.2, -1.5, 2.0) + 0.05 * _blotches(u.shape, 5, rng)
    kind = rng.choice(("plain", "bricks", "panels", "two tones"), p=(0.4, 0.2, 0.2, 0.2))
    if kind == "bricks":
        row = np.floor(z / 0.11)
        joint = (np.mod(z, 0.11) < 0.018) | (np.mod(u + 0.14 * np.mod(row, 2), 0.28) < 0.018)
        tone = tone * np.where(joint, 0.82, 1.0)
    elif kind == "panels":
        tone = tone * np.where(np.mod(u, 0.6) < 0.03, 0.75, 1.0)
    picture = base * tone[..., None]
    colours = [base]
    if kind == "two tones":
        second = _WALLS[rng.integers(len(_WALLS))] * 0.7
        picture = np.where((z < rng.uniform(0.8, 1.4))[..., None], second * tone[..., None], picture)
        colours.append(second)
    low, high = float(u.min()), float(u.max())
    for _ in range(rng.poisson(1.0 + 9.0 * clutter)):
        colour = rng.uniform(20, 240, 3) * rng.uniform(0.5, 1.0)
        centre = rng.uniform(low, high)
        wide, tall = rng.uniform(0.12, 0.7, 2)
        bottom = 0.0 if rng.random() < 0.5 else rng.uniform(0.5, 2.0)
        if rng.random() < 0.25:
            inside = (u - centre) ** 2 + (z - bottom - tall / 2) ** 2 < (tall / 2) ** 2
        else:
            inside = (np.abs(u - centre) < wide / 2) & (z > bottom) & (z < bottom + 1.6 * tall)
        shade = np.full(u.shape, 1.0, np.float32)
        if rng.random() < 0.3 + 0.5 * clutter:
            pitch = rng.uniform(0.05, 0.2)
            shade = np.where(np.mod(u + z * rng.choice((0.0, 1.0)), pitch) < pitch / 2, 1.0, 0.6)
        picture = np.where(inside[..., None], colour * shade[..., None], picture)
        colours.append(colour)
    return picture, np.asarray(colours)


def _floor(points: np.ndarray, clutter: float, rng: np.random.Generator) -> np.ndarray:
    base = _FLOORS[rng.integers(len(_FLOORS))] * rng.uniform(0.75, 1.15) + rng.normal(0, 5, 3)
    angle = rng.uniform(0, np.pi)
    x = points[..., 0] * np.cos(angle) + points[..., 1] * np.sin(angle)
    y = -points[..., 0] * np.sin(angle) + points[..., 1] * np.cos(angle)
    kind = rng.choice(("plain", "planks", "tiles", "checks"), p=(0.35, 0.3, 0.2, 0.15))
    tone = 1.0 + 0.05 * _blotches(x.shape, 9, rng)
    if kind == "planks":
        tone = tone * (1.0 + 0.10 * np.sin(np.floor(x / 0.14) * 12.9898) - np.where(np.mod(x, 0.14) < 0.012, 0.18, 0.0))
    elif kind == "tiles":
        joint = (np.mod(x, 0.5) < 0.02) | (np.mod(y, 0.5) < 0.02)
        tone = tone * np.where(joint, 0.8, 1.0)
    elif kind == "checks":
        tone = tone * np.where(np.mod(np.floor(x / 0.4) + np.floor(y / 0.4), 2) > 0, 1.0, 0.80 - 0.2 * clutter)
    return base * tone[..., None]
