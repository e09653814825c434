"""Predictions as files: `muscles.json`, which can be read again exactly, and `muscles.csv`, a row a window.

    {"format": "musclemap_jax muscles", "version": 1,
     "source": "squat.mp4", "duration_s": 10.2, "fps": 30.0, "regions": [K names],
     "predictions": [{
       "person": null,                        number of the person; null: the most prominent ones of each window
       "decision_rule": "...", "warnings": [...],
       "mean_probabilities": [K], "active_fraction": [K],        over the windows with an answer
       "coaching": {"repetitions": [...], "holds": [...],         as in `coach.coaching`, absent in older files
                    "expected": "", "alerts": [...], "notes": [...]},
       "windows": [{
         "start_s": 0.0, "end_s": 2.5,
         "modalities": ["video", "skeleton"],                    those that the answer rests on
         "persons": [1],                                         persons seen, the most prominent first
         "limb_motion": {"arms": [left, right], "legs": [...]},  in trunk lengths
         "leading_side": {"arms": "left", "legs": null},         the side that moved clearly more, if one did
         "probabilities": [K], "active": [K booleans], "logits": [K],
         "branch_probabilities": {"video": [K], "skeleton": [K]}}],
       "explanations": [...]}]}                                  of the regions asked for (`explanation_json`)

There is one prediction, or one per person. It is strict JSON: a number that does not exist, such as the probabilities
of a window without an answer, is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from musclemap_jax.coach.coaching import Coaching
from musclemap_jax.errors import UserError
from musclemap_jax.predict.explanation_json import explanation_entry, read_explanation
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.sides import LIMBS, SIDES, leading_side
from musclemap_jax.storage.csv_files import write_csv
from musclemap_jax.storage.files import replace_text

MUSCLES_JSON = "muscles.json"
MUSCLES_CSV = "muscles.csv"

FORMAT = "musclemap_jax muscles"
VERSION = 1
SEPARATOR = ";"
"""Joins modalities, persons and active regions in a cell of the CSV file."""

CSV_COLUMNS = ("video", "person", "start_s", "end_s", "modalities", "persons", "active")
"""The first columns of the CSV file; those of the regions' probabilities follow."""


def write_muscles(folder: Path, predictions: Sequence[Prediction]) -> None:
    """Writes `muscles.json` and `muscles.csv` into an existing folder.

    Args:
      folder: The folder.
      predictions: The predictions for one video: one, or one per person.
    """
    write_json(folder / MUSCLES_JSON, predictions)
    write_csv(folder / MUSCLES_CSV, csv_header(predictions[0].regions), csv_rows(predictions))


