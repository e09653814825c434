"""Tables of an evaluation: CSV files for machines, markdown for the console, and the predictions of every clip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.eval.baselines import TITLES
from musclemap_jax.eval.coverage import DecisionMetrics
from musclemap_jax.eval.metrics import Comparison, Metrics
from musclemap_jax.eval.named_regions import SetMetrics
from musclemap_jax.eval.predictions import SplitPredictions, check_predictions
from musclemap_jax.reporting.formatting import decimal, percent, percent_range, percentage_points, six_decimals
from musclemap_jax.storage.csv_files import write_csv
from musclemap_jax.storage.npz_files import read_npz
from musclemap_jax.taxonomy import NEW_SPLITS

MACRO_ROW = "macro mean"
"""Name of the last row of the per-region tables."""
_NO_INTERVAL = (math.nan, math.nan)
_OF_BRANCH, _OF_BASELINE = "scores_", "baseline_"
"""Beginning of the names of the branches' scores in an npz file."""


def write_per_muscle_csv(path: str | Path, metrics: Metrics) -> None:
    """Writes one row per muscle region and a last row of macro means.

    Columns: region, then for each split ``<split>_ap``, ``<split>_low`` and ``<split>_high`` (its 95 % interval over
    activities), ``<split>_support`` (clips with the region; in the last row all clips), ``<split>_random`` and
    ``<split>_all_ones`` (the floors). An undefined value is an empty cell.
    """
    columns = [["region", *metrics.regions, MACRO_ROW]]
    for name, split in metrics.splits.items():
        mean = split.headline
        low, high = zip(*(each or _NO_INTERVAL for each in (*split.interval, mean.interval)), strict=True)
        columns += [
            [f"{name}_ap", *map(six_decimals, split.average_precision), six_decimals(mean.mean_ap)],
            [f"{name}_low", *map(six_decimals, low)],
            [f"{name}_high", *map(six_decimals, high)],
            [f"{name}_support", *map(str, split.support), str(split.num_clips)],
            [f"{name}_random", *map(six_decimals, split.random_floor), six_decimals(mean.random_floor)],
            [f"{name}_all_ones", *map(six_decimals, split.all_ones_floor), six_decimals(mean.all_ones_floor)],
        ]
    header, *rows = zip(*columns, strict=True)
    write_csv(path, header, rows)


def write_per_activity_csv(path: str | Path, metrics: Metrics) -> None:
    """Writes one row per split and activity: new activities first, then the worst first.

    Columns: split, activity, clips, clip_ap (``by_activity.py``), and names joined by ';': regions, missed and
    in_their_place. Splits whose activities are unknown have no rows.
    """
    rows = [
        [split, row.activity, row.num_clips, six_decimals(row.clip_ap)]
        + [";".join(names) for names in (row.regions, row.missed, row.in_their_place)]
        for split in new_first(metrics.splits)
        for row in metrics.splits[split].activities
    ]
    header = ["split", "activity", "clips", "clip_ap", "regions", "missed", "in_their_place"]
    write_csv(path, header, rows)


def new_first(splits: Iterable[str]) -> list[str]:
    """Splits of new activities before others, and of test before validation."""
    return sorted(splits, key=lambda split: (split not in NEW_SPLITS, not split.startswith("test")))


def headline_table(metrics: Metrics) -> str:
    """A markdown table in per cent, by split and mean: mAP of the whole, its interval, each branch, and the floors.

    "Above chance" is the difference of mAP to the stronger floor. A model that ranks clips otherwise by its logits than
    by its softmax has both values, each named.
    """
    others = {f"mAP ({scores})": headlines for scores, headlines in metrics.other_scores.items()}
    header = ["split", "clips", f"mAP ({metrics.scores})" if others else "mAP", "95 % interval", *others]
    header += [*metrics.branches, "random", "all ones", "above chance", "micro AP"]
    rows = []
    for name, headline in metrics.headlines().items():
        split = metrics.splits.get(name)
        clips, micro = (str(split.num_clips), percent(split.micro_ap)) if split else ("", "")
        beside = [percent(headlines[name].mean_ap) for headlines in (*others.values(), *metrics.branches.values())]
        floors = [percent(headline.random_floor), percent(headline.all_ones_floor)]
        above = percentage_points(headline.above_chance)
        whole = [percent(headline.mean_ap), percent_range(headline.interval)]
        rows.append([name, clips, *whole, *beside, *floors, above, micro])
    return markdown_table(header, rows)


