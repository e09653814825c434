"""A command as a rival: a whole process, from start to exit, with the largest memory that it took."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from benchmarks.memory import tree_bytes

SAMPLE_EVERY_S = 0.1


class MeasuredProcess:
    """Runs a Python command as often as it is called.

    Attributes:
      command: The command.
      peak_bytes: The largest memory of the process and its descendants in any run (Pss), sampled ten times a second.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        """Takes the arguments of the Python interpreter."""
        self.command = [sys.executable, *arguments]
        self.peak_bytes = 0

    def __call__(self) -> float:
        """Runs the command; returns the seconds that it took.

        Raises:
          RuntimeError: It failed.
        """
        start = time.perf_counter()
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        sampler = threading.Thread(target=self._sample, args=(process,))
        sampler.start()
        _, errors = process.communicate()
        seconds = time.perf_counter() - start
        sampler.join()
        if process.returncode:
            raise RuntimeError(f"{' '.join(self.command)}: status {process.returncode}: {errors[-500:]}")
        return seconds

    def _sample(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            self.peak_bytes = max(self.peak_bytes, tree_bytes(process.pid))
            time.sleep(SAMPLE_EVERY_S)
