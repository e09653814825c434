"""The answers of a model's skeleton branch for a skeleton without a video, such as that of a rendered session.

The branch sees the windows that prediction cuts from a video (`windows.py`), and its answers are the same.

Letters of shapes: T frames, P persons, V joints, W windows, K muscle regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from musclemap_jax.coach.profiles import log_odds
from musclemap_jax.data.batch import Batch
from musclemap_jax.data.examples import empty_batch
from musclemap_jax.data.modalities.modality import ClipDraw
from musclemap_jax.data.modalities.skeleton import Skeleton
from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.predict.answers import LABEL_KEYS, Uncalibrated
from musclemap_jax.predict.model import Model
from musclemap_jax.predict.windows import MIN_FRAMES

BATCH_SIZE = 32


class SkeletonAnswerer:
    """The skeleton branch of a model.

    Attributes:
      branch: Its name.
    """

    def __init__(self, model: Model) -> None:
        """Raises UserError if the model has no skeleton branch."""
        names = [name for name in model.spec.model.branches if BRANCHES[name].modality == "skeleton"]
        if not names:
            raise UserError(f"{model.name}: expected a model with a skeleton branch, it looks at {model.modalities}")
        self.branch, self._model = names[0], model
        self._link = Uncalibrated(model.spec.loss.kind).probabilities

        def logits(variables: Mapping[str, Any], batch: Mapping[str, Any]) -> jax.Array:
            # The other branches are not part of the result, so the compiled program goes without them.
            return model.module.apply(variables, batch, train=False).branch_logits[self.branch]

        self._logits = jax.jit(logits)

    def windows(self, skeleton: np.ndarray, layout: str, fps: float, overlap: float) -> tuple[np.ndarray, np.ndarray]:
        """Times (W, 2) in seconds and log-odds (W, K) of the windows of a skeleton.

        Args:
          skeleton: (T, P, V, 3) x, y in any unit and score; absent joints score 0.
          layout: Its joint order.
          fps: Frames per second.
          overlap: Fraction of a window that the next one repeats, in [0, 1).
        """
        length, starts = _window_starts(len(skeleton), self._model.window_s * fps, overlap)
        logits = []
        for first in range(0, len(starts), BATCH_SIZE):
            chunk = starts[first : first + BATCH_SIZE]
            batch = empty_batch(self._model.input, BATCH_SIZE, BATCH_SIZE, self._model.input.views_per_clip)
            for row, start in enumerate(chunk):
                self._write(batch, row, skeleton[start : start + length], layout)
            inputs = {name: value for name, value in batch.items() if name not in LABEL_KEYS}
            logits.append(np.asarray(self._logits(self._model.variables, inputs))[: len(chunk)])
        times = np.array([(start / fps, (start + length) / fps) for start in starts])
        return times, log_odds(self._link(np.concatenate(logits)))

    def _write(self, batch: Batch, row: int, skeleton: np.ndarray, layout: str) -> None:
        record = {"skeleton": skeleton.astype(np.float32), "skeleton_layout": layout}
        Skeleton().write(batch, row, cast(Any, record), self._model.input, ClipDraw())


def _window_starts(num_frames: int, length: float, overlap: float) -> tuple[int, list[int]]:
    """Frames of a window and the first frame of each, as `windows.windows` cuts them."""
    rounded = max(MIN_FRAMES, round(length))
    step = max(1, round(rounded * (1 - overlap)))
    used = min(rounded, num_frames)
    starts = list(range(0, num_frames - used + 1, step))
    if starts[-1] + used < num_frames:
        starts.append(num_frames - used)
    return used, starts