def baselines_table(metrics: Metrics) -> str:
    """A markdown table by split and mean: each baseline in per cent and, in brackets, how far the model is above it.

    Behind the table are sentences that explain the asterisks and say what is missing; without baselines there are only
    the latter.
    """
    remarks = "".join(f"{remark}\n" for remark in metrics.remarks)
    if not metrics.baselines:
        return remarks
    rows = [
        [name, percent(headline.mean_ap)] + [_beside(of_split[name]) for of_split in metrics.baselines.values()]
        for name, headline in metrics.headlines().items()
    ]
    table = markdown_table(["split", "mAP", *(TITLES[name] for name in metrics.baselines)], rows)
    return f"{table}{_BESIDE}\n{remarks}"


_BESIDE = "In brackets: mAP minus the baseline's, in points; * where its 95 % interval over activities contains 0."


def _beside(comparison: Comparison) -> str:
    mean_ap, above = comparison.headline.mean_ap, comparison.above
    if math.isnan(mean_ap):
        return percent(mean_ap)
    unclear = above.interval is not None and above.interval[0] <= 0 <= above.interval[1]
    return f"{percent(mean_ap)} ({percentage_points(above.mean_ap)}{'*' if unclear else ''})"


def decisions_table(metrics: DecisionMetrics) -> str:
    """A markdown table of the regions named: recall and precision in per cent, and the mean number of regions.

    "By frequency" is naming the regions most frequent in training, as many as the same recall takes.
    """
    by_frequency = ["precision by frequency", "regions by frequency"]
    header = ["split", "activities", "clips", "recall", "precision", "regions", *by_frequency]
    rows = [
        [name, str(of_clips.num_activities), str(of_clips.num_clips), percent(of_clips.named.recall)]
        + [cell for named in (of_clips.named, of_clips.most_frequent) for cell in _set_cells(named)]
        for name, of_clips in metrics.coverage.items()
    ]
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
    """Writes the scores (logits, averaged over views) and labels of every clip of one split.

    ``predictions_<split>.csv``: clip_id, activity, muscles (active indices joined by ';', as in annotations.csv; empty
    for a background clip) and one column of scores per region. ``predictions_<split>.npz``: arrays scores (n, K),
    labels (n, K), clip_ids (n,), activities (n,) and regions (K,), readable without pickle; of a model of several
    branches also scores_<branch> (n, K), and baseline_<name> (n, K) of the baselines that it is compared with.

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
    beside = {f"{_OF_BRANCH}{branch}": scores for branch, scores in predictions.branch_scores.items()}
    beside |= {f"{_OF_BASELINE}{name}": scores for name, scores in predictions.baseline_scores.items()}
    np.savez_compressed(
        npz_path,
        scores=predictions.scores,
        labels=predictions.labels,
        clip_ids=np.array(predictions.clip_ids, dtype=str),
        activities=np.array(activities, dtype=str),
        regions=np.array(regions, dtype=str),
        **beside,  # ty: ignore[invalid-argument-type]
    )
    return csv_path, npz_path


def read_predictions(npz_path: epath.PathLike) -> tuple[SplitPredictions, tuple[str, ...]]:
    """The predictions in an npz file of `write_predictions`, and the K names of the regions.

    Raises:
      UserError: There is no such file, it is damaged, or its scores have no metrics.
    """
    try:
        arrays = read_npz(epath.Path(npz_path).read_bytes())
        regions = tuple(arrays["regions"].tolist())
        activities = arrays["activities"].tolist()
        predictions = SplitPredictions(
            arrays["scores"],
            arrays["labels"],
            tuple(arrays["clip_ids"].tolist()),
            tuple(activities) if any(activities) else (),
            *(
                {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
                for prefix in (_OF_BRANCH, _OF_BASELINE)
            ),
        )
        check_predictions("its split", predictions, len(regions))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{npz_path}: not a run's predictions ({error}): evaluate the run again") from error
    return predictions, regions


def _set_cells(named: SetMetrics) -> list[str]:
    return [percent(named.precision), decimal(named.mean_regions)]
