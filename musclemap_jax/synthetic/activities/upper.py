"""Known activities of the arms, shoulders, chest and back; movements.py has the sources of their muscle regions."""

from __future__ import annotations

from musclemap_jax.synthetic import program_parts as parts
from musclemap_jax.synthetic.activities.activity import Activity
from musclemap_jax.synthetic.tracks import alternate, cycle, keys, part

# The channels of the trunk, the legs and the arms have their own lines.
# fmt: off

_BENCH_PRESS = parts.ON_BENCH | part(
    {"arms": "chest"}, hand=cycle((0.94, 0.10, -0.05), (0.26, 0.26, -0.16)), pole=(-0.6, 1.0, -0.5),
)
_FLY = parts.ON_BENCH | part(arm_raise=86.0, arm_plane=cycle(2.0, 84.0), elbow=22.0)
_PULL_OVER = parts.ON_BENCH | part(arm_raise=cycle(84.0, 172.0), arm_plane=-15.0, elbow=18.0)
_DIP = part(
    {"root": "hang", "arms": "bar", "legs": "free"},
    grip=0.60, drop=cycle(-0.96, -0.50), lean=cycle(6.0, 24.0), shift=cycle(0.0, 0.07),
    hip=cycle(4.0, 16.0), knee=78.0, point=35.0,
    hand=(0.0, 0.145, 0.0), pole=(-1.0, 0.3, 0.3),
)
_PULL_UP = parts.HANGING | part(
    drop=cycle(0.965, 0.10), shift=cycle(0.0, -0.045), knee=70.0, hip=4.0, nod=cycle(-8.0, -16.0),
)
_PUNCH = part(
    {"arms": "chest"},
    height=0.93, lean=8.0, twist=keys((0.0, 0.0), (0.25, -34.0), (0.5, 0.0), (0.75, 34.0)),
    foot_l=(0.13, 0.07, 0.0), foot_r=(-0.12, 0.08, 0.0), heel_r=14.0, toe_out=18.0,
    hand_l=alternate((0.34, -0.16, 0.08), (0.98, -0.24, 0.10), 0),
    hand_r=alternate((0.34, -0.16, 0.08), (0.98, -0.24, 0.10), 1),
    pole=(0.1, 0.5, -1.0),
)
_SEATED = part(height=0.56, lean=4.0, foot=(0.22, 0.10, 0.0), toe_out=10.0, knee_out=12.0)
_PULL_DOWN = _SEATED | part(
    {"arms": "chest"}, lean=-8.0, hand=cycle((0.12, 0.26, 0.90), (0.16, 0.34, 0.08)), pole=(-0.3, 0.8, -1.0),
)
_NECK = parts.ON_HIPS | part(nod=keys((0.0, -34.0), (0.45, 44.0), (0.55, 44.0), (0.95, -34.0)), shrug=-0.004)
_SHRUG = parts.HANG | part(shrug=cycle(-0.008, 0.040), nod=cycle(0.0, 8.0))
_WRIST_CURL = _SEATED | part(
    {"arms": "chest"}, lean=34.0, bend=18.0, nod=10.0,
    hand=cycle((0.70, -0.06, -0.52), (0.62, -0.06, -0.30)), pole=(-1.0, 0.2, -0.6),
)
_TRICEPS_EXTENSION = part(
    {"arms": "chest"}, hand=cycle((-0.30, -0.27, 0.36), (0.0, -0.27, 0.93)), pole=(0.6, 0.35, 0.9),
)
_KICKBACK = parts.BENT_OVER | part(arm_raise=14.0, arm_plane=180.0, elbow=cycle(92.0, 8.0))
_CHOP = part(
    {"arms": "chest"},
    height=cycle(0.90, 0.99), lean=cycle(22.0, 0.0), twist=cycle(-42.0, 42.0),
    foot=(0.0, 0.11, 0.0), toe_out=14.0,
    hand=cycle((0.62, -0.27, -0.62), (0.62, -0.27, 0.62)), pole=(-0.2, 0.8, -0.8),
)
_SIDE_BEND = parts.HANG | part(
    {"arms_l": "chest"}, side=cycle(-12.0, 46.0), tilt=cycle(-2.0, 6.0),
    hand_l=(-0.04, -0.12, 0.33), pole_l=(0.15, 1.0, 0.25),
)

UPPER_ACTIVITIES: tuple[Activity, ...] = (
    Activity("push-up", ("horizontal press", "front support", "weight on the hands"),
             parts.PUSH_UP, view="side", period_s=(1.4, 2.4)),
    Activity("barbell bench press", ("horizontal press",), _BENCH_PRESS, ("bench", "barbell")),
    Activity("dumbbell chest fly", ("chest fly",), _FLY, ("bench", "dumbbells")),
    Activity("dumbbell pull-over", ("pull-over",), _PULL_OVER, ("bench", "dumbbell"), view="side"),
    Activity("parallel bar dip", ("horizontal press", "weight on the hands"), _DIP, ("dip bars",)),
    Activity("overhead press", ("overhead press",), parts.PRESS_OVERHEAD, ("dumbbells",), upright=True),
    Activity("lateral raise", ("side raise",), parts.SIDE_RAISE, ("dumbbells",), view="front", upright=True),
    Activity("front raise", ("front raise",), parts.FRONT_RAISE, ("dumbbells",), view="side", upright=True),
    Activity("bent-over row", ("row", "heavy grip", "back held level"),
             parts.BENT_OVER | parts.ROW_ARMS, ("barbell",), view="side"),
    Activity("pull-up", ("pull-down", "hang"), _PULL_UP, ("pull-up bar",), period_s=(2.0, 3.2)),
    Activity("lat pull-down", ("pull-down", "heavy grip"), _PULL_DOWN, ("stool", "cable bar")),
    Activity("biceps curl", ("elbow flexion",), parts.CURL, ("dumbbells",), upright=True),
    Activity("wrist curl", ("wrist flexion",), _WRIST_CURL, ("stool", "dumbbells"), view="side", period_s=(1.2, 2.0)),
    Activity("overhead triceps extension", ("elbow extension", "arms held up"),
             _TRICEPS_EXTENSION, ("dumbbell",), upright=True),
    Activity("triceps kickback", ("elbow extension", "back held level", "arms held up"),
             _KICKBACK, ("dumbbells",), view="side"),
    Activity("dumbbell shrug", ("shrug", "heavy grip"),
             _SHRUG, ("dumbbells",), view="front", period_s=(1.2, 2.0), upright=True),
    # The same movement as the dumbbell shrug, without a weight to grip.
    Activity("shoulder shrug", ("shrug",), _SHRUG, view="front", period_s=(1.2, 2.0), upright=True),
    Activity("upright row", ("upright pull", "heavy grip"),
             parts.UPRIGHT_PULL, ("barbell",), view="front", upright=True),
    Activity("band pull-apart", ("side raise",),
             part(arm_raise=88.0, arm_plane=cycle(2.0, 86.0), elbow=8.0), ("band",), upright=True),
    Activity("boxing punches", ("horizontal press", "trunk rotation"),
             _PUNCH, view="side", period_s=(0.9, 1.5), upright=True),
    Activity("neck flexion and extension", ("head held up", "shrug"),
             _NECK, view="side", period_s=(1.4, 2.4), upright=True),
    Activity("wood chop", ("trunk rotation", "trunk flexion", "arms held up"), _CHOP, ("ball",)),
    Activity("dumbbell side bend", ("side bend", "heavy grip"),
             _SIDE_BEND, ("dumbbell right",), view="front", upright=True),
)
