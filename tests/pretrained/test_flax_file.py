"""Checkpoints that Flax wrote as one file, without Scenic."""

import pickle

import numpy as np
import pytest
from flax import serialization

from musclemap_jax.errors import UserError
from musclemap_jax.pretrained.flax_file import is_flax_file
from musclemap_jax.pretrained.source import read_checkpoint

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(path, tree):
    path.write_bytes(serialization.msgpack_serialize(tree))
    return path


@pytest.mark.parametrize(
    "tree",
    [
        {"params": {"dense": {"kernel": KERNEL}}, "opt_state": {"0": {"mu": {"dense": {"kernel": KERNEL}}}}},
        {"optimizer": {"target": {"dense": {"kernel": KERNEL}}, "state": {"step": 3}}, "rng": None},
        {"dense": {"kernel": KERNEL}},
    ],
    ids=["a training state", "one before Optax", "parameters alone"],
)
def test_of_a_training_state_the_model_is_read(tree, tmp_path):
    checkpoint = read_checkpoint(write(tmp_path / "checkpoint", tree))
    assert list(checkpoint.tensors) == ["dense.kernel"]
    np.testing.assert_array_equal(checkpoint.tensors["dense.kernel"].read(), KERNEL)


def test_a_damaged_file_is_refused(tmp_path):
    path = write(tmp_path / "checkpoint", {"params": {"dense": {"kernel": KERNEL}}})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match=rf"^{path}: not a readable msgpack file of Flax: "):
        read_checkpoint(path)


def test_a_training_state_without_parameters_is_refused(tmp_path):
    path = write(tmp_path / "checkpoint", {"params": None, "step": 3})
    with pytest.raises(UserError, match=rf"^{path}: holds no parameters: expected params, or optimizer with target$"):
        read_checkpoint(path)


def test_a_pickle_is_not_taken_for_one(tmp_path):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(pickle.dumps({"kernel": 1}, protocol=2))
    assert not is_flax_file(path)
    assert is_flax_file(write(path, {"kernel": KERNEL}))
