"""Shared by all benchmarks: alternating runs, medians, a JSON file and a plot.

Rivals take turns (A B A B ...), so that other load on the machine affects all of them alike; the ratio of two is the
median over the turns of the ratio within a turn.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from musclemap_jax.reporting.plots import LINE_COLOURS, new_plot, save_plot

RESULTS = Path(__file__).parent / "results"

Run = Callable[[], float]
"""One run of a rival; returns its duration in seconds."""

Times = dict[str, list[float]]
"""Rival -> seconds of each run, in the order of the turns."""


def timed(function: Callable[[], Any], per: int = 1, clock: Callable[[], float] = time.perf_counter) -> Run:
    """A run that times a function.

    Args:
      function: Function to time; it blocks until its result is ready.
      per: Units of work per call; the run returns seconds per unit.
      clock: The wall clock, or ``time.process_time`` for core seconds over all threads of this process.
    """

    def run() -> float:
        start = clock()
        function()
        return (clock() - start) / per

    return run


def alternate(rivals: Mapping[str, Run], turns: int = 7) -> Times:
    """Runs all rivals in every turn, in order.

    Args:
      rivals: Name -> run.
      turns: Number of turns, after one whose times are dropped (compilation, caches).

    Returns:
      ``turns`` times for each rival.
    """
    times: Times = {name: [] for name in rivals}
    for turn in range(-1, turns):
        for name, run in rivals.items():
            seconds = run()
            if turn >= 0:
                times[name].append(seconds)
    return times


def medians(times: Times) -> dict[str, float]:
    """Rival -> median seconds."""
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def speedup(times: Times, ours: str, peer: str) -> float:
    """Speed of ``ours`` relative to ``peer``: the median over the turns."""
    return statistics.median(slow / fast for fast, slow in zip(times[ours], times[peer], strict=True))


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """The machine and the software that a benchmark ran on.

    Args:
      packages: Packages to list with their versions.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def write_results(
    path: Path, settings: Mapping[str, Any], times: Times, metrics: Mapping[str, Any], packages: Sequence[str] = ()
) -> None:
    """Writes a benchmark's results as JSON, with the machine and the date.

    Args:
      path: Path of the file; its folder is created if absent.
      settings: Arguments of the benchmark.
      times: Result of ``alternate``; written with the medians.
      metrics: Derived JSON values by name: ratios, bytes, clips per second.
      packages: See ``machine``.
    """
    content = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(packages),
        "settings": dict(settings),
        "metrics": dict(metrics),
        "median_seconds": medians(times),
        "seconds": times,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def plot_bars(path: Path, title: str, times: Times, unit: str = "seconds") -> None:
    """Plots each rival's median as a bar and its runs as points; writes a PNG.

    Args:
      path: Path of the file; its folder is created if absent.
      title: What is measured; machine and date are added.
      times: Result of ``alternate``.
      unit: Unit of the times, such as "seconds per clip".
    """
    plot = new_plot(8, 1.2 + 0.45 * len(times))
    axes = plot.subplots()
    for row, seconds in enumerate(times.values()):
        median = statistics.median(seconds)
        axes.barh(row, median, color=LINE_COLOURS[row % len(LINE_COLOURS)], alpha=0.75)
        axes.plot(seconds, [row] * len(seconds), "|", color="black", markersize=10)
        axes.annotate(f" {median:.3g}", (max(seconds), row), va="center")
    axes.set_yticks(range(len(times)), times)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_title(f"{title}\n{_caption()}", fontsize="medium")
    save_plot(plot, path)


def plot_lines(
    path: Path, title: str, lines: Mapping[str, Sequence[tuple[float, float]]], quantity: str, unit: str = "seconds"
) -> None:
    """Plots cost against a quantity, with a line for each name, both axes starting at 0; writes a PNG.

    Args:
      path: Path of the file; its folder is created if absent.
      title: What is measured; machine and date are added.
      lines: Name -> (quantity, cost) pairs.
      quantity: Label of the horizontal axis.
      unit: Label of the vertical axis.
    """
    plot = new_plot(6.5, 4)
    axes = plot.subplots()
    for number, (name, points) in enumerate(lines.items()):
        axes.plot(*zip(*sorted(points), strict=True), "o-", color=LINE_COLOURS[number % len(LINE_COLOURS)], label=name)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(quantity)
    axes.set_ylabel(unit)
    axes.set_title(f"{title}\n{_caption()}", fontsize="medium")
    axes.legend()
    save_plot(plot, path)


def _caption() -> str:
    here = machine()
    return f"{here['processor']}, {here['cores']} cores, {datetime.date.today().isoformat()}"


def _processor() -> str:
    """The processor's name, with family and model, because the name alone is vague on virtual machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else name
