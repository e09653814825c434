"""``report.html``, the page that a person looks at first.

The page is one file: images and styles are inlined, there are no scripts, and its content security policy forbids
loading anything. Jinja2 escapes every value, since names may come from anybody's run or data set.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np

from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.statistics import DataStatistics
from musclemap_jax.reporting.examples import Example
from musclemap_jax.reporting.formatting import duration, percent, percentage_points
from musclemap_jax.reporting.frame_strip import plot_frame_strip
from musclemap_jax.reporting.plots import image_bytes
from musclemap_jax.reporting.tables import MACRO_ROW


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """What a reader needs to judge a run and to repeat it.

    Attributes:
      title: Name of the run, such as the config's name.
      command: The command line that started it.
      config: The resolved config as text.
      parameters: Part of the model -> number of parameters; the page adds the total.
      times_s: Part of the run -> seconds, such as "training".
      versions: Package -> version.
      facts: Further lines, name -> text, such as "devices" -> "8 x TPU v5e".
      note: A sentence shown below the title, such as the name of the data set.
    """

    title: str
    command: str = ""
    config: str = ""
    parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    times_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    note: str = ""


def render_page(
    run: RunInfo,
    metrics: Metrics,
    plots: Mapping[str, bytes],
    statistics: DataStatistics | None = None,
    examples: Sequence[Example] = (),
) -> str:
    """Renders the page as HTML; sections without content are left out.

    ``plots`` are PNGs by name: ``per_region_ap_test``, ``per_region_ap_val``, ``training_curves``, ``data_statistics``.
    The last is required with ``statistics``. The examples are shown in the given order.
    """
    headlines = metrics.headlines()
    cards = {name: headline for name, headline in headlines.items() if name.startswith("test")}
    template = _environment().get_template("report.html")
    return template.render(
        run=run,
        metrics=metrics,
        cards=cards or headlines,
        plots=plots,
        remarks=_remarks(metrics),
        macro_row=MACRO_ROW,
        statistics=statistics,
        examples=[_example(metrics.regions, example) for example in examples],
        details=_details(run),
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("musclemap_jax.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "base64": lambda data: base64.b64encode(data).decode(),
        "css_width": _css_width,
        "percent": percent,
        "percentage_points": percentage_points,
    }
    environment.tests |= {"nan": math.isnan}  # ty: ignore[unsupported-operator]  # typed by its defaults
    return environment


def _css_width(fraction: float) -> str:
    """A fraction as a CSS length; 0 for NaN."""
    return f"{100 * float(np.clip(np.nan_to_num(fraction), 0, 1)):.2f}%"


def _remarks(metrics: Metrics) -> list[str]:
    """Sentences on the largest gap between known and new activities, and on regions that occur in no clip."""
    remarks = []
    if "test_known" in metrics.splits and "test_new" in metrics.splits:
        known, new = (np.array(metrics.splits[name].average_precision) for name in ("test_known", "test_new"))
        gap = np.nan_to_num(known - new)
        k = int(gap.argmax())
        if gap[k] > 0:
            drop = f"{metrics.regions[k]}, from {percent(known[k])} to {percent(new[k])}"
            remarks.append(f"Largest drop from known to new activities: {drop}.")
    for name, split in metrics.splits.items():
        absent = [region for region, count in zip(metrics.regions, split.support, strict=True) if count == 0]
        if absent:
            remarks.append(f"No clip of {name} shows {', '.join(absent)} (excluded from the mean).")
    return remarks


def _example(regions: Sequence[str], example: Example) -> dict[str, Any]:
    """A clip with its rendered frames and (region, probability, active) in descending order of probability."""
    order = np.argsort(-example.probabilities, kind="stable")
    return {
        "clip": example,
        "strip": image_bytes(plot_frame_strip(example.frames, example.skeleton, example.joint_names), "jpg"),
        "active": [regions[k] for k in np.flatnonzero(example.labels)],
        "bars": [(regions[k], example.probabilities[k], bool(example.labels[k])) for k in order],
    }


def _details(run: RunInfo) -> dict[str, Mapping[str, str]]:
    """Heading -> table of names and texts."""
    counts = {**run.parameters, "total": sum(run.parameters.values())} if run.parameters else {}
    return {
        "Parameters": {name: f"{count:,}" for name, count in counts.items()},
        "Time": {name: duration(seconds) for name, seconds in run.times_s.items()},
        "Details": run.facts,
        "Versions": run.versions,
    }
