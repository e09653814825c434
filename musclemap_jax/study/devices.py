"""Which devices each of several runs at a time sees: its part of the machine's GPUs, by CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

from musclemap_jax.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"
_USED = 0.9
"""Fraction of a GPU's memory that the runs on it take together."""


def visible_gpus(environment: Mapping[str, str], device_files: Path = Path("/dev")) -> list[str]:
    """Names, for CUDA_VISIBLE_DEVICES, of the GPUs that a process would see; found without starting JAX.

    Args:
      environment: The process's environment.
      device_files: Folder of the device files `nvidia0`, `nvidia1`, ...
    """
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return []
    if VISIBLE in environment:
        names = [name.strip() for name in environment[VISIBLE].split(",")]
        return [name for name in names if name and name != "-1"]
    if not any("cuda" in plugin.name for plugin in entry_points(group="jax_plugins")):
        return []
    return [str(number) for number in range(len(list(device_files.glob("nvidia[0-9]*"))))]


def slot_environments(parallel: int | None, environment: Mapping[str, str], gpus: list[str]) -> list[dict[str, str]]:
    """What is added to the environment of each of the runs that run at the same time.

    On a machine with GPUs, each run sees one or, with fewer runs than GPUs, an equal part of them; if there are more
    runs than GPUs, several take their parts of one GPU's memory.

    Args:
      parallel: Number of runs at a time; by default the number of GPUs, 1 without any.
      environment: The environment that it is added to; a memory fraction that it sets stays.
      gpus: The result of `visible_gpus`.

    Raises:
      UserError: An impossible number.
    """
    count = max(1, len(gpus)) if parallel is None else parallel
    if count < 1:
        raise UserError(f"--parallel={count}: expected at least 1")
    if not gpus:
        return [{} for _ in range(count)]
    if count <= len(gpus):
        size = len(gpus) // count
        return [{VISIBLE: ",".join(gpus[size * slot : size * (slot + 1)])} for slot in range(count)]
    fraction = _USED / math.ceil(count / len(gpus))
    memory = {} if _FRACTION in environment else {_FRACTION: f"{fraction:.3f}"}
    return [{VISIBLE: gpus[slot % len(gpus)], **memory} for slot in range(count)]
