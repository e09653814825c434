"""The results of a run as one folder, and ``report.html`` in it, the page that a person looks at first.

The page is one file: images and style are inside, there are no scripts, and its content security policy forbids
fetching anything. Every text that comes from a run or a data set is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.statistics import DataStatistics
from musclemap_jax.reporting import plots, report_sections, tables
from musclemap_jax.reporting.examples import Example
from musclemap_jax.reporting.report_html import Html, page
from musclemap_jax.reporting.report_sections import RunInfo
from musclemap_jax.storage.scalars import Series

REPORT = "report.html"
METRICS = "metrics.json"
PER_MUSCLE = "per_muscle.csv"
PLOTS = "plots"
PREDICTIONS = "predictions"


def write_report(
    folder: str | Path,
    metrics: Metrics,
    run: RunInfo,
    *,
    scalars: Mapping[str, Series] | None = None,
    statistics: DataStatistics | None = None,
    examples: Sequence[Example] = (),
    predictions: Mapping[str, SplitPredictions] | None = None,
) -> Path:
    """Writes ``metrics.json``, ``per_muscle.csv``, ``plots/*.png``, ``predictions/*`` and ``report.html``.

    Args:
      folder: where to write; made if absent, files of an earlier report are replaced.
      metrics: the figures.
      run: what made them.
      scalars: the run's curves (``scalars.read_scalars``); the section is left out where there are none.
      statistics: counts of the data; the section is left out where it is None.
      examples: clips to show, in this order.
      predictions: split -> predictions to write beside the report.

    Returns:
      The path of ``report.html``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tables.write_metrics_json(folder / METRICS, metrics)
    tables.write_per_muscle_csv(folder / PER_MUSCLE, metrics)
    for split, of_split in (predictions or {}).items():
        tables.write_predictions(folder / PREDICTIONS, split, of_split, metrics.regions)
    images = {name: plots.figure_bytes(figure) for name, figure in _figures(metrics, scalars, statistics).items()}
    (folder / PLOTS).mkdir(exist_ok=True)
    for name, image in images.items():
        (folder / PLOTS / f"{name}.png").write_bytes(image)
    sections: dict[str, tuple[str, Html | None]] = {
        "results": ("Results", report_sections.results(metrics)),
        "regions": ("Muscle regions", report_sections.regions(metrics, images)),
        "examples": ("Examples", report_sections.examples(metrics.regions, examples)),
        "training": ("Training", report_sections.training(images)),
        "data": ("Data", report_sections.data(statistics, images)),
        "run": ("The run", report_sections.run(run)),
    }
    kept = {anchor: (title, body) for anchor, (title, body) in sections.items() if body is not None}
    path = folder / REPORT
    path.write_text(page(run.title, run.note, kept), encoding="utf-8")
    return path


def _figures(
    metrics: Metrics, scalars: Mapping[str, Series] | None, statistics: DataStatistics | None
) -> dict[str, Figure]:
    """The charts of a report by file name; those that there is nothing to draw for are absent."""
    figures: dict[str, Figure | None] = {}
    for kind in ("test", "val"):
        splits = [split for split in (f"{kind}_known", f"{kind}_new") if split in metrics.splits]
        if splits:
            figures[f"per_region_ap_{kind}"] = plots.per_region_figure(metrics, splits)
    figures["training_curves"] = plots.training_curves_figure(scalars or {})
    figures["data_statistics"] = plots.data_statistics_figure(statistics) if statistics else None
    return {name: figure for name, figure in figures.items() if figure is not None}
