"""Curves of the page: places by hand, what comes first, smoothing, and values that are not finite."""

from __future__ import annotations

import re

import numpy as np
import pytest

from musclemap_jax.reporting.curves import AREA, Axis, training_panels
from musclemap_jax.storage.scalars import Series

LEFT, TOP, RIGHT, BOTTOM = AREA


def points(path: str) -> list[tuple[str, float, float]]:
    return [(command, float(x), float(y)) for command, x, y in re.findall(r"([ML])([-\d.]+) ([-\d.]+)", path)]


def test_places_and_ticks_by_hand():
    axis = Axis(0, 10, 100, 300)
    np.testing.assert_allclose(axis.places([0, 2.5, 10]), [100, 150, 300])
    assert axis.ticks(str, integer=True) == ((100.0, "0.0"), (160.0, "3.0"), (220.0, "6.0"), (280.0, "9.0"))
    upwards = Axis(0.01, 1, 200, 0, is_log=True)
    np.testing.assert_allclose(upwards.places([0.01, 0.1, 1]), [200, 100, 0])
    assert [text for _, text in upwards.ticks("{:g}".format)] == ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]


def test_curves_are_grouped_and_those_that_matter_come_first():
    steps = np.arange(1, 6)
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    names = ["train/skipped", "train/learning_rate", "val_new/mAP", "val_known/mAP", "val_new/mAP_video"]
    names += ["val_new/mAP_above_chance", "train/gradient_norm", "train/loss_video", "train/loss"]
    panels = training_panels({name: Series(steps, values) for name in names})
    assert [panel.title for panel in panels] == [
        "loss",
        "mAP on validation clips, %",
        "mAP on new activities, the model and its branches, %",
        "train/gradient_norm",
        "train/learning_rate",
        "val_new/mAP_above_chance, %",
        "val_new/mAP_video, %",
        "train/skipped",
    ]
    assert [curve.name for curve in panels[0].curves] == ["train/loss_video", "train/loss"]
    assert [curve.name for curve in panels[2].curves] == ["val_new/mAP", "val_new/mAP_video"]
    (known,) = (curve for curve in panels[1].curves if curve.name == "val_known/mAP")
    assert known.last == "50.0"
    height = BOTTOM - TOP
    assert points(known.path)[0] == ("M", LEFT, pytest.approx(BOTTOM - 0.1 * height, abs=0.05))
    assert points(known.path)[-1] == ("L", RIGHT, pytest.approx(BOTTOM - 0.5 * height, abs=0.05))
    assert "val_known/mAP from 10.0 at step 1 to 50.0 at step 5" in panels[1].description


def test_values_that_are_not_finite_interrupt_the_curve():
    series = Series(np.arange(5), np.array([1.0, 2.0, np.nan, 4.0, np.inf]))
    (panel,) = training_panels({"train/loss": series, "train/never": Series(np.arange(2), np.full(2, np.nan))})
    assert [command for command, *_ in points(panel.curves[0].path)] == ["M", "L", "M"]
    assert panel.curves[0].last == "4"
    assert training_panels({}) == []


def test_noisy_curves_are_smoothed_and_schedules_are_not():
    steps = np.arange(200)
    values = 1 + np.random.default_rng(0).random(200)
    ((curve,),) = (panel.curves for panel in training_panels({"train/loss": Series(steps, values)}))
    raw, smooth = (np.array([y for *_, y in points(path)]) for path in (curve.pale, curve.path))
    assert smooth.std() < 0.5 * raw.std()
    # Half-width 200 // 30 = 6: the mean of 13 neighbours, on the same axis.
    assert smooth[100] == pytest.approx(raw[94:107].mean(), abs=0.1)
    schedule = training_panels({"train/learning_rate": Series(steps, np.linspace(1, 0, 200))})
    assert schedule[0].curves[0].pale == ""


def test_long_curves_keep_their_extremes_in_few_points():
    steps = np.arange(100_000)
    values = np.zeros(100_000)
    values[43_210] = 1.0
    ((curve,),) = (panel.curves for panel in training_panels({"train/skipped": Series(steps, values)}))
    drawn = points(curve.path)
    assert len(drawn) <= 400
    peak = min(drawn, key=lambda point: point[2])
    assert peak[1] == pytest.approx(LEFT + 43_210 / 99_999 * (RIGHT - LEFT), abs=0.1)


@pytest.mark.parametrize("values", [[3.0, 3.0], [0.0, 0.0], [5.0]])
def test_constant_curves_and_single_points_are_inside(values):
    (panel,) = training_panels({"train/skipped": Series(np.arange(len(values)), np.array(values))})
    for _, x, y in points(panel.curves[0].path):
        assert LEFT <= x <= RIGHT
        assert TOP <= y <= BOTTOM
    assert len(panel.values) >= 2


def test_a_panel_holds_eight_curves_and_says_how_many_are_left_out():
    series = {f"train/loss_{i}": Series(np.arange(2), np.array([1.0, 0.5])) for i in range(10)}
    (panel,) = training_panels(series)
    assert len(panel.curves) == 8
    assert panel.title == "loss (and 2 more)"


def test_losses_over_several_decades_have_a_logarithmic_axis():
    losses = np.geomspace(1, 1e-3, 4)
    (panel,) = training_panels({"train/loss": Series(np.arange(4), losses)})
    heights = np.diff([y for *_, y in points(panel.curves[0].path)])
    np.testing.assert_allclose(heights, heights[0], atol=0.2)
