"""Means of the training metrics between two log lines, and what the machine did meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator

import jax
import numpy as np

GIBIBYTE = 2**30


class Meter:
    """Collects the metrics of steps and the time spent on them."""

    def __init__(self, batch_size: int, flops_per_clip: float | None = None, peak_flops: float | None = None) -> None:
        """Starts the clock.

        Args:
          batch_size: clips in a step, over all processes.
          flops_per_clip: floating point operations of a training step for each clip, by the model's arithmetic.
          peak_flops: operations a second that all devices together can do; None leaves the utilisation out.
        """
        self._batch_size = batch_size
        self._peak_share = flops_per_clip / peak_flops if flops_per_clip and peak_flops else None
        self._start_anew()

    def _start_anew(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._waiting_s = 0.0
        self._pausing_s = 0.0
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def waiting(self) -> Generator[None]:
        """Counts the time inside as spent waiting for data."""
        started = time.perf_counter()
        yield
        self._waiting_s += time.perf_counter() - started

    @contextlib.contextmanager
    def pausing(self) -> Generator[None]:
        """Leaves out the time inside, which is not training's: an evaluation's."""
        started = time.perf_counter()
        yield
        self._pausing_s += time.perf_counter() - started

    def add(self, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Adds a step's metrics; blocks until they are computed."""
        row = {name: float(value) for name, value in metrics.items()}
        self._rows.append(row)
        return row

    def take(self) -> dict[str, float]:
        """The means by name, speed, share of time spent waiting for data, memory; starts anew.

        Returns:
          {``train/<metric>``: value}; ``train/mfu`` is the share of the devices' peak that the model's arithmetic
          used, and absent where the peak is not known; ``train/device_memory_gib`` is the highest use of this process's
          first device so far, and absent where the device does not tell.
        """
        elapsed_s = time.perf_counter() - self._since - self._pausing_s
        values = {f"train/{name}": float(np.mean([row[name] for row in self._rows])) for name in self._rows[0]}
        clips_per_second = len(self._rows) * self._batch_size / elapsed_s
        values["train/step_seconds"] = elapsed_s / len(self._rows)
        values["train/clips_per_second"] = clips_per_second
        values["train/data_wait_share"] = self._waiting_s / elapsed_s
        if self._peak_share is not None:
            values["train/mfu"] = clips_per_second * self._peak_share
        memory = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in memory:
            values["train/device_memory_gib"] = memory["peak_bytes_in_use"] / GIBIBYTE
        self._start_anew()
        return values
