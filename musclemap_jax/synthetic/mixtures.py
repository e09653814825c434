"""Wrong executions: exercises into which a part of another exercise is mixed, or of which a part is missing.

Chosen so that the body's contacts still hold: the arms of one standing exercise go with the legs of another.
"""

from __future__ import annotations

import dataclasses

from musclemap_jax.synthetic import movements, tracks
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.activities.table import select

CHANNELS = {
    "arms": frozenset({"arms", "shrug", "hand", "pole", "arm_raise", "arm_plane", "elbow", "arm_twist"}),
    "feet": frozenset({"heel"}),
    "trunk": frozenset({"side", "tilt", "twist"}),
}
"""Name of a part of the body -> its channels and modes (see kinematics.py). "body" is all but the arms."""

_JOINTS = {
    "arms": ("elbows", "shoulders"),
    "feet": ("ankles",),
    "trunk": ("trunk",),
    "body": ("hips", "knees", "ankles"),
}


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A wrong execution.

    Attributes:
      base: Name of the exercise that is expected.
      other: Name of the exercise that a part is taken of.
      part: "arms", "feet", "trunk", or "body" for all but the arms.
      added: Movements that the part brings with it.
      dropped: Movements of the base that are not made any more.
    """

    base: str
    other: str
    part: str
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def activity(self) -> Activity:
        """The expected exercise."""
        return select((self.base,))[0]

    @property
    def program(self) -> tracks.Part:
        """The movement as it is made."""
        base, other = self.activity.program, select((self.other,))[0].program
        if self.part == "body":
            return _without_arm_modes(other) | _only(base, CHANNELS["arms"])
        if self.part == "arms":
            base = _without_arm_modes(base)
        return base | _only(other, CHANNELS[self.part])

    @property
    def muscles(self) -> tuple[int, ...]:
        """Ascending indices of the regions that are active."""
        made = [name for name in self.activity.movements if name not in self.dropped]
        return movements.regions([*made, *self.added])

    @property
    def unexpected(self) -> tuple[int, ...]:
        """Regions that are active and not expected."""
        return tuple(k for k in self.muscles if k not in self.activity.muscles)

    @property
    def joints(self) -> tuple[str, ...]:
        """Kinds of joints that the part moves (`coach.motion.MOTIONS`)."""
        return _JOINTS[self.part]

    @property
    def missing(self) -> tuple[int, ...]:
        """Regions that are expected and not active."""
        return tuple(k for k in self.activity.muscles if k not in self.muscles)


def _only(program: tracks.Part, names: frozenset[str]) -> tracks.Part:
    def kept(values: dict) -> dict:
        return {name: value for name, value in values.items() if name.removesuffix("_l").removesuffix("_r") in names}

    return tracks.Part(kept(dict(program.tracks)), kept(dict(program.modes)))


def _without_arm_modes(program: tracks.Part) -> tracks.Part:
    """The program with arms that are given by joint angles, unless a later part says otherwise."""
    modes = {name: mode for name, mode in program.modes.items() if not name.startswith("arms")}
    return tracks.Part(program.tracks, modes)


MIXTURES: tuple[Mixture, ...] = (
    Mixture("bodyweight squat", "overhead press", "arms", ("overhead press",)),
    Mixture("bodyweight squat", "biceps curl", "arms", ("elbow flexion",)),
    Mixture("bodyweight squat", "lateral raise", "arms", ("side raise",)),
    Mixture("sumo squat", "upright row", "arms", ("upright pull",)),
    Mixture("forward lunge", "lateral raise", "arms", ("side raise",)),
    Mixture("forward lunge", "front raise", "arms", ("front raise",)),
    Mixture("sit-up", "calf raise", "feet", ("heel raise",)),  # the authors' example
    Mixture("calf raise", "overhead press", "arms", ("overhead press",)),
    Mixture("standing side leg raise", "lateral raise", "arms", ("side raise",)),
    Mixture("standing hip hinge", "bent-over row", "arms", ("row",)),
    Mixture("glute bridge", "barbell bench press", "arms", ("horizontal press",)),
    Mixture("biceps curl", "bodyweight squat", "body", ("squat",)),
    Mixture("biceps curl", "dumbbell side bend", "trunk", ("side bend",)),
    Mixture("overhead press", "forward lunge", "body", ("lunge",)),
    Mixture("lateral raise", "calf raise", "body", ("heel raise",)),
    Mixture("front raise", "standing side leg raise", "body", ("hip abduction",)),
    Mixture("jumping jack", "calf raise", "arms", dropped=("arms held up",)),
)
