"""The page of one video: which muscle regions were active, when, and how sure that is.

The page is one file without scripts, like the report of an evaluation: images, styles and the video are inlined, and
its content security policy forbids loading anything. Jinja2 escapes every value, since names of files and regions may
come from anybody.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import jinja2
import numpy as np
from etils import epath

from musclemap_jax.predict import body_map
from musclemap_jax.predict.coach_page import coach_section
from musclemap_jax.predict.explanation_page import explained_regions
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.recorder import Preview, Recorder
from musclemap_jax.predict.shading import shading
from musclemap_jax.predict.sides import side_sentences
from musclemap_jax.predict.timeline import clock, timeline
from musclemap_jax.predict.uncertainty import doubts
from musclemap_jax.reporting.formatting import duration
from musclemap_jax.reporting.html_pages import page_environment
from musclemap_jax.storage.files import replace_text

MAX_NAMED = 5
"""Regions that the headline names."""

_STRIP_WIDTH, _STRIP_HEIGHT = 1000, 84
"""Size of the strip of frames in pixels, where the window is wide."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """One region of the table."""

    region: str
    probability: float
    active_fraction: float
    decided: bool


def write_page(
    path: epath.PathLike,
    prediction: Prediction,
    recorder: Recorder | None = None,
    *,
    model: str = "",
    thresholds: np.ndarray | None = None,
    truth: Collection[str] | None = None,
) -> None:
    """Writes the page of a prediction; with several persons, each prediction has a page of its own.

    Args:
      path: The HTML file; an old one is replaced when the new one is complete.
      prediction: What the model says.
      recorder: What observed the video while it was read. Without it, the page has no pictures.
      model: One sentence on the weights, such as what they were trained on.
      thresholds: (K,) probabilities from which each region counts as active, where the decisions rest on any.
      truth: Names of the regions that are known to be active, for the explanations; None if that is not known.
    """
    replace_text(epath.Path(path), render_page(prediction, recorder, model, thresholds, truth))


def render_page(
    prediction: Prediction,
    recorder: Recorder | None,
    model: str = "",
    thresholds: np.ndarray | None = None,
    truth: Collection[str] | None = None,
) -> str:
    """The page as HTML; the arguments are those of `write_page`."""
    means, fractions = prediction.mean_probabilities(), prediction.active_fraction()
    order = [int(k) for k in np.argsort(-np.nan_to_num(means), kind="stable")]
    decided = decided_regions(prediction)
    shaded = shading(prediction)
    views = {view: body_map.shade(view, shaded) for view in body_map.VIEWS if body_map.has_body_map(prediction.regions)}
    preview = recorder.preview(prediction.fps, prediction.person) if recorder else None
    return _template().render(
        prediction=prediction,
        headline=headline(prediction),
        name=_name(prediction),
        summary=_summary(prediction),
        views=views,
        body_map=body_map,
        sides=side_sentences(prediction.limb_motion[prediction.answered]),
        rows=[_Row(prediction.regions[k], float(means[k]), float(fractions[k]), bool(decided[k])) for k in order],
        timeline=timeline(prediction, order),
        region_names=[prediction.regions[k] for k in order],
        thumbnails=_thumbnails(prediction, recorder),
        preview=preview,
        preview_note=_preview_note(preview, prediction) if preview else "",
        doubts=doubts(prediction, thresholds),
        persons=_persons(prediction),
        coach=coach_section(prediction, order, recorder),
        explanations=explained_regions(prediction, truth),
        model=model,
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = page_environment("musclemap_jax.predict")
    environment.filters |= {"clock": clock, "opacity": _opacity}
    return environment.get_template("page.html")


def _opacity(fraction: float) -> str:
    return f"{np.nan_to_num(fraction):.2f}"


def decided_regions(prediction: Prediction) -> np.ndarray:
    """(K,) bool: active in at least half of the answered windows."""
    return np.any(shading(prediction).active, axis=1)


def headline(prediction: Prediction) -> str:
    """The answer in one sentence."""
    if not prediction.answered.any():
        return "No answer for this video"
    decided = decided_regions(prediction)
    sometimes = prediction.active_fraction() > 0
    if not sometimes.any():
        return "No muscle region stands out as active"
    chosen = decided if decided.any() else sometimes
    means = prediction.mean_probabilities()
    names = [prediction.regions[k] for k in np.argsort(-means, kind="stable") if chosen[k]]
    if len(names) > max(MAX_NAMED, len(chosen) / 2):  # a decision that hardly decides
        likely = _listed(names[: MAX_NAMED - 2])
        return f"Most likely: {likely}; {len(names)} of {len(chosen)} regions cannot be ruled out"
    if len(names) > MAX_NAMED:
        names = [*names[: MAX_NAMED - 1], f"{len(names) - MAX_NAMED + 1} more regions"]
    return ("Active: " if decided.any() else "Active at times: ") + _listed(names)


def _name(prediction: Prediction) -> str:
    """The video's name as valid text: bytes of a file name that are not UTF-8 are escaped."""
    return os.fsencode(Path(prediction.source).name).decode("utf-8", "backslashreplace")


def _listed(names: Sequence[str]) -> str:
    """Names as prose lists them: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _summary(prediction: Prediction) -> list[str]:
    """Short facts for the line below the headline."""
    num_windows = len(prediction.times_s)
    name = _name(prediction)
    about = "" if prediction.person is None else f"person {prediction.person}"
    facts = [name, duration(prediction.duration_s), _counted(num_windows, "window"), about]
    return [fact for fact in facts if fact]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _persons(prediction: Prediction) -> list[str]:
    """Sentences on who was seen and whom the answer is about."""
    counts: dict[int, int] = {}
    for numbers in prediction.persons:
        for number in numbers:
            counts[number] = counts.get(number, 0) + 1
    if not counts:
        return ["No person's pose is known."]
    total = _counted(len(prediction.persons), "window")
    seen = [f"person {number} in {count:,} of {total}" for number, count in sorted(counts.items())]
    sentences = [f"Seen: {_listed(seen)}."]
    if prediction.person is not None:
        sentences.append(f"The answer is about person {prediction.person}.")
    elif len(counts) > 1:
        sentences.append("The answer is about the most prominent persons of each window.")
    return sentences


def _thumbnails(prediction: Prediction, recorder: Recorder | None) -> list[tuple[float, bytes]]:
    """Frames for the strip below the heat map: as many as fit, an even number since small windows show every second."""
    if recorder is None:
        return []
    width = _STRIP_HEIGHT * recorder.aspect
    count = int(np.clip(_STRIP_WIDTH / width, 4, 14)) // 2 * 2
    return recorder.thumbnails(count, prediction.duration_s, prediction.person)


def _preview_note(preview: Preview, prediction: Prediction) -> str:
    """What the clip shows."""
    part = "The whole video"
    if preview.start_s > 0 or preview.end_s < prediction.duration_s - 0.5:
        part = f"{clock(preview.start_s)} to {clock(preview.end_s)} of {clock(prediction.duration_s)}"
    colours = "left limbs light blue, right limbs orange"
    others = "" if prediction.person is None else "; other persons grey"
    return f"{part}, without sound. Skeletons: {colours}{others}."
