"""Known activities of the legs and hips; movements.py has the sources of their muscle regions."""

from __future__ import annotations

from musclemap_jax.synthetic import program_parts as parts
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.tracks import alternate, cycle, keys, part

# The channels of the trunk, the legs and the arms have their own lines.
# fmt: off

_BACK_BAR = part({"arms": "chest"}, hand=(-0.15, 0.22, 0.03), pole=(-0.6, 0.5, -1.0))
_DEADLIFT = part(
    {"arms": "level"},
    height=cycle(1.0, 0.69), shift=cycle(0.0, -0.12), lean=cycle(2.0, 60.0), nod=cycle(0.0, -30.0),
    foot=(0.0, 0.065, 0.0),
    hand=cycle((0.12, 0.06, -0.96), (0.02, 0.06, -0.97)), pole=(-1.0, 0.6, 0.0),
)
_SWING = part(
    height=cycle(0.86, 1.0, at=0.4, pause=0.04), shift=cycle(-0.12, 0.0, at=0.4, pause=0.04),
    lean=cycle(66.0, -3.0, at=0.4, pause=0.04), nod=cycle(-25.0, 0.0),
    foot=(0.0, 0.11, 0.0), toe_out=15.0, knee_out=18.0,
    arm_raise=cycle(48.0, 88.0, at=0.46, pause=0.04), arm_plane=-14.0, elbow=6.0,
)
_JUMP_SQUAT = part(
    height=keys((0.0, 1.0), (0.32, 0.62), (0.38, 0.62), (0.52, 1.0), (0.72, 1.0), (0.80, 0.88), (0.94, 1.0)),
    shift=keys((0.0, 0.0), (0.32, -0.09), (0.38, -0.09), (0.52, 0.0), (0.8, -0.03), (0.94, 0.0)),
    lean=keys((0.0, 2.0), (0.32, 42.0), (0.38, 42.0), (0.52, 0.0), (0.72, 2.0), (0.80, 14.0), (0.94, 2.0)),
    hop=keys((0.0, 0.0), (0.48, 0.0), (0.61, 0.13), (0.74, 0.0)),
    heel=keys((0.0, 0.0), (0.40, 0.0), (0.52, 48.0), (0.66, 40.0), (0.74, 0.0)),
    foot=(0.0, 0.075, 0.0), toe_out=12.0, knee_out=18.0,
    arm_raise=keys((0.0, 5.0), (0.34, -45.0), (0.58, 120.0), (0.8, 10.0)), arm_plane=8.0, elbow=25.0,
)
_SKATER = part(
    height=keys((0.0, 0.86), (0.1, 0.80), (0.36, 0.95), (0.50, 0.86), (0.60, 0.80), (0.86, 0.95)),
    sway=keys((0.0, 0.20), (0.22, 0.20), (0.50, -0.20), (0.72, -0.20)),
    hop=keys((0.0, 0.0), (0.24, 0.0), (0.36, 0.06), (0.48, 0.0), (0.74, 0.0), (0.86, 0.06), (0.98, 0.0)),
    lean=keys((0.0, 30.0), (0.36, 18.0), (0.5, 30.0), (0.86, 18.0)),
    foot_l=keys((0.0, (0, 0.22, 0)), (0.22, (0, 0.22, 0)), (0.50, (-0.16, -0.12, 0.07)), (0.72, (-0.16, -0.12, 0.07))),
    foot_r=keys((0.0, (-0.16, -0.12, 0.07)), (0.22, (-0.16, -0.12, 0.07)), (0.50, (0, 0.22, 0)), (0.72, (0, 0.22, 0))),
    heel_l=keys((0.0, 0.0), (0.25, 10.0), (0.5, 55.0), (0.75, 50.0)),
    heel_r=keys((0.0, 55.0), (0.25, 50.0), (0.5, 0.0), (0.75, 10.0)),
    arm_raise_l=keys((0.0, -30.0), (0.5, 45.0)), arm_raise_r=keys((0.0, 45.0), (0.5, -30.0)), elbow=60.0,
)
_STEP_UP = parts.SWING_ARMS | part(
    height=keys((0.0, 1.0), (0.2, 1.0), (0.44, 1.4), (0.55, 1.4), (0.78, 1.0), (0.95, 1.0)),
    shift=keys((0.0, 0.0), (0.2, 0.07), (0.42, 0.26), (0.57, 0.26), (0.78, 0.07), (0.95, 0.0)),
    lean=keys((0.0, 3.0), (0.22, 22.0), (0.45, 3.0), (0.55, 3.0), (0.7, 20.0), (0.95, 3.0)),
    foot_l=keys(
        (0.0, (0, 0.05, 0)), (0.10, (0.12, 0.05, 0.27)), (0.20, (0.27, 0.05, 0.20)), (0.76, (0.27, 0.05, 0.20)),
        (0.86, (0.12, 0.05, 0.25)), (0.96, (0, 0.05, 0)),
    ),
    foot_r=keys(
        (0.0, (0, 0.05, 0)), (0.24, (0, 0.05, 0)), (0.36, (0.12, 0.05, 0.28)), (0.46, (0.27, 0.05, 0.20)),
        (0.54, (0.27, 0.05, 0.20)), (0.64, (0.12, 0.05, 0.28)), (0.75, (0, 0.05, 0)),
    ),
    heel_r=keys((0.0, 0.0), (0.2, 5.0), (0.28, 40.0), (0.42, 0.0), (0.62, 20.0), (0.74, 0.0)),
)
_SIDE_LYING = part(
    {"root": "lowest", "anchor": "hip_r,ankle_r", "legs": "free", "arms_r": "chest", "arms_l": "chest"},
    lean=90.0, spin=90.0, side=-14.0,
    hip_l=cycle(2.0, 50.0), plane_l=90.0, hip_r=18.0, knee_r=35.0, knee_l=2.0, point=20.0,
    hand_r=(0.1, -0.02, 0.52), pole_r=(0.9, -0.25, 0.6), hand_l=(0.42, -0.30, -0.38), pole_l=(-0.2, 1.0, 0.2),
)
_DONKEY_KICK = parts.ALL_FOURS | part(hip_l=cycle(76.0, -14.0), knee_l=cycle(88.0, 80.0), point_l=cycle(62.0, 15.0))
_BIRD_DOG = parts.ALL_FOURS | part(
    {"arms_r": "level"},
    hip_l=cycle(76.0, -4.0), knee_l=cycle(88.0, 6.0),
    hand_r=keys(
        (0.0, (0.02, 0.02, -0.86)), (0.2, (0.55, 0.06, -0.68)), (0.42, (0.95, 0.02, 0.22)),
        (0.54, (0.95, 0.02, 0.22)), (0.76, (0.55, 0.06, -0.68)), (0.96, (0.02, 0.02, -0.86)),
    ),
    pole_r=(-0.3, 1.0, -0.6),
)
_BUTT_KICKS = parts.SWING_ARMS | part(
    {"root": "lowest", "anchor": "toe", "legs": "free"},
    lift=keys((0.0, 0.0), (0.22, 0.025), (0.48, 0.0), (0.72, 0.025), (0.97, 0.0)),
    hip=2.0, knee_l=alternate(8.0, 118.0, 0), point_l=alternate(4.0, 35.0, 0),
    knee_r=alternate(8.0, 118.0, 1), point_r=alternate(4.0, 35.0, 1),
)

