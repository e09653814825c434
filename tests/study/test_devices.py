"""Which GPUs each of several runs sees."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.study import devices
from musclemap_jax.study.devices import slot_environments, visible_gpus


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with three GPUs and JAX for them."""
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    plugin = EntryPoint("xla_cuda13", "jax_plugins.xla_cuda13", "jax_plugins")
    monkeypatch.setattr(devices, "entry_points", lambda group: [plugin])
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({}, ["0", "1", "2"]),
        ({"JAX_PLATFORMS": "cuda,cpu"}, ["0", "1", "2"]),
        ({"JAX_PLATFORMS": "cpu"}, []),
        ({"CUDA_VISIBLE_DEVICES": "2, GPU-8d6e"}, ["2", "GPU-8d6e"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
    ],
)
def test_the_gpus_that_a_process_would_see(machine, environment, gpus):
    assert visible_gpus(environment, machine) == gpus


def test_without_jax_for_gpus_there_are_none(machine, monkeypatch):
    monkeypatch.setattr(devices, "entry_points", lambda group: [])
    assert visible_gpus({}, machine) == []


@pytest.mark.parametrize(
    ("parallel", "gpus", "visible"),
    [
        (None, ["0", "1", "2"], ["0", "1", "2"]),
        (1, ["0", "1", "2"], ["0,1,2"]),
        (2, ["0", "1", "2", "3"], ["0,1", "2,3"]),
        (2, ["0", "1", "2"], ["0", "1"]),
        (3, ["7"], ["7", "7", "7"]),
    ],
)
def test_runs_get_equal_parts_of_the_gpus(parallel, gpus, visible):
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slot_environments(parallel, {}, gpus)] == visible


def test_runs_on_one_gpu_get_equal_parts_of_its_memory():
    name = "XLA_PYTHON_CLIENT_MEM_FRACTION"
    assert [slot.get(name) for slot in slot_environments(3, {}, ["0", "1"])] == ["0.450"] * 3
    assert [slot.get(name) for slot in slot_environments(2, {}, ["0", "1"])] == [None, None]
    assert [slot.get(name) for slot in slot_environments(2, {name: "0.2"}, ["0"])] == [None, None]


def test_without_gpus_one_run_at_a_time_is_the_default():
    assert slot_environments(None, {}, []) == [{}]
    assert slot_environments(2, {}, []) == [{}, {}]
    with pytest.raises(UserError, match="--parallel=0: expected at least 1"):
        slot_environments(0, {}, [])
