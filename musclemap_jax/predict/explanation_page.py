"""The part of a video's page that says why: heat maps, joints and counterfactuals of the explained regions.

Source: the layout follows Fig. 5 of the paper on MuscleMap (arXiv:2303.00952): a box for each region that the model
calls active, and that is known to be, if that is known; below, the heat map over frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from musclemap_jax.data.images import encode_jpeg
from musclemap_jax.explain.explanation import Explanation
from musclemap_jax.predict.explanation_pictures import heat_pictures, joint_pictures
from musclemap_jax.predict.kept_windows import KeptWindow
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.timeline import clock

MAX_JOINTS = 8
"""Joints that the table lists."""

_JPEG_QUALITY = 85
_BRANCH_NAMES = {"rgb_diff": "RGB difference", "optical_flow": "optical flow"}


@dataclasses.dataclass(frozen=True)
class Boxes:
    """One row of boxes, one for each region.

    Attributes:
      name: "model" or "truth".
      boxes: (region, whether it is active).
      sentence: The same in words.
    """

    name: str
    boxes: list[tuple[str, bool]]
    sentence: str


@dataclasses.dataclass(frozen=True)
class JointRow:
    """A joint of the table: its name, its importances, and the first as a fraction of the largest."""

    name: str
    occlusion: float
    gradient: float
    fraction: float


@dataclasses.dataclass(frozen=True)
class ExplainedRegion:
    """What the page shows of one explanation, all of the window in which the region is most probable.

    Attributes:
      region: Its name.
      probability: Its probability in that window.
      when: The window in words, such as "0:02 to 0:05".
      num_windows: Number of explained windows.
      boxes: Rows of boxes: the model's and, if it is known, the truth.
      heat: (name of the branch, JPEG files of frames).
      joints: JPEG files of frames with the joints.
      joint_rows: The most important joints.
      counterfactuals: (name, probability, change of the probability), the largest change first.
      notes: Sentences.
    """

    region: str
    probability: float
    when: str
    num_windows: int
    boxes: list[Boxes]
    heat: list[tuple[str, list[bytes]]]
    joints: list[bytes]
    joint_rows: list[JointRow]
    counterfactuals: list[tuple[str, float, float]]
    notes: tuple[str, ...]


def explained_regions(prediction: Prediction, truth: Collection[str] | None = None) -> list[ExplainedRegion]:
    """The explanations of a prediction for its page; without the video's pictures if it was read from a file.

    Args:
      prediction: The prediction.
      truth: Names of the regions that are known to be active; None if that is not known.
    """
    return [_explained(prediction, each, truth) for each in prediction.explanations.values()]


def _explained(prediction: Prediction, explanation: Explanation, truth: Collection[str] | None) -> ExplainedRegion:
    row = explanation.surest
    number = int(explanation.windows[row])
    window = prediction.explainer.windows[number] if prediction.explainer is not None else None
    start, end = prediction.times_s[number].tolist()
    boxes = [_boxes("model", prediction, prediction.active[number])]
    if truth is not None:
        boxes.append(_boxes("truth", prediction, np.array([name in truth for name in prediction.regions])))
    probability = float(explanation.probabilities[row])
    changes = {name: float(values[row]) for name, values in explanation.counterfactuals.items()}
    by_change = sorted(changes.items(), key=lambda item: -abs(np.nan_to_num(item[1] - probability)))
    return ExplainedRegion(
        region=explanation.region,
        probability=probability,
        when=f"{clock(start)} to {clock(end)}",
        num_windows=len(explanation.windows),
        boxes=boxes,
        heat=_heat(explanation, row, window) if window else [],
        joints=_jpegs(joint_pictures(explanation, row, window)) if window else [],
        joint_rows=_joint_rows(explanation, row),
        counterfactuals=[(name, value, value - probability) for name, value in by_change if not np.isnan(value)],
        notes=explanation.notes,
    )


def _boxes(name: str, prediction: Prediction, active: np.ndarray) -> Boxes:
    boxes = [(region, bool(on)) for region, on in zip(prediction.regions, active, strict=True)]
    names = ", ".join(region for region, on in boxes if on) or "no region"
    return Boxes(name, boxes, f"{name}: {names}")


def _heat(explanation: Explanation, row: int, window: KeptWindow) -> list[tuple[str, list[bytes]]]:
    pictures = {branch: heat_pictures(explanation, row, branch, window) for branch in explanation.heat}
    return [(_BRANCH_NAMES.get(branch, branch), _jpegs(images)) for branch, images in pictures.items() if images]


def _jpegs(images: list[np.ndarray]) -> list[bytes]:
    return [encode_jpeg(np.ascontiguousarray(image), _JPEG_QUALITY) for image in images]


def _joint_rows(explanation: Explanation, row: int) -> list[JointRow]:
    occlusion, gradient = explanation.joint_occlusion[row], explanation.joint_gradient[row]
    if not len(occlusion) or np.isnan(occlusion).any():
        return []
    largest = max(float(occlusion.max()), 1e-12)
    return [
        JointRow(
            explanation.joint_names[v].replace("_", " "),
            float(occlusion[v]),
            float(gradient[v]),
            max(0.0, float(occlusion[v]) / largest),
        )
        for v in np.argsort(-occlusion, kind="stable")[:MAX_JOINTS]
    ]
