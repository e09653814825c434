"""The decisions of a trained run: calibrated on its validation clips, and measured."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping

from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.eval.coverage import DecisionMetrics, assess
from musclemap_jax.eval.decisions import Decisions, calibrate
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.experiment import VALIDATION_SPLITS, Experiment
from musclemap_jax.experiment.workdir import read_decisions, trained_spec, write_decisions
from musclemap_jax.train.losses import link_of

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
        link=link_of(spec.loss.kind),
        recall=spec.eval.recall,
        split=split,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )
    return decisions, assess(decisions, predictions, data.train_frequency())


def keep_decisions(decisions: Decisions, experiment: Experiment, evaluation: epath.Path | None) -> None:
    """Writes the decisions into the workdir, where prediction looks for them, or beside the report of an evaluation.

    An evaluation leaves the workdir's decisions as they are, unless it has none that can be read and the evaluated
    checkpoint is the one that prediction uses.

    Args:
      decisions: The decisions.
      experiment: The evaluated experiment.
      evaluation: The folder of a later evaluation; None after a training.
    """
    if evaluation is None:
        write_decisions(experiment.workdir, decisions)
        return
    write_decisions(evaluation, decisions)
    is_inside = evaluation.parent == experiment.workdir
    uses_same = trained_spec(experiment.workdir).eval.checkpoint == experiment.spec.eval.checkpoint
    if is_inside and uses_same and not _has_decisions(experiment.workdir):
        write_decisions(experiment.workdir, decisions)


def _has_decisions(workdir: epath.Path) -> bool:
    try:
        return read_decisions(workdir) is not None
    except UserError:
        return False
