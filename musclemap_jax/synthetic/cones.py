"""Rounded cones in the world, the shapes that people and props consist of."""

from __future__ import annotations

import numpy as np


class ConeList:
    """Collects rounded cones (capsules with two radii) over the frames of a clip; metres.

    Attributes:
      base: Materials of the cones to come start after this one.
      part: Part of the body that the cones to come belong to (person.PARTS); empty for none.
      parts: The parts of all cones.
    """

    def __init__(self, num_frames: int, base: int = 0):
        self.base, self.part = base, ""
        self.parts: list[str] = []
        self._shape = (num_frames, 3)
        self._ends: list[tuple[np.ndarray, np.ndarray]] = []
        self._rest: list[tuple[float, float, int, float]] = []

    def add(
        self, start: np.ndarray, end: np.ndarray, radius: float, end_radius: float, material: int, stripes: float = 0.0
    ) -> None:
        """Adds one cone; start and end are (T, 3) or (3,), ``radius`` is that of the start."""
        self._ends.append((np.broadcast_to(start, self._shape), np.broadcast_to(end, self._shape)))
        self.parts.append(self.part)
        self._rest.append((radius, end_radius, self.base + material, stripes))

    def __len__(self) -> int:
        return len(self._rest)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start and end (T, N, 3), and (N, 4) start radius, end radius, material and stripes."""
        start = np.stack([s for s, _ in self._ends], axis=1)
        end = np.stack([e for _, e in self._ends], axis=1)
        return start, end, np.asarray(self._rest, np.float64)
