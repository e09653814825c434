"""Tables of a stress test: CSV for machines, markdown for the console."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from musclemap_jax.reporting.formatting import percent, six_decimals
from musclemap_jax.reporting.tables import markdown_table
from musclemap_jax.storage.csv_files import write_csv
from musclemap_jax.stress.robustness import Curve, Robustness

_NO_INTERVAL = (math.nan, math.nan)


def write_stress_csv(path: str | Path, robustness: Robustness) -> None:
    """Writes one row per perturbation, split, branch and strength.

    Columns: perturbation, unit, strength, split, branch, mAP, low and high (its 95 % interval over activities) and
    chance. An undefined value is an empty cell.
    """
    units = {each.name: each.unit for each in robustness.perturbations}
    rows = []
    for curve in robustness.curves:
        for strength, value, interval in zip(curve.strengths, curve.mean_ap, curve.intervals, strict=True):
            names = [curve.perturbation, units[curve.perturbation], f"{strength:g}", curve.split, curve.branch]
            rows.append([*names, *map(six_decimals, (value, *(interval or _NO_INTERVAL), curve.chance))])
    write_csv(path, ["perturbation", "unit", "strength", "split", "branch", "mAP", "low", "high", "chance"], rows)


def strength_table(robustness: Robustness) -> str:
    """A markdown table of mAP in per cent, a row for each perturbation and strength."""
    columns = _columns(robustness)
    rows = [["clean", "", *_values(robustness, robustness.perturbations[0].name, 0)]]
    for each in robustness.perturbations:
        for number, strength in enumerate(each.strengths, 1):
            rows.append([each.name, f"{strength:g}", *_values(robustness, each.name, number)])
    return markdown_table(["mAP", "strength", *(f"{split} {branch}" for split, branch in columns)], rows)


def half_table(robustness: Robustness) -> str:
    """A markdown table of the strengths at which half of what mAP has above chance is lost (`Curve.half_strength`)."""
    columns = _columns(robustness)
    rows = [
        [each.name, *(half_text(robustness.curve(each.name, *names)) for names in columns), each.unit]
        for each in robustness.perturbations
    ]
    return markdown_table(["half lost at", *(f"{split} {branch}" for split, branch in columns), "unit"], rows)


def half_text(curve: Curve) -> str:
    """The strength at which half is lost; ``> 4`` beyond the strongest one, an en dash if the clean mAP is chance."""
    half = curve.half_strength
    if math.isnan(half):
        return "–"  # noqa: RUF001 - a dash is meant
    return f"> {curve.strengths[-1]:g}" if math.isinf(half) else f"{half:.2g}"


def _columns(robustness: Robustness) -> Sequence[tuple[str, str]]:
    """(split, branch) of each column; means are left out, since the table is wide without them."""
    return [(split, branch) for split in robustness.num_clips for branch in robustness.branches]


def _values(robustness: Robustness, perturbation: str, number: int) -> list[str]:
    curves = (robustness.curve(perturbation, *names) for names in _columns(robustness))
    return [percent(curve.mean_ap[number]) for curve in curves]
