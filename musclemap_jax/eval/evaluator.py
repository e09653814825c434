"""Runs a model over whole splits: every clip once, padding never counted, the same metrics on 1 and on 8 devices.

The model itself averages the logits of a clip's views.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from musclemap_jax.errors import UserError
from musclemap_jax.eval import score_link
from musclemap_jax.eval.metrics import Metrics, compute_metrics
from musclemap_jax.eval.predictions import SplitPredictions, from_padded
from musclemap_jax.runtime.barrier import SynchronizedJit
from musclemap_jax.sharding.context import with_mesh
from musclemap_jax.sharding.mesh import batch_sharding, put_batch, replicated
from musclemap_jax.taxonomy import EVAL_SPLITS

Variables = dict[str, Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalSpec:
    """Settings of an evaluation.

    Attributes:
      batch_size: Clips per batch over all processes; the last batch is padded.
      num_views: Temporal views of each clip.
      num_crops: Crops of each view, spread along the frame's longer side; 1 is the middle one. A clip's logits are
        averaged over num_views * num_crops.
      splits: Splits scored by the final evaluation.
      checkpoint: The checkpoint scored by the final evaluation, ``latest`` or ``best`` by validation.
      recall: The recall that the run's decisions state, in (0, 1] (``decisions.py``).
      scores: What average precision is taken on: ``link`` for the scores by the link of the loss, ``logits`` to compare
        (``score_link.py``). It also decides which checkpoint is the best.
    """

    batch_size: int = 32
    num_views: int = 5
    num_crops: int = 1
    splits: tuple[str, ...] = EVAL_SPLITS
    checkpoint: str = "latest"
    recall: float = 0.9
    scores: str = "link"

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_views", "num_crops"):
            if getattr(self, name) < 1:
                raise UserError(f"config.eval.{name} must be at least 1, got {getattr(self, name)}")
        unknown = [split for split in self.splits if split not in EVAL_SPLITS]
        if unknown or not self.splits:
            raise UserError(f"config.eval.splits: expected some of {', '.join(EVAL_SPLITS)}, got {self.splits!r}")
        if self.checkpoint not in ("latest", "best"):
            raise UserError(f"config.eval.checkpoint: expected 'latest' or 'best', got {self.checkpoint!r}")
        if not 0 < self.recall <= 1:
            raise UserError(f"config.eval.recall: expected a fraction above 0 and up to 1, got {self.recall}")
        if self.scores not in score_link.CHOICES:
            raise UserError(f"config.eval.scores: expected 'link' or 'logits', got {self.scores!r}")


@dataclass(frozen=True)
class EvalSplit:
    """A split to score.

    Attributes:
      batches: Returns a new iterator over this process's batches; their shapes are static and every process has the
        same number of them.
      clip_ids: Ids of all clips of the split, in its order.
      activities: Activities of all clips of the split, in its order.
    """

    batches: Callable[[], Iterable[Mapping[str, Any]]]
    clip_ids: Sequence[str]
    activities: Sequence[str]


class Evaluator:
    """Scores splits with one compiled step that serves every evaluation of a run."""

    def __init__(
        self,
        model: nn.Module,
        mesh: Mesh,
        shardings: Variables,
        splits: dict[str, EvalSplit],
        regions: Sequence[str],
        scores: Sequence[str] = (score_link.LOGITS,),
    ) -> None:
        """Prepares the step.

        Args:
          model: The model, called as ``model(batch, train=False)``.
          shardings: Shardings of the model's variables.
          splits: Name -> split.
          regions: K names of the muscle regions, in label order.
          scores: What average precision is taken on (`score_link.reported_scores`).
        """
        self._mesh, self._splits, self._regions, self._scores = mesh, splits, regions, scores

        def predict(variables: Variables, batch: dict[str, jax.Array]) -> dict[str, Any]:
            output: Any = model.apply(variables, batch, train=False)
            branches = output.branch_logits if len(output.branch_logits) > 1 else {}
            rows = {name: batch[name] for name in ("clip_valid", "clip_index")}
            return rows | {"scores": output.logits, "labels": batch["muscles"], "branch_scores": branches}

        compiled = jax.jit(
            with_mesh(mesh, predict),
            in_shardings=(shardings, batch_sharding(mesh)),
            out_shardings=batch_sharding(mesh) if jax.process_count() > 1 else replicated(mesh),
        )
        self._predict = SynchronizedJit(compiled, "predict")

    def predict(self, variables: Variables, split: str) -> SplitPredictions:
        """Logits of every clip of a split, of the whole and of each of several branches, on every process."""
        of_split = self._splits[split]
        log.info("evaluating %s: %d clips", split, len(of_split.clip_ids))
        return self.predict_clips(variables, of_split)

    def predict_clips(self, variables: Variables, clips: EvalSplit) -> SplitPredictions:
        """As `predict`, of clips that need not be a split of the data, such as changed ones."""
        rows: list[dict[str, Any]] = []
        running: dict[str, Any] = {}
        for batch in clips.batches():
            # The next batch is read while this one is computed; more in flight would only use memory.
            outputs = self._predict(variables, put_batch(batch, self._mesh))
            if running:
                rows.append(self._gather(running))
            running = outputs
        rows.append(self._gather(running))
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
        return from_padded(**joined, clip_ids=clips.clip_ids, activities=clips.activities)

    def evaluate(self, variables: Variables, splits: Sequence[str]) -> tuple[Metrics, dict[str, SplitPredictions]]:
        """Metrics and predictions of the given splits."""
        predictions = {split: self.predict(variables, split) for split in splits}
        return self.metrics(predictions), predictions

    def metrics(self, predictions: Mapping[str, SplitPredictions], remarks: Sequence[str] = ()) -> Metrics:
        """Metrics of predictions, which may have scores of baselines too; see `compute_metrics`."""
        return compute_metrics(predictions, self._regions, self._scores, remarks)

    @staticmethod
    def _gather(outputs: dict[str, Any]) -> dict[str, Any]:
        if jax.process_count() > 1:
            return multihost_utils.process_allgather(outputs, tiled=True)
        return jax.device_get(outputs)
