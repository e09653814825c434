"""What an activity of the synthetic raw data set is."""

from __future__ import annotations

from dataclasses import dataclass

from musclemap_jax.synthetic import movements, tracks

VIEWS = ("side", "front", "any")


@dataclass(frozen=True)
class Activity:
    """An exercise.

    Attributes:
      name: as a trainer would say it; letters, digits, spaces and hyphens.
      movements: names in ``movements.MOVEMENTS``; they give the muscle regions.
      program: one repetition.
      props: what is held or stood by, names that props.py knows; seen in RGB only.
      view: where it is filmed from: "side", "front" or "any".
      period_s: shortest and longest repetition in seconds.
      known: whether training shows it; activities that are not known are in the new splits only.
      exact: the program's contacts do not allow a smaller or larger range of motion.
      upright: standing or seated, so that a camera may show the upper body alone when the arms do the work.
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
        """The name for files: lower case, words joined by '_'."""
        return self.name.lower().replace("-", " ").replace(" ", "_")
