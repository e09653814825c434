"""Runs the stress test of a trained run: one compiled step predicts every clip under every condition."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from musclemap_jax.eval.evaluator import EvalSplit
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import FUSED, SplitPredictions
from musclemap_jax.experiment.experiment import Experiment
from musclemap_jax.stress.batches import Condition, conditions_of, stressed_batches
from musclemap_jax.stress.perturbations.perturbation import Perturbation
from musclemap_jax.stress.robustness import Robustness, curves_of


def stress_test(experiment: Experiment, perturbations: Sequence[Perturbation], splits: Sequence[str]) -> Robustness:
    """Predicts the splits as they are and under each perturbation; every process of a run calls it.

    Args:
      experiment: The experiment, restored.
      perturbations: The perturbations, of which each changes something that the model reads.
      splits: Splits that have clips.
    """
    conditions = conditions_of(perturbations)
    by_split = {split: predict_stressed(experiment, split, conditions) for split in splits}
    clean, *changed = (
        experiment.metrics({split: predictions[number] for split, predictions in by_split.items()})
        for number in range(len(conditions) + 1)
    )
    metrics: dict[str, dict[float, Metrics]] = {}
    for condition, of_condition in zip(conditions, changed, strict=True):
        metrics.setdefault(condition.perturbation.name, {})[condition.strength] = of_condition
    whole = FUSED if len(weights := experiment.spec.model.weights) > 1 else next(iter(weights))
    curves = [curve for each in perturbations for curve in curves_of(each.name, whole, clean, metrics[each.name])]
    return Robustness(
        scored=experiment.scored,
        seed=experiment.spec.seed,
        num_clips={split: len(experiment.data.clips[split]) for split in splits},
        perturbations=tuple(perturbations),
        curves=tuple(curves),
    )


def predict_stressed(experiment: Experiment, split: str, conditions: Sequence[Condition]) -> list[SplitPredictions]:
    """Predictions of a split's clips as they are, then under each condition."""
    spec, clips = experiment.spec, experiment.data.clips[split]
    labels = ["", *(f"{each.perturbation.name} {each.strength:g}: " for each in conditions)]
    batches = functools.partial(
        stressed_batches,
        source=experiment.data.sources[split],
        spec=spec.input,
        conditions=conditions,
        seed=spec.seed,
        num_threads=spec.data.num_threads,
    )
    every = experiment.predict_clips(
        EvalSplit(
            batches=lambda: batches(experiment.eval_batches(split)),
            clip_ids=[f"{label}{clip.clip_id}" for label in labels for clip in clips],
            activities=[clip.activity for _ in labels for clip in clips],
        )
    )
    condition_of_row = np.arange(len(every.scores)) // len(clips)
    return [every.select(condition_of_row == number) for number in range(len(labels))]
