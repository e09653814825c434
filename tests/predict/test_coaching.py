"""A model's prediction has repetitions and alerts, in Python, in `muscles.json` and on the page."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from musclemap_jax.coach.coaching import MISSING, MOVING, UNEXPECTED, Alert, Coaching, Hold, Repetition
from musclemap_jax.coach.exercise import repetitions_and_holds
from musclemap_jax.coach.expectation import Expectation, built_in_table, find_exercise
from musclemap_jax.coach.margins import AlertMargins, ExerciseMargins
from musclemap_jax.coach.motion import MOTIONS
from musclemap_jax.coach.movement import movement
from musclemap_jax.coach.profiles import log_odds
from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.predict.coach_text import coach_lines
from musclemap_jax.predict.coaching import NOT_SEEN, OVERLAP, with_alerts
from musclemap_jax.predict.joint_track import JointTrack
from musclemap_jax.predict.model import Model
from musclemap_jax.predict.model_folder import read_model, save_model
from musclemap_jax.predict.outputs import read_muscles, write_muscles
from musclemap_jax.predict.page import render_page
from musclemap_jax.predict.recorder import Recorder
from musclemap_jax.predict.skeleton_answers import SkeletonAnswerer
from musclemap_jax.predict.stored_margins import weights_digest, write_margins
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.activities.table import ACTIVITIES, select
from musclemap_jax.synthetic.session import FPS, SIZE, sample_session
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.predict.handmade import blank_frames
from tests.predict.predictions import squat

NUM_MOTIONS = len(MOTIONS)
COCO17 = get_layout("coco17").joints


def margins(stored, *, upper=1000.0, lower=-1000.0, **changes):
    """Margins that nothing exceeds, unless said otherwise."""
    num_regions = len(stored.regions)
    general = ExerciseMargins((upper,) * num_regions, (lower,) * num_regions, (math.inf,) * NUM_MOTIONS)
    motion = (1000.0,) * NUM_MOTIONS
    fields = {"difference": (1000.0,) * num_regions, "motion": motion, "branch": "skeleton", "exercises": {}}
    common = {"alpha": 0.01, "num_sessions": 9, "made_on": "tests", "weights": weights_digest(stored.variables)}
    return AlertMargins(regions=stored.regions, general=general, **(fields | common | changes))


@pytest.fixture(scope="module")
def session():
    (activity,) = select(("bodyweight squat",))
    return sample_session(activity, 5, "video")


@pytest.fixture(scope="module")
def model(tiny_stored_model):
    return Model(dataclasses.replace(tiny_stored_model, margins=margins(tiny_stored_model)))


@pytest.fixture(scope="module")
def prediction(model, session):
    frames = np.zeros((len(session.skeleton), SIZE, SIZE, 3), np.uint8)
    return model.predict(frames, skeleton=session.skeleton, fps=FPS, overlap=OVERLAP)


def test_a_prediction_has_the_repetitions_of_its_skeleton(prediction, session):
    times, _ = repetitions_and_holds(movement(session.skeleton[:, 0], COCO17, FPS))
    assert abs(len(times) - len(session.timeline.repetitions)) <= 1
    assert [(each.start_s, each.end_s) for each in prediction.repetitions] == [tuple(row) for row in times.tolist()]
    first = prediction.repetitions[0]
    starts, ends = prediction.times_s.T
    overlap = np.clip(np.minimum(ends, first.end_s) - np.maximum(starts, first.start_s), 0, None)
    logits = overlap @ prediction.logits / overlap.sum()
    np.testing.assert_allclose(first.probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    assert first.active == tuple((logits > 0).tolist())
    assert first.motion[0] < 45 < max(first.motion)  # the elbows rest in a squat
    assert prediction.alerts == prediction.holds == ()


def test_the_skeleton_branch_answers_without_a_video_as_with_one(model, prediction, session):
    times, scores = SkeletonAnswerer(model).windows(session.skeleton, "coco17", FPS, OVERLAP)
    np.testing.assert_allclose(times, prediction.times_s)
    np.testing.assert_allclose(scores, log_odds(prediction.branch_probabilities["skeleton"]), atol=1e-4)


def test_alerts_are_what_exceeds_the_margin(model, prediction):
    assert model.coach(prediction, expect="squat").alerts == ()
    lowest = margins(model, upper=-1000.0, lower=1000.0)
    coached = with_alerts(prediction, lowest, expectation=Expectation("squat", ("quadriceps", "gluteus")))
    count = len(prediction.repetitions)
    assert {alert.repetitions for alert in coached.alerts} == {(1, count)}
    assert {alert.region for alert in coached.alerts if alert.kind == MISSING} == {"quadriceps", "gluteus"}
    assert sum(alert.kind == UNEXPECTED for alert in coached.alerts) == 18
    alert = coached.alerts[0]
    assert alert.frames[0] == round(prediction.repetitions[0].start_s * FPS)
    assert coached.coaching.expected == "squat: quadriceps, gluteus"


def test_joints_that_rest_in_the_exercise_raise_an_alert_where_they_move(model, prediction):
    motion = (140.0, 0.0, 0.0, 0.0, 0.0, None)  # the ankles are not seen
    moving = tuple(dataclasses.replace(each, motion=motion) for each in prediction.repetitions)
    wrong = dataclasses.replace(prediction, coaching=dataclasses.replace(prediction.coaching, repetitions=moving))
    never = margins(model).general
    of_squat = dataclasses.replace(never, motion=(60.0, math.inf, math.inf, math.inf, 60.0, 9.0))
    narrow = margins(model, motion=(60.0,) * NUM_MOTIONS, exercises={"bodyweight squat": of_squat})
    (alert,) = with_alerts(wrong, narrow, expectation=find_exercise("bodyweight squat", built_in_table())).alerts
    assert (alert.kind, alert.region, alert.repetitions) == (MOVING, "elbows", (1, len(moving)))
    (alert,) = with_alerts(wrong, narrow, reference=prediction).alerts
    assert alert.region == "elbows"
    # Nothing is known of the motion of an exercise of the user's table.
    assert with_alerts(wrong, narrow, expectation=Expectation("my squat", ("quadriceps",))).alerts == ()


def test_a_reference_may_be_shorter(model, prediction):
    short = dataclasses.replace(
        prediction, coaching=dataclasses.replace(prediction.coaching, repetitions=prediction.repetitions[:1])
    )
    assert model.coach(prediction, reference=short).alerts == ()
    narrow = with_alerts(prediction, margins(model, difference=(-1000.0,) * 20), reference=short)
    assert len(narrow.alerts) == 40  # both kinds, of each region
    assert narrow.coaching.expected == "as in "


def test_what_cannot_be_compared_is_said(model, prediction):
    nothing = dataclasses.replace(prediction, coaching=Coaching(), source="good.mp4")
    with pytest.raises(UserError, match=r"^--reference: good\.mp4: no repetition of an exercise was found: film at"):
        model.coach(prediction, reference=nothing)
    with pytest.raises(UserError, match="expected either what an exercise activates or a reference, got both or neith"):
        model.coach(prediction)
    with pytest.raises(UserError, match="--expect: unknown exercise 'sqat': expected"):
        model.coach(prediction, expect="sqat")
    coached = model.coach(nothing, expect="squat")
    assert coached.coaching.notes == ("No alerts are possible: no repetition and no hold was found.",)


def test_a_hold_is_compared_as_a_repetition_is(model, prediction):
    held = dataclasses.replace(prediction, coaching=Coaching(holds=(Hold(2.0, 12.0),)))
    lowest = margins(model, upper=-1000.0)
    alerts = with_alerts(held, lowest, expectation=Expectation("plank", ("shoulder",))).alerts
    assert len(alerts) == 19
    assert alerts[0].sentence.endswith("active, but not expected, in hold 1 (2.0-12.0 s)")


def test_without_margins_nothing_is_an_alert(tiny_stored_model, prediction):
    with pytest.raises(UserError, match=r"^tiny: has no alert margins for its weights, without which nothing is an al"):
        Model(tiny_stored_model).coach(prediction, expect="squat")


def test_margins_are_of_the_weights_that_they_were_calibrated_on(tiny_stored_model, tmp_path):
    save_model(tmp_path, tiny_stored_model)
    assert read_model(tmp_path).margins is None
    write_margins(tmp_path, margins(tiny_stored_model))
    assert read_model(tmp_path).margins == margins(tiny_stored_model)
    write_margins(tmp_path, margins(tiny_stored_model, weights="of another model"))
    assert read_model(tmp_path).margins is None
    (tmp_path / "alerts.json").write_text('{"format": 2}')  # of an earlier version, to be calibrated again
    assert read_model(tmp_path).margins is None
    (tmp_path / "alerts.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match=r"alerts\.json: expected format 3, got 99"):
        read_model(tmp_path)
    (tmp_path / "alerts.json").write_text("[]")
    with pytest.raises(UserError, match=r"alerts\.json: no alert margins, or damaged"):
        read_model(tmp_path)


def test_the_shipped_model_has_margins():
    found = read_model().margins
    if found is None:
        pytest.skip("not calibrated for these weights: python -m musclemap_jax.predict.calibrate_alerts")
    assert (found.regions, BRANCHES[found.branch].modality) == (MUSCLE_REGIONS, "skeleton")
    assert np.isfinite([*found.general.upper, *found.general.lower, *found.difference]).all()
    assert {activity.name for activity in ACTIVITIES} <= set(found.exercises)
    resting = found.of("biceps curl").motion
    assert math.isinf(resting[0])  # the elbows
    assert np.isfinite(resting[2:]).all()


def test_nobody_has_no_repetitions(model):
    frames = np.zeros((20, 32, 32, 3), np.uint8)
    found = model.predict(frames, fps=15.0, pose="none")
    assert (found.repetitions, found.coaching.notes) == ((), (NOT_SEEN,))


def test_joints_are_kept_of_each_person_at_fifteen_frames_a_second_or_more():
    frames, seen = list(blank_frames(61, fps=60.0, first_seen=8)), []
    track = JointTrack(60.0, seen.append)
    for frame in frames:
        track(frame)
    assert seen == frames
    assert track.fps == 15.0
    joints = track.joints()
    assert joints.shape == (16, 17, 3)
    np.testing.assert_array_equal(joints[:, 0, 2], [0] * 2 + [1] * 14)
    assert track.joints(2) is None
    assert JointTrack(30.0).joints() is None


COACHING = Coaching(
    repetitions=(Repetition(0.0, 2.5, (0.1, 0.95, 0.9, 0.6), (False, True, True, True)), Repetition(2.5, 5.0)),
    holds=(Hold(5.0, 9.0),),
    expected="squat: quadriceps, gluteus",
    alerts=(Alert(UNEXPECTED, "biceps", (1, 2), 0.0, 5.0, (0, 149), 0.95, 2.0),),
)


def test_files_and_pages_have_them(tmp_path):
    answer = squat(coaching=COACHING)
    write_muscles(tmp_path, [answer])
    assert read_muscles(tmp_path / "muscles.json")[0].coaching == COACHING
    page = render_page(answer, None)
    assert "2 repetitions, 2.5 s each (2.5 to 2.5 s); held for 4 s." in page
    assert "biceps: active, but not expected, in repetitions 1 to 2 (0.0-5.0 s); frames 0 to 149" in page
    assert '<td class="cell unexpected"><i style="opacity:0.95"></i><span>95!</span></td>' in page
    assert page.count('<td class="cell none">') == 4
    assert 'id="coach"' not in render_page(squat(), None)


def test_an_alert_is_shown_with_a_frame(tmp_path):
    recorder = Recorder()
    for frame in blank_frames(150):
        recorder(frame)
    page = render_page(squat(coaching=COACHING), recorder)
    assert 'alt="Frame at 0:02.5"' in page


def test_the_terminal_gets_lines():
    assert list(coach_lines(COACHING)) == [
        "2 repetitions, 2.5 s each (2.5 to 2.5 s); held for 4 s",
        "Expected: squat: quadriceps, gluteus",
        "Alert: biceps: active, but not expected, in repetitions 1 to 2 (0.0-5.0 s)",
    ]
    right = dataclasses.replace(COACHING, alerts=())
    assert list(coach_lines(right))[-1] == "No alert: nothing differs by more than the margin."
    assert list(coach_lines(Coaching(notes=(NOT_SEEN,)))) == []
