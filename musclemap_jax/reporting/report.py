"""The results of a run as one folder: ``report.html`` and the files behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epath
from matplotlib.figure import Figure

from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.statistics import DataStatistics
from musclemap_jax.reporting.examples import Example
from musclemap_jax.reporting.plots import plot_data_statistics, plot_region_ap, save_plot
from musclemap_jax.reporting.report_page import RunInfo, render_page
from musclemap_jax.reporting.tables import write_per_activity_csv, write_per_muscle_csv, write_predictions
from musclemap_jax.storage.scalars import Series

_PLOTS = {
    "per_region_ap_test": "plot: average precision by muscle region, test",
    "per_region_ap_val": "plot: average precision by muscle region, validation",
    "data_statistics": "plot: clips and activities by muscle region",
}
"""File name of a plot -> what it shows."""

PARTS = ("report.html", "metrics.json", "per_muscle.csv", "per_activity.csv", "plots", "predictions")
"""Files and folders that a report consists of."""


def remove_report(folder: epath.Path) -> None:
    """Removes an earlier report, of which a new one with fewer splits would leave parts; other files stay."""
    for part in (folder / name for name in PARTS):
        if part.is_dir():
            part.rmtree()
        elif part.exists():
            part.unlink()


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
    """Writes ``report.html`` and, beside it, what it shows as data.

    The files are ``metrics.json``, ``per_muscle.csv``, ``per_activity.csv``, ``plots/*.png`` and ``predictions/*``.

    Args:
      folder: Where to write; created if absent, files of an earlier report are replaced.
      metrics: The metrics; their regions name the labels in every file.
      run: How the run was made.
      scalars: The run's curves (``scalars.read_scalars``); without any, the section is left out.
      statistics: Counts of the data; without them, the section is left out.
      examples: Clips to show, in this order.
      predictions: Split -> predictions to write.

    Returns:
      The path of ``report.html``.
    """
    folder = Path(folder)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    files = {
        "metrics.json": "every number of this page",
        "per_muscle.csv": "average precision by muscle region",
        "per_activity.csv": "metrics by activity",
    }
    (folder / "metrics.json").write_text(metrics.to_json(), encoding="utf-8")
    write_per_muscle_csv(folder / "per_muscle.csv", metrics)
    write_per_activity_csv(folder / "per_activity.csv", metrics)
    for split, of_split in (predictions or {}).items():
        csv_path, _ = write_predictions(folder / "predictions", split, of_split, metrics.regions)
        files[f"predictions/{csv_path.name}"] = f"scores and labels of the clips of {split}, also as .npz"
    for name, plot in _plots(metrics, statistics).items():
        save_plot(plot, folder / "plots" / f"{name}.png")
        files[f"plots/{name}.png"] = _PLOTS[name]
    path = folder / "report.html"
    page = render_page(run, metrics, scalars=scalars, statistics=statistics, examples=examples, files=files)
    path.write_text(page, encoding="utf-8")
    return path


def _plots(metrics: Metrics, statistics: DataStatistics | None) -> dict[str, Figure]:
    """The plots of a report by file name; those without data are absent."""
    plots: dict[str, Figure] = {}
    for kind in ("test", "val"):
        splits = [split for split in (f"{kind}_known", f"{kind}_new") if split in metrics.splits]
        if splits:
            plots[f"per_region_ap_{kind}"] = plot_region_ap(metrics, splits)
    if statistics is not None:
        plots["data_statistics"] = plot_data_statistics(statistics)
    return plots
