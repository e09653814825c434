"""Tests of checkpoints on disk: which are kept, what comes back, and what is refused."""

import contextlib
import functools
import hashlib
import math
import os
import shutil
import subprocess

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.checkpoints.validation_scores import BEST_METRIC
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.pipeline import train_iterator
from musclemap_jax.errors import UserError
from musclemap_jax.sharding.mesh import AXES, make_mesh
from musclemap_jax.sharding.rules import state_sharding
from musclemap_jax.train.optimizer import OptimizerSpec, make_optimizer
from tests.no_augmentation import NO_AUGMENTATION

ONE_DEVICE = {"data": 1, "fsdp": 1, "tensor": 1}


@pytest.fixture
def make_batches():
    """A function (batch_size, process_index, process_count) -> iterator over seven clips of skeletons alone."""
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
    with contextlib.ExitStack() as opened:

        def make(batch_size, process_index=0, process_count=1):
            iterator = train_iterator(clips, spec, batch_size, 0, process_index, process_count, num_threads=0)
            return opened.enter_context(contextlib.closing(iterator))

        yield make


@pytest.fixture
def batches(make_batches):
    return make_batches(2)


def steps_on_disk(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def make_state(mesh_sizes=ONE_DEVICE, num_devices=1, seed=0, width=16):
    """A state of a few random arrays under the names of the model's, and its shardings."""
    rng = np.random.default_rng(seed)
    shapes = {"qkv": {"kernel": (width, 2 * width), "bias": (2 * width,)}, "norm": {"scale": (width,)}}
    draw = functools.partial(jax.tree.map, lambda shape: rng.random(shape, np.float32), is_leaf=is_shape)
    params = draw({"video": {"attn": shapes}, "head_video": {"kernel": (width, 20)}})
    state = TrainState(
        step=np.int32(0),
        params=params,
        batch_stats=draw({"skeleton": {"mean": (3,)}}),
        opt_state=jax.tree.map(lambda leaf: leaf + 1, make_optimizer(OptimizerSpec()).init(params)),
        ema=draw({"video": {"attn": shapes}}),
        skipped=np.int32(0),
        seed=np.uint32(seed),
    )
    shardings = state_sharding(state, make_mesh(mesh_sizes, jax.devices()[:num_devices]))
    return jax.device_put(state, shardings), shardings


def is_shape(node):
    return isinstance(node, tuple)


def test_a_folder_that_vanishes_while_it_is_listed_is_listed_again(tmp_path, monkeypatch):
    """As on cloud storage, while Orbax removes in the background what an interrupted save has left there."""
    (tmp_path / "checkpoints" / "3" / "state").mkdir(parents=True)
    looks = []

    def vanishing(manager, *arguments, **options):
        looks.append(shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True))
        if len(looks) == 1:
            raise FileNotFoundError(tmp_path)
        return whole(manager, *arguments, **options)

    whole = ocp.CheckpointManager._load_checkpoint_infos
    monkeypatch.setattr(ocp.CheckpointManager, "_load_checkpoint_infos", vanishing)
    with contextlib.closing(Checkpointer(tmp_path, read_only=True)) as checkpointer:
        assert checkpointer.newest_undamaged_step() is None
    assert len(looks) >= 2


def test_state_and_data_are_restored_on_any_mesh(batches, tmp_path):
    meshes = [((1, 8, 1), 8), ((2, 2, 1), 4), ((1, 1, 1), 1), ((2, 2, 2), 8)]
    states = [
        make_state(dict(zip(AXES, sizes, strict=True)), devices, seed=number)
        for number, (sizes, devices) in enumerate(meshes)
    ]
    expected = jax.device_get(states[0][0])
    start = batches.get_state()
    for _ in range(3):
        next(batches)
    position = batches.get_state()
    state = states[0][0].replace(step=states[0][0].step + 3)
    for number, (other, shardings) in enumerate(states[1:]):
        with contextlib.closing(Checkpointer(tmp_path / str(number))) as checkpointer:
            checkpointer.save(state, batches)
        batches.set_state(start)
        with contextlib.closing(Checkpointer(tmp_path / str(number), read_only=True)) as checkpointer:
            state = checkpointer.restore(other, shardings, batches)
        assert int(state.step) == 3
        assert batches.get_state() == position
        assert {leaf.sharding for leaf in jax.tree.leaves(state)} == set(jax.tree.leaves(shardings))
        for part in ("params", "batch_stats", "opt_state", "ema", "seed"):
            jax.tree.map(np.testing.assert_array_equal, getattr(state, part), getattr(expected, part))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (4, 2), (2, 4), (4, 1)])
