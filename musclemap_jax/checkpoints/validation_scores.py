"""Validation scores by step, stored next to the checkpoints; they decide which checkpoint is the best.

A checkpoint is saved before it is evaluated, so that an interrupted evaluation costs no training. A run that resumes
from a checkpoint without scores evaluates it first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from etils import epath
from orbax.checkpoint import checkpoint_managers

from musclemap_jax.errors import UserError
from musclemap_jax.storage.files import replace_text
from musclemap_jax.storage.json_files import read_json_object

FILE = "validation_scores.json"
BEST_METRIC = "val_mean/mAP"
"""The metric that decides which checkpoint is the best: mean of the macro mAP on val_known and val_new."""
_BEST_METRICS = (BEST_METRIC, "val_known/mAP", "val_new/mAP")
"""The first that was measured decides: without clips in one of the splits, there is no mean."""


class ValidationScores:
    """{step: {name: value}} in a file; every process holds the same values, one writes them."""

    def __init__(self, workdir: epath.Path, writes: bool) -> None:
        """Reads the file in the run's workdir, if there is one.

        Args:
          workdir: The run's workdir.
          writes: Whether this process writes the file.

        Raises:
          UserError: The file is damaged.
        """
        self._path, self._writes = workdir / FILE, writes
        self._by_step = _read(self._path) if self._path.exists() else {}

    def add(self, step: int, scores: Mapping[str, float]) -> None:
        """Records the scores of the state after ``step`` steps."""
        self._by_step[step] = {name: float(value) for name, value in scores.items()}
        self._write()

    def drop_after(self, step: int) -> None:
        """Drops the scores of later steps: the run resumes from ``step`` and takes them again."""
        if any(later > step for later in self._by_step):
            self._by_step = {number: scores for number, scores in self._by_step.items() if number <= step}
            self._write()

    def has(self, step: int) -> bool:
        """Whether the state of a step was evaluated."""
        return step in self._by_step

    def best_metric(self, steps: Iterable[int]) -> str | None:
        """The one of ``_BEST_METRICS`` by which the given steps are compared; None if none of them has any."""
        measured = {name for step in steps for name, value in self._scores(step).items() if not math.isnan(value)}
        return next((name for name in _BEST_METRICS if name in measured), None)

    def best(self, steps: Iterable[int]) -> int | None:
        """The one of the given steps that scores highest, the earliest of equals; None if none was scored."""
        steps = sorted(steps)
        metric = self.best_metric(steps)
        if metric is None:
            return None
        known = {step: self._scores(step).get(metric, math.nan) for step in steps}
        known = {step: score for step, score in known.items() if not math.isnan(score)}
        return max(known, key=known.__getitem__)

    def _scores(self, step: int) -> Mapping[str, float]:
        return self._by_step.get(step, {})

    def _write(self) -> None:
        if self._writes:
            replace_text(self._path, json.dumps({str(step): self._by_step[step] for step in sorted(self._by_step)}))


def _read(path: epath.Path) -> dict[int, dict[str, float]]:
    fix = "restore it from a copy, or delete it, after which the best of the earlier checkpoints is unknown"
    by_step = {}
    for step, scores in read_json_object(path, fix).items():
        is_valid = isinstance(scores, dict) and all(isinstance(value, int | float) for value in scores.values())
        if not step.isdecimal() or not is_valid:
            raise UserError(f"{path}: damaged: expected numbers by name for step {step[:20]!r}: {fix}")
        by_step[int(step)] = {name: float(value) for name, value in scores.items()}
    return by_step


class KeepBest(checkpoint_managers.PreservationPolicy):
    """Preservation policy for Orbax: keeps the best checkpoint."""

    def __init__(self, scores: ValidationScores) -> None:
        self._scores = scores

    def should_preserve(
        self,
        checkpoints: Sequence[checkpoint_managers.PolicyCheckpointInfo],
        *,
        context: checkpoint_managers.PreservationContext,
    ) -> Sequence[bool]:
        del context
        best = self._scores.best(checkpoint.step for checkpoint in checkpoints)
        return [checkpoint.step == best for checkpoint in checkpoints]
