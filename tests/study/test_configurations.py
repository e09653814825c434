"""Which differences between configurations matter to a study."""

from __future__ import annotations

import pytest

from musclemap_jax.experiment.command_line import parse_config
from musclemap_jax.experiment.config import resolve
from musclemap_jax.study.configurations import config_hash, deciding_changes, needs_training


def spec(**overrides):
    return resolve(parse_config("hdgcn:smoke", {key: str(value) for key, value in overrides.items()}))


BASE = spec()


@pytest.mark.parametrize(
    ("key", "value", "decides", "trains"),
    [
        ("optimizer.learning_rate", 0.5, True, True),
        ("seed", 3, True, True),
        ("train.num_steps", 9, True, True),
        ("model.backbones.hdgcn.widths", (8, 8), True, True),
        ("init_from.skeleton", "runs/a", True, True),
        ("eval.num_views", 3, True, False),
        ("eval.splits", ("val_new",), True, False),
        ("eval.batch_size", 3, False, False),
        ("data.data_dir", "/elsewhere", False, False),
        ("data.num_workers", 2, False, False),
        ("train.log_every", 7, False, False),
        ("train.eval_every", 2, False, False),
        ("mesh.data", 1, False, False),
    ],
)
def test_a_change_decides_what_is_learned_what_is_scored_or_nothing(key, value, decides, trains):
    other = spec(**{key: value})
    found = deciding_changes(BASE, other)
    assert [change.key for change in found] == ([key] if decides else [])
    assert needs_training(found) is trains
    assert (config_hash(BASE) != config_hash(other)) is decides
    assert len(config_hash(other)) == 64


def test_the_interval_of_evaluations_decides_where_they_choose_the_checkpoint():
    before, after = (spec(**{"eval.checkpoint": "best", "train.eval_every": every}) for every in (2, 3))
    found = deciding_changes(before, after)
    assert [str(change) for change in found] == ["train.eval_every was 2, is 3"]
    assert needs_training(found)
