"""Start and end of a process among the processes of a run.

JAX reads the number of processes from the scheduler (Cloud TPU, GKE, SLURM, Open MPI); elsewhere the flags give it;
otherwise the process is alone. `peers` ends the others when one process dies.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

import jax

from musclemap_jax.errors import USER_ERROR_STATUS, UserError
from musclemap_jax.runtime.device_memory import is_out_of_memory
from musclemap_jax.runtime.peers import PeerWatch

PEER_TIMEOUT_S = 50
"""Silence after which a process counts as dead; together with `train.stall_timeout_s` below two minutes."""

FAILURE_STATUS = 1
_CONNECT_TIMEOUT_S = 300
_SHUTDOWN_TIMEOUT_S = 600
"""How long the others wait at the end while process 0 writes the report."""
_VERDICT_MARGIN_S = 20.0
_JAX_MARGIN_S = 30
"""JAX's coordination service waits longer than our watch: it would end the process by an abort."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessSpec:
    """How this process finds the others.

    Attributes:
      coordinator: host:port of process 0; empty to ask the scheduler.
      num_processes: Processes of the run; 0 to ask the scheduler, 1 for a process alone whatever the scheduler says.
      process_id: Number of this process; -1 to ask the scheduler.
      peer_timeout_s: Seconds of silence after which a process counts as dead.
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


def start_processes(spec: ProcessSpec) -> PeerWatch | None:
    """Connects to the other processes, if there are any; call it before anything touches a device.

    Returns:
      The watch over the others; None for a process alone.

    Raises:
      UserError: The others were not found.
    """
    if spec.num_processes == 1:
        return None
    address: dict[str, Any] = {}
    if spec.coordinator:
        address = {
            "coordinator_address": spec.coordinator,
            "num_processes": spec.num_processes,
            "process_id": spec.process_id,
        }
    try:
        jax.distributed.initialize(
            **address,
            heartbeat_timeout_seconds=2 * spec.peer_timeout_s + _JAX_MARGIN_S,
            shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
            initialization_timeout=_CONNECT_TIMEOUT_S,
        )
    except ValueError as error:
        if address or "should be defined" not in str(error):
            raise UserError(_unreachable(spec, error)) from error
        return None  # no scheduler here: a process alone
    except RuntimeError as error:
        raise UserError(_unreachable(spec, error)) from error
    return PeerWatch(spec.peer_timeout_s)


def _unreachable(spec: ProcessSpec, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    return (
        f"could not connect all processes at {spec.coordinator or 'the address given by the scheduler'}: {reason}: "
        "start all of them, or pass --num_processes=1 to run one process alone"
    )


def describe_process() -> str:
    """One line with this process's number, host and devices."""
    local = jax.local_devices()
    return (
        f"process {jax.process_index()} of {jax.process_count()} on {socket.gethostname()} (pid {os.getpid()}): "
        f"{len(local)} of {jax.device_count()} devices, {local[0].device_kind}"
    )


def finish_processes(peers: PeerWatch | None) -> None:
    """Leaves the others after a success, once all have finished."""
    if peers is not None:
        peers.leave()
        jax.distributed.shutdown()
        peers.close()


def abandon_processes(error: Exception, peers: PeerWatch | None) -> None:
    """Ends this process and the others after a failure; returns if it is alone.

    Args:
      error: What happened. If it came from JAX's runtime and is not this process's own, the likely cause is the death
        of another one; then this process stays until its watch has named that one and ended it, or all prove alive.
      peers: The result of `start_processes`.
    """
    if peers is None:
        return
    if isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, jax.errors.JaxRuntimeError) and not is_out_of_memory(error):
        wait_s = peers.timeout_s + _VERDICT_MARGIN_S
        print(
            f"error: {reason}: another process may have died; waiting up to {wait_s:.0f} s to learn which",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(wait_s)
    sys.stdout.flush()
    sys.stderr.flush()
    status = USER_ERROR_STATUS if isinstance(error, UserError) else FAILURE_STATUS
    peers.report_failure(status, reason)
    os._exit(status)
