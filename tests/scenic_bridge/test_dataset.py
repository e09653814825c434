"""The data set in Scenic's registry: names, shapes, and exact passes over the evaluation splits."""

import itertools

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import resolve
from musclemap_jax.experiment.prepared_data import load_data
from musclemap_jax.scenic_bridge.config import scenic_config
from musclemap_jax.scenic_bridge.dataset import JoinedClips, make_dataset, register
from musclemap_jax.scenic_bridge.installed import scenic_module

NUM_DEVICES = 4


@pytest.fixture
def config(smoke_data):
    config = scenic_config("transm3e:smoke")
    config.dataset_configs.experiment.data.data_dir = str(smoke_data)
    return config.dataset_configs


@pytest.fixture
def data(config):
    return load_data(resolve(config.experiment).data)


def build(config, **options):
    return make_dataset(batch_size=8, eval_batch_size=8, num_shards=NUM_DEVICES, dataset_configs=config, **options)


def test_joined_splits_are_one_after_the_other():
    joined = JoinedClips([["a", "b"], [], ["c"]])
    assert (len(joined), [joined[index] for index in range(3)]) == (3, ["a", "b", "c"])
    with pytest.raises(IndexError):
        joined[3]


def test_frames_alone_need_the_video_branch_and_one_view(config):
    config.inputs = "video"
    config.experiment.eval.num_views = 2
    with pytest.raises(
        UserError, match=r"takes a model with the video branch and one view, got video, skeleton and .*=2"
    ):
        build(config)
    config.inputs = "frames"
    with pytest.raises(
        UserError, match=r"^config.dataset_configs.inputs: expected 'everything' or 'video', got 'frames'"
    ):
        build(config)


@pytest.mark.scenic
def test_the_registry_builds_it_by_name(config):
    register()
    register()  # again, as a second run in a process does
    builder = scenic_module("scenic.dataset_lib.datasets").get_dataset("musclemap")
    dataset = builder(
        batch_size=8,
        eval_batch_size=8,
        num_shards=NUM_DEVICES,
        dtype_str="float32",
        rng=None,
        shuffle_seed=None,
        dataset_configs=config,
        dataset_service_address=None,
    )
    assert dataset.meta_data["num_classes"] == 20
    assert dataset.meta_data["target_is_onehot"] is True
    batch = next(dataset.train_iter)
    assert {name: array.shape for name, array in batch["inputs"].items()} == {
        "video": (NUM_DEVICES, 2, 1, 4, 32, 32, 3),
        "skeleton": (NUM_DEVICES, 2, 16, 1, 19, 3),
        "skeleton_valid": (NUM_DEVICES, 2, 16, 1),
    }
    assert batch["label"].shape == (NUM_DEVICES, 2, 20)
    assert batch["batch_mask"].all()


@pytest.mark.scenic
def test_a_pass_sees_every_clip_once_and_masks_the_padding(config, data):
    dataset = build(config)
    for batches, splits, count in (
        (dataset.valid_iter, ("val_known", "val_new"), dataset.meta_data["num_eval_examples"]),
        (dataset.test_iter, ("test_known", "test_new"), dataset.meta_data["num_test_examples"]),
    ):
        labels = [clip.muscles for split in splits for clip in data.clips[split]]
        assert count == len(labels)
        assert count % 8, "the last batch should be padded"
        for _ in range(2):  # endless: the second pass is the first again
            one_pass = list(itertools.islice(batches, -(-count // 8)))
            flat = {
                name: np.concatenate([batch[name].reshape(-1, *batch[name].shape[2:]) for batch in one_pass])
                for name in ("label", "batch_mask", "clip_index")
            }
            valid = flat["batch_mask"] == 1
            assert valid.sum() == count
            assert not flat["label"][~valid].any()
            np.testing.assert_array_equal(flat["clip_index"][valid], np.arange(count))
            assert [tuple(np.flatnonzero(row)) for row in flat["label"][valid]] == [
                tuple(sorted(row)) for row in labels
            ]


@pytest.mark.scenic
def test_a_resumed_run_sees_the_batches_that_would_have_come(config):
    whole, resumed = build(config).train_iter, build(config, first_step=3).train_iter
    fourth = next(itertools.islice(whole, 3, None))
    np.testing.assert_array_equal(next(resumed)["inputs"]["video"], fourth["inputs"]["video"])


@pytest.mark.scenic
def test_scenics_video_models_get_centred_frames(config, data):
    everything = next(build(config, data=data).train_iter)
    config.inputs = "video"
    dataset = build(config, data=data)
    inputs = next(dataset.train_iter)["inputs"]
    assert (inputs.shape, inputs.dtype) == ((NUM_DEVICES, 2, 4, 32, 32, 3), np.float32)
    np.testing.assert_allclose((inputs + 1) * 127.5, everything["inputs"]["video"][:, :, 0], atol=1e-3)
    assert dataset.meta_data["input_shape"] == (-1, 4, 32, 32, 3)
