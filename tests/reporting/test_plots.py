"""Plots: what they draw, read from their artists, and that it reaches the pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.eval.statistics import data_statistics
from musclemap_jax.reporting import plots
from musclemap_jax.storage.scalars import Series


def rendered(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(plots.image_bytes(figure))).convert("RGB"))


def fraction_of_colour(pixels: np.ndarray, colour: str) -> float:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(pixels.astype(int) - rgb).max(axis=-1) < 12).mean())


def test_region_bars_have_the_lengths_of_the_metrics(metrics):
    figure = plots.plot_region_ap(metrics, ("test_known", "test_new"))
    (axes,) = figure.axes
    widths = [[patch.get_width() for patch in bars] for bars in axes.containers]
    for drawn, split in zip(widths, ("test_known", "test_new"), strict=True):
        np.testing.assert_allclose(drawn, np.nan_to_num(metrics.splits[split].average_precision))
    assert [text.get_text() for text in axes.texts].count("no clip shows it") == 1
    assert [label.get_text() for label in axes.get_yticklabels()] == list(metrics.regions)
    pixels = rendered(figure)
    assert fraction_of_colour(pixels, plots.BLUE) > 0.05
    assert fraction_of_colour(pixels, plots.VERMILION) > 0.05


@pytest.mark.parametrize("splits", [(), ("nothing",), ("test_new", "nothing")])
def test_region_bars_need_evaluated_splits(metrics, splits):
    with pytest.raises(ValueError, match="splits: expected some of val_known"):
        plots.plot_region_ap(metrics, splits)


def test_training_curves_share_panels_by_name_and_skip_values_that_are_not_finite():
    steps = np.arange(5)
    series = {
        "train/learning_rate": Series(steps, np.linspace(1e-3, 0, 5)),
        "val_known/mAP": Series(steps[:2], np.array([0.25, 0.5])),
        "val_new/mAP": Series(steps[:2], np.array([0.125, 0.25])),
        "train/loss": Series(steps, np.array([1.0, np.nan, 0.5, 0.4, 0.3])),
        "train/loss_$video": Series(steps, np.array([1.0, 0.8, 0.5, 0.4, 0.3])),
        "train/never": Series(steps, np.full(5, np.nan)),
    }
    figure = plots.plot_training_curves(series)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "mAP", "train/learning_rate"]
    losses, scores, _ = figure.axes
    assert len(losses.lines) == 2
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), series["train/loss"].values)
    np.testing.assert_array_equal([line.get_ydata() for line in scores.lines], [[0.25, 0.5], [0.125, 0.25]])
    assert fraction_of_colour(rendered(figure), plots.BLUE) > 0.001


def test_without_finite_values_there_are_no_curves():
    assert plots.plot_training_curves({}) is None
    assert plots.plot_training_curves({"train/loss": Series(np.arange(2), np.full(2, np.nan))}) is None


def test_noisy_curves_are_smoothed_and_schedules_are_not():
    random = np.random.default_rng(0)
    steps = np.arange(200)
    noisy = plots.plot_training_curves({"train/loss": Series(steps, random.random(200))})
    raw, smooth = (np.asarray(line.get_ydata()) for line in noisy.axes[0].lines)
    assert smooth.std() < 0.5 * raw.std()
    # Half-width 200 // 30 = 6: the mean of 13 neighbours.
    assert smooth[100] == pytest.approx(raw[94:107].mean())
    schedule = plots.plot_training_curves({"train/learning_rate": Series(steps, np.linspace(1, 0, 200))})
    assert len(schedule.axes[0].lines) == 1


def test_data_statistics_bars_add_up_to_the_counts():
    clips = [("train", "squat", (0, 1)), ("train", "plank", (1,)), ("test_new", "lunge", (0, 1))]
    statistics = data_statistics(clips, ("leg", "core"))
    figure = plots.plot_data_statistics(statistics)
    left, right = figure.axes
    totals = np.sum([[patch.get_width() for patch in bars] for bars in left.containers], axis=0)
    np.testing.assert_array_equal(totals, [2, 3])
    activities = [[patch.get_width() for patch in bars] for bars in right.containers]
    np.testing.assert_array_equal(activities, [[1, 2], [1, 1]])
    assert fraction_of_colour(rendered(figure), plots.GREY) > 0.01


def test_equal_plots_give_equal_bytes(metrics, tmp_path):
    first = plots.image_bytes(plots.plot_region_ap(metrics, ("val_new",)))
    plots.save_plot(plots.plot_region_ap(metrics, ("val_new",)), tmp_path / "plots" / "ap.png")
    assert (tmp_path / "plots" / "ap.png").read_bytes() == first
