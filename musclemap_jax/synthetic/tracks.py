"""Exercise programs as keyframe animation: the value of each joint channel over one repetition.

A *track* is a tuple of keys ``(phase, value)`` with phases in [0, 1); a value is a number or a 3-vector. Values between
keys are interpolated by smoothstep, and from the last key back to the first. A *part* is a set of tracks with modes
that say how the body uses them (see kinematics.py). Parts compose: a squat for the legs with a press for the arms is a
thruster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Value = float | tuple[float, ...]
Track = tuple[tuple[float, Value], ...]
_T = TypeVar("_T")

_SIGNED_CHANNELS = frozenset({"turn", "tilt", "spin", "side", "twist", "look", "sway"})
"""Channels that change sign when the movement is mirrored."""


@dataclass(frozen=True)
class Part:
    """Tracks and modes of the whole body or a part of it.

    Attributes:
      tracks: Channel name -> track. A name that ends in ``_l`` or ``_r`` applies to one side and takes precedence over
        the plain name.
      modes: Mode name -> value, such as ``{"legs": "planted"}``; ``_l`` and ``_r`` as for tracks.
    """

    tracks: Mapping[str, Track]
    modes: Mapping[str, str]

    def __or__(self, later: Part) -> Part:
        """Both parts; the later one overrides the earlier, and its plain channels override both sides."""
        return Part(_override(self.tracks, later.tracks), _override(self.modes, later.modes))


def _override(earlier: Mapping[str, _T], later: Mapping[str, _T]) -> dict[str, _T]:
    sides = {name + side for name in later for side in ("_l", "_r")}
    return {name: value for name, value in earlier.items() if name not in sides} | dict(later)


def cycle(rest: Value, peak: Value, at: float = 0.42, pause: float = 0.1) -> Track:
    """A track from rest to peak and back: the peak is reached at phase ``at`` and held for ``pause``; rest is reached
    shortly before the end."""
    return ((0.0, rest), (at, peak), (at + pause, peak), (0.94, rest))


def keys(*pairs: tuple[float, Value]) -> Track:
    """A track of the given keys, in order of phase."""
    return pairs


def alternate(rest: Value, peak: Value, half: int, pause: float = 0.04) -> Track:
    """A track from rest to peak and back in the first (half=0) or second (half=1) half of the repetition."""
    start = 0.5 * half
    return ((start + 0.02, rest), (start + 0.23, peak), (start + 0.23 + pause, peak), (start + 0.48, rest))


def part(modes: Mapping[str, str] | None = None, **tracks: Track | Value) -> Part:
    """A part with the given channels; a bare number or 3-vector is held over the whole repetition."""
    held = {
        name: value if isinstance(value, tuple) and isinstance(value[0], tuple) else ((0.0, value),)
        for name, value in tracks.items()
    }
    return Part(held, modes or {})


def _other_side(name: str) -> str:
    return name[:-2] + {"_l": "_r", "_r": "_l"}.get(name[-2:], name[-2:])


def mirror(piece: Part) -> Part:
    """The same movement with left and right swapped."""
    tracks: dict[str, Any] = {}
    for name, track in piece.tracks.items():
        signed = name in _SIGNED_CHANNELS
        tracks[_other_side(name)] = tuple((p, -np.asarray(v)) for p, v in track) if signed else track
    modes = {_other_side(name): ",".join(map(_other_side, mode.split(","))) for name, mode in piece.modes.items()}
    return Part(tracks, modes)


def sample(track: Track, phase: np.ndarray, range_of_motion: float = 1.0) -> np.ndarray:
    """Values of a track.

    Args:
      track: Keys in order of phase.
      phase: (T,) phases, any real numbers: the repetition is periodic.
      range_of_motion: Factor on the difference from the first key's value; 1 is the program as written.

    Returns:
      (T,) float64, or (T, D) if the values are D-vectors.
    """
    values = np.asarray([value for _, value in track], np.float64)
    values = values[0] + range_of_motion * (values - values[0])
    if len(track) == 1:
        return np.broadcast_to(values[0], phase.shape + values.shape[1:]).copy()
    starts = np.asarray([p for p, _ in track], np.float64)
    phase = np.mod(phase - starts[0], 1.0) + starts[0]
    left = np.searchsorted(starts, phase, side="right") - 1
    right = (left + 1) % len(track)
    span = np.mod(starts[right] - starts[left], 1.0)
    weight = (phase - starts[left]) / np.where(span > 0, span, 1.0)
    weight = weight * weight * (3.0 - 2.0 * weight)
    weight = weight.reshape(weight.shape + (1,) * (values.ndim - 1))
    return values[left] * (1.0 - weight) + values[right] * weight
