"""Collects the results of a study's runs and writes the comparison: study.html, study.md, study.csv and plots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.reporting.tables import markdown_table
from musclemap_jax.storage.files import replace_text
from musclemap_jax.study.comparison import Comparison, compare
from musclemap_jax.study.configurations import deciding_changes
from musclemap_jax.study.page import render_page, render_plot
from musclemap_jax.study.plots import difference_plots, score_plots
from musclemap_jax.study.result import RunResult, result_of_run
from musclemap_jax.study.runs import Run
from musclemap_jax.study.study import Study
from musclemap_jax.study.tables import difference_table, markdown, score_table, write_study_csv

PAGE, MARKDOWN, CSV, PLOTS = "study.html", "study.md", "study.csv", "plots"


def collect(study: Study, runs: Sequence[Run], workdir: Path) -> Comparison:
    """Compares the finished runs, prints the first tables and writes all of them to the workdir.

    Args:
      study: The study.
      runs: All of its runs.
      workdir: The study's workdir; made if absent.

    Raises:
      UserError: A result is damaged, or that of another run, or some are of different data.
    """
    results = _results(runs)
    comparison = compare(study, results)
    workdir.mkdir(parents=True, exist_ok=True)
    replace_text(workdir / MARKDOWN, markdown(comparison))
    replace_text(workdir / PAGE, render_page(comparison, runs, results))
    write_study_csv(workdir / CSV, comparison)
    _write_plots(workdir / PLOTS, comparison)
    print(f"\n{console_text(comparison)}\nstudy: {workdir / PAGE}", flush=True)
    return comparison


def _write_plots(folder: Path, comparison: Comparison) -> None:
    """Writes the plots of the models' predictions in place of earlier ones."""
    branch = comparison.branches[0] if comparison.rows else None
    plots = [*score_plots(comparison, branch), *difference_plots(comparison, branch)] if branch else []
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for plot in plots:
        replace_text(folder / f"{plot.name}.svg", render_plot(plot))


def _results(runs: Sequence[Run]) -> list[RunResult]:
    """The results of the study as it is; those of other configurations are left out, which a line says."""
    results = []
    for run in runs:
        if run.result.exists():
            result = result_of_run(run)
            if changed := deciding_changes(result.spec, run.spec):
                print(f"{run.result}: left out, it is of another configuration ({changed[0]})", file=sys.stderr)
            else:
                results.append(result)
    return results


def console_text(comparison: Comparison) -> str:
    """The tables of the models' predictions."""
    if not comparison.rows:
        return "no run is finished yet"
    branch = comparison.branches[0]
    text = markdown_table(*score_table(comparison, branch))
    header, rows = difference_table(comparison, branch)
    if rows:
        text += f"\ndifference from {comparison.study.reference}, in points:\n{markdown_table(header, rows)}"
    return text
