"""Scores of the validation by step, kept beside the checkpoints: they say which one is the best.

A checkpoint is saved before its evaluation, so that an evaluation that is interrupted costs no training; the scores
come afterwards, and a run that finds its checkpoint without them evaluates it first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from etils import epath
from orbax.checkpoint import checkpoint_managers

from musclemap_jax.storage.files import replace_text

FILE = "validation_scores.json"
BEST_METRIC = "val_mean/mAP"
"""The metric by which the best checkpoint is kept: mean of the macro mAP on val_known and val_new."""


class ValidationScores:
    """{step: {name: value}} in a file; every process holds the same, one writes."""

    def __init__(self, workdir: epath.Path, writes: bool) -> None:
        """Reads the file where there is one.

        Args:
          workdir: of the run.
          writes: whether this process writes.
        """
        self._path = workdir / FILE
        self._writes = writes
        text = self._path.read_text() if self._path.exists() else "{}"
        self._by_step = {int(step): scores for step, scores in json.loads(text).items()}

    def add(self, step: int, scores: Mapping[str, float]) -> None:
        """Records the scores of the state after ``step`` steps."""
        self._by_step[step] = {name: float(value) for name, value in scores.items()}
        self._write()

    def drop_after(self, step: int) -> None:
        """Forgets later steps: the run goes on from ``step`` and comes to them again."""
        if any(later > step for later in self._by_step):
            self._by_step = {number: scores for number, scores in self._by_step.items() if number <= step}
            self._write()

    def has(self, step: int) -> bool:
        """Whether the state of a step was evaluated."""
        return step in self._by_step

    def best(self, steps: Iterable[int]) -> int | None:
        """That one of some steps with the highest ``BEST_METRIC``, the earliest of equals; None if none has one."""
        known = {step: self._by_step.get(step, {}).get(BEST_METRIC, math.nan) for step in sorted(steps)}
        known = {step: score for step, score in known.items() if not math.isnan(score)}
        return max(known, key=known.__getitem__) if known else None

    def _write(self) -> None:
        if self._writes:
            replace_text(self._path, json.dumps({str(step): self._by_step[step] for step in sorted(self._by_step)}))


class KeepBest(checkpoint_managers.PreservationPolicy):
    """Orbax's question which checkpoints to keep, answered with the best of them."""

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
