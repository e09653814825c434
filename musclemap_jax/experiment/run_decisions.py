"""The decisions of a trained run: calibrated on its validation clips, and measured."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping

from musclemap_jax.eval.coverage import DecisionMetrics, assess
from musclemap_jax.eval.decisions import Decisions, calibrate
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.experiment import VALIDATION_SPLITS, Experiment
from musclemap_jax.train.losses import SCORE_LINKS

log = logging.getLogger(__name__)


def decide(
    experiment: Experiment, predictions: Mapping[str, SplitPredictions]
) -> tuple[Decisions, DecisionMetrics] | None:
    """Calibrates the run's decisions on val_new or, where that has no active region, on val_known.

    Every process of a run calls it.

    Args:
      experiment: The evaluated experiment.
      predictions: Split -> predictions of the evaluation; a validation split that is missing there is predicted here.

    Returns:
      The decisions and their metrics; None, with a warning, if no validation clip has an active region.
    """
    data, spec = experiment.data, experiment.spec
    for split in reversed(VALIDATION_SPLITS):
        if any(clip.muscles for clip in data.clips.get(split, ())):
            break
    else:
        log.warning("no validation clip has an active region: the run gets no decisions")
        return None
    if split not in predictions:
        predictions = {**predictions, split: experiment.predict(split)}
    decisions = calibrate(
        predictions[split],
        data.regions,
        link=SCORE_LINKS.get(spec.loss.kind, "sigmoid"),
        recall=spec.eval.recall,
        split=split,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )
    return decisions, assess(decisions, predictions, data.train_frequency())
