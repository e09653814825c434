"""Score-level ensemble: the weighted mean of several runs' scores for the same clips, with the metrics of a report.

    python -m musclemap_jax.ensemble --workdirs=runs/joint,runs/bone,runs/motion --weights=2,2,1

The literature on graph convolutions reports streams so: a network for each, trained apart, with weights such as 2:2:1:1
for joint, bone and their motions (pyskl). The scores are read from the runs' reports, as log-odds by the link of each
run's loss. Nothing is trained or computed again; choose the weights on validation splits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from musclemap_jax.arguments import Parser, expand_home
from musclemap_jax.errors import UserError, exit_on_user_error
from musclemap_jax.eval.metrics import Metrics, compute_metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.score_link import log_odds
from musclemap_jax.experiment.workdir import CONFIG, EVALUATION_FOLDER, REPORT_FOLDER, trained_regions, trained_spec
from musclemap_jax.reporting.tables import (
    headline_table,
    read_predictions,
    write_per_activity_csv,
    write_per_muscle_csv,
    write_predictions,
)
from musclemap_jax.storage.files import LocalFolder, is_remote
from musclemap_jax.taxonomy import EVAL_SPLITS
from musclemap_jax.train.losses import SCORE_LINKS

DESCRIPTION = "ensemble.json"


@dataclasses.dataclass(frozen=True)
class Member:
    """A run of an ensemble.

    Attributes:
      workdir: Its workdir.
      regions: K names of its muscle regions.
      predictions: Split -> predictions, with log-odds as scores.
    """

    workdir: str
    regions: tuple[str, ...]
    predictions: Mapping[str, SplitPredictions]


def read_member(workdir: str) -> Member:
    """Reads the predictions of a run's report or, where there is none, of its last evaluation.

    Raises:
      UserError: There is no run, or it has no predictions.
    """
    spec = trained_spec(workdir)
    link = SCORE_LINKS.get(spec.loss.kind, "sigmoid")
    for folder in (REPORT_FOLDER, EVALUATION_FOLDER):
        paths = {
            split: epath.Path(workdir) / folder / "predictions" / f"predictions_{split}.npz" for split in EVAL_SPLITS
        }
        if found := {split: path for split, path in paths.items() if path.exists()}:
            regions = trained_regions(workdir)
            return Member(workdir, regions, {split: _read_predictions(found[split], link, regions) for split in found})
    raise UserError(
        f"{workdir}: has no predictions in {REPORT_FOLDER}/ or {EVALUATION_FOLDER}/: make them by "
        f"python -m musclemap_jax.main --mode=eval --workdir={workdir}"
    )


def combine(members: Sequence[Member], weights: Sequence[float]) -> dict[str, SplitPredictions]:
    """The weighted mean of the members' scores; the scores of each stand beside it as those of a branch.

    Args:
      members: The runs; the first one's clips give the order.
      weights: A weight of each, not negative, of which one is above 0.

    Returns:
      Split -> predictions.

    Raises:
      UserError: The runs are of other muscle regions, splits, clips or labels.
    """
    first, names = members[0], _names([member.workdir for member in members])
    shares = np.array(weights, np.float64) / np.sum(weights)
    combined = {}
    for member in members:
        _check_alike(first, member)
    for split, expected in first.predictions.items():
        rows = [_in_order(expected.clip_ids, member.predictions[split]) for member in members]
        scores = {name: of_member.scores for name, of_member in zip(names, rows, strict=True)}
        mean = np.einsum("m,mnk->nk", shares, np.stack(list(scores.values())))
        combined[split] = expected._replace(scores=mean, branch_scores=scores)
    return combined


def _read_predictions(path: epath.Path, link: str, regions: Sequence[str]) -> SplitPredictions:
    predictions, found = read_predictions(path)
    if found != regions:
        raise UserError(f"{path}: expected the {len(regions)} muscle regions of the run, got others: evaluate it again")
    scores = log_odds(predictions.scores, link)
    if not np.isfinite(scores).all():
        raise UserError(f"{path}: expected finite scores, got infinite ones: evaluate the run again")
    return predictions._replace(scores=scores, branch_scores={})


def _check_alike(first: Member, other: Member) -> None:
    """Raises UserError unless two runs have the same regions, splits, clips and labels."""
    if other.regions != first.regions:
        raise UserError(
            f"{other.workdir}: expected a run of the {len(first.regions)} muscle regions of {first.workdir}, got "
            f"{len(other.regions)}, which are not the same: leave it out of the ensemble"
        )
    splits = [", ".join(member.predictions) for member in (first, other)]
    if splits[0] != splits[1]:
        raise UserError(
            f"{other.workdir}: expected predictions for {splits[0]}, as {first.workdir} has, got {splits[1]}: evaluate "
            "both with the same config.eval.splits"
        )
    for split, expected in first.predictions.items():
        found = other.predictions[split]
        if different := sorted(set(found.clip_ids) ^ set(expected.clip_ids)):
            raise UserError(
                f"{other.workdir}: {split}: expected the clips of {first.workdir}, got others, such as "
                f"{different[0]}: evaluate both on the same data"
            )
        labels = _in_order(expected.clip_ids, found).labels
        if rows := np.flatnonzero((labels != expected.labels).any(axis=1)).tolist():
            raise UserError(
                f"{other.workdir}: {split}: clip {expected.clip_ids[rows[0]]} has other labels than in "
                f"{first.workdir}: evaluate both on the same data"
            )


def _in_order(clip_ids: Sequence[str], predictions: SplitPredictions) -> SplitPredictions:
    """The same predictions in the order of `clip_ids`."""
    place = {clip_id: row for row, clip_id in enumerate(predictions.clip_ids)}
    rows = [place[clip_id] for clip_id in clip_ids]
    return predictions._replace(
        scores=predictions.scores[rows], labels=predictions.labels[rows], clip_ids=tuple(clip_ids), activities=()
    )


def _names(workdirs: Sequence[str]) -> list[str]:
    """The last parts of the workdirs where they differ, else the whole."""
    names = [epath.Path(workdir).name for workdir in workdirs]
    return names if len(set(names)) == len(names) else list(workdirs)


def _write(
    out: str, metrics: Metrics, predictions: Mapping[str, SplitPredictions], description: Mapping[str, object]
) -> None:
    """Writes metrics, tables and predictions as a report does, and of which runs they are."""
    try:
        with contextlib.closing(LocalFolder(out)) as folder:
            (folder.path / "metrics.json").write_text(metrics.to_json(), encoding="utf-8")
            (folder.path / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
            write_per_muscle_csv(folder.path / "per_muscle.csv", metrics)
            write_per_activity_csv(folder.path / "per_activity.csv", metrics)
            for split, of_split in predictions.items():
                write_predictions(folder.path / "predictions", split, of_split, metrics.regions)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}: choose another --out") from error


def _weights(text: str | None, count: int) -> list[float]:
    """A weight for each of `count` runs; all 1 where none are given."""
    try:
        weights = [1.0] * count if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--weights: expected numbers joined by commas, got {text!r}") from error
    if len(weights) != count or not all(weight >= 0 for weight in weights) or not 0 < sum(weights) < np.inf:
        raise UserError(
            f"--weights: expected {count} numbers, none negative and one above 0, with a finite sum, got {text!r}"
        )
    return weights


def _check_out(out: str) -> None:
    """Refuses to write into the workdir of a run, whose own metrics would be replaced."""
    path = epath.Path(out if is_remote(out) else os.path.realpath(out))
    for folder in (path, *path.parents):
        if (folder / CONFIG).exists():
            raise UserError(f"--out={out}: lies in {folder}, the workdir of a run: choose a folder outside of it")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status, 2 for a user error."""

    def body() -> None:
        parser = Parser(prog="python -m musclemap_jax.ensemble", description=(__doc__ or "").splitlines()[0])
        parser.add_argument("--workdirs", required=True, metavar="DIR,DIR", help="workdirs of the runs, with reports")
        parser.add_argument("--weights", metavar="NUMBER,NUMBER", help="weight of each run (default: equal)")
        parser.add_argument("--out", metavar="DIR", help="folder for metrics, tables and predictions (default: none)")
        args = parser.parse_args(expand_home(arguments))
        workdirs = [os.path.expanduser(workdir) for workdir in args.workdirs.split(",")]
        if len(set(workdirs)) != len(workdirs) or len(workdirs) < 2:
            raise UserError(f"--workdirs: expected two or more different ones joined by commas, got {args.workdirs!r}")
        weights = _weights(args.weights, len(workdirs))
        if args.out:
            _check_out(args.out)
        members = [read_member(workdir) for workdir in workdirs]
        predictions = combine(members, weights)
        metrics = compute_metrics(predictions, members[0].regions)
        print(headline_table(metrics))
        if args.out:
            _write(args.out, metrics, predictions, {"workdirs": workdirs, "weights": weights})
            print(f"written to {args.out}")

    return exit_on_user_error(body)


if __name__ == "__main__":
    sys.exit(main())
