"""Start and end of a process among the processes of a run.

Where the scheduler says how many processes there are (Cloud TPU, GKE, SLURM, Open MPI), JAX reads it; elsewhere the
flags say it; else the process is alone. A process that dies is noticed by the others through JAX's coordination
service, whose heartbeats go on while a device waits: it ends them with a message that names the missing process.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
import traceback
from dataclasses import dataclass

import jax

from musclemap_jax.errors import USER_ERROR_STATUS, UserError
from musclemap_jax.runtime.device_memory import is_out_of_memory

PEER_TIMEOUT_S = 50
"""Silence after which a process counts as dead; with `train.stall_timeout_s` it stays below two minutes."""

FAILURE_STATUS = 1
_CONNECT_TIMEOUT_S = 300
_SHUTDOWN_TIMEOUT_S = 600
"""The others wait so long at the end while process 0 writes the report."""
_COORDINATOR_LINGERS_S = 3.0
_ABORT_MARGIN_S = 20.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessSpec:
    """How this process finds the others.

    Attributes:
      coordinator: host:port of process 0; empty to ask the scheduler.
      num_processes: of the run; 0 to ask the scheduler, 1 for a process alone whatever the scheduler says.
      process_id: number of this one; -1 to ask the scheduler.
      peer_timeout_s: seconds of silence after which a process counts as dead.
    """

    coordinator: str = ""
    num_processes: int = 0
    process_id: int = -1
    peer_timeout_s: int = PEER_TIMEOUT_S

    def __post_init__(self) -> None:
        given = (bool(self.coordinator), self.num_processes > 0, self.process_id >= 0)
        if any(given) and not all(given) and self.num_processes != 1:
            raise UserError(
                "flags --coordinator, --num_processes and --process_id go together, got "
                f"{self.coordinator!r}, {self.num_processes} and {self.process_id}"
            )
        if self.num_processes > 0 and self.process_id >= self.num_processes:
            raise UserError(f"--process_id: expected 0 to {self.num_processes - 1}, got {self.process_id}")
        if self.peer_timeout_s < 1:
            raise UserError(f"--peer_timeout_s must be at least 1, got {self.peer_timeout_s}")


def start_processes(spec: ProcessSpec) -> None:
    """Joins the other processes, if there are any; before anything touches a device.

    Raises:
      UserError: the others were not found.
    """
    if spec.num_processes == 1:
        return
    address = {}
    if spec.coordinator:
        address = {
            "coordinator_address": spec.coordinator,
            "num_processes": spec.num_processes,
            "process_id": spec.process_id,
        }
    try:
        jax.distributed.initialize(
            **address,
            heartbeat_timeout_seconds=spec.peer_timeout_s,
            shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
            initialization_timeout=_CONNECT_TIMEOUT_S,
        )
    except ValueError as error:
        if address or "should be defined" not in str(error):
            raise UserError(_unreachable(spec, error)) from error
        return  # no scheduler here: a process alone
    except RuntimeError as error:
        raise UserError(_unreachable(spec, error)) from error


def _unreachable(spec: ProcessSpec, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    return (
        f"the processes of the run did not come together at {spec.coordinator or 'the scheduler address'}: {reason}: "
        "start all of them, or give --num_processes=1 for a process alone"
    )


def describe_process() -> str:
    """One line on what this process sees."""
    local = jax.local_devices()
    return (
        f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()} (pid {os.getpid()}): "
        f"{len(local)} of {jax.device_count()} devices, {local[0].device_kind}"
    )


def finish_processes() -> None:
    """Leaves the others after a success; waits for them."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def abandon_processes(error: Exception, spec: ProcessSpec) -> None:
    """Ends this process after a failure, without waiting for the others, who may wait for it; returns if it is alone.

    Args:
      error: what happened. If it came from JAX's runtime and is not this process's own, a peer's death is the likely
        cause; then this stays until the coordination service has named the dead process and ended this one, or has
        found all alive.
      spec: of `start_processes`.
    """
    if not jax.distributed.is_initialized():
        return
    if isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    if isinstance(error, jax.errors.JaxRuntimeError) and not is_out_of_memory(error):
        print(
            f"error: {describe_process()}: {str(error).strip().splitlines()[0]}: another process may have died; "
            f"waiting up to {spec.peer_timeout_s + _ABORT_MARGIN_S:.0f} s for its number ('unhealthy tasks')",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(spec.peer_timeout_s + _ABORT_MARGIN_S)
    elif jax.process_index() == 0:
        time.sleep(_COORDINATOR_LINGERS_S)  # with process 0 goes the coordinator: let the others tell their own reason
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(USER_ERROR_STATUS if isinstance(error, UserError) else FAILURE_STATUS)
