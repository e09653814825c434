"""Programs saved to a file run as those that were compiled here."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from musclemap_jax.errors import UserError
from musclemap_jax.runtime.barrier import SynchronizedJit
from musclemap_jax.runtime.saved_program import identity_of, load_program, save_program


@pytest.fixture(scope="module")
def devices():
    return jax.devices()[:4]


def lowered_for(devices, factor):
    mesh = jax.sharding.Mesh(np.asarray(devices), ("data",))
    sharded = NamedSharding(mesh, PartitionSpec("data"))

    def step(state, batch):
        new = {"w": state["w"] * factor + jnp.sum(batch)}
        return new, {"mean": jnp.mean(new["w"])}

    function = jax.jit(step, in_shardings=({"w": sharded}, sharded), donate_argnums=0)
    shape = jax.ShapeDtypeStruct((8,), jnp.float32)
    return function, function.lower({"w": shape}, shape)


@pytest.fixture(scope="module")
def saved(devices, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "step.bin"
    _, lowered = lowered_for(devices, 2.0)
    assert save_program(lowered.compile(), identity_of(lowered, devices), path) == path.stat().st_size
    return path


def arguments():
    return {"w": jnp.arange(8, dtype=jnp.float32)}, jnp.ones(8)


def test_a_loaded_program_returns_what_the_compiled_one_does(saved, devices):
    function, lowered = lowered_for(devices, 2.0)
    loaded = load_program(saved, lowered, devices)
    (state, metrics), (expected, its_metrics) = loaded(*arguments()), function(*arguments())
    np.testing.assert_array_equal(state["w"], expected["w"])
    np.testing.assert_array_equal(state["w"], np.arange(8) * 2 + 8)
    assert metrics["mean"] == its_metrics["mean"]
    assert state["w"].sharding == expected["w"].sharding


def test_a_step_takes_the_loaded_program(saved, devices):
    function, _ = lowered_for(devices, 2.0)
    obtained = []

    def obtain(lowered):
        obtained.append(load_program(saved, lowered, devices))
        return obtained[-1]

    step = SynchronizedJit(function, "step", obtain)
    for _ in range(2):
        np.testing.assert_array_equal(step(*arguments())[0]["w"], np.arange(8) * 2 + 8)
    assert len(obtained) == 1


def test_another_program_is_refused_with_what_differs(saved, devices):
    _, lowered = lowered_for(devices, 3.0)
    with pytest.raises(
        UserError, match=r"step.bin: compiled from or for something else \(program \w+ there, \w+ here\)"
    ):
        load_program(saved, lowered, devices)
    other = jax.devices()[4:6]
    _, lowered = lowered_for(other, 2.0)
    with pytest.raises(UserError, match="devices 4 x cpu there, 2 x cpu here"):
        load_program(saved, lowered, other)


def test_a_file_of_another_version_is_refused(saved, devices, tmp_path):
    head, _, payload = saved.read_bytes().partition(b"\n")
    old = tmp_path / "old.bin"
    old.write_bytes(json.dumps(json.loads(head) | {"jaxlib": "0.1"}).encode() + b"\n" + payload)
    _, lowered = lowered_for(devices, 2.0)
    with pytest.raises(UserError, match=r"jaxlib 0.1 there, \d"):
        load_program(old, lowered, devices)


@pytest.mark.parametrize("content", [b"", b"no json\nrest"])
def test_other_files_are_refused(devices, tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    _, lowered = lowered_for(devices, 2.0)
    for name in (path, tmp_path / "absent"):
        with pytest.raises(UserError, match="not a program of compile_ahead --save"):
            load_program(name, lowered, devices)
