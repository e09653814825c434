"""``report.html``, the page that a person looks at first.

The page is one file: images and styles are inlined, there are no scripts, and its content security policy forbids
loading anything. Jinja2 escapes every value, since names may come from anybody's run or data set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musclemap_jax.eval.baselines import LOOKUP, TITLES
from musclemap_jax.eval.coverage import HALVES
from musclemap_jax.eval.headline import Headline
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.statistics import DataStatistics
from musclemap_jax.reporting.curves import AREA, NUM_FIRST, SIZE, training_panels
from musclemap_jax.reporting.examples import Example
from musclemap_jax.reporting.formatting import duration, percent
from musclemap_jax.reporting.frame_strip import plot_frame_strip
from musclemap_jax.reporting.html_pages import page_environment
from musclemap_jax.reporting.plots import image_bytes
from musclemap_jax.reporting.tables import MACRO_ROW, new_first
from musclemap_jax.reporting.verdict import above_chance, verdict
from musclemap_jax.storage.scalars import Series


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """What a reader needs to tell a run from others, to judge it and to repeat it.

    Attributes:
      title: Name of the run, such as config, seed and workdir.
      identity: What else tells it from others, such as its commit, date, steps and the checkpoint that was scored.
      command: The command line that started it.
      config: The resolved config as text.
      parameters: Part of the model -> number of parameters; the page adds the total.
      times_s: Part of the run -> seconds, such as "training", over all sessions.
      num_sessions: Number of sessions: a run that was resumed once has two.
      versions: Package -> version.
      facts: Further lines, name -> text, such as "devices" -> "8 x TPU v5e".
      files: Path relative to the page -> what the file is, for files of the run that the report does not write.
    """

    title: str
    identity: Sequence[str] = ()
    command: str = ""
    config: str = ""
    parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    times_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    num_sessions: int = 1
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


def render_page(
    run: RunInfo,
    metrics: Metrics,
    *,
    scalars: Mapping[str, Series] | None = None,
    statistics: DataStatistics | None = None,
    examples: Sequence[Example] = (),
    files: Mapping[str, str] | None = None,
) -> str:
    """Renders the page as HTML; sections without content are left out.

    Args:
      run: How the run was made.
      metrics: The metrics.
      scalars: The run's curves.
      statistics: Counts of the data.
      examples: Clips to show; those of new activities first, otherwise in this order.
      files: Path relative to the page -> what the file is, for the report's own files.
    """
    panels = training_panels(scalars or {})
    template = page_environment().get_template("report.html")
    return template.render(
        run=run,
        metrics=metrics,
        verdict=verdict(metrics),
        headlines=_headlines(metrics),
        above_chance=above_chance,
        baseline_titles=TITLES,
        lookup=LOOKUP,
        tables=[(splits, _remarks(metrics, splits)) for splits in _split_groups(metrics)],
        activity_splits=[split for split in new_first(metrics.splits) if metrics.splits[split].activities],
        has_activities=any(of_split.activities for of_split in metrics.splits.values()),
        macro_row=MACRO_ROW,
        halves=HALVES,
        panels=panels[:NUM_FIRST],
        folded_panels=panels[NUM_FIRST:],
        panel_size=SIZE,
        panel_area=AREA,
        statistics=statistics,
        counts=_counts(statistics) if statistics else [],
        examples={
            split: [_example(metrics.regions, example) for example in examples if example.split == split]
            for split in new_first(dict.fromkeys(example.split for example in examples))
        },
        details=_details(run),
        files={**(files or {}), **run.files},
    )


def _split_groups(metrics: Metrics) -> list[list[str]]:
    """The splits that tables show side by side: those of test, then those of validation; new activities first."""
    groups = [[split for split in new_first(metrics.splits) if split.startswith(kind)] for kind in ("test", "val")]
    return [group for group in groups if group]


def _headlines(metrics: Metrics) -> list[dict[str, Headline]]:
    """Headlines by name: those that the page shows, and those that it folds."""
    every = metrics.headlines()
    groups = [{name: every[name] for name in every if name.startswith(kind)} for kind in ("test", "val")]
    return [group for group in groups if group]


def _remarks(metrics: Metrics, splits: Sequence[str]) -> list[str]:
    """Sentences on the largest gap between new and known activities, and on regions at chance or in no clip."""
    remarks = []
    if len(splits) == 2:
        new, known = (np.array(metrics.splits[name].average_precision) for name in splits)
        gap = np.nan_to_num(known - new)
        k = int(gap.argmax())
        if gap[k] > 0:
            drop = f"{metrics.regions[k]}, from {percent(known[k])} to {percent(new[k])}"
            remarks.append(f"Largest drop from known to new activities: {drop}.")
    for name in splits:
        split = metrics.splits[name]
        columns = list(zip(metrics.regions, split.average_precision, split.chance, split.support, strict=True))
        if weak := [region for region, value, chance, _ in columns if value <= chance]:
            remarks.append(f"Not above chance on {name}: {', '.join(weak)}.")
        if absent := [region for region, *_, count in columns if count == 0]:
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


def _counts(statistics: DataStatistics) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(region, clips that show it, activities that use it): each a total and its parts as fractions of the largest."""
    columns = []
    clips = {split: of_split.clips_per_region for split, of_split in statistics.splits.items()}
    for parts in (clips, statistics.activities_per_region):
        totals = np.sum([np.array(part) for part in parts.values()], axis=0)
        largest = max(int(totals.max()), 1)
        columns.append(
            [
                {"total": int(total), "fractions": {name: part[k] / largest for name, part in parts.items()}}
                for k, total in enumerate(totals)
            ]
        )
    return list(zip(statistics.regions, *columns, strict=True))


def _details(run: RunInfo) -> dict[str, Mapping[str, str]]:
    """Heading -> table of names and texts."""
    counts = {**run.parameters, "total": sum(run.parameters.values())} if run.parameters else {}
    sessions = f"Time, over {run.num_sessions} sessions" if run.num_sessions > 1 else "Time"
    return {
        "Parameters": {name: f"{count:,}" for name, count in counts.items()},
        sessions: {name: duration(seconds) for name, seconds in run.times_s.items()},
        "Details": run.facts,
        "Versions": run.versions,
    }
