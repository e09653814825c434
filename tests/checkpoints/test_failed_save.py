"""A save that fails for another reason than a full disk, in one process and in two that have to wait for each other."""

import re

import pytest

from tests.processes import ended, free_address

SAVES = """
import shutil, sys, time
from pathlib import Path
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.errors import exit_on_user_error
from musclemap_jax.runtime.barrier import barrier
from musclemap_jax.runtime.process_exit import exit_process
from musclemap_jax.runtime.startup import ProcessSpec, abandon_processes, start_processes

workdir, address, count, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
peers = start_processes(ProcessSpec(address, count, number) if count > 1 else ProcessSpec(num_processes=1))
mesh = Mesh(np.array(jax.devices()), ("data",))

class Position:
    def get_state(self):
        return {"place": 3}

def put(value, *axes):
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

def state(step):
    params = {"video": put(np.arange(1000, dtype=np.float32), "data")}
    return TrainState(put(np.array(step, np.int32)), params, {}, (), None, put(np.int32(0)), put(np.uint32(0)))

def save():
    checkpointer = Checkpointer(workdir, keep=2)
    checkpointer.save(state(1), Position())
    checkpointer.wait()
    barrier("saved")
    if number == 0:  # a disk that is gone
        (workdir / "checkpoints").rename(workdir / "moved")
        (workdir / "checkpoints").touch()
    barrier("gone")
    try:
        checkpointer.save(state(2), Position())
        while True:  # training goes on
            checkpointer.check()
            time.sleep(0.01)
    finally:
        checkpointer.close()

def body():
    try:
        save()
    except Exception as error:
        abandon_processes(error, peers)
        raise

exit_process(exit_on_user_error(body))
"""


@pytest.mark.parametrize("count", [1, 2])
def test_a_failed_save_ends_every_process_at_once_with_its_reason(count, processes, tmp_path):
    address = free_address()
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1", "JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin"}
    started = [processes.python(SAVES, tmp_path, address, count, number, env=flags) for number in range(count)]
    results = ended(started, timeout_s=60)
    reason = (
        rf"{tmp_path}/checkpoints: a checkpoint could not be written \(NotADirectoryError: .*\); there is no earlier "
        "checkpoint: correct that and run the same command to resume from there"
    )
    for number, (status, _, errors) in enumerate(results):
        assert status == 2, errors
        prefix = "" if number == 0 else r"process 1 of 2 on \S+: process 0 failed: "
        assert re.fullmatch(f"error: {prefix}{reason}", errors.strip().splitlines()[-1])
