"""An activity of the synthetic raw data set."""

from __future__ import annotations

from dataclasses import dataclass

from musclemap_jax.synthetic import movements, tracks

VIEWS = ("side", "front", "any")


@dataclass(frozen=True)
class Activity:
    """An exercise.

    Attributes:
      name: The exercise's usual name: letters, digits, spaces and hyphens.
      movements: Names in ``movements.MOVEMENTS``, which determine the muscle regions.
      program: The movement of one repetition.
      props: Names in ``props.PROPS``; props are visible in RGB only.
      view: The direction from which it is filmed: "side", "front" or "any".
      period_s: Duration of the shortest and of the longest repetition, seconds.
      known: Whether it occurs in training; otherwise it is in the new splits only.
      exact: Whether the program's contacts require the full range of motion.
      upright: Whether the camera may show only the upper body, because the person is upright and the arms do the work.
    """

    name: str
    movements: tuple[str, ...]
    program: tracks.Part
    props: tuple[str, ...] = ()
    view: str = "any"
    period_s: tuple[float, float] = (1.8, 3.0)
    known: bool = True
    exact: bool = False
    upright: bool = False

    @property
    def muscles(self) -> tuple[int, ...]:
        """Ascending indices into ``taxonomy.MUSCLE_REGIONS``."""
        return movements.regions(self.movements)

    @property
    def slug(self) -> str:
        """The name in file names: lower case, words joined by '_'."""
        return self.name.lower().replace("-", " ").replace(" ", "_")
