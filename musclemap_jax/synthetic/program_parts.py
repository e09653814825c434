"""Parts of exercise programs that activities share: stances, leg work and arm work (see kinematics.py)."""

from __future__ import annotations

from musclemap_jax.synthetic.tracks import alternate, cycle, keys, part

# The channels of the trunk, the legs and the arms have their own lines.
# fmt: off

# Legs, standing.
SQUAT = part(
    height=cycle(1.0, 0.56), shift=cycle(0.0, -0.10), lean=cycle(2.0, 40.0), nod=cycle(0.0, -22.0),
    foot=(0.0, 0.085, 0.0), toe_out=16.0, knee_out=22.0,
)
SUMO_SQUAT = part(
    height=cycle(0.97, 0.60), shift=cycle(0.0, -0.03), lean=cycle(2.0, 16.0),
    foot=(0.0, 0.185, 0.0), toe_out=42.0, knee_out=55.0,
)
LUNGE = part(
    height=keys((0.0, 1.0), (0.25, 0.90), (0.45, 0.58), (0.55, 0.58), (0.72, 0.90), (0.95, 1.0)),
    shift=keys((0.0, 0.0), (0.28, 0.16), (0.45, 0.20), (0.55, 0.20), (0.70, 0.16), (0.95, 0.0)),
    lean=cycle(2.0, 8.0),
    foot_l=keys(
        (0.0, (0, 0.06, 0)), (0.13, (0.2, 0.06, 0.07)), (0.25, (0.40, 0.06, 0)), (0.72, (0.40, 0.06, 0)),
        (0.84, (0.2, 0.06, 0.07)), (0.95, (0, 0.06, 0)),
    ),
    foot_r=(0.0, 0.06, 0.0),
    heel_r=keys((0.0, 0.0), (0.2, 20.0), (0.45, 62.0), (0.55, 62.0), (0.75, 20.0), (0.95, 0.0)),
)
SIDE_LUNGE = part(
    height=keys((0.0, 1.0), (0.25, 0.88), (0.45, 0.60), (0.55, 0.60), (0.72, 0.88), (0.95, 1.0)),
    sway=keys((0.0, 0.0), (0.25, 0.15), (0.45, 0.27), (0.55, 0.27), (0.72, 0.15), (0.95, 0.0)),
    shift=cycle(0.0, -0.08), lean=cycle(2.0, 34.0), nod=cycle(0.0, -15.0),
    foot_l=keys(
        (0.0, (0, 0.06, 0)), (0.12, (0, 0.2, 0.06)), (0.22, (0, 0.38, 0)), (0.74, (0, 0.38, 0)),
        (0.85, (0, 0.2, 0.06)), (0.95, (0, 0.06, 0)),
    ),
    foot_r=(0.0, 0.06, 0.0), toe_out=14.0, knee_out=22.0,
)
HIP_HINGE = part(height=cycle(1.0, 0.95), shift=cycle(0.0, -0.13), lean=cycle(2.0, 80.0), nod=cycle(0.0, -25.0))
BENT_OVER = part(height=0.93, shift=-0.12, lean=66.0, nod=-25.0)
HEEL_RAISE = part(heel=cycle(0.0, 46.0), shift=cycle(0.0, 0.03), height=cycle(1.0, 1.3), foot=(0.0, 0.05, 0.0))
JACK_LEGS = part(
    height=keys((0.0, 0.97), (0.22, 1.2), (0.45, 0.97), (0.72, 1.2), (0.95, 0.97)),
    hop=keys((0.0, 0.0), (0.06, 0.0), (0.22, 0.055), (0.40, 0.0), (0.56, 0.0), (0.72, 0.055), (0.92, 0.0)),
    foot=keys((0.0, (0, 0.035, 0)), (0.42, (0, 0.17, 0)), (0.52, (0, 0.17, 0)), (0.94, (0, 0.035, 0))),
    heel=keys((0.0, 5.0), (0.22, 38.0), (0.45, 5.0), (0.72, 38.0), (0.95, 5.0)),
)
STEPPING = part(
    height=0.985, hop=keys((0.0, 0.0), (0.22, 0.03), (0.48, 0.0), (0.72, 0.03), (0.97, 0.0)),
    foot_l=alternate((0.0, 0.05, 0.0), (0.12, 0.05, 0.34), 0), heel_l=alternate(8.0, 30.0, 0),
    foot_r=alternate((0.0, 0.05, 0.0), (0.12, 0.05, 0.34), 1), heel_r=alternate(8.0, 30.0, 1),
)
SIDE_KICK = part(
    {"legs_l": "free"}, tilt=cycle(0.0, 9.0), hip_l=cycle(2.0, 52.0), plane_l=90.0, knee_l=4.0, point_l=15.0,
)

