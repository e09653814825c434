"""What an evaluator takes average precision on, by the configuration."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from musclemap_jax.eval.evaluator import Evaluator
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.score_link import reported_scores
from musclemap_jax.experiment.config import resolve
from musclemap_jax.sharding.mesh import make_mesh
from musclemap_jax.train.losses import link_of
from tests.experiment.test_config import CONFIGS, load


@pytest.mark.parametrize(
    ("config", "choice", "scores", "mean_ap"),
    [
        ("transm3e", "link", "logits", 0.5),
        ("transm3e_rgbdiff", "link", "softmax", 1.0),  # the released configuration, and checkpoints of the authors
        ("transm3e_rgbdiff", "logits", "logits", 0.5),
    ],
)
def test_the_loss_decides_what_is_ranked(config, choice, scores, mean_ap):
    given = load(CONFIGS[0].with_name(f"{config}.py"), "")
    given.eval.scores = choice
    spec = resolve(given)
    mesh = make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    reported = reported_scores(link_of(spec.loss.kind), spec.eval.scores)
    evaluator = Evaluator(None, mesh, {}, {}, ("arm", "leg"), reported)
    logits, labels = np.array([[5.0, 5.0], [1.0, -3.0]]), np.array([[0, 0], [1, 0]])
    metrics = evaluator.metrics({"val_new": SplitPredictions(logits, labels, ["a", "b"])})
    assert metrics.scores == scores
    assert metrics.scalars()["val_new/mAP"] == mean_ap
    assert set(metrics.other_scores) == {*reported} - {scores}
