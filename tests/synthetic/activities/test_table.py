"""The activities: their regions and splits, and that their bodies move as bodies can."""

import itertools

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.synthetic import movements, props, tracks
from musclemap_jax.synthetic.activities.activity import VIEWS, Activity
from musclemap_jax.synthetic.activities.table import ACTIVITIES, select
from musclemap_jax.synthetic.body import sample_proportions
from musclemap_jax.synthetic.kinematics import Body, solve
from musclemap_jax.taxonomy import MUSCLE_REGIONS, NUM_REGIONS

KNOWN = [a for a in ACTIVITIES if a.known]
NEW = [a for a in ACTIVITIES if not a.known]
PHASES = np.linspace(0, 1, 24, endpoint=False)


def body_of(activity: Activity, subject: int = 0, program: tracks.Part | None = None) -> Body:
    return solve(program or activity.program, sample_proportions(np.random.default_rng(subject)), PHASES)


def test_there_are_enough_activities_with_distinct_names():
    assert len(KNOWN) >= 36
    assert len(NEW) >= 12
    assert len({a.slug for a in ACTIVITIES}) == len(ACTIVITIES)
    for activity in ACTIVITIES:
        assert activity.view in VIEWS
        assert set(activity.props) <= set(props.PROPS)


def test_new_activities_combine_regions_as_no_known_one_does():
    known = {a.muscles for a in KNOWN}
    assert not known & {a.muscles for a in NEW}


def test_new_activities_are_made_of_movements_that_known_ones_show():
    shown = {movement for a in KNOWN for movement in a.movements}
    for activity in NEW:
        assert set(activity.movements) <= shown, activity.name


def test_every_region_is_active_in_some_known_and_new_activities_and_not_in_others():
    for region in range(NUM_REGIONS):
        for group, least in ((KNOWN, 3), (NEW, 3)):
            count = sum(region in a.muscles for a in group)
            assert least <= count < len(group), MUSCLE_REGIONS[region]


def test_regions_are_the_union_of_the_movements():
    thruster = select(("thruster",))[0]
    names = {MUSCLE_REGIONS[i] for i in thruster.muscles}
    assert names == {"quadriceps", "gluteus", "hamstring", "shoulder", "triceps", "upper back"}
    assert {name for names in movements.MOVEMENTS.values() for name in names} == set(MUSCLE_REGIONS)


def test_some_weights_are_visible_in_the_picture_only():
    pairs = [(a, b) for a, b in itertools.combinations(KNOWN, 2) if a.program == b.program and a.props != b.props]
    assert len(pairs) >= 2
    for a, b in pairs:
        assert {MUSCLE_REGIONS[i] for i in set(a.muscles) ^ set(b.muscles)} == {"forearms"}


def test_an_unknown_activity_is_refused_with_similar_names():
    with pytest.raises(UserError, match="push-up"):
        select(("push up s",))


@pytest.mark.parametrize("activity", ACTIVITIES, ids=lambda a: a.slug)
def test_bones_keep_their_length_and_bodies_stay_above_the_floor(activity):
    body = body_of(activity)
    size, points = body.proportions, body.points
    assert all(np.isfinite(value).all() for value in points.values())
    for side in "lr":
        bones = (
            ("hip", "knee", size.thigh), ("knee", "ankle", size.shank), ("shoulder", "elbow", size.upper_arm),
            ("elbow", "wrist", size.forearm),
        )  # fmt: skip
        for start, end, length in bones:
            found = np.linalg.norm(points[f"{end}_{side}"] - points[f"{start}_{side}"], axis=-1)
            np.testing.assert_allclose(found, length, rtol=0.02)
    lowest = np.min([value[:, 2] for value in points.values()], axis=0)
    assert lowest.min() > -0.03 * size.stature
    # Some joint is close to the floor (joints lie within the flesh), unless a bar or a bench carries the body.
    resting = {"bar", "place"} & set(activity.program.modes.values()) or {"bench", "stool"} & set(activity.props)
    if not resting:
        assert lowest.min() < 0.09 * size.stature


