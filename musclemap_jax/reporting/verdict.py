"""What an evaluation comes to, in one line."""

from __future__ import annotations

import math

from musclemap_jax.eval.baselines import LINEAR, TITLES
from musclemap_jax.eval.headline import Headline
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.reporting.formatting import percent, percent_range

_ACTIVITIES = {
    "test_new": "new activities",
    "val_new": "new activities (validation)",
    "test_known": "known activities",
    "val_known": "known activities (validation)",
}
"""Split -> its activities in words; the verdict is on the first that was scored."""


def above_chance(headline: Headline) -> str:
    """Where a score stands: "above chance", "not clearly above chance" or "not above chance".

    It is clearly above if its whole interval is; without an interval, the score alone decides.
    """
    if not headline.mean_ap > headline.chance:
        return "not above chance"
    low = headline.mean_ap if headline.interval is None else headline.interval[0]
    return "above chance" if low > headline.chance else "not clearly above chance"


def verdict(metrics: Metrics) -> str:
    """One line on new activities, or on known ones if no others were scored."""
    name = next((split for split in _ACTIVITIES if split in metrics.splits), next(iter(metrics.splits)))
    headline = metrics.splits[name].headline
    if math.isnan(headline.mean_ap):
        return f"No clip of {name} shows a muscle region, so there is nothing to score."
    interval = f"95 % interval {percent_range(headline.interval)}, " if headline.interval else ""
    text = (
        f"{above_chance(headline).capitalize()} on {_ACTIVITIES.get(name, name)}: {percent(headline.mean_ap)} % mAP "
        f"({interval}chance {percent(headline.chance)})"
    )
    known = name.replace("new", "known")
    if known != name and known in metrics.splits:
        text += f"; known: {percent(metrics.splits[known].headline.mean_ap)}"
    alone = {branch: headlines[name].mean_ap for branch, headlines in metrics.branches.items() if name in headlines}
    best = max(alone, key=alone.__getitem__, default="")
    if best and alone[best] > headline.mean_ap:
        text += f"; {best} alone: {percent(alone[best])}"
    scored = [split for split in dict.fromkeys((name, known)) if split in metrics.splits]
    return f"{text}{''.join(_warning(metrics, split) for split in scored)}."


def _warning(metrics: Metrics, split: str) -> str:
    """Says that the model is not, or not clearly, above the best linear model; nothing if it is."""
    linear = {name: metrics.baselines[name][split] for name in LINEAR if name in metrics.baselines}
    linear = {name: found for name, found in linear.items() if not math.isnan(found.headline.mean_ap)}
    if not linear:
        return ""
    best = max(linear, key=lambda name: linear[name].headline.mean_ap)
    above = linear[best].above
    if above.is_clear:
        return ""
    return (
        f"; warning: {'not clearly' if above.is_above else 'not'} above the {TITLES[best]} on "
        f"{_ACTIVITIES.get(split, split)} ({percent(linear[best].headline.mean_ap)})"
    )
