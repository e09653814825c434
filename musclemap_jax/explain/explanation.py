"""Why a model says what it says of a muscle region of a video, as data.

Letters of shapes: E explained windows, S views, T frames of a view, T2 H2 W2 patches in time and space, V joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

WITHOUT = "without the {}"
"""Name of a counterfactual, with what is left out: a modality or a limb."""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Explanation of one region.

    Attributes:
      region: Its name.
      windows: (E,) int64 indices of the explained windows in the prediction, increasing: all that have an answer, or
        some spread evenly over a long video.
      logits: (E,) float32 scores of the region.
      probabilities: (E,) float64, calibrated as in the prediction.
      heat: {branch: (E, S, T2, H2, W2)} float32 Grad-CAM of each branch with patches, at least 0.
      attention: {branch: (E, S, T3, H3, W3)} float32 attention of the region's class token to the patches, in the
        branches that have class tokens.
      frames: (E, S, T) int64 numbers of the video's frames that the views show; patches divide them evenly.
      boxes: (S, 4) float64 top, left, bottom and right of each view's crop, as fractions of the frame; patches divide
        it evenly.
      joint_names: Names of the V joints; empty where no branch reads the skeleton.
      joint_gradient: (E, V) float32 importance of each joint by gradient, at least 0; NaN where nobody was seen.
      joint_occlusion: (E, V) float32 fall of the logit of the skeleton's branches without the joint: negative where the
        joint spoke against the region; NaN where nobody was seen.
      counterfactuals: {name: (E,)} float64 probabilities without a modality or a limb's joints, such as "without the
        skeleton" or "without the left arm"; NaN where nothing is left to answer by, or nobody was seen.
      notes: Sentences on what this model has no explanation of.
    """

    region: str
    windows: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    heat: Mapping[str, np.ndarray]
    attention: Mapping[str, np.ndarray]
    frames: np.ndarray
    boxes: np.ndarray
    joint_names: tuple[str, ...]
    joint_gradient: np.ndarray
    joint_occlusion: np.ndarray
    counterfactuals: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def surest(self) -> int:
        """Row, from 0 to E - 1, of the window in which the region is most probable."""
        return int(np.argmax(self.probabilities))

    def ranked_joints(self) -> list[tuple[str, float]]:
        """(joint, mean importance by occlusion) over the windows in which somebody was seen, in falling order."""
        seen = self.joint_occlusion[~np.isnan(self.joint_occlusion).any(axis=1)]
        means = seen.mean(axis=0) if len(seen) else np.zeros(0)
        order = np.argsort(-means, kind="stable")
        return [(self.joint_names[v], float(means[v])) for v in order]
