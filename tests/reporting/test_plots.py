"""Charts: what they draw, read from the figures themselves, and that it reaches the pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.eval.statistics import data_statistics
from musclemap_jax.reporting import plots
from musclemap_jax.storage.scalars import Series


def rendered(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(plots.figure_bytes(figure))).convert("RGB"))


def share_of_colour(pixels: np.ndarray, colour: str) -> float:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return float((np.abs(pixels.astype(int) - rgb).max(axis=-1) < 12).mean())


def test_per_region_bars_have_the_lengths_of_the_figures(metrics):
    figure = plots.per_region_figure(metrics)
    (axes,) = figure.axes
    widths = [[patch.get_width() for patch in bars] for bars in axes.containers]
    for drawn, split in zip(widths, ("test_known", "test_new"), strict=True):
        np.testing.assert_allclose(drawn, np.nan_to_num(metrics.splits[split].average_precision))
    assert [text.get_text() for text in axes.texts].count("no clip shows it") == 1
    assert [label.get_text() for label in axes.get_yticklabels()] == list(metrics.regions)
    pixels = rendered(figure)
    assert share_of_colour(pixels, plots.BLUE) > 0.05
    assert share_of_colour(pixels, plots.VERMILION) > 0.05


def test_per_region_figure_needs_an_evaluated_split(metrics):
    with pytest.raises(ValueError, match="expected one of the evaluated splits"):
        plots.per_region_figure(metrics, ("nothing",))


def test_training_curves_share_panels_by_name_and_pass_over_what_is_not_finite():
    steps = np.arange(5)
    series = {
        "train/learning_rate": Series(steps, np.linspace(1e-3, 0, 5)),
        "val_known/mAP": Series(steps[:2], np.array([0.25, 0.5])),
        "val_new/mAP": Series(steps[:2], np.array([0.125, 0.25])),
        "train/loss": Series(steps, np.array([1.0, np.nan, 0.5, 0.4, 0.3])),
        "train/loss_$video": Series(steps, np.array([1.0, 0.8, 0.5, 0.4, 0.3])),
        "train/never": Series(steps, np.full(5, np.nan)),
    }
    figure = plots.training_curves_figure(series)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "mAP", "train/learning_rate"]
    losses, scores, _ = figure.axes
    assert len(losses.lines) == 2
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), series["train/loss"].values)
    np.testing.assert_array_equal([line.get_ydata() for line in scores.lines], [[0.25, 0.5], [0.125, 0.25]])
    assert share_of_colour(rendered(figure), plots.BLUE) > 0.001


def test_without_a_finite_value_there_are_no_curves():
    assert plots.training_curves_figure({}) is None
    assert plots.training_curves_figure({"train/loss": Series(np.arange(2), np.full(2, np.nan))}) is None


def test_noisy_curves_are_smoothed_and_schedules_are_not():
    random = np.random.default_rng(0)
    steps = np.arange(200)
    noisy = plots.training_curves_figure({"train/loss": Series(steps, random.random(200))})
    raw, smooth = (np.asarray(line.get_ydata()) for line in noisy.axes[0].lines)
    assert smooth.std() < 0.5 * raw.std()
    # Half-width 200 // 30 = 6: the mean of 13 neighbours.
    assert smooth[100] == pytest.approx(raw[94:107].mean())
    schedule = plots.training_curves_figure({"train/learning_rate": Series(steps, np.linspace(1, 0, 200))})
    assert len(schedule.axes[0].lines) == 1


def test_data_statistics_bars_add_up_to_the_counts():
    clips = [("train", "squat", (0, 1)), ("train", "plank", (1,)), ("test_new", "lunge", (0, 1))]
    statistics = data_statistics(clips, ("leg", "core"))
    figure = plots.data_statistics_figure(statistics)
    left, right = figure.axes
    totals = np.sum([[patch.get_width() for patch in bars] for bars in left.containers], axis=0)
    np.testing.assert_array_equal(totals, [2, 3])
    activities = [[patch.get_width() for patch in bars] for bars in right.containers]
    np.testing.assert_array_equal(activities, [[1, 2], [1, 1]])
    assert share_of_colour(rendered(figure), plots.GREY) > 0.01


def test_the_same_figure_gives_the_same_bytes(metrics, tmp_path):
    first = plots.figure_bytes(plots.per_region_figure(metrics, ("val_new",)))
    plots.save_figure(plots.per_region_figure(metrics, ("val_new",)), tmp_path / "plots" / "ap.png")
    assert (tmp_path / "plots" / "ap.png").read_bytes() == first