@pytest.mark.parametrize("activity", ACTIVITIES, ids=lambda a: a.slug)
def test_knees_and_elbows_bend_the_right_way(activity):
    body = body_of(activity)
    points = body.points
    for side in "lr":
        hip, knee, ankle = (points[f"{n}_{side}"] for n in ("hip", "knee", "ankle"))
        # The knee bends toward the toes: it lies in front of the line from hip to ankle.
        bend = knee - (hip + ankle) / 2
        toes = points[f"toe_{side}"] - points[f"heel_{side}"]
        bent = np.linalg.norm(bend, axis=-1) > 0.05
        shank = ankle - knee
        ahead = toes - shank * (np.sum(toes * shank, -1) / np.sum(shank * shank, -1))[:, None]
        assert (np.sum(bend * ahead, -1)[bent] > -0.02).all()
        shoulder, elbow, wrist = (points[f"{n}_{side}"] for n in ("shoulder", "elbow", "wrist"))
        upper, fore = elbow - shoulder, wrist - elbow
        # No elbow is bent farther than flesh allows.
        cosine = np.sum(upper * fore, -1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(fore, axis=-1)
        assert cosine.min() > np.cos(np.deg2rad(168))


@pytest.mark.parametrize("name", ["bodyweight squat", "push-up", "glute bridge", "mountain climber", "biceps curl"])
def test_planted_hands_and_feet_stay_in_place(name):
    (activity,) = select((name,))
    body = body_of(activity)
    still = {
        "bodyweight squat": ("toe_l", "toe_r"), "push-up": ("toe_l", "toe_r", "hand_l", "hand_r"),
                             "glute bridge": ("heel_l", "heel_r"),
        "mountain climber": ("hand_l", "hand_r"), "biceps curl": ("heel_l", "heel_r"),
    }[name]  # fmt: skip
    for point in still:
        assert np.ptp(body.points[point], axis=0).max() < 0.03, point


def test_poses_are_those_of_the_exercises():
    def height(name: str, point: str) -> np.ndarray:
        body = body_of(select((name,))[0])
        return body.points[point][:, 2] / body.proportions.stature

    assert np.ptp(height("bodyweight squat", "pelvis")) > 0.2
    assert np.ptp(height("push-up", "neck")) > 0.12
    assert height("push-up", "pelvis").max() < 0.3
    assert np.ptp(height("glute bridge", "pelvis")) > 0.08
    assert np.ptp(height("pull-up", "head")) > 0.25
    assert np.ptp(height("overhead press", "hand_l")) > 0.25
    assert np.ptp(height("sit-up", "head")) > 0.3
    assert np.ptp(height("lying leg raise", "ankle_l")) > 0.3
    body = body_of(select(("glute bridge",))[0])
    assert (body.frames["pelvis"][:, 2, 0] > 0.5).all()  # supine: the belly faces up
    body = body_of(select(("forearm plank",))[0])
    assert (body.frames["pelvis"][:, 2, 0] < -0.9).all()  # prone


def test_a_mirrored_program_gives_the_mirror_image():
    (activity,) = select(("forward lunge",))
    body, other = body_of(activity), body_of(activity, program=tracks.mirror(activity.program))
    flip = np.array([1.0, -1.0, 1.0])
    for point in ("knee", "ankle", "hand", "elbow"):
        np.testing.assert_allclose(body.points[f"{point}_l"], other.points[f"{point}_r"] * flip, atol=1e-9)
    twice = tracks.mirror(tracks.mirror(activity.program))
    for name, value in body_of(activity, program=twice).points.items():
        np.testing.assert_allclose(value, body.points[name], atol=1e-9)


def test_subjects_differ():
    sizes = [sample_proportions(np.random.default_rng(seed)) for seed in range(20)]
    for a, b in itertools.pairwise(sizes):
        assert a.stature != b.stature
    ratios = [size.arm / size.stature for size in sizes]
    assert np.ptp(ratios) > 0.01


def test_tracks_pass_through_their_keys_and_are_periodic():
    track = tracks.cycle(1.0, 3.0, at=0.4, pause=0.2)
    phase = np.array([0.0, 0.2, 0.4, 0.5, 0.6, 1.0, 1.2, -0.8])
    np.testing.assert_allclose(tracks.sample(track, phase), [1, 2, 3, 3, 3, 1, 2, 2])
    np.testing.assert_allclose(tracks.sample(track, phase[:3], range_of_motion=0.5), [1, 1.5, 2])
    vector = tracks.sample(tracks.keys((0.0, (0.0, 1.0, 2.0)), (0.5, (2.0, 1.0, 0.0))), np.array([0.25]))
    np.testing.assert_allclose(vector, [[1, 1, 1]])
