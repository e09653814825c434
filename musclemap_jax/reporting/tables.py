"""Tables of an evaluation: files for machines, aligned markdown for people, and the predictions of every clip."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musclemap_jax.eval.metrics import Headline, Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.taxonomy import MUSCLE_REGIONS

MACRO_ROW = "macro mean"
"""Name of the last row of the per-region tables."""


def write_metrics_json(path: str | Path, metrics: Metrics) -> None:
    """Writes all figures; ``Metrics.from_json`` reads them back exactly."""
    Path(path).write_text(metrics.to_json(), encoding="utf-8")


def write_per_muscle_csv(path: str | Path, metrics: Metrics) -> None:
    """Writes one row a muscle region and a last row of macro means.

    Columns: region, then for each split ``<split>_ap``, ``<split>_support`` (clips with the region; in the last row all
    clips), ``<split>_random`` and ``<split>_all_ones`` (the floors). An undefined figure is an empty cell.

    Args:
      path: the csv file.
      metrics: the figures.
    """
    header = ["region"]
    for split in metrics.splits:
        header += [f"{split}_ap", f"{split}_support", f"{split}_random", f"{split}_all_ones"]
    rows: list[list[str]] = []
    for k, region in enumerate(metrics.regions):
        row = [region]
        for figures in metrics.splits.values():
            floors = figures.random_floor[k], figures.all_ones_floor[k]
            row += [_cell(figures.average_precision[k]), str(figures.support[k]), *map(_cell, floors)]
        rows.append(row)
    last = [MACRO_ROW]
    for figures in metrics.splits.values():
        mean = figures.headline
        last += [_cell(mean.mean_ap), str(figures.num_clips), _cell(mean.random_floor), _cell(mean.all_ones_floor)]
    _write_csv(path, header, [*rows, last])


def headline_table(metrics: Metrics) -> str:
    """One row a split and mean, in per cent: mAP, its floors and the distance to all-ones. Markdown, aligned."""
    header = ["split", "clips", "mAP", "random", "all ones", "above all ones", "micro AP"]
    rows = []
    for name, headline in metrics.headlines().items():
        split = metrics.splits.get(name)
        clips, micro = (str(split.num_clips), percent(split.micro_ap)) if split else ("", "")
        rows.append([name, clips, *_headline_cells(headline), micro])
    return markdown_table(header, rows)


def per_region_table(metrics: Metrics) -> str:
    """One row a muscle region: average precision in per cent and, in brackets, its support. Markdown, aligned."""
    rows = []
    for k, region in enumerate(metrics.regions):
        cells = (f"{percent(f.average_precision[k])} ({f.support[k]})" for f in metrics.splits.values())
        rows.append([region, *cells])
    means = (f"{percent(f.headline.mean_ap)} ({f.num_clips})" for f in metrics.splits.values())
    return markdown_table(["region", *metrics.splits], [*rows, [MACRO_ROW, *means]])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table whose columns are padded, so that it reads well on a console; the first column is left-aligned.

    Args:
      header: names of the columns.
      rows: cells; a vertical bar in one is escaped.

    Returns:
      The lines, with a newline at the end.
    """
    cells = [[cell.replace("|", r"\|") for cell in row] for row in [header, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("| " + " | ".join([row[0].ljust(widths[0]), *padded]) + " |")
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]]) + "\n"


def percent(value: float) -> str:
    """A share as per cent with one decimal; an en dash where it is undefined."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"  # noqa: RUF001 - a dash is meant


def write_predictions(
    folder: str | Path, split: str, predictions: SplitPredictions, regions: Sequence[str] = MUSCLE_REGIONS
) -> tuple[Path, Path]:
    """Writes the scores and the truth of every clip of one split.

    ``predictions_<split>.csv``: clip_id, activity, muscles (true indices joined by ';', as in annotations.csv) and one
    column of scores a region. ``predictions_<split>.npz``: arrays scores (n, K), labels (n, K), clip_ids (n,),
    activities (n,) and regions (K,), readable without pickle.

    Args:
      folder: where to write; made if absent.
      split: name of the split.
      predictions: of all its clips; empty activities are written as empty cells.
      regions: K names.

    Returns:
      The paths of the csv and the npz file.
    """
    predictions = SplitPredictions(*predictions)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    scores, labels = np.asarray(predictions.scores), np.asarray(predictions.labels)
    activities = predictions.activities if len(predictions.activities) else [""] * len(predictions.clip_ids)
    csv_path, npz_path = folder / f"predictions_{split}.csv", folder / f"predictions_{split}.npz"
    rows = [
        [clip_id, activity, ";".join(map(str, np.flatnonzero(truth))), *(f"{score:.6g}" for score in row)]
        for clip_id, activity, truth, row in zip(predictions.clip_ids, activities, labels, scores, strict=True)
    ]
    _write_csv(csv_path, ["clip_id", "activity", "muscles", *regions], rows)
    np.savez_compressed(
        npz_path,
        scores=scores,
        labels=labels,
        clip_ids=np.array(predictions.clip_ids, dtype=str),
        activities=np.array(activities, dtype=str),
        regions=np.array(regions, dtype=str),
    )
    return csv_path, npz_path


def _headline_cells(headline: Headline) -> list[str]:
    above = headline.mean_ap - headline.all_ones_floor
    floors = [percent(headline.mean_ap), percent(headline.random_floor), percent(headline.all_ones_floor)]
    return [*floors, percent(above) if math.isnan(above) else f"{100 * above:+.1f}"]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _write_csv(path: str | Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
