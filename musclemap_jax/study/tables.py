"""The tables of a study: Markdown for people and repositories, CSV for machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from musclemap_jax.eval.paired_bootstrap import PairedDifference
from musclemap_jax.eval.predictions import FUSED
from musclemap_jax.reporting.formatting import percent, percentage_points, six_decimals
from musclemap_jax.reporting.tables import markdown_table
from musclemap_jax.storage.csv_files import write_csv
from musclemap_jax.study.comparison import Comparison, RowScores, Score

ABSENT = "–"  # noqa: RUF001 - a dash is meant

Table = tuple[list[str], list[list[str]]]
"""Header and rows of cells."""


def markdown(comparison: Comparison) -> str:
    """The whole comparison as a Markdown document."""
    study = comparison.study
    parts = [f"# Study {study.name}\n", *([f"{study.summary}\n"] if study.summary else [])]
    parts += [f"{sentence}\n" for sentence in notes(comparison)]
    for branch in comparison.branches:
        parts += [f"## {branch_title(branch)}\n", markdown_table(*score_table(comparison, branch))]
        header, rows = difference_table(comparison, branch)
        if rows:
            parts += [f"Difference from `{study.reference}`, in points:\n", markdown_table(header, rows)]
    return "\n".join(parts)


def branch_title(branch: str) -> str:
    """Heading of a branch's tables."""
    return "The model's prediction" if branch == FUSED else f"Branch {branch}"


def notes(comparison: Comparison) -> list[str]:
    """What a reader has to know about the tables, in sentences."""
    sentences = [
        "mAP in per cent: mean and standard deviation over seeds. Differences are of runs with the same seed on the "
        "same clips: the mean over seeds, its 95 % interval by a paired bootstrap over activities, and the standard "
        "deviation over seeds in brackets. A model of one branch has its score in the tables of both."
    ]
    if comparison.chosen_by:
        sentences.append(f"Rows are in the order of {comparison.chosen_by}: choices are made on validation clips.")
    if comparison.chance:
        floors = ", ".join(
            f"{split} {percent(comparison.chance[split])}" for split in comparison.splits if split in comparison.chance
        )
        sentences.append(f"Chance: {floors}.")
    if comparison.baselines:
        sentences.append(
            "Rows without seeds are logistic regressions on statistics of the clips' skeletons, as in each run's "
            "report: they depend on the data alone."
        )
    if comparison.num_missing:
        verb = "has" if comparison.num_missing == 1 else "have"
        sentences.append(f"{comparison.num_missing} of the study's runs {verb} no result yet.")
        if len({row.seeds for row in comparison.rows}) > 1:
            sentences.append("Rows with fewer seeds are compared on the seeds that both have.")
    if len(comparison.codes) > 1:
        sentences.append(f"The runs are of {len(comparison.codes)} code versions: {', '.join(comparison.codes)}.")
    return sentences


def score_table(comparison: Comparison, branch: str) -> Table:
    """One row for each row of the study that has the branch."""
    rows = [
        [row.name, _seeds(row), *(score_text(row.scores[branch].get(split)) for split in comparison.splits)]
        for row in comparison.shown_rows
        if branch in row.scores
    ]
    return ["row", "seeds", *comparison.splits], rows


def _seeds(row: RowScores) -> str:
    return str(len(row.seeds)) if row.seeds else ABSENT


def difference_table(comparison: Comparison, branch: str) -> Table:
    """One row for each row of the study that can be compared with the reference on the branch."""
    rows = []
    for row in comparison.shown_rows:
        if of_branch := row.differences.get(branch):
            rows.append([row.name, *(difference_text(of_branch.get(split)) for split in comparison.splits)])
    return ["row", *comparison.splits], rows


def score_text(score: Score | None) -> str:
    """Such as "71.6 ± 0.8"; without the deviation if there is one seed."""
    if score is None:
        return ABSENT
    return percent(score.mean) if math.isnan(score.std) else f"{percent(score.mean)} ± {percent(score.std)}"


def difference_text(difference: PairedDifference | None) -> str:
    """Such as "+1.2 [-0.3, +2.7] (0.8)"; the interval and the deviation only where there is one."""
    if difference is None:
        return ABSENT
    text = percentage_points(difference.mean)
    if difference.interval is not None:
        low, high = map(percentage_points, difference.interval)
        text += f" [{low}, {high}]"
    return text if math.isnan(difference.std) else f"{text} ({percent(difference.std)})"


def write_study_csv(path: Path, comparison: Comparison) -> None:
    """Writes one line for each row, branch and split.

    Columns: study, row, branch (`fused` for the model's prediction), split, seeds (number of runs; 0 for a linear
    model), mean, std; and of the difference from the reference: reference, pairs, difference, difference_std, low, high
    (95 % interval). All values are fractions; an undefined one is an empty cell.
    """
    header = ["study", "row", "branch", "split", "seeds", "mean", "std"]
    header += ["reference", "pairs", "difference", "difference_std", "low", "high"]
    rows = [
        line
        for row in comparison.shown_rows
        for branch, of_branch in row.scores.items()
        for line in _csv_lines(comparison, row, branch, of_branch)
    ]
    write_csv(path, header, rows)


def _csv_lines(
    comparison: Comparison, row: RowScores, branch: str, of_branch: Mapping[str, Score]
) -> list[list[object]]:
    lines = []
    for split in comparison.splits:
        if (score := of_branch.get(split)) is None:
            continue
        line: list[object] = [comparison.study.name, row.name, branch, split, len(score.by_seed)]
        line += [six_decimals(score.mean), six_decimals(score.std)]
        difference = row.differences.get(branch, {}).get(split)
        if difference is None:
            lines.append([*line, *[""] * 6])
            continue
        low, high = difference.interval or (math.nan, math.nan)
        values = (difference.mean, difference.std, low, high)
        lines.append([*line, comparison.study.reference, difference.num_pairs, *map(six_decimals, values)])
    return lines