# Arms.
HANG = part({"arms": "level"}, hand=(0.03, 0.08, -0.97), pole=(-1.0, 0.4, 0.0))
HANG_IN_FRONT = part({"arms": "level"}, hand=(0.06, -0.04, -0.95), pole=(-1.0, 0.6, 0.0))
ON_HIPS = part({"arms": "chest"}, hand=(0.06, 0.03, -0.64), pole=(-0.5, 1.0, 0.0))
FORWARD_WITH_LEGS = part(arm_raise=cycle(12.0, 100.0), arm_plane=5.0, elbow=12.0)
BEHIND_HEAD = part({"arms": "chest"}, hand=(-0.04, -0.12, 0.33), pole=(0.15, 1.0, 0.25))
CROSSED = part({"arms": "chest"}, hand=(0.24, -0.48, -0.12), pole=(0.3, 0.6, -1.0))
RACKED = part({"arms": "chest"}, hand=(0.20, 0.02, 0.02), pole=(0.5, 0.4, -1.0))
PRESS_OVERHEAD = part(
    {"arms": "chest"}, shrug=cycle(0.0, 0.022),
    hand=cycle((0.12, 0.18, 0.10), (0.02, 0.04, 0.96)), pole=(0.25, 0.8, -1.0),
)
CURL = part(arm_raise=cycle(4.0, 16.0), arm_plane=15.0, elbow=cycle(12.0, 138.0))
SIDE_RAISE = part(arm_raise=cycle(8.0, 92.0), arm_plane=84.0, elbow=12.0, shrug=cycle(0.0, 0.012))
FRONT_RAISE = part(arm_raise=cycle(6.0, 95.0), arm_plane=4.0, elbow=8.0, shrug=cycle(0.0, 0.012))
FULL_SIDE_RAISE = part(arm_raise=cycle(10.0, 168.0), arm_plane=88.0, elbow=10.0)
UPRIGHT_PULL = part(
    {"arms": "level"}, shrug=cycle(0.0, 0.02),
    hand=cycle((0.12, -0.14, -0.90), (0.16, -0.12, -0.05)), pole=(0.1, 1.0, 0.55),
)
ROW_ARMS = part({"arms": "level"}, hand=cycle((0.04, 0.04, -0.97), (-0.16, 0.10, -0.30)), pole=(-1.0, 0.25, -0.25))
SWING_ARMS = part(
    arm_raise_l=keys((0.0, -25.0), (0.5, 40.0)), arm_raise_r=keys((0.0, 40.0), (0.5, -25.0)), arm_plane=5.0, elbow=85.0,
)

# On the floor, hanging, on a bench.
SUPINE_KNEES_BENT = part(
    {"root": "lowest", "anchor": "pelvis"}, lean=-90.0, foot=(0.30, 0.065, 0.0), toe_out=4.0, knee_out=4.0,
)
SUPINE = part({"root": "lowest", "anchor": "pelvis,chest", "legs": "free"}, lean=-90.0, hip=3.0, knee=4.0, point=35.0)
ARMS_ALONG = part(arm_raise=16.0, arm_plane=92.0, elbow=6.0)
BRIDGE = part(
    {"root": "lowest", "anchor": "chest"}, lean=cycle(-90.0, -115.0), nod=cycle(0.0, 20.0),
    foot=(0.50, 0.07, 0.0), toe_out=4.0, knee_out=4.0,
)
SIT_UP = SUPINE_KNEES_BENT | part(lean=cycle(-90.0, -12.0), bend=cycle(4.0, 34.0), nod=cycle(12.0, 8.0))
HIGH_PLANK = part(
    {"arms": "floor"}, height=0.48, shift=0.52, lean=71.0, nod=-14.0,
    foot=(0.0, 0.05, 0.0), heel=76.0, toe_out=2.0, knee_out=2.0,
    hand=(0.0, 0.03, -0.9), pole=(-0.4, 0.8, -0.6),
)
PUSH_UP = part(
    {"root": "lowest", "anchor": "toe", "legs": "free", "arms": "floor"},
    lean=cycle(73.0, 88.0), nod=-18.0,
    hip=0.0, knee=2.0, point=-6.0,
    hand=(0.03, 0.15, -0.9), pole=(-0.4, 0.9, -0.6),
)
ALL_FOURS = part(
    {"root": "lowest", "anchor": "knee_r", "legs": "free", "arms": "floor"},
    lean=76.0, nod=-8.0,
    hip=76.0, knee=88.0, point=62.0,
    hand=(0.02, 0.02, -0.9), pole=(-0.6, 0.5, -0.6),
)
SUPERMAN = part(
    {"root": "lowest", "anchor": "pelvis,chest,knee,toe", "legs": "free"},
    lean=cycle(90.0, 84.0), bend=cycle(0.0, -38.0), nod=cycle(-8.0, -22.0),
    hip=cycle(2.0, -24.0), knee=6.0, point=50.0,
)
HANGING = part(
    {"root": "hang", "arms": "bar", "legs": "free"},
    grip=1.27, drop=0.965,
    hip=2.0, knee=10.0, point=40.0,
    hand=(0.0, 0.16, 0.0), pole=(-0.15, 0.9, -1.0),
)
ON_BENCH = part(height=0.60, lean=-90.0, foot=(0.26, 0.15, 0.0), toe_out=10.0, knee_out=18.0)
