"""A small z-buffer renderer of rounded cones and flat polygons, for people and props.

A rounded cone (a capsule with two radii) is drawn as an impostor: at each pixel the nearest point of its axis gives
depth and normal, so limbs that cross hide each other correctly at every pixel, in whatever order they are drawn. Each
pixel holds a code (material and shade) that a table maps to a colour. The canvas is twice the size of the clip; scaling
it down anti-aliases.
"""

from __future__ import annotations

import cv2
import numpy as np

SHADES = 64
"""Brightness levels of a material."""


class Canvas:
    """Depth and code of every pixel; code 0 is the background."""

    def __init__(self, side: int, light: tuple[float, float, float]):
        """Creates an empty canvas; ``light`` is the unit vector toward the light: right, down, toward the camera."""
        self.depth = np.full((side, side), np.inf, np.float32)
        self.code = np.zeros((side, side), np.uint16)
        self.light = light
        self._x = np.arange(side, dtype=np.float32)
        self._y = np.arange(side, dtype=np.float32)[:, None]

    def copy_from(self, other: Canvas) -> None:
        """Copies the pixels of another canvas of the same size."""
        np.copyto(self.depth, other.depth)
        np.copyto(self.code, other.code)

    def draw_cone(
        self, ax: float, ay: float, bx: float, by: float, za: float, zb: float, ra: float, rb: float, metres: float,
        material: float, stripes: float = 0.0,
    ) -> None:  # fmt: skip
        """Draws one rounded cone.

        Its axis goes from (ax, ay) to (bx, by) in pixels, where its radii are ra and rb in pixels and its distances
        from the camera za and zb in metres.

        Args:
          metres: Metres per pixel at the cone.
          material: Index into the table of colours, at least 1.
          stripes: Number of stripes along the axis; 0 for plain.
        """
        side = len(self.depth)
        x0, x1 = max(int(min(ax - ra, bx - rb)), 0), min(int(max(ax + ra, bx + rb)) + 2, side)
        y0, y1 = max(int(min(ay - ra, by - rb)), 0), min(int(max(ay + ra, by + rb)) + 2, side)
        if x0 >= x1 or y0 >= y1:
            return
        dx, dy, dr, dz = bx - ax, by - ay, rb - ra, zb - za
        x, y = self._x[x0:x1] - ax, self._y[y0:y1] - ay
        inverse = 1.0 / max(dx * dx + dy * dy, 1e-3)
        along = x * (dx * inverse) + y * (dy * inverse)
        # minimum and maximum are several times faster than np.clip on pictures of this size.
        np.minimum(along, 1.0, out=along)
        np.maximum(along, 0.0, out=along)
        ex = x - along * dx
        ey = y - along * dy
        radius = along * dr
        radius += ra
        bulge = radius * radius
        bulge -= ex * ex
        bulge -= ey * ey
        inside = bulge > 0
        np.maximum(bulge, 0.0, out=bulge)
        np.sqrt(bulge, out=bulge)
        depth = along * dz
        depth += za
        depth -= bulge * metres
        old_depth = self.depth[y0:y1, x0:x1]
        inside &= depth < old_depth
        light_x, light_y, light_z = self.light
        ex *= light_x
        ey *= light_y
        bulge *= light_z
        bulge += ex
        bulge += ey
        bulge /= radius
        np.maximum(bulge, 0.0, out=bulge)
        bulge *= 0.60 * (SHADES - 1)
        bulge += 0.40 * (SHADES - 1)
        if stripes:
            bulge *= np.where(np.sin(along * (stripes * 6.2832)) > 0, np.float32(1.0), np.float32(0.55))
        bulge += SHADES * material
        np.copyto(old_depth, depth, where=inside)
        np.copyto(self.code[y0:y1, x0:x1], bulge, where=inside, casting="unsafe")

    def draw_cones(self, cones: np.ndarray) -> None:
        """Draws cones (N, 11), whose rows are the arguments of `draw_cone`."""
        for cone in cones.tolist():
            self.draw_cone(*cone)

    def draw_polygon(self, corners: np.ndarray, depths: np.ndarray, material: int, shade: float) -> None:
        """Draws a flat convex polygon.

        Args:
          corners: (N, 2) corners in pixels.
          depths: (N,) distance of each corner from the camera in metres; the corners are coplanar.
          material: Index into the table of colours.
          shade: Brightness in [0, 1].
        """
        x0, y0 = (max(int(low), 0) for low in corners.min(axis=0))
        x1, y1 = (min(int(high) + 2, len(self.depth)) for high in corners.max(axis=0))
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillConvexPoly(mask, np.rint(corners - (x0, y0)).astype(np.int32), 1)
        # In the picture of a plane the inverse of depth is linear.
        design = np.concatenate([corners, np.ones((len(corners), 1))], axis=1)
        (px, py, p1), *_ = np.linalg.lstsq(design, 1.0 / depths, rcond=None)
        inverse = self._x[x0:x1] * np.float32(px) + self._y[y0:y1] * np.float32(py) + np.float32(p1)
        depth = 1.0 / np.maximum(inverse, np.float32(1e-3))
        inside = (mask > 0) & (depth < self.depth[y0:y1, x0:x1])
        np.copyto(self.depth[y0:y1, x0:x1], depth, where=inside)
        self.code[y0:y1, x0:x1][inside] = int((material + min(shade, 0.99)) * SHADES)


def colour_table(colours: np.ndarray) -> np.ndarray:
    """Maps codes to colours.

    Args:
      colours: (M, 3) colours of the materials 1 to M when fully lit, in [0, 255].

    Returns:
      (256 * SHADES, 3) uint8 colour of each code.
    """
    shades = np.arange(SHADES) / (SHADES - 1)
    table = np.zeros((256, SHADES, 3), np.float32)
    table[1 : len(colours) + 1] = colours[:, None, :] * shades[None, :, None]
    return np.clip(np.rint(table), 0, 255).astype(np.uint8).reshape(-1, 3)
