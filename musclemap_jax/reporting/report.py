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
from musclemap_jax.reporting.plots import image_bytes, plot_data_statistics, plot_region_ap, plot_training_curves
from musclemap_jax.reporting.report_page import RunInfo, render_page
from musclemap_jax.reporting.tables import write_per_muscle_csv, write_predictions
from musclemap_jax.storage.scalars import Series

PARTS = ("report.html", "metrics.json", "per_muscle.csv", "plots", "predictions")
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
    """Writes ``metrics.json``, ``per_muscle.csv``, ``plots/*.png``, ``predictions/*`` and ``report.html``.

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
    (folder / "metrics.json").write_text(metrics.to_json(), encoding="utf-8")
    write_per_muscle_csv(folder / "per_muscle.csv", metrics)
    for split, of_split in (predictions or {}).items():
        write_predictions(folder / "predictions", split, of_split, metrics.regions)
    plots = {name: image_bytes(plot) for name, plot in _plots(metrics, scalars or {}, statistics).items()}
    for name, image in plots.items():
        (folder / "plots" / f"{name}.png").write_bytes(image)
    path = folder / "report.html"
    path.write_text(render_page(run, metrics, plots, statistics, examples), encoding="utf-8")
    return path


def _plots(metrics: Metrics, scalars: Mapping[str, Series], statistics: DataStatistics | None) -> dict[str, Figure]:
    """The plots of a report by file name; those without data are absent."""
    plots: dict[str, Figure] = {}
    for kind in ("test", "val"):
        splits = [split for split in (f"{kind}_known", f"{kind}_new") if split in metrics.splits]
        if splits:
            plots[f"per_region_ap_{kind}"] = plot_region_ap(metrics, splits)
    if curves := plot_training_curves(scalars):
        plots["training_curves"] = curves
    if statistics is not None:
        plots["data_statistics"] = plot_data_statistics(statistics)
    return plots