def test_the_data_continues_on_another_number_of_processes(make_batches, tmp_path, before, after):
    state, shardings = make_state()
    saving = [make_batches(8 // before, process, before) for process in range(before)]
    for _ in range(3):
        for iterator in saving:
            next(iterator)
    with contextlib.closing(Checkpointer(tmp_path)) as checkpointer:
        checkpointer.save(state, saving[0])
    following = [clip for iterator in saving for clip in next(iterator)["clip_index"]]
    restoring = [make_batches(8 // after, process, after) for process in range(after)]
    for iterator in restoring:
        with contextlib.closing(Checkpointer(tmp_path, read_only=True)) as checkpointer:
            checkpointer.restore(state, shardings, iterator)
    assert [clip for iterator in restoring for clip in next(iterator)["clip_index"]] == following


def test_the_newest_and_the_best_are_kept(batches, tmp_path):
    state, _ = make_state()
    checkpointer = Checkpointer(tmp_path, keep=2)
    for step, score in enumerate([0.1, 0.7, math.nan, None, 0.3, None]):
        checkpointer.save(state.replace(step=state.step + step), batches)
        if score is not None:
            checkpointer.scores.add(step, {BEST_METRIC: score})
    checkpointer.wait()
    assert steps_on_disk(tmp_path) == [1, 4, 5]
    assert (checkpointer.latest_step(), checkpointer.best_step()) == (5, 1)
    checkpointer.close()
    with contextlib.closing(Checkpointer(tmp_path, read_only=True)) as reopened:
        assert reopened.best_step() == 1
        assert reopened.scores.has(2)
        assert not reopened.scores.has(3)


def test_resuming_from_an_earlier_step_drops_later_scores(tmp_path):
    with contextlib.closing(Checkpointer(tmp_path)) as checkpointer:
        for step in (1, 2, 3):
            checkpointer.scores.add(step, {BEST_METRIC: 0.1 * step})
        checkpointer.scores.drop_after(2)
    with contextlib.closing(Checkpointer(tmp_path)) as checkpointer:
        assert [checkpointer.scores.has(step) for step in (1, 2, 3)] == [True, True, False]


@pytest.fixture
def saved(batches, tmp_path):
    """Workdir with the checkpoints of steps 3 and 6, and the state at step 0 with its shardings."""
    state, shardings = make_state()
    with contextlib.closing(Checkpointer(tmp_path)) as checkpointer:
        for step in (3, 6):
            checkpointer.save(state.replace(step=state.step + step), batches)
    return tmp_path, state, shardings


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


EMPTY = hashlib.sha256().hexdigest()


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1])


def changed_sums(change):
    """A function (path of SHA256SUMS) that changes its lines."""
    return lambda path: path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))


