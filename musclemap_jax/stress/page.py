"""``stress.html``: the curves of a stress test on one page without scripts, in the style of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from musclemap_jax.reporting.curves import AREA, SIZE, Axis, Curve, Panel, svg_path
from musclemap_jax.reporting.formatting import percent
from musclemap_jax.reporting.html_pages import page_environment
from musclemap_jax.stress import robustness as results
from musclemap_jax.stress.perturbations.perturbation import Perturbation
from musclemap_jax.stress.robustness import Robustness
from musclemap_jax.stress.tables import half_text

CHANCE = "chance"


def render_page(
    robustness: Robustness, title: str, identity: Sequence[str], command: str, files: Mapping[str, str]
) -> str:
    """Renders the page as HTML.

    Args:
      robustness: The result.
      title: Name of the run.
      identity: What else tells the run from others.
      command: The command line that started the test.
      files: Path relative to the page -> what the file is.
    """
    template = page_environment("musclemap_jax.stress").get_template("stress.html")
    shown = [split for split in robustness.splits if split in robustness.num_clips]
    return template.render(
        robustness=robustness,
        title=title,
        identity=identity,
        command=command,
        files=files,
        half_text=half_text,
        splits=shown,
        sections=[(each, [panel(robustness, each, split) for split in shown]) for each in robustness.perturbations],
        panel_size=SIZE,
        panel_area=AREA,
    )


def panel(robustness: Robustness, perturbation: Perturbation, split: str) -> Panel:
    """The curves of one perturbation on one split; intervals are pale bars, chance is a line."""
    left, top, right, bottom = AREA
    curves = [robustness.curve(perturbation.name, split, branch) for branch in robustness.branches]
    strengths = np.array(curves[0].strengths)
    across, upwards = Axis(0.0, float(strengths[-1]), left, right), Axis(0.0, 1.0, bottom, top)
    places = across.places(strengths)
    drawn = [_curve(curve, places, upwards) for curve in curves]
    chance = upwards.places(np.full(2, curves[0].chance))
    drawn.append(Curve(CHANCE, percent(curves[0].chance), svg_path(places[[0, -1]], chance), ""))
    title = f"{split}, mAP in % over {perturbation.unit}"
    words = "; ".join(f"{curve.branch} {_in_words(curve)}" for curve in curves)
    ticks = tuple((float(place), f"{strength:g}") for place, strength in zip(places, strengths, strict=True))
    return Panel(title, f"{title}: {words}", tuple(drawn), ticks, upwards.ticks(lambda v: f"{100 * v:.0f}"))


def _in_words(curve: results.Curve) -> str:
    pairs = zip(curve.mean_ap, curve.strengths, strict=True)
    return ", ".join(f"{percent(value)} at {strength:g}" for value, strength in pairs)


def _curve(curve: results.Curve, places: np.ndarray, upwards: Axis) -> Curve:
    bars = [
        f"M{place:.1f} {low:.1f}V{high:.1f}"
        for place, interval in zip(places, curve.intervals, strict=True)
        if interval is not None
        for low, high in [upwards.places(np.array(interval))]
    ]
    path = svg_path(places, upwards.places(np.array(curve.mean_ap)))
    return Curve(curve.branch, f"{percent(curve.mean_ap[0])} to {percent(curve.mean_ap[-1])}", path, "".join(bars))
