"""``study.html``: a study's tables and plots on one page, without scripts or external content; a plot as a file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from musclemap_jax.reporting.formatting import duration, percent
from musclemap_jax.reporting.html_pages import page_environment
from musclemap_jax.study.comparison import Comparison
from musclemap_jax.study.plots import WIDTH, Plot, difference_plots, score_plots
from musclemap_jax.study.result import RunResult, validation_scores
from musclemap_jax.study.runs import Run, row_overrides
from musclemap_jax.study.tables import branch_title, difference_table, notes, score_table


def render_page(comparison: Comparison, runs: Sequence[Run], results: Sequence[RunResult]) -> str:
    """The page as HTML.

    Args:
      comparison: The comparison.
      runs: All runs of the study, for their commands.
      results: Those that are finished.
    """
    study = comparison.study
    date = datetime.datetime.now(datetime.UTC)
    num_runs = len(study.rows) * len(study.seeds)
    branches = [
        {
            "title": branch_title(branch),
            "scores": score_table(comparison, branch),
            "differences": difference_table(comparison, branch),
            "plots": [*score_plots(comparison, branch), *difference_plots(comparison, branch)],
        }
        for branch in comparison.branches
    ]
    return (
        page_environment("musclemap_jax.study")
        .get_template("page.html")
        .render(
            study=study,
            identity=[
                f"{len(results)} of {num_runs} runs",
                f"seeds {', '.join(map(str, study.seeds))}",
                f"{date:%Y-%m-%d %H:%M} UTC",
                *comparison.codes,
            ],
            notes=notes(comparison),
            branches=branches,
            width=WIDTH,
            rows=[(name, row, row_overrides(row)) for name, row in study.rows.items()],
            runs=[_run_line(run, results) for run in runs],
        )
    )


def render_plot(plot: Plot) -> str:
    """A plot as a file of its own, SVG with its colours and the key to its marks."""
    return page_environment("musclemap_jax.study").get_template("plot.svg").render(drawn=plot, width=WIDTH)


def _run_line(run: Run, results: Sequence[RunResult]) -> dict[str, str]:
    """Texts of one run: its row and seed, its score on validation, its time and its command."""
    found = next((result for result in results if (result.row, result.seed) == (run.row, run.seed)), None)
    line = {"row": run.row, "seed": str(run.seed), "command": run.command_line}
    if found is None:
        return line | {"scores": "no result yet", "time": "", "code": ""}
    scores = ", ".join(f"{split} {percent(value)}" for split, value in validation_scores(found).items())
    return line | {"scores": scores, "time": duration(sum(found.times_s.values())), "code": found.code}
