"""New activities: they combine movement patterns of known activities, and their muscle regions, in new ways.

A model that understands movement can infer their regions; one that has memorised the known activities cannot. Most are
exercises of the ACE Exercise Library or of NSCA's and ACE's group programmes; movements.py has the sources of their
muscle regions.
"""

from __future__ import annotations

import functools

from musclemap_jax.synthetic import program_parts as parts
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.tracks import alternate, cycle, keys, part

# The channels of the trunk, the legs and the arms have their own lines.
# fmt: off

_THRUSTER = parts.SQUAT | part(
    {"arms": "chest"},
    height=keys((0.0, 1.0), (0.30, 0.56), (0.36, 0.56), (0.56, 1.0)),
    shift=keys((0.0, 0.0), (0.30, -0.10), (0.36, -0.10), (0.56, 0.0)),
    lean=keys((0.0, 2.0), (0.30, 34.0), (0.36, 34.0), (0.56, 2.0)),
    nod=keys((0.0, 0.0), (0.30, -20.0), (0.36, -20.0), (0.56, 0.0)),
    hand=keys(
        (0.0, (0.14, 0.16, 0.08)), (0.48, (0.14, 0.16, 0.08)), (0.66, (0.02, 0.04, 0.96)),
        (0.76, (0.02, 0.04, 0.96)), (0.95, (0.14, 0.16, 0.08)),
    ),
    pole=(0.25, 0.8, -1.0),
)
_LUNGE_TWIST = parts.LUNGE | part(
    {"arms": "chest"},
    twist=keys((0.0, 0.0), (0.3, 0.0), (0.48, 62.0), (0.56, 62.0), (0.75, 0.0)),
    hand=(0.62, -0.28, -0.12), pole=(-0.2, 0.8, -0.8),
)
_CURL_PRESS = part(
    {"arms": "chest"},
    hand=keys(
        (0.0, (0.06, 0.08, -0.95)), (0.15, (0.42, 0.08, -0.52)), (0.28, (0.18, 0.10, 0.06)),
        (0.36, (0.16, 0.16, 0.10)), (0.56, (0.02, 0.04, 0.96)), (0.62, (0.02, 0.04, 0.96)),
        (0.78, (0.17, 0.12, 0.06)), (0.88, (0.42, 0.08, -0.52)), (0.97, (0.06, 0.08, -0.95)),
    ),
    pole=(-0.15, 0.6, -1.0),
)
_FIRE_HYDRANT = parts.ALL_FOURS | part(
    hip_l=cycle(76.0, 84.0), plane_l=cycle(0.0, 70.0), leg_twist_l=cycle(0.0, 70.0), knee_l=88.0,
)
_BRIDGE_PRESS = parts.BRIDGE | part(
    {"arms": "level"}, hand=cycle((0.0, 0.24, 0.34), (0.0, 0.04, 0.95)), pole=(0, 1, -0.3),
)
_DEADLIFT_ROW = parts.HIP_HINGE | parts.ROW_ARMS | part(
    height=cycle(1.0, 0.94, at=0.3, pause=0.4), shift=cycle(0.0, -0.13, at=0.3, pause=0.4),
    lean=cycle(2.0, 76.0, at=0.3, pause=0.4), nod=cycle(0.0, -25.0, at=0.3, pause=0.4),
    hand=keys(
        (0.0, (0.06, 0.04, -0.96)), (0.34, (0.04, 0.04, -0.97)), (0.48, (-0.16, 0.10, -0.30)),
        (0.54, (-0.16, 0.10, -0.30)), (0.68, (0.04, 0.04, -0.97)),
    ),
)
_RENEGADE_ROW = parts.HIGH_PLANK | part(
    {"arms_l": "level"}, twist=cycle(0.0, 12.0), foot=(0.0, 0.11, 0.0),
    hand_l=cycle((0.0, 0.04, -0.86), (-0.16, 0.08, -0.28)), pole_l=(-1.0, 0.25, -0.3),
)
_PLANK_JACK = parts.HIGH_PLANK | part(
    foot=keys(
        (0.0, (0, 0.03, 0)), (0.2, (0, 0.11, 0.03)), (0.42, (0, 0.20, 0)), (0.52, (0, 0.20, 0)),
        (0.74, (0, 0.11, 0.03)), (0.94, (0, 0.03, 0)),
    ),
)
_TWIST_PUSH_UP = parts.PUSH_UP | part(
    {"arms_l": "level"},
    lean=keys((0.0, 73.0), (0.24, 87.0), (0.30, 87.0), (0.5, 73.0)),
    twist=keys((0.0, 0.0), (0.5, 0.0), (0.70, 70.0), (0.80, 70.0), (0.97, 0.0)),
    spin=keys((0.0, 0.0), (0.5, 0.0), (0.70, 26.0), (0.80, 26.0), (0.97, 0.0)),
    hand_l=keys(
        (0.0, (0.03, 0.15, -0.87)), (0.24, (0.06, 0.15, -0.26)), (0.30, (0.06, 0.15, -0.26)),
        (0.5, (0.03, 0.15, -0.87)), (0.70, (0.0, 0.2, 0.97)), (0.80, (0.0, 0.2, 0.97)), (0.97, (0.03, 0.15, -0.87)),
    ),
)
_SIT_UP_PRESS = parts.SIT_UP | part(
    {"arms": "chest"},
    lean=keys((0.0, -90.0), (0.38, -14.0), (0.66, -14.0), (0.96, -90.0)),
    bend=keys((0.0, 4.0), (0.2, 30.0), (0.40, 10.0), (0.64, 10.0), (0.8, 30.0), (0.96, 4.0)),
    hand=keys(
        (0.0, (0.22, 0.04, 0.02)), (0.36, (0.22, 0.04, 0.02)), (0.5, (0.02, 0.02, 0.96)),
        (0.58, (0.02, 0.02, 0.96)), (0.72, (0.22, 0.04, 0.02)),
    ),
    pole=(0.2, 0.8, -1.0),
)
_PUNCHING_KNEES = parts.STEPPING | part(
    {"arms": "chest"},
    twist=keys((0.0, 0.0), (0.25, 28.0), (0.5, 0.0), (0.75, -28.0)),
    hand_l=alternate((0.30, -0.16, 0.06), (0.98, -0.22, 0.08), 1),
    hand_r=alternate((0.30, -0.16, 0.06), (0.98, -0.22, 0.08), 0),
    pole=(0.1, 0.5, -1.0),
)
_JUMP_SHRUG = parts.HANG | part(
    height=keys((0.0, 1.0), (0.28, 0.82), (0.36, 0.82), (0.52, 1.0), (0.74, 1.0), (0.82, 0.9), (0.95, 1.0)),
    shift=keys((0.0, 0.0), (0.28, -0.07), (0.36, -0.07), (0.52, 0.0), (0.82, -0.03), (0.95, 0.0)),
    lean=keys((0.0, 2.0), (0.28, 34.0), (0.36, 34.0), (0.52, 0.0), (0.74, 2.0), (0.82, 14.0), (0.95, 2.0)),
    hop=keys((0.0, 0.0), (0.50, 0.0), (0.62, 0.08), (0.74, 0.0)),
    shrug=keys((0.0, -0.006), (0.40, -0.006), (0.55, 0.042), (0.66, 0.042), (0.80, -0.006)),
    heel=keys((0.0, 0.0), (0.40, 0.0), (0.52, 48.0), (0.64, 40.0), (0.74, 0.0)), knee_out=18.0,
)
_SUPERMAN_PULL = parts.SUPERMAN | part(
    {"arms": "chest"},
    lean=84.0, bend=cycle(-26.0, -36.0), nod=-20.0, hip=cycle(-16.0, -22.0),
    hand=cycle((0.0, 0.20, 0.95), (-0.02, 0.30, -0.05)), pole=(-0.3, 1.0, -0.9),
)
_KNEE_RAISE = parts.HANGING | part(
    hip=cycle(2.0, 112.0), knee=cycle(8.0, 104.0), lean=cycle(0.0, -12.0), bend=cycle(0.0, 24.0), nod=-4.0,
)
_SQUAT_KICK = parts.RACKED | part(
    {"legs_l": "planted"},
    height=keys((0.0, 1.0), (0.26, 0.60), (0.30, 0.60), (0.52, 1.0)),
    shift=keys((0.0, 0.0), (0.26, -0.09), (0.30, -0.09), (0.52, 0.0)),
    sway=keys((0.0, 0.0), (0.5, 0.0), (0.74, -0.06), (0.80, -0.06), (0.98, 0.0)),
    lean=keys((0.0, 2.0), (0.26, 38.0), (0.30, 38.0), (0.52, 2.0)),
    tilt=keys((0.0, 0.0), (0.54, 0.0), (0.74, 14.0), (0.80, 14.0), (0.98, 0.0)),
    foot_l=keys(
        (0.0, (0, 0.08, 0)), (0.54, (0, 0.08, 0)), (0.74, (0, 0.37, 0.20)), (0.80, (0, 0.37, 0.20)),
        (0.98, (0, 0.08, 0)),
    ),
    foot_r=(0.0, 0.08, 0.0), knee_out=18.0,
)

