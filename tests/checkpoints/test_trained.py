"""Tests of reading a run's variables without its configuration: which checkpoint, and damaged ones."""

import contextlib

import grain
import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from orbax.checkpoint._src.path import gcs_utils

from musclemap_jax.checkpoints import trained
from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.checkpoints.trained import is_workdir, load_trained
from musclemap_jax.checkpoints.validation_scores import BEST_METRIC
from musclemap_jax.errors import UserError
from tests.object_store import BUCKET, Store


def make_state(step, ema=False):
    """A state whose parameters are its step, and their average one more."""
    params = {"video": {"norm": {"scale": np.full(3, step, np.float32)}}}
    return TrainState(
        step=np.int32(step),
        params=params,
        batch_stats={"skeleton": {"norm": {"mean": np.full(2, 5, np.float32)}}},
        opt_state=optax.adam(1e-3).init(params),
        ema=jax.tree.map(lambda leaf: leaf + 1, params) if ema else None,
        skipped=np.int32(0),
        seed=np.uint32(0),
    )


def save_run(workdir, ema=False):
    """A run with checkpoints of the steps 3 and 6, of which the first is the best."""
    data = iter(grain.MapDataset.range(4).to_iter_dataset())
    with contextlib.closing(Checkpointer(workdir)) as checkpointer:
        for step, score in ((3, 0.5), (6, 0.25)):
            checkpointer.save(jax.device_put(make_state(step, ema)), data)
            checkpointer.scores.add(step, {BEST_METRIC: score})
    return workdir


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("run"))


def scale(variables):
    leaf = variables["params"]["video"]["norm"]["scale"]
    assert isinstance(leaf, np.ndarray)
    return leaf.tolist()


def test_the_best_or_the_newest_checkpoint(run):
    assert is_workdir(run)
    assert scale(load_trained(run)) == [3, 3, 3]
    variables = load_trained(run, "latest")
    assert scale(variables) == [6, 6, 6]
    assert variables["batch_stats"]["skeleton"]["norm"]["mean"].tolist() == [5, 5]


def test_the_moving_average_where_there_is_one(tmp_path):
    assert scale(load_trained(save_run(tmp_path, ema=True))) == [4, 4, 4]


def test_a_folder_without_checkpoint(tmp_path):
    assert not is_workdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="no checkpoint here: train first"):
        load_trained(tmp_path)


def test_damage_is_found_before_anything_is_read(tmp_path):
    save_run(tmp_path)
    damaged = tmp_path / "checkpoints" / "3" / "data" / "metadata"
    damaged.write_text(damaged.read_text() + " ")
    with pytest.raises(UserError) as caught:
        load_trained(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/checkpoints/3: damaged: data/metadata has changed since it was written: restore this folder from "
        "a copy, delete it to use another checkpoint, or set config.eval.checkpoint='latest'"
    )
    assert scale(load_trained(tmp_path, "latest")) == [6, 6, 6]
    (tmp_path / "checkpoints" / "6" / "SHA256SUMS").write_text("")
    with pytest.raises(UserError, match="no checkpoint here"):
        load_trained(tmp_path, "latest")


def test_a_run_on_cloud_storage(run, monkeypatch):
    """Orbax's reader of arrays and its question for the bucket's kind, which ask the storage itself, are replaced."""
    store = Store(run.parent)
    monkeypatch.setattr("etils.epath.gpath._GPath._backend", property(lambda path: store))

    class LocalReader(ocp.PyTreeCheckpointer):
        def metadata(self, directory):
            assert str(directory) == f"{BUCKET}/{run.name}/checkpoints/3/state"
            return super().metadata(store.local(directory))

        def restore(self, directory, *arguments, **options):
            return super().restore(store.local(directory), *arguments, **options)

    monkeypatch.setattr(trained.ocp, "PyTreeCheckpointer", LocalReader)
    monkeypatch.setattr(gcs_utils, "is_hierarchical_namespace_enabled", lambda path: False)
    assert is_workdir(f"{BUCKET}/{run.name}")
    assert scale(load_trained(f"{BUCKET}/{run.name}")) == [3, 3, 3]
