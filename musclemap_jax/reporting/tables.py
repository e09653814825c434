"""Tables of an evaluation: CSV files for machines, markdown for the console, and the predictions of every clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.reporting.formatting import percent, percentage_points
from musclemap_jax.storage.csv_files import write_csv

MACRO_ROW = "macro mean"
"""Name of the last row of the per-region tables."""


def write_per_muscle_csv(path: str | Path, metrics: Metrics) -> None:
    """Writes one row per muscle region and a last row of macro means.

    Columns: region, then for each split ``<split>_ap``, ``<split>_support`` (clips with the region; in the last row all
    clips), ``<split>_random`` and ``<split>_all_ones`` (the floors). An undefined value is an empty cell.
    """
    columns = [["region", *metrics.regions, MACRO_ROW]]
    for name, split in metrics.splits.items():
        mean = split.headline
        columns += [
            [f"{name}_ap", *map(_cell, split.average_precision), _cell(mean.mean_ap)],
            [f"{name}_support", *map(str, split.support), str(split.num_clips)],
            [f"{name}_random", *map(_cell, split.random_floor), _cell(mean.random_floor)],
            [f"{name}_all_ones", *map(_cell, split.all_ones_floor), _cell(mean.all_ones_floor)],
        ]
    header, *rows = zip(*columns, strict=True)
    write_csv(path, header, rows)


def headline_table(metrics: Metrics) -> str:
    """A markdown table of mAP, its floors and the difference to all-ones, in per cent, per split and mean."""
    header = ["split", "clips", "mAP", "random", "all ones", "above all ones", "micro AP"]
    rows = []
    for name, headline in metrics.headlines().items():
        split = metrics.splits.get(name)
        clips, micro = (str(split.num_clips), percent(split.micro_ap)) if split else ("", "")
        values = headline.mean_ap, headline.random_floor, headline.all_ones_floor
        rows.append([name, clips, *map(percent, values), percentage_points(headline.above_all_ones), micro])
    return markdown_table(header, rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table with padded columns, readable on a console; the first column is left-aligned.

    Vertical bars in cells are escaped; the table ends with a newline.
    """
    columns = zip(*([cell.replace("|", r"\|") for cell in row] for row in [header, *rows]), strict=True)
    padded = []
    for i, (title, *cells) in enumerate(columns):
        width = max(3, len(title), *map(len, cells))
        rule = "-" * (width - 1)
        column = [title, f"{rule}:" if i else f":{rule}", *cells]
        padded.append([cell.rjust(width) if i else cell.ljust(width) for cell in column])
    return "".join(f"| {' | '.join(row)} |\n" for row in zip(*padded, strict=True))


def write_predictions(
    folder: str | Path, split: str, predictions: SplitPredictions, regions: Sequence[str]
) -> tuple[Path, Path]:
    """Writes the scores and labels of every clip of one split.

    ``predictions_<split>.csv``: clip_id, activity, muscles (active indices joined by ';', as in annotations.csv; empty
    for a background clip) and one column of scores per region. ``predictions_<split>.npz``: arrays scores (n, K),
    labels (n, K), clip_ids (n,), activities (n,) and regions (K,), readable without pickle.

    The folder is created if absent; unknown activities are written as empty cells.

    Returns:
      The paths of the CSV and the npz file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    csv_path, npz_path = folder / f"predictions_{split}.csv", folder / f"predictions_{split}.npz"
    activities = predictions.activities or [""] * len(predictions.clip_ids)
    clips = zip(predictions.clip_ids, activities, predictions.labels, predictions.scores, strict=True)
    rows = [
        [clip_id, activity, ";".join(map(str, np.flatnonzero(labels))), *(f"{score:.6g}" for score in scores)]
        for clip_id, activity, labels, scores in clips
    ]
    write_csv(csv_path, ["clip_id", "activity", "muscles", *regions], rows)
    np.savez_compressed(
        npz_path,
        scores=predictions.scores,
        labels=predictions.labels,
        clip_ids=np.array(predictions.clip_ids, dtype=str),
        activities=np.array(activities, dtype=str),
        regions=np.array(regions, dtype=str),
    )
    return csv_path, npz_path


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
