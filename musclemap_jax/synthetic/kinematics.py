"""Kinematics: turns animation tracks into the joints of a body in the world and keeps its contacts.

First the trunk is rotated, then the limbs that are given by joint angles. The root is placed so that whatever carries
the body touches its support. Finally the limbs whose hand or foot has a fixed position are bent to reach it.

Channels (angles in degrees, lengths in statures unless noted; ``out`` is away from the middle of the body):

    lean, tilt, spin, turn      trunk: 90 is prone and -90 supine; to the right; about its long axis; about the vertical
    bend, side, twist           spine: forward, to the right, to the left
    nod, look, shrug            head: down, to the left; height of the shoulders
    height, shift, sway, hop    root "pelvis": height relative to standing, forward, left; height of a jump
    lift                        root "lowest": height of the lowest anchor above the floor
    grip, drop                  root "hang": height of the bar; shoulders below it, in arm lengths
    foot, heel                  legs "planted": position of the foot (forward, out, up); pitch with the heel up
    toe_out, knee_out           legs "planted": directions of the toes and the knee
    hip, plane, knee            legs "free": hip flexion in a plane (0 forward, 90 out), knee flexion
    leg_twist, point            legs "free": rotation about the thigh, pointing of the foot
    arm_raise, arm_plane, elbow, arm_twist  arms "angles": as for the legs
    hand, pole                  position of the hand and direction of the elbow if the arms are
                                "chest", "level": from the shoulder in arm lengths, in the chest's frame or upright;
                                "plant", "floor": fixed where "level" is at phase 0; the same, flat on the floor;
                                "place", "bar": from the origin; forward and out, at height ``grip``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from musclemap_jax.synthetic import tracks
from musclemap_jax.synthetic.body import Proportions, rotate, rotation, solve_two_bones, swing, unit

SIDES = ("l", "r")
SIDE_SIGN = {"l": 1.0, "r": -1.0}

_DEFAULTS = tracks.part(
    {"legs": "planted", "arms": "angles", "root": "pelvis", "anchor": "toe"},
    lean=0.0, tilt=0.0, spin=0.0, turn=0.0, bend=0.0, side=0.0, twist=0.0, nod=0.0, look=0.0, shrug=0.0,
    height=1.0, shift=0.0, sway=0.0, hop=0.0, lift=0.0, grip=1.3, drop=1.0,
    foot=(0.0, 0.062, 0.0), heel=0.0, toe_out=8.0, knee_out=12.0,
    hip=0.0, plane=0.0, knee=0.0, leg_twist=0.0, point=0.0,
    arm_raise=7.0, arm_plane=75.0, elbow=12.0, arm_twist=0.0, hand=(0.05, 0.05, -0.95), pole=(-1.0, 0.5, -0.4),
)  # fmt: skip

_CLEARANCE = {
    "toe": 0.012, "knee": 0.034, "pelvis": 0.060, "chest": 0.066, "head": 0.058, "elbow": 0.028, "shoulder": 0.045,
    "hip": 0.085, "ankle": 0.03, "hand": 0.02,
}  # fmt: skip
"""Distance from a joint to the floor when the body rests on it: half the thickness of the flesh, statures."""

_BALL = np.array([0.082, 0.0, -1.0])  # ball of the foot from the ankle: forward in statures, down in ankle heights
_HEEL_X, _TOE_X = -0.034, 0.112


@dataclass(frozen=True)
class Style:
    """A subject's deviations from the program.

    Attributes:
      range_of_motion: Factor on the difference of every channel from its value at the start of the repetition.
      offsets: Channel -> constant to add.
      lag: Phase by which the right limbs lag behind the left.
      wobble: (T,) slow wobble in degrees, added to lean and tilt.
    """

    range_of_motion: float = 1.0
    offsets: Mapping[str, float] = field(default_factory=dict)
    lag: float = 0.0
    wobble: np.ndarray | None = None


@dataclass(frozen=True)
class Body:
    """A moving body in the world.

    Attributes:
      points: Name, such as ``neck`` or ``knee_l`` -> (T, 3) position in metres.
      frames: "pelvis", "chest" and "head" -> (T, 3, 3), whose columns are that part's forward, left and up.
    """

    points: dict[str, np.ndarray]
    frames: dict[str, np.ndarray]
    proportions: Proportions

    def moved(self, offset: np.ndarray, turn_deg: float) -> Body:
        """The same body turned about the world's z axis and then moved by ``offset`` (3,)."""
        matrix = rotation(2, turn_deg)[0]
        points = {name: value @ matrix.T + offset for name, value in self.points.items()}
        frames = {name: matrix @ value for name, value in self.frames.items()}
        return Body(points, frames, self.proportions)


