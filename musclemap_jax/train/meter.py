"""Means of the training metrics between two log lines, with speed, data wait and memory."""

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
          batch_size: Clips per step, over all processes.
          flops_per_clip: FLOPs of a training step per clip, counted from the model's shapes.
          peak_flops: Peak FLOP/s of all devices together; None to leave out the utilisation.
        """
        self._batch_size = batch_size
        self._mfu_per_clip = flops_per_clip / peak_flops if flops_per_clip and peak_flops else None
        self._reset()

    def _reset(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._waiting_s = self._pausing_s = 0.0
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def waiting(self) -> Generator[None]:
        """Counts the time inside as spent waiting for data."""
        started = time.perf_counter()
        yield
        self._waiting_s += time.perf_counter() - started

    @contextlib.contextmanager
    def pausing(self) -> Generator[None]:
        """Leaves out the time inside, such as an evaluation's."""
        started = time.perf_counter()
        yield
        self._pausing_s += time.perf_counter() - started

    def add(self, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Adds a step's metrics; blocks until they are computed."""
        row = {name: float(value) for name, value in metrics.items()}
        self._rows.append(row)
        return row

    def take(self) -> dict[str, float]:
        """Returns the values since the last call and starts over.

        Returns:
          {``train/<metric>``: value}, with the means of the steps' metrics, each over the steps that have it, speed and
          the fraction of time spent waiting for data. ``train/mfu`` is the fraction of the devices' peak FLOP/s that
          the model's FLOPs used, absent if the peak is not known; ``train/device_memory_gib`` is the peak memory of
          this process's first device so far, absent if the device does not report it.
        """
        elapsed_s = time.perf_counter() - self._since - self._pausing_s
        names = dict.fromkeys(name for row in self._rows for name in row)
        values = {f"train/{name}": float(np.mean([row[name] for row in self._rows if name in row])) for name in names}
        clips_per_second = len(self._rows) * self._batch_size / elapsed_s
        values["train/step_seconds"] = elapsed_s / len(self._rows)
        values["train/clips_per_second"] = clips_per_second
        values["train/data_wait_fraction"] = self._waiting_s / elapsed_s
        if self._mfu_per_clip is not None:
            values["train/mfu"] = clips_per_second * self._mfu_per_clip
        memory = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in memory:
            values["train/device_memory_gib"] = memory["peak_bytes_in_use"] / GIBIBYTE
        self._reset()
        return values