LOWER_ACTIVITIES: tuple[Activity, ...] = (
    Activity("bodyweight squat", ("squat",), parts.SQUAT | parts.FORWARD_WITH_LEGS),
    Activity("barbell back squat", ("squat", "back held level"), parts.SQUAT | _BACK_BAR, ("barbell",)),
    Activity("sumo squat", ("squat", "wide stance"), parts.SUMO_SQUAT | parts.RACKED, view="front"),
    Activity("forward lunge", ("lunge",), parts.LUNGE | parts.ON_HIPS, view="side", period_s=(2.2, 3.4)),
    Activity("side lunge", ("squat", "wide stance"), parts.SIDE_LUNGE | parts.ON_HIPS, view="front",
             period_s=(2.2, 3.4)),
    Activity("calf raise", ("heel raise",), parts.HEEL_RAISE | parts.ON_HIPS, view="side", period_s=(1.2, 2.2)),
    Activity("barbell deadlift", ("squat", "hip extension", "heavy grip"),
             _DEADLIFT, ("barbell",), view="side", period_s=(2.2, 3.4)),
    # The same movement as the Romanian deadlift: only the picture shows whether there is a weight to grip.
    Activity("standing hip hinge", ("hip extension",), parts.HIP_HINGE | parts.HANG_IN_FRONT, view="side"),
    Activity("dumbbell romanian deadlift", ("hip extension", "heavy grip"),
             parts.HIP_HINGE | parts.HANG_IN_FRONT, ("dumbbells",), view="side"),
    Activity("kettlebell swing", ("hip extension", "heavy grip"),
             _SWING, ("kettlebell",), view="side", period_s=(1.3, 2.0)),
    Activity("glute bridge", ("hip extension",),
             parts.BRIDGE | part({"arms": "plant"}, hand=(0.92, 0.22, -0.06), pole=(0, 1, 0)), ("mat",), view="side"),
    Activity("standing side leg raise", ("hip abduction",), parts.SIDE_KICK | parts.ON_HIPS, view="front"),
    Activity("side-lying leg raise", ("hip abduction",), _SIDE_LYING, ("mat",), view="side"),
    Activity("jumping jack", ("leg spread and close", "heel raise", "arms held up"),
             parts.JACK_LEGS | parts.FULL_SIDE_RAISE, view="front", period_s=(0.9, 1.5)),
    Activity("jump squat", ("squat", "leap"), _JUMP_SQUAT, period_s=(1.6, 2.4), exact=True),
    Activity("high knees", ("hip flexion", "heel raise"),
             parts.STEPPING | parts.SWING_ARMS, view="side", period_s=(0.8, 1.3)),
    Activity("skater hop", ("hip abduction", "leap"), _SKATER, view="front", period_s=(1.5, 2.3), exact=True),
    Activity("step-up", ("lunge",), _STEP_UP, ("box",), view="side", period_s=(2.6, 3.8), exact=True),
    Activity("donkey kick", ("hip extension", "weight on the hands"), _DONKEY_KICK, ("mat",), view="side"),
    Activity("bird dog", ("hip extension", "weight on the hands", "arms held up"),
             _BIRD_DOG, ("mat",), view="side", period_s=(2.4, 3.6)),
    Activity("butt kicks", ("leap", "knee flexion"), _BUTT_KICKS, view="side", period_s=(0.8, 1.3)),
)
