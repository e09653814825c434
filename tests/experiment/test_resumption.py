"""Which keys a resumed run may change: every key has a kind, and each kind is treated as the table says."""

import dataclasses

import pytest
from flax import traverse_util

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec, default_config, resolve
from musclemap_jax.experiment.resumption import FREE, KINDS, LEARNED, LENGTH, START, changes, check_resumable, kind

KEYS = [".".join(path) for path in traverse_util.flatten_dict(dataclasses.asdict(ExperimentSpec()))]
NUM_CLIPS = 100


def spec_with(**values):
    """The default configuration of 1000 steps with other values; a key's dot is written as two underscores."""
    config = default_config()
    config.train.num_steps = 1000
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in values.items()})
    return resolve(config)


def resume(step=500, extend=False, **values):
    """The changes of a run that is resumed with other values."""
    workdir = "runs/a"
    return check_resumable(
        spec_with(), spec_with(**values), step=step, num_clips=NUM_CLIPS, extend=extend, workdir=workdir
    )


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_configuration_has_a_kind(key):
    assert kind(key) in (LEARNED, FREE, LENGTH, START)


def test_the_table_has_no_other_keys():
    sections = {".".join(key.split(".")[:length]) for key in KEYS for length in range(1, key.count(".") + 2)}
    assert set(KINDS) <= sections


@pytest.mark.parametrize("key", ["train.new", "data.new", "new"])
def test_a_key_that_nobody_has_thought_of_has_none(key):
    with pytest.raises(KeyError, match="is not classified"):
        kind(key)


@pytest.mark.parametrize(
    "values",
    [
        {"mesh__fsdp": 2},
        {"model__remat": "blocks"},
        {"train__grad_accum_steps": 4},
        {"train__log_every": 1},
        {"train__eval_every": 7},
        {"train__max_skipped": 3},
        {"eval__num_views": 2, "eval__num_crops": 3},
        {"eval__recall": 0.8, "eval__checkpoint": "best"},
        {"data__data_dir": "/elsewhere", "data__num_workers": 2},
    ],
    ids=" ".join,
)
def test_what_does_not_change_what_is_learned_may_change(values):
    found = {change.key: change.now for change in resume(**values)}
    assert found.items() >= {key.replace("__", "."): value for key, value in values.items()}.items()


def test_initial_weights_are_not_read_again_and_no_change():
    assert resume(init_from__model="runs/b") == []


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"optimizer__learning_rate": 0.5}, "optimizer.learning_rate was 0.0001, is 0.5"),
        ({"train__batch_size": 8}, "train.batch_size was 64, is 8"),
        ({"data__builder": "rgb"}, "data.builder was multimodal, is rgb"),
        ({"model__dtype": "bfloat16", "seed": 3}, "model.dtype was float32, is bfloat16; seed was 0, is 3"),
        ({"input__augmentation__pose_span": 1.0}, "input.augmentation.pose_span was 0.8, is 1.0"),
        ({"train__mixing__mixup_alpha": 0.8}, "train.mixing.mixup_alpha was 0.0, is 0.8"),
        ({"train__samples_per_clip": 2}, "train.samples_per_clip was 1, is 2"),
        (
            {"input__augmentation__rand_augment": "rand-m7-n4"},
            "input.augmentation.rand_augment was '', is rand-m7-n4",
        ),
        ({"loss__kd_weight": 0.0}, "loss.kd_weight was 0.9, is 0.0"),
        ({"eval__scores": "logits"}, "eval.scores was link, is logits"),
    ],
)
def test_what_changes_what_is_learned_is_refused_with_the_way_out(values, named):
    with pytest.raises(UserError) as caught:
        resume(**values)
    assert str(caught.value) == (
        f"runs/a: this workdir holds a run with another configuration ({named}), which step 500 was trained with: to "
        "resume it, leave out --config and these keys; to train with this one, choose another --workdir, with "
        "--config.init_from.model=runs/a to start from its weights"
    )


def test_a_longer_run_needs_to_be_asked_for():
    with pytest.raises(UserError, match="this run is to have 1000 steps, and 2000 are asked for: pass --extend"):
        resume(train__num_steps=2000)
    assert [str(change) for change in resume(train__num_steps=2000, extend=True)] == [
        "train.num_steps was 1000, is 2000"
    ]


@pytest.mark.parametrize("extend", [False, True])
def test_a_shorter_run_is_refused(extend):
    with pytest.raises(UserError, match=r"1000 steps, of which 500 are done, and 700 are asked for: .* not shorter"):
        resume(train__num_steps=700, extend=extend)


def test_the_same_length_may_be_given_in_epochs():
    found = resume(train__num_steps=0, train__num_epochs=640.0)  # of 100 clips, 64 at a time
    assert {change.key for change in found} == {"train.num_steps", "train.num_epochs"}


def test_changes_of_some_sections_only():
    before, after = spec_with(), spec_with(seed=1, loss__kd_tau=2.0, model__sites="final")
    assert [change.key for change in changes(before, after, "model", "loss")] == ["loss.kd_tau", "model.sites"]