@pytest.mark.parametrize(
    ("damage", "file", "named"),
    [
        (flip_a_bit, "state/d/*", "has changed since it was written"),
        (cut_short, "data/metadata", "data/metadata has changed since it was written"),
        (lambda path: path.unlink(), "state/manifest.ocdbt", "state/manifest.ocdbt is missing"),
        (lambda path: path.unlink(), "SHA256SUMS", "SHA256SUMS is missing"),
        (lambda path: path.write_text(""), "SHA256SUMS", "SHA256SUMS is empty or damaged"),
        (lambda path: path.write_bytes(bytes(200)), "SHA256SUMS", "SHA256SUMS is empty or damaged"),
        (changed_sums(lambda lines: [*lines[:-1], lines[-1][:30]]), "SHA256SUMS", "SHA256SUMS is empty or damaged"),
        (changed_sums(lambda lines: lines[1:]), "SHA256SUMS", "has no checksum: SHA256SUMS is incomplete"),
        (
            changed_sums(lambda lines: [*lines, f"{'0' * 64}  ../3/data/metadata"]),
            "SHA256SUMS",
            "../3/data/metadata is",
        ),
        (
            changed_sums(lambda lines: [*lines, f"{EMPTY}  /dev/null"]),
            "SHA256SUMS",
            "/dev/null is missing, or SHA256SUMS",
        ),
    ],
)
def test_a_damaged_checkpoint_is_moved_and_the_previous_one_used(saved, batches, caplog, damage, file, named):
    workdir, state, shardings = saved
    (workdir / "checkpoints" / "3" / "empty").touch()  # where a path that leads out of the other checkpoint ends
    damage(next((workdir / "checkpoints" / "6").glob(file)))
    with contextlib.closing(Checkpointer(workdir, read_only=True)) as reader:
        assert int(reader.restore(state, shardings).step) == 3
        with pytest.raises(UserError, match=r"checkpoints/6: damaged"):
            reader.restore(state, shardings, step=6)
    assert steps_on_disk(workdir) == [3, 6]
    with contextlib.closing(Checkpointer(workdir)) as checkpointer:
        assert int(checkpointer.restore(state, shardings, batches).step) == 3
        assert named in caplog.text
        assert str(workdir / "damaged_checkpoints" / "6") in caplog.text
        checkpointer.save(state.replace(step=state.step + 6), batches)
    assert steps_on_disk(workdir) == [3, 6]
    assert [path.name for path in (workdir / "damaged_checkpoints").iterdir()] == ["6"]


def test_what_a_file_browser_leaves_in_a_checkpoint_is_no_damage(saved):
    workdir, state, shardings = saved
    (workdir / "checkpoints" / "6" / "state" / ".DS_Store").write_text("icons")
    with contextlib.closing(Checkpointer(workdir, read_only=True)) as reader:
        assert int(reader.restore(state, shardings).step) == 6


def test_files_are_on_the_disk_before_a_checkpoint_gets_its_name(batches, tmp_path, monkeypatch):
    synced, named = [], {}

    def fsync(descriptor):
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append(path)
        named[path] = (tmp_path / "checkpoints" / "3").exists()

    monkeypatch.setattr(os, "fsync", fsync)
    with contextlib.closing(Checkpointer(tmp_path)) as checkpointer:
        checkpointer.save(make_state()[0].replace(step=np.int32(3)), batches)
    before = {path.rpartition("/")[2] for path, has_name in named.items() if not has_name}
    files = [path for path in (tmp_path / "checkpoints" / "3").glob("*/**/*") if path.is_file()]
    assert {path.name for path in files} | {"SHA256SUMS.unfinished", "state", "data"} <= before
    assert synced[-1] == str(tmp_path / "checkpoints")
    assert named[synced[-1]]


def test_sha256sum_accepts_the_checksums(saved):
    folder = saved[0] / "checkpoints" / "6"
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert {str(path.relative_to(folder)) for path in folder.glob("*/**/*") if path.is_file()} == listed
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)


def test_a_missing_checkpoint_and_another_model_are_refused(batches, tmp_path):
    state, shardings = make_state()
    with (
        contextlib.closing(Checkpointer(tmp_path / "empty")) as checkpointer,
        pytest.raises(UserError, match="no checkpoint here"),
    ):
        checkpointer.restore(state, shardings)
    checkpointer = Checkpointer(tmp_path / "run")
    checkpointer.save(state, batches)
    checkpointer.close()
    other, shardings = make_state(width=24)
    with (
        contextlib.closing(Checkpointer(tmp_path / "run")) as checkpointer,
        pytest.raises(UserError, match="does not fit this configuration's model"),
    ):
        checkpointer.restore(other, shardings)
