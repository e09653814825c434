"""Explanations in `muscles.json`, which can be read again exactly: an entry a region.

    {"region": "gluteus", "windows": [0, 2],                    indices into the prediction's windows
     "logits": [E], "probabilities": [E],
     "heat": {"video": [E][S][T2][H2][W2]},                      Grad-CAM, at least 0
     "attention": {"video": [E][S][T3][H3][W3]},                 of the region's class token
     "frames": [E][S][T],                                        numbers of the frames that the views show
     "boxes": [S][top, left, bottom, right],                     crops, as fractions of the frame
     "joint_names": [V], "joint_gradient": [E][V], "joint_occlusion": [E][V],
     "counterfactuals": {"without the skeleton": [E]},           probabilities
     "notes": [...]}

What does not exist is null. The letters are those of `explain.explanation`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from musclemap_jax.explain.explanation import Explanation


def explanation_entry(explanation: Explanation) -> dict[str, Any]:
    """An explanation for strict JSON."""
    return {
        "region": explanation.region,
        "windows": explanation.windows.tolist(),
        "logits": _lists(explanation.logits),
        "probabilities": _lists(explanation.probabilities),
        "heat": {branch: _lists(values) for branch, values in explanation.heat.items()},
        "attention": {branch: _lists(values) for branch, values in explanation.attention.items()},
        "frames": explanation.frames.tolist(),
        "boxes": explanation.boxes.tolist(),
        "joint_names": list(explanation.joint_names),
        "joint_gradient": _lists(explanation.joint_gradient),
        "joint_occlusion": _lists(explanation.joint_occlusion),
        "counterfactuals": {name: _lists(values) for name, values in explanation.counterfactuals.items()},
        "notes": list(explanation.notes),
    }


def read_explanation(entry: dict[str, Any]) -> Explanation:
    """The explanation of an entry."""
    num_windows, num_joints = len(entry["windows"]), len(entry["joint_names"])
    frames = np.array(entry["frames"], np.int64)
    return Explanation(
        region=entry["region"],
        windows=np.array(entry["windows"], np.int64),
        logits=np.array(entry["logits"], np.float32),
        probabilities=np.array(entry["probabilities"], np.float64),
        heat={branch: np.array(values, np.float32) for branch, values in entry["heat"].items()},
        attention={branch: np.array(values, np.float32) for branch, values in entry["attention"].items()},
        frames=frames if frames.ndim == 3 else frames.reshape(num_windows, 0, 0),
        boxes=np.array(entry["boxes"], np.float64).reshape(-1, 4),
        joint_names=tuple(entry["joint_names"]),
        joint_gradient=np.array(entry["joint_gradient"], np.float32).reshape(num_windows, num_joints),
        joint_occlusion=np.array(entry["joint_occlusion"], np.float32).reshape(num_windows, num_joints),
        counterfactuals={name: np.array(values, np.float64) for name, values in entry["counterfactuals"].items()},
        notes=tuple(entry["notes"]),
    )


def _lists(values: np.ndarray) -> list[Any]:
    """Nested lists of numbers, None for NaN; float32 numbers keep their value."""
    if values.ndim > 1:
        return [_lists(row) for row in values]
    return [None if math.isnan(value) else value for value in values.tolist()]