class _Solver:
    """State of one solution; the last row of every array is phase 0, which gives the position of planted hands."""

    def __init__(self, program: tracks.Part, proportions: Proportions, phase: np.ndarray, style: Style):
        self.program = _DEFAULTS | program
        self.size = proportions
        self.phase = np.append(phase, 0.0)
        self.style = style
        self.points: dict[str, np.ndarray] = {}
        self.frames: dict[str, np.ndarray] = {}

    def mode(self, name: str, side: str | None = None) -> str:
        modes = self.program.modes
        return modes.get(f"{name}_{side}", modes[name])

    def channel(self, name: str, side: str | None = None) -> np.ndarray:
        program = self.program.tracks
        track = program.get(f"{name}_{side}", program[name])
        phase = self.phase - (self.style.lag if side == "r" else 0.0)
        value = tracks.sample(track, phase, self.style.range_of_motion) + self.style.offsets.get(name, 0.0)
        if name in ("lean", "tilt") and self.style.wobble is not None:
            value = value + np.append(self.style.wobble, self.style.wobble[:1])
        return value

    def statures(self, name: str, side: str | None = None) -> np.ndarray:
        return self.channel(name, side) * self.size.stature

    def out(self, vector: np.ndarray, side: str) -> np.ndarray:
        """Converts (forward, out, up) of a side to (x, y, z)."""
        return vector * np.array([1.0, SIDE_SIGN[side], 1.0])

    def trunk(self) -> None:
        """Places the trunk and the head, with the middle of the hips at the origin."""
        size, points = self.size, self.points
        self.heading = rotation(2, self.channel("turn"))
        upright = self.heading @ rotation(0, self.channel("tilt"))
        pelvis = upright @ rotation(1, self.channel("lean")) @ rotation(2, self.channel("spin"))
        half = rotation(1, self.channel("bend") / 2) @ rotation(0, self.channel("side") / 2)
        half = half @ rotation(2, self.channel("twist") / 2)
        middle = pelvis @ half
        chest = middle @ half
        head = chest @ rotation(1, self.channel("nod")) @ rotation(2, self.channel("look"))
        points["pelvis"] = np.zeros((len(self.phase), 3))
        points["waist"] = rotate(middle, (0.0, 0.0, size.lumbar))
        points["neck"] = points["waist"] + rotate(chest, (0.0, 0.0, size.thorax))
        points["chest"] = 0.35 * points["waist"] + 0.65 * points["neck"]
        points["head"] = points["neck"] + rotate(head, (0.010 * size.stature, 0.0, size.neck))
        self.frames = {"pelvis": pelvis, "chest": chest, "head": head}
        for name, offset in (("nose", (1.05, 0, -0.1)), ("crown", (-0.1, 0, 1.15)), ("chin", (0.55, 0, -0.75))):
            points[name] = points["head"] + rotate(head, np.array(offset) * size.head_radius)
        shrug = self.statures("shrug")
        for side in SIDES:
            sign = SIDE_SIGN[side]
            for name, offset in (("eye", (0.9, 0.36, 0.18)), ("ear", (0.0, 0.8, 0.0))):
                local = self.out(np.array(offset), side) * size.head_radius
                points[f"{name}_{side}"] = points["head"] + rotate(head, local)
            joint = np.zeros((len(self.phase), 3))
            joint[:, 1] = sign * size.shoulder_half_width
            joint[:, 2] = shrug - size.shoulder_drop
            points[f"shoulder_{side}"] = points["neck"] + rotate(chest, joint)
            points[f"hip_{side}"] = rotate(pelvis, (0.0, sign * size.hip_half_width, 0.0))

    def free_leg(self, side: str) -> None:
        sign, size, points = SIDE_SIGN[side], self.size, self.points
        plane, twist = sign * self.channel("plane", side), sign * self.channel("leg_twist", side)
        thigh = self.frames["pelvis"] @ swing(self.channel("hip", side), plane, twist)
        shank = thigh @ rotation(1, self.channel("knee", side))
        foot = shank @ rotation(1, self.channel("point", side))
        points[f"knee_{side}"] = points[f"hip_{side}"] + rotate(thigh, (0.0, 0.0, -size.thigh))
        points[f"ankle_{side}"] = points[f"knee_{side}"] + rotate(shank, (0.0, 0.0, -size.shank))
        self.foot(side, foot)

    def foot(self, side: str, frame: np.ndarray) -> None:
        size = self.size
        for name, x in (("heel", _HEEL_X), ("toe", _TOE_X)):
            local = (x * size.stature, 0.0, -0.62 * size.ankle_height)
            self.points[f"{name}_{side}"] = self.points[f"ankle_{side}"] + rotate(frame, local)
        if self.mode("legs", side) == "planted":
            # The toes bend at the ball of the foot when the heel is raised.
            toe, ground = self.points[f"toe_{side}"], self.channel("foot", side)[:, 2] + self.channel("hop")
            toe[:, 2] = np.maximum(toe[:, 2], (ground + _CLEARANCE["toe"]) * size.stature)

    def free_arm(self, side: str) -> None:
        sign, size, points = SIDE_SIGN[side], self.size, self.points
        plane, twist = sign * self.channel("arm_plane", side), sign * self.channel("arm_twist", side)
        upper = self.frames["chest"] @ swing(self.channel("arm_raise", side), plane, twist)
        fore = upper @ rotation(1, -self.channel("elbow", side))
        points[f"elbow_{side}"] = points[f"shoulder_{side}"] + rotate(upper, (0.0, 0.0, -size.upper_arm))
        points[f"wrist_{side}"] = points[f"elbow_{side}"] + rotate(fore, (0.0, 0.0, -size.forearm))
        points[f"hand_{side}"] = points[f"wrist_{side}"] + rotate(fore, (0.0, 0.0, -size.hand))

    def place_root(self) -> None:
        root, size, points = self.mode("root"), self.size, self.points
        position = np.stack([self.statures("shift"), self.statures("sway"), np.zeros(len(self.phase))], -1)
        if root == "pelvis":
            position[:, 2] = self.channel("height") * (size.leg + size.ankle_height)
            position[:, 2] = self.reachable_height(position)
        elif root == "lowest":
            names = self.mode("anchor").split(",")
            found = [(n, points[k]) for n in names for k in (n, f"{n}_l", f"{n}_r") if k in points]
            low = np.min([p[:, 2] - _CLEARANCE[n.split("_")[0]] * size.stature for n, p in found], axis=0)
            fixed = np.mean([p for n, p in found if n == names[0]], axis=0)
            position[:, :2] -= fixed[:, :2]
            position[:, 2] = self.statures("lift") - low
        else:
            position[:, 2] = self.statures("grip") - self.channel("drop") * size.arm
            position -= (points["shoulder_l"] + points["shoulder_r"]) / 2
        position[:, 2] += self.statures("hop")
        for name in points:
            points[name] = points[name] + position

    def ankle_target(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Position (T, 3) of a planted foot's ankle without the hop, and the foot's frame (T, 3, 3)."""
        toe_out = SIDE_SIGN[side] * self.channel("toe_out", side)
        frame = self.heading @ rotation(2, toe_out) @ rotation(1, self.channel("heel", side))
        flat = self.heading @ rotation(2, toe_out)
        scale = np.array([self.size.stature, 1.0, self.size.ankle_height])
        ball = rotate(self.heading, self.out(self.statures("foot", side), side)) + rotate(flat, _BALL * scale)
        ball[:, 2] += self.size.ankle_height
        return ball - rotate(frame, _BALL * scale), frame

    def reachable_height(self, position: np.ndarray) -> np.ndarray:
        """Height of the pelvis (T,), lowered where a planted foot could otherwise not stay in place."""
        height = position[:, 2]
        for side in SIDES:
            if self.mode("legs", side) == "planted":
                ankle, _ = self.ankle_target(side)
                hip = self.points[f"hip_{side}"] + position
                level = np.sum((hip - ankle)[:, :2] ** 2, axis=-1)
                reach = np.sqrt(np.maximum((0.995 * self.size.leg) ** 2 - level, 0.0))
                height = np.minimum(height, ankle[:, 2] + reach - self.points[f"hip_{side}"][:, 2])
        return height

    def planted_leg(self, side: str) -> None:
        ankle, frame = self.ankle_target(side)
        ankle[:, 2] += self.statures("hop")
        pole = rotate(self.frames["pelvis"] @ rotation(2, SIDE_SIGN[side] * self.channel("knee_out", side)), (1, 0, 0))
        hip = self.points[f"hip_{side}"]
        knee, ankle = solve_two_bones(hip, ankle, pole, self.size.thigh, self.size.shank)
        self.points[f"knee_{side}"], self.points[f"ankle_{side}"] = knee, ankle
        self.foot(side, frame)

    def reaching_arm(self, side: str) -> None:
        mode, size, points = self.mode("arms", side), self.size, self.points
        shoulder = points[f"shoulder_{side}"]
        hand = self.out(self.channel("hand", side), side)
        if mode == "place":
            target = hand * size.stature
        elif mode == "bar":
            target = hand * size.stature
            target[:, 2] = self.statures("grip")
        else:
            frame = self.frames["chest"] if mode == "chest" else self.heading
            target = shoulder + rotate(frame, hand) * size.arm
        if mode in ("plant", "floor"):
            target = np.broadcast_to(target[-1], target.shape).copy()
        pole = rotate(self.frames["chest"], self.out(self.channel("pole", side), side))
        if mode == "floor":
            target[:, 2] = 0.024 * size.stature
            elbow, wrist = solve_two_bones(shoulder, target, pole, size.upper_arm, size.forearm)
            ahead = rotate(self.heading, (1.0, 0.0, -0.18)) * size.hand * 1.3
        else:
            elbow, wrist = solve_two_bones(shoulder, target, pole, size.upper_arm, size.forearm + size.hand)
            ahead = unit(wrist - elbow) * size.hand
            wrist = wrist - ahead
        points[f"elbow_{side}"], points[f"wrist_{side}"], points[f"hand_{side}"] = elbow, wrist, wrist + ahead


def solve(program: tracks.Part, proportions: Proportions, phase: np.ndarray, style: Style | None = None) -> Body:
    """The joints of a body that follows a program.

    Args:
      program: Tracks and modes, see the module's docstring.
      phase: (T,) phase of the repetition in each frame.
      style: The subject's deviations from the program; none by default.

    Returns:
      The body over T frames; the floor is z = 0.
    """
    solver = _Solver(program, proportions, np.asarray(phase, np.float64), style or Style())
    solver.trunk()
    for side in SIDES:
        if solver.mode("legs", side) == "free":
            solver.free_leg(side)
        if solver.mode("arms", side) == "angles":
            solver.free_arm(side)
    solver.place_root()
    for side in SIDES:
        if solver.mode("legs", side) == "planted":
            solver.planted_leg(side)
        if solver.mode("arms", side) != "angles":
            solver.reaching_arm(side)
    points = {name: value[:-1] for name, value in solver.points.items()}
    return Body(points, {name: value[:-1] for name, value in solver.frames.items()}, proportions)
