"""Start and end of a process among the processes of a run.

JAX reads the number of processes from the scheduler (Cloud TPU, GKE, SLURM, Open MPI); elsewhere the flags give it;
otherwise the process is alone. They meet in `rendezvous`; `peers` ends the others when one process dies.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
from jax._src.clusters import ClusterEnv  # what the scheduler says has no public name

from musclemap_jax.errors import AbsentProcessError, UserError
from musclemap_jax.runtime import rendezvous
from musclemap_jax.runtime.device_memory import is_out_of_memory
from musclemap_jax.runtime.peers import PeerWatch
from musclemap_jax.runtime.process_exit import FAILURE_STATUS, exit_process
from musclemap_jax.runtime.rendezvous import Group

PEER_TIMEOUT_S = 50
"""Silence after which a process counts as dead; together with `train.stall_timeout_s` below two minutes."""

CONNECT_TIMEOUT_S = 300
"""How long a process waits for the others at the start."""

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
      connect_timeout_s: Seconds to wait for the others at the start.
    """

    coordinator: str = ""
    num_processes: int = 0
    process_id: int = -1
    peer_timeout_s: int = PEER_TIMEOUT_S
    connect_timeout_s: int = CONNECT_TIMEOUT_S

    def __post_init__(self) -> None:
        given = (bool(self.coordinator), self.num_processes > 0, self.process_id >= 0)
        if any(given) and not all(given) and self.num_processes != 1:
            raise UserError(
                "flags --coordinator, --num_processes and --process_id go together, got "
                f"{self.coordinator!r}, {self.num_processes} and {self.process_id}"
            )
        if self.num_processes > 0 and self.process_id >= self.num_processes:
            raise UserError(f"--process_id: expected 0 to {self.num_processes - 1}, got {self.process_id}")
        if self.coordinator:
            _check_address("--coordinator", self.coordinator)
        for name in ("peer_timeout_s", "connect_timeout_s"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(self, name)}")


def start_processes(spec: ProcessSpec, claim: Callable[[], None] = lambda: None) -> PeerWatch | None:
    """Connects to the other processes, if there are any; call it before anything touches a device.

    Args:
      claim: Called before that by process 0, or a process alone; its UserError ends all of them.

    Returns:
      The watch over the others; None for a process alone.

    Raises:
      UserError: The others did not come, or process 0 cannot start.
    """
    group, local_devices = (None, None) if spec.num_processes == 1 else _find_group(spec)
    if group is None or group.number == 0:
        try:
            claim()
        except UserError as error:
            if group is not None:
                rendezvous.refuse(group, str(error))
            raise
    if group is None:
        return None
    connections, address = rendezvous.meet(group)
    peers = PeerWatch(group, connections, spec.peer_timeout_s)
    # JAX's own would take SIGTERM from `signals`, and no other signal.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            address,
            group.count,
            group.number,
            local_devices,
            cluster_detection_method="deactivate",
            heartbeat_timeout_seconds=2 * spec.peer_timeout_s + _JAX_MARGIN_S,
            shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT_S,
            initialization_timeout=spec.connect_timeout_s,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise AbsentProcessError(
            f"{group}: JAX could not connect to process 0 at {address}: {reason}: allow traffic between the machines "
            "on all ports"
        ) from error
    return peers


def _check_address(name: str, address: str) -> None:
    """Raises UserError unless an address, given by a flag or a variable of that name, is host:port."""
    match = re.fullmatch(r".+:(\d{1,5})", address)
    if match is None or not 0 < int(match[1]) < 2**16:
        raise UserError(f"{name}: expected host:port of process 0, such as 10.0.0.1:1234, got {address!r}")


def _find_group(spec: ProcessSpec) -> tuple[Group | None, Sequence[int] | None]:
    """The processes as the flags or the scheduler give them, None for one alone; and the devices of this one, if set.

    Raises:
      UserError: The scheduler's environment is incomplete.
    """
    devices = os.environ.get("JAX_LOCAL_DEVICE_IDS")
    try:
        address, count, number, local_devices = ClusterEnv.auto_detect_unset_distributed_params(
            spec.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS"),
            spec.num_processes or None,
            spec.process_id if spec.process_id >= 0 else None,
            [int(device) for device in devices.split(",")] if devices else None,
            None,
            spec.connect_timeout_s,
        )
    except Exception as error:  # a scheduler may raise any
        raise UserError(
            f"could not read from the scheduler which processes there are ({error}): pass --coordinator, "
            "--num_processes and --process_id, or --num_processes=1 to run one process alone"
        ) from error
    if address is None or count == 1:
        return None, None
    _check_address("JAX_COORDINATOR_ADDRESS", address)
    if count is None or number is None:
        raise UserError(
            f"JAX_COORDINATOR_ADDRESS is {address}, but nothing gives the number of processes: pass --num_processes "
            "and --process_id, or --num_processes=1 to run one process alone"
        )
    return Group(address, number, count, spec.connect_timeout_s), local_devices


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
    status = error.status if isinstance(error, UserError) else FAILURE_STATUS
    peers.report_failure(status, reason)
    exit_process(status)
