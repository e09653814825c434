"""Tests of how a process finds the others; runs with several processes are in test_processes.py."""

import contextlib
import random
import socket
import subprocess
import sys

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.runtime.startup import ProcessSpec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_processes": 2}, "--coordinator, --num_processes and --process_id go together"),
        ({"coordinator": "a:1", "process_id": 0}, "go together"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "expected 0 to 1, got 2"),
        ({"peer_timeout_s": 0}, "--peer_timeout_s must be at least 1, got 0"),
        ({"connect_timeout_s": 0}, "--connect_timeout_s must be at least 1, got 0"),
        ({"coordinator": "a", "num_processes": 2, "process_id": 1}, "--coordinator: expected host:port of process 0"),
        ({"coordinator": "a:65536", "num_processes": 2, "process_id": 1}, "such as 10.0.0.1:1234, got 'a:65536'"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ProcessSpec(**arguments)


ALONE = """
import jax
from musclemap_jax.runtime.startup import ProcessSpec, describe_process, start_processes
assert start_processes(ProcessSpec()) is None
assert start_processes(ProcessSpec(num_processes=1)) is None
assert not jax.distributed.is_initialized()
print(describe_process())
"""


def test_without_a_scheduler_a_process_is_alone():
    # In a process of its own: here other tests may have touched the devices already.
    line = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True).stdout.strip()
    assert line.startswith("process 0 of 1 on ")
    assert line.endswith("8 of 8 devices, cpu")


SLURM = """
import jax
from musclemap_jax.runtime.startup import ProcessSpec, describe_process, finish_processes, start_processes
peers = start_processes(ProcessSpec())
print(describe_process())
finish_processes(peers)
"""


def job_with_a_free_port():
    """A job number; JAX takes the coordinator's port from it: 61440 and its last twelve bits."""
    for job in random.sample(range(4096), 4096):
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("localhost", 61440 + job))
            return job
    raise RuntimeError("no free port from 61440 to 65535")


def test_processes_find_each_other_through_slurm():
    # What srun sets for two tasks on one node.
    common = {
        "SLURM_JOB_ID": str(job_with_a_free_port()),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "JAX_PLATFORMS": "cpu",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SLURM],
            env=common | {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for number, process in enumerate(processes):
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        assert f"process {number} of 2 on " in output
        assert output.strip().endswith("1 of 2 devices, cpu")
