"""Plots: what they draw, read from their artists, and that it reaches the pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from musclemap_jax.eval.statistics import data_statistics
from musclemap_jax.reporting import plots


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


def test_numbers_are_beside_the_bar_and_the_mark_of_chance(metrics):
    figure = plots.plot_region_ap(metrics, ("test_known", "test_new"))
    (axes,) = figure.axes
    notes = iter(axes.texts)
    for split in ("test_known", "test_new"):
        of_split = metrics.splits[split]
        for value, floor in zip(of_split.average_precision, of_split.random_floor, strict=True):
            note = next(notes)
            if np.isnan(value):
                continue
            assert note.get_position()[0] > max(value, floor)
            assert note.get_text().startswith("▼") == (value <= floor)
    marks = [collection for collection in axes.collections if collection.get_label() == "chance"]
    drawn = [segment[0, 0] for segment in marks[0].get_segments()]
    np.testing.assert_allclose(drawn, metrics.splits["test_known"].random_floor)


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
