"""The coach's arguments on the command, checked before the model is loaded, and its study."""

from __future__ import annotations

import argparse
import types
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.coach.coaching import MISSING, MOVING, UNEXPECTED, Alert
from musclemap_jax.predict.__main__ import main
from musclemap_jax.predict.coach_arguments import coach_of
from musclemap_jax.predict.request import Request
from musclemap_jax.synthetic.mixtures import MIXTURES
from tests.predict.videos import write_video
from tools.coach_study import is_right, num_alarms, poisson_upper, study_holds, study_repetitions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--expect=sqat"], "--expect: unknown exercise 'sqat': expected squat"),
        (["--activities=mine.csv"], "--activities: goes with --expect, the exercise to look up in it"),
        (["--expect="], "argument --expect: expected a value, got an empty one"),
        (["--reference="], "argument --reference: expected a value, got an empty one"),
        (["--skeleton="], "argument --skeleton: expected a value, got an empty one"),
        (["--expect=squat", "--reference=good.mp4"], "argument --reference: not allowed with argument --expect"),
    ],
)
def test_arguments_are_checked_before_the_model_is_loaded(tmp_path, with_fake_model, capsys, arguments, message):
    write_video(tmp_path / "squat.mp4")
    assert main(["squat.mp4", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not (tmp_path / "muscles").exists()


def test_the_person_of_the_videos_is_not_looked_for_in_the_reference(monkeypatch):
    asked = []
    monkeypatch.setattr(Request, "predict", lambda self, model, video: asked.append((self.person, video)) or [None])
    model = types.SimpleNamespace(check_margins=lambda: None, coach=lambda prediction, reference: prediction)
    arguments = argparse.Namespace(expect=None, activities=None, reference="good.mp4")
    assert coach_of(arguments, model, Request(person=4)) is not None
    assert asked == [(None, Path("good.mp4"))]


def test_bounds_of_rates_are_exact():
    # Garwood's bounds are quantiles of chi-squared: 2.996, 4.744 and 9.154 for 0, 1 and 4 events.
    assert poisson_upper(0) == pytest.approx(2.9957, abs=1e-3)
    assert poisson_upper(1) == pytest.approx(4.7439, abs=1e-3)
    assert poisson_upper(4) == pytest.approx(9.1535, abs=1e-3)


def test_an_alert_counts_if_it_names_what_differs_when_it_does():
    (mixture,) = (each for each in MIXTURES if each.other == "calf raise" and each.base == "sit-up")
    wrong = np.array([[10.0, 20.0]])

    def alert(kind, region, start):
        return Alert(kind, region, (1, 2), start, start + 4, (0, 1), 0.9, 1.0)

    assert is_right(alert(UNEXPECTED, "calves", 12.0), mixture, wrong)
    assert not is_right(alert(UNEXPECTED, "calves", 2.0), mixture, wrong)
    assert not is_right(alert(UNEXPECTED, "biceps", 12.0), mixture, wrong)
    assert not is_right(alert(MISSING, "calves", 12.0), mixture, wrong)
    press = next(each for each in MIXTURES if each.part == "arms")
    assert is_right(alert(MOVING, "elbows", 12.0), press, wrong)
    assert not is_right(alert(MOVING, "knees", 12.0), press, wrong)
    assert is_right(alert(MOVING, "ankles", 12.0), mixture, wrong)


def test_a_small_study_runs():
    found = study_repetitions(2, print)
    assert found["within_one"] == 1.0
    assert found["best_constant_error"] > 0
    assert study_holds(1, print, ("glute bridge",))["within_a_second"] == 1.0


def test_alerts_at_the_same_time_are_one_alarm():
    def alert(start_s, end_s):
        return Alert(UNEXPECTED, "chest", (1, 2), start_s, end_s, (0, 1), 0.5, 1.0)

    assert num_alarms([]) == 0
    assert num_alarms([alert(5, 9), alert(0, 4), alert(3, 4.5), alert(8, 8.5)]) == 2