def write_json(path: epath.PathLike, predictions: Sequence[Prediction]) -> None:
    """Writes the predictions for one video in one step, also to cloud storage."""
    first = predictions[0]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "source": shown(first.source),
        "duration_s": first.duration_s,
        "fps": first.fps,
        "regions": list(first.regions),
        "predictions": [_prediction_entry(prediction) for prediction in predictions],
    }
    replace_text(epath.Path(path), json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n")


def read_muscles(path: epath.PathLike) -> list[Prediction]:
    """Reads `muscles.json`: the predictions as they were written.

    A source whose name is not valid text comes back with its invalid bytes escaped.

    Raises:
      UserError: The file cannot be read, or is something else.
    """
    path = epath.Path(path)
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{shown(path)}: cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{shown(path)}: expected {MUSCLES_JSON} as python -m musclemap_jax.predict writes it")
    if content.get("version") != VERSION:
        raise UserError(f"{shown(path)}: expected version {VERSION} of the format, got {content.get('version')}")
    try:
        return [_read_prediction(content, entry) for entry in content["predictions"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{shown(path)}: damaged ({type(error).__name__}: {error}): predict the video again") from error


def csv_header(regions: Sequence[str]) -> list[str]:
    """Names of the columns of `muscles.csv`."""
    return [*CSV_COLUMNS, *regions]


def csv_rows(predictions: Sequence[Prediction], video: str | None = None) -> Iterator[list[str]]:
    """Yields a row a window: times in seconds, names joined by ';', probabilities; empty cells without an answer.

    Args:
      predictions: The predictions for one video.
      video: Name for the first column; by default the source.
    """
    for prediction in predictions:
        name = shown(prediction.source if video is None else video)
        person = "" if prediction.person is None else str(prediction.person)
        for window, (start, end) in enumerate(prediction.times_s.tolist()):
            yield [
                name,
                person,
                f"{start:.3f}",
                f"{end:.3f}",
                SEPARATOR.join(prediction.modalities[window]),
                SEPARATOR.join(map(str, prediction.persons[window])),
                SEPARATOR.join(prediction.regions[index] for index in np.flatnonzero(prediction.active[window])),
                *("" if math.isnan(value) else f"{value:.6g}" for value in prediction.probabilities[window].tolist()),
            ]


def _prediction_entry(prediction: Prediction) -> dict[str, Any]:
    return {
        "person": prediction.person,
        "decision_rule": prediction.decision_rule,
        "warnings": list(prediction.warnings),
        "mean_probabilities": _numbers(prediction.mean_probabilities()),
        "active_fraction": _numbers(prediction.active_fraction()),
        "coaching": prediction.coaching.to_json(),
        "windows": [_window_entry(prediction, window) for window in range(len(prediction.times_s))],
        "explanations": [explanation_entry(each) for each in prediction.explanations.values()],
    }


def _window_entry(prediction: Prediction, window: int) -> dict[str, Any]:
    start, end = prediction.times_s[window].tolist()
    return {
        "start_s": start,
        "end_s": end,
        "modalities": list(prediction.modalities[window]),
        "persons": list(prediction.persons[window]),
        "limb_motion": dict(zip(LIMBS, map(_numbers, prediction.limb_motion[window]), strict=True)),
        "leading_side": leading_side(prediction.limb_motion[window]),
        "probabilities": _numbers(prediction.probabilities[window]),
        "active": prediction.active[window].tolist(),
        "logits": _numbers(prediction.logits[window]),
        "branch_probabilities": {
            branch: _numbers(values[window]) for branch, values in prediction.branch_probabilities.items()
        },
    }


def _read_prediction(content: dict[str, Any], entry: dict[str, Any]) -> Prediction:
    windows = entry["windows"]
    regions = tuple(content["regions"])
    shape = (len(windows), len(regions))

    def of_windows(rows: Sequence[Sequence[Any]], dtype: type) -> np.ndarray:
        return np.array(rows, dtype).reshape(shape)  # None becomes NaN

    branches = list(windows[0]["branch_probabilities"]) if windows else []
    return Prediction(
        source=content["source"],
        regions=regions,
        duration_s=content["duration_s"],
        fps=content["fps"],
        times_s=np.array([[each["start_s"], each["end_s"]] for each in windows], np.float64).reshape(-1, 2),
        logits=of_windows([each["logits"] for each in windows], np.float32),
        probabilities=of_windows([each["probabilities"] for each in windows], np.float64),
        active=of_windows([each["active"] for each in windows], np.bool_),
        branch_probabilities={
            branch: of_windows([each["branch_probabilities"][branch] for each in windows], np.float64)
            for branch in branches
        },
        modalities=tuple(tuple(each["modalities"]) for each in windows),
        persons=tuple(tuple(each["persons"]) for each in windows),
        limb_motion=np.array([[each["limb_motion"][limb] for limb in LIMBS] for each in windows], np.float32).reshape(
            -1, len(LIMBS), len(SIDES)
        ),
        person=entry["person"],
        decision_rule=entry["decision_rule"],
        warnings=tuple(entry["warnings"]),
        coaching=Coaching.from_json(entry["coaching"]) if "coaching" in entry else Coaching(),
        # Files of before there were explanations have none.
        explanations={each["region"]: read_explanation(each) for each in entry.get("explanations", [])},
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    """Numbers for strict JSON; float32 numbers keep their value."""
    return [None if math.isnan(value) else value for value in np.asarray(values).tolist()]
