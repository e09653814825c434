"""Known activities of the trunk and of the whole body; movements.py has the sources of their muscle regions."""

from __future__ import annotations

from musclemap_jax.synthetic import program_parts as parts
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.tracks import alternate, cycle, keys, part

# The channels of the trunk, the legs and the arms have their own lines.
# fmt: off

_CLIMBER_LEGS = part(
    foot_l=alternate((0.0, 0.05, 0.0), (0.40, 0.05, 0.05), 0, pause=0.02), heel_l=alternate(76.0, 50.0, 0),
    foot_r=alternate((0.0, 0.05, 0.0), (0.40, 0.05, 0.05), 1, pause=0.02), heel_r=alternate(76.0, 50.0, 1),
)
_LEG_RAISE = parts.SUPINE | parts.ARMS_ALONG | part(hip=cycle(6.0, 88.0), knee=8.0)
_TWIST = part(
    {"root": "lowest", "anchor": "pelvis", "legs": "free", "arms": "chest"},
    lean=-46.0, bend=16.0, nod=8.0, twist=keys((0.0, -58.0), (0.06, -58.0), (0.5, 58.0), (0.56, 58.0)),
    hip=84.0, knee=72.0, point=10.0,
    hand=(0.56, -0.28, -0.34), pole=(-0.4, 1.0, -0.5),
)
_BICYCLE = parts.SUPINE | parts.BEHIND_HEAD | part(
    {"anchor": "pelvis"},
    lean=-84.0, bend=42.0, nod=14.0, twist=keys((0.0, 0.0), (0.25, -44.0), (0.5, 0.0), (0.75, 44.0)),
    hip_l=keys((0.0, 60.0), (0.25, 104.0), (0.5, 60.0), (0.75, 24.0)),
    hip_r=keys((0.0, 60.0), (0.25, 24.0), (0.5, 60.0), (0.75, 104.0)),
    knee_l=keys((0.0, 55.0), (0.25, 108.0), (0.5, 55.0), (0.75, 8.0)),
    knee_r=keys((0.0, 55.0), (0.25, 8.0), (0.5, 55.0), (0.75, 108.0)),
)
_FOREARM_PLANK = part(
    {"root": "lowest", "anchor": "toe,elbow", "legs": "free"},
    lean=cycle(82.5, 81.0), nod=-12.0,
    hip=cycle(0.0, 5.0), knee=2.0, point=-8.0,
    arm_raise=82.0, arm_plane=0.0, elbow=94.0, arm_twist=12.0,
)
_SIDE_PLANK = part(
    {"root": "lowest", "anchor": "ankle_r,elbow_r", "legs": "free"},
    lean=cycle(76.5, 82.0), spin=90.0, side=cycle(3.0, -24.0),
    hip_r=cycle(7.5, 3.0), hip_l=cycle(-7.5, -3.0), plane=90.0, knee=2.0, point=8.0,
    arm_raise_r=cycle(79.5, 58.0), arm_raise_l=cycle(100.0, 122.0), arm_plane=90.0, elbow_r=92.0, elbow_l=6.0,
)
_BURPEE = part(
    {"arms": "place"},
    height=keys(
        (0.0, 1.0), (0.13, 0.36), (0.17, 0.36), (0.28, 0.48), (0.44, 0.48), (0.55, 0.36), (0.60, 0.36), (0.74, 1.0),
        (0.86, 1.0), (0.91, 0.9), (0.97, 1.0),
    ),
    shift=keys(
        (0.0, 0.0), (0.13, -0.06), (0.17, -0.04), (0.28, -0.08), (0.44, -0.08), (0.55, -0.04), (0.60, -0.06),
        (0.74, 0.0),
    ),
    lean=keys(
        (0.0, 2.0), (0.13, 62.0), (0.17, 64.0), (0.28, 71.0), (0.44, 71.0), (0.55, 64.0), (0.60, 60.0), (0.74, 0.0),
        (0.97, 2.0),
    ),
    nod=keys((0.0, 0.0), (0.15, -20.0), (0.55, -20.0), (0.74, 0.0)),
    hop=keys((0.0, 0.0), (0.70, 0.0), (0.79, 0.11), (0.88, 0.0)),
    foot=keys(
        (0.0, (0, 0.08, 0)), (0.18, (0, 0.08, 0)), (0.23, (-0.3, 0.07, 0.03)), (0.28, (-0.62, 0.06, 0)),
        (0.44, (-0.62, 0.06, 0)), (0.49, (-0.3, 0.07, 0.03)), (0.54, (0, 0.08, 0)),
    ),
    heel=keys(
        (0.0, 0.0), (0.10, 10.0), (0.16, 40.0), (0.28, 76.0), (0.44, 76.0), (0.54, 40.0), (0.62, 5.0), (0.72, 35.0),
        (0.80, 45.0), (0.88, 0.0),
    ),
    knee_out=24.0,
    hand=keys(
        (0.0, (0.05, 0.15, 0.46)), (0.13, (0.24, 0.13, 0.03)), (0.58, (0.24, 0.13, 0.03)), (0.68, (0.16, 0.14, 0.6)),
        (0.79, (0.04, 0.1, 1.27)), (0.90, (0.12, 0.16, 0.7)), (0.97, (0.05, 0.15, 0.46)),
    ),
    pole=(-0.6, 0.7, -0.4),
)

CORE_ACTIVITIES: tuple[Activity, ...] = (
    Activity("sit-up", ("trunk flexion", "hip flexion", "head held up"),
             parts.SIT_UP | parts.CROSSED, ("mat",), view="side", period_s=(2.0, 3.2)),
    Activity("crunch", ("trunk flexion", "head held up"),
             parts.SUPINE_KNEES_BENT | parts.BEHIND_HEAD | part(bend=cycle(2.0, 58.0), nod=cycle(6.0, 14.0)),
             ("mat",), view="side", period_s=(1.3, 2.2)),
    Activity("lying leg raise", ("hip flexion",), _LEG_RAISE, ("mat",), view="side"),
    Activity("russian twist", ("trunk rotation", "trunk flexion", "hip flexion"),
             _TWIST, ("ball",), period_s=(1.2, 2.0)),
    Activity("bicycle crunch", ("trunk rotation", "trunk flexion", "hip flexion", "head held up"),
             _BICYCLE, ("mat",), view="side", period_s=(1.4, 2.2)),
    Activity("forearm plank", ("front support",), _FOREARM_PLANK, ("mat",), view="side"),
    Activity("side plank hip lift", ("side support",), _SIDE_PLANK, ("mat",), view="side"),
    Activity("mountain climber", ("front support", "weight on the hands", "hip flexion"),
             parts.HIGH_PLANK | _CLIMBER_LEGS, view="side", period_s=(0.9, 1.5)),
    Activity("superman", ("hip extension", "head held up", "arms held up"),
             parts.SUPERMAN | part({"arms": "angles"}, arm_raise=172.0, arm_plane=30.0, elbow=6.0),
             ("mat",), view="side"),
    Activity("burpee", ("squat", "leap", "front support", "weight on the hands"),
             _BURPEE, view="side", period_s=(2.8, 3.6), exact=True),
)
