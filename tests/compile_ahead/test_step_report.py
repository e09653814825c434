"""Tests of the compile-ahead report on fake CPU devices: its numbers describe the step that training compiles."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from musclemap_jax.checkpoints.state import abstract_state
from musclemap_jax.compile_ahead.__main__ import as_json
from musclemap_jax.compile_ahead.report_table import report_table
from musclemap_jax.compile_ahead.step_report import OutOfMemoryError, compile_step
from musclemap_jax.compile_ahead.topology import CHIP_KINDS, Topology
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.program import batch_shapes, make_program
from musclemap_jax.runtime.saved_program import identity_of, save_program
from musclemap_jax.sharding.mesh import batch_sharding, make_mesh
from musclemap_jax.train.step import compile_train_step

NUM_DEVICES = 4


@pytest.fixture(scope="module")
def spec(tiny_video_spec):
    inputs = InputSpec(num_frames=4, crop_size=16, num_poses=8, num_persons=1, modalities=("video",))
    return dataclasses.replace(ExperimentSpec(), model=tiny_video_spec, input=inputs)


@pytest.fixture(scope="module")
def mesh():
    return make_mesh({"data": 2, "fsdp": 2, "tensor": 1}, jax.devices()[:NUM_DEVICES])


@pytest.fixture(scope="module")
def step(spec, mesh):
    return compile_step(spec, mesh, batch_size=8)


@pytest.fixture(scope="module")
def report(step):
    return step.report


def test_state_bytes_per_chip_follow_the_shardings(spec, mesh, report):
    program = make_program(spec, 10)
    _, state, shardings = abstract_state(
        program.model, program.optimizer, batch_shapes(spec.input, 8), 0, mesh, ema=False
    )
    cut = sum(
        leaf.size * 4 // (2 if "fsdp" in sharding.spec else 1)
        for leaf, sharding in zip(jax.tree.leaves(state.params), jax.tree.leaves(shardings.params), strict=True)
    )
    assert report.parameter_bytes == cut
    assert report.ema_bytes == 0
    assert 2 * cut < report.optimizer_bytes < 2 * cut + 100  # two moments and counters
    assert report.batch_bytes == 2 * (4 * 16 * 16 * 3 + 20 * 4 + 1 + 4)


def test_compiler_flops_are_close_to_those_of_the_shapes(report):
    # Of so small a model, norms and softmax are a good part.
    assert report.analytic_flops < report.flops < 3 * report.analytic_flops


def test_gradients_are_summed_over_the_devices(report):
    assert report.collectives["all-reduce"].count > 0
    sent = sum(total.bytes_sent for total in report.collectives.values())
    assert sent > report.parameter_bytes


def test_activations_are_part_of_the_temporaries(report):
    assert report.activation_bytes > 0
    assert report.temporary_bytes < report.total_bytes
    assert report.bytes_accessed > report.activation_bytes


def test_table_and_json_agree(report, mesh):
    topology = Topology("v5e:2x2", 1, CHIP_KINDS["v5e"], list(mesh.devices.flat))
    table = report_table(report, "tiny", topology)
    assert "tiny on v5e:2x2: 4 chips (data 2 x fsdp 2 x tensor 1), 8 clips a step" in table
    assert f"{report.flops / 1e12:.3f} TFLOP" in table
    assert "of 16 GiB" in table
    assert "sent by all-reduce" in table
    values = json.loads(json.dumps(as_json(report, "tiny", topology)))
    assert values["temporary_bytes"] == report.temporary_bytes
    assert values["collectives"]["all-reduce"]["count"] == report.collectives["all-reduce"].count


def test_a_saved_step_trains_as_the_compiled_one(spec, mesh, step, tmp_path):
    path = tmp_path / "step.bin"
    devices = list(mesh.devices.flat)
    save_program(step.compiled, identity_of(step.lowered, devices), path)
    program, shapes = make_program(spec, spec.train.total_steps(8)), batch_shapes(spec.input, 8)
    _, abstract, shardings = abstract_state(program.model, program.optimizer, shapes, spec.seed, mesh, ema=False)

    def start():
        return jax.tree.map(lambda x, place: jax.device_put(np.full(x.shape, 0.5, x.dtype), place), abstract, shardings)

    batch = {name: np.ones(shape.shape, shape.dtype) for name, shape in shapes.items()}
    batch = jax.device_put(batch, batch_sharding(mesh))
    state, metrics = compile_train_step(program.step, shardings, mesh, str(path))(start(), batch)
    expected, its_metrics = step.compiled(start(), batch)
    assert float(metrics["loss"]) == float(its_metrics["loss"])
    for one, other in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_array_equal(one, other)
    longer = make_program(spec, 10_000)  # another schedule
    with pytest.raises(UserError, match=r"step.bin: compiled from or for something else \(program"):
        compile_train_step(longer.step, shardings, mesh, str(path))(start(), batch)


def test_a_batch_that_the_mesh_does_not_divide_is_refused(spec, mesh):
    with pytest.raises(UserError, match="batch=6 is not a multiple of 4"):
        compile_step(spec, mesh, batch_size=6)


def test_bytes_are_read_from_the_compilers_message():
    message = (
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
        "Used 16.97G of 15.75G hbm. Exceeded hbm capacity by 1.22G."
    )
    error = OutOfMemoryError(message)
    assert error.needed_bytes == int(16.97 * 2**30)
    assert error.usable_bytes == int(15.75 * 2**30)
    assert OutOfMemoryError("RESOURCE_EXHAUSTED").usable_bytes == 0
