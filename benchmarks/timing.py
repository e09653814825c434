"""What all benchmarks share: runs in alternation, medians, a JSON file and a plot.

Rivals take turns (A B A B ...), so that what else the machine does falls on all of them alike; the ratio of two is the
median over the turns of the ratio within one turn.
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
"""One run of a rival; returns how long it took, in seconds."""

Times = dict[str, list[float]]
"""Rival -> seconds of each of its runs, in the order of the turns."""


def timed(function: Callable[[], Any], per: int = 1, clock: Callable[[], float] = time.perf_counter) -> Run:
    """A run that takes the time of a function.

    Args:
      function: what is measured; it blocks until its result is there.
      per: units of work that one call does; the run returns seconds a unit.
      clock: the wall clock, or ``time.process_time`` for the time that all threads of this process had a core.
    """

    def run() -> float:
        start = clock()
        function()
        return (clock() - start) / per

    return run


def alternate(rivals: Mapping[str, Run], turns: int = 7, warm_up: int = 1) -> Times:
    """Runs all rivals in every turn, in their order.

    Args:
      rivals: name -> its run.
      turns: that count.
      warm_up: turns before that do not count (compilation, caches).

    Returns:
      The times, ``turns`` of each rival.
    """
    times: Times = {name: [] for name in rivals}
    for turn in range(-warm_up, turns):
        for name, run in rivals.items():
            seconds = run()
            if turn >= 0:
                times[name].append(seconds)
    return times


def medians(times: Times) -> dict[str, float]:
    """Rival -> median of its seconds."""
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def speedup(times: Times, ours: str, peer: str) -> float:
    """How many times as fast as ``peer`` ``ours`` is: median over the turns."""
    return statistics.median(slow / fast for fast, slow in zip(times[ours], times[peer], strict=True))


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """What the figures were measured on.

    Args:
      packages: packages whose versions matter.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def write_results(
    path: Path, settings: Mapping[str, Any], times: Times, figures: Mapping[str, Any], packages: Sequence[str] = ()
) -> None:
    """Writes a benchmark's results as JSON, with the machine and the date.

    Args:
      path: of the file; its folder is made if absent.
      settings: what was asked for.
      times: of ``alternate``; written with their medians.
      figures: what follows from them, by name, JSON values: ratios, bytes, clips a second.
      packages: see ``machine``.
    """
    content = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(packages),
        "settings": dict(settings),
        "figures": dict(figures),
        "median_seconds": medians(times),
        "seconds": times,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def plot_bars(path: Path, title: str, times: Times, unit: str = "seconds") -> None:
    """Draws a bar of each rival's median with its single runs as points; writes a PNG.

    Args:
      path: of the file; its folder is made if absent.
      title: says what is measured; machine and date are added.
      times: of ``alternate``.
      unit: what the times are of, such as "seconds a clip".
    """
    figure = new_plot(8, 1.2 + 0.45 * len(times))
    axes = figure.subplots()
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
    save_plot(figure, path)


def plot_lines(
    path: Path, title: str, lines: Mapping[str, Sequence[tuple[float, float]]], quantity: str, unit: str = "seconds"
) -> None:
    """Draws cost against a quantity, a line with markers for each name; both axes start at 0; writes a PNG.

    Args:
      path: of the file; its folder is made if absent.
      title: says what is measured; machine and date are added.
      lines: name -> (quantity, cost) pairs.
      quantity: label of the horizontal axis, with its unit.
      unit: label of the vertical axis.
    """
    figure = new_plot(6.5, 4)
    axes = figure.subplots()
    for number, (name, points) in enumerate(lines.items()):
        axes.plot(*zip(*sorted(points), strict=True), "o-", color=LINE_COLOURS[number % len(LINE_COLOURS)], label=name)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(quantity)
    axes.set_ylabel(unit)
    axes.set_title(f"{title}\n{_caption()}", fontsize="medium")
    axes.legend()
    save_plot(figure, path)


def _caption() -> str:
    here = machine()
    return f"{here['processor']}, {here['cores']} cores, {datetime.date.today().isoformat()}"


def _processor() -> str:
    """The processor's name, with family and model where the name alone (virtual machines) says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields['cpu family']}, model {fields['model']})" if "cpu family" in fields else name
