"""Tests of checkpoints on disk: which are kept, what comes back, and what is refused."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest

from musclemap_jax.data.augmentation import NO_AUGMENTATION
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.pipeline import train_iterator
from musclemap_jax.distributed.mesh import make_mesh
from musclemap_jax.errors import UserError
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.train.checkpoint import BEST_METRIC, Checkpointer
from musclemap_jax.train.optimizer import OptimizerSpec, make_optimizer
from musclemap_jax.train.state import create_state


@pytest.fixture
def batches():
    """An iterator over seven clips of skeletons alone."""
    rng = np.random.default_rng(0)
    clips = [
        {
            "clip_id": f"clip{index}",
            "muscles": np.eye(20, dtype=np.uint8)[index],
            "skeleton": rng.random((5, 1, 17, 3), dtype=np.float32) * 100,
            "skeleton_layout": "coco17",
        }
        for index in range(7)
    ]
    spec = InputSpec(num_poses=4, num_persons=1, modalities=("skeleton",), augmentation=NO_AUGMENTATION)
    iterator = train_iterator(clips, spec, batch_size=2, seed=0, num_threads=0)
    yield iterator
    iterator.close()


def make_state(model_spec, batch, mesh_sizes, num_devices, seed=0):
    mesh = make_mesh(mesh_sizes, jax.devices()[:num_devices])
    optimizer = make_optimizer(OptimizerSpec(), 10)
    return create_state(TransM3E(model_spec), optimizer, batch, seed, mesh, ema=True)


def test_state_and_data_come_back_on_another_mesh(tiny_video_spec, tiny_batch, batches, tmp_path):
    state, _ = make_state(tiny_video_spec, tiny_batch(8), {"data": 2, "fsdp": 4, "tensor": 1}, 8, seed=1)
    for _ in range(3):
        next(batches)
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(state.replace(step=state.step + 3), batches)
    checkpointer.close()
    following = next(batches)

    other, shardings = make_state(tiny_video_spec, tiny_batch(8), {"data": 1, "fsdp": 1, "tensor": 1}, 1, seed=2)
    batches.set_state(batches.get_state() | {"place": 0})
    with contextlib.closing(Checkpointer(tmp_path)) as checkpointer:
        restored = checkpointer.restore(other, shardings, batches)
    assert int(restored.step) == 3
    jax.tree.map(np.testing.assert_array_equal, restored.params, state.params)
    jax.tree.map(np.testing.assert_array_equal, restored.opt_state, state.opt_state)
    assert {leaf.sharding.num_devices for leaf in jax.tree.leaves(restored)} == {1}
    np.testing.assert_array_equal(next(batches)["clip_index"], following["clip_index"])


def test_the_newest_and_the_best_are_kept(tiny_video_spec, tiny_batch, batches, tmp_path):
    state, _ = make_state(tiny_video_spec, tiny_batch(2), {"data": 1, "fsdp": 1, "tensor": 1}, 1)
    checkpointer = Checkpointer(tmp_path, keep=2)
    for step, score in enumerate([0.1, 0.7, 0.2, None, 0.3, None]):
        checkpointer.save(state.replace(step=state.step + step), batches, {BEST_METRIC: score} if score else None)
    checkpointer.wait()
    assert sorted(int(path.name) for path in checkpointer.directory.iterdir() if path.name.isdigit()) == [1, 4, 5]
    assert (checkpointer.latest_step(), checkpointer.best_step()) == (5, 1)
    checkpointer.close()


def test_no_checkpoint_and_another_model_are_named(tiny_video_spec, tiny_batch, batches, tmp_path):
    state, shardings = make_state(tiny_video_spec, tiny_batch(2), {"data": 1, "fsdp": 1, "tensor": 1}, 1)
    with (
        contextlib.closing(Checkpointer(tmp_path / "empty")) as checkpointer,
        pytest.raises(UserError, match="no checkpoint here"),
    ):
        checkpointer.restore(state, shardings)
    checkpointer = Checkpointer(tmp_path / "run")
    checkpointer.save(state, batches)
    checkpointer.close()
    wider = dataclasses.replace(tiny_video_spec.video, embed_dim=16)
    other, shardings = make_state(
        dataclasses.replace(tiny_video_spec, video=wider), tiny_batch(2), {"data": 1, "fsdp": 1, "tensor": 1}, 1
    )
    with (
        contextlib.closing(Checkpointer(tmp_path / "run")) as checkpointer,
        pytest.raises(UserError, match="does not fit this configuration's model"),
    ):
        checkpointer.restore(other, shardings)