_new = functools.partial(Activity, known=False)

NEW_ACTIVITIES: tuple[Activity, ...] = (
    _new("thruster", ("squat", "overhead press"), _THRUSTER, ("dumbbells",), period_s=(2.0, 3.2)),
    _new("lunge with biceps curl", ("lunge", "elbow flexion"),
         parts.LUNGE | parts.CURL, ("dumbbells",), view="side", period_s=(2.2, 3.4)),
    _new("lunge with twist", ("lunge", "trunk rotation"), _LUNGE_TWIST, ("ball",), period_s=(2.2, 3.4)),
    _new("side lunge with front raise", ("squat", "wide stance", "front raise"),
         parts.SIDE_LUNGE | parts.FRONT_RAISE, ("dumbbells",), view="front", period_s=(2.2, 3.4)),
    _new("squat with side kick", ("squat", "hip abduction"), _SQUAT_KICK, view="front", period_s=(2.2, 3.2)),
    _new("fire hydrant", ("hip abduction", "weight on the hands"), _FIRE_HYDRANT, ("mat",), period_s=(1.6, 2.6)),
    _new("glute bridge chest press", ("hip extension", "horizontal press"),
         _BRIDGE_PRESS, ("mat", "dumbbells"), view="side", period_s=(2.0, 3.0)),
    _new("romanian deadlift row", ("hip extension", "row", "heavy grip"),
         _DEADLIFT_ROW, ("dumbbells",), view="side", period_s=(2.4, 3.4)),
    _new("curl and press", ("elbow flexion", "overhead press"), _CURL_PRESS, ("dumbbells",), period_s=(2.2, 3.4)),
    _new("calf raise with biceps curl", ("heel raise", "elbow flexion"),
         parts.HEEL_RAISE | parts.CURL, ("dumbbells",), view="side", period_s=(1.6, 2.6)),
    _new("jumping jack press", ("leg spread and close", "heel raise", "overhead press"),
         parts.JACK_LEGS | parts.PRESS_OVERHEAD, ("dumbbells",), view="front", period_s=(1.1, 1.7)),
    _new("hanging knee raise", ("hang", "hip flexion"),
         _KNEE_RAISE, ("pull-up bar",), view="side", period_s=(1.8, 2.8)),
    _new("renegade row", ("front support", "weight on the hands", "row"),
         _RENEGADE_ROW, ("dumbbell left",), view="side", period_s=(1.8, 2.8)),
    _new("plank jack", ("front support", "weight on the hands", "leg spread and close"),
         _PLANK_JACK, period_s=(0.9, 1.5)),
    _new("push-up with rotation", ("horizontal press", "front support", "weight on the hands", "trunk rotation"),
         _TWIST_PUSH_UP, period_s=(2.4, 3.4)),
    _new("sit-up with overhead press", ("trunk flexion", "hip flexion", "head held up", "overhead press"),
         _SIT_UP_PRESS, ("mat", "dumbbells"), view="side", period_s=(2.4, 3.4)),
    _new("high knees with punches", ("hip flexion", "heel raise", "horizontal press", "trunk rotation"),
         _PUNCHING_KNEES, period_s=(0.9, 1.4)),
    _new("superman pull", ("hip extension", "head held up", "pull-down"),
         _SUPERMAN_PULL, ("mat",), period_s=(1.8, 2.8)),
    _new("jump shrug", ("leap", "shrug", "heavy grip"), _JUMP_SHRUG, ("dumbbells",), period_s=(1.6, 2.4), exact=True),
)
