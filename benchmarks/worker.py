"""A rival in a process of its own, with its own interpreter and memory, that runs on request.

Uses only the standard library: a peer's process imports this module in an environment without this project's packages.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Worker:
    """The caller's side.

    Attributes:
      facts: What the process reported when it was ready.
      cpu_seconds: Core seconds of each run; other load on the machine hardly changes them.
    """

    def __init__(self, module: str, arguments: Sequence[str], python: str = sys.executable) -> None:
        """Starts a module that calls `serve` and waits until it is ready.

        Args:
          module: Name of the module.
          arguments: Its command line arguments.
          python: Interpreter that runs it.
        """
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.facts: dict[str, Any] = self._answer()
        self.cpu_seconds: list[float] = []

    def run(self) -> float:
        """Runs once; returns seconds by the process's own clock."""
        answer = self._ask("run")
        self.cpu_seconds.append(answer["cpu_seconds"])
        return answer["seconds"]

    def close(self) -> float:
        """Ends the process; returns its peak memory in GiB."""
        peak = self._ask("end")["peak_gib"]
        self._process.communicate()
        return peak

    def _ask(self, command: str) -> dict[str, Any]:
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} exited with status {self._process.wait()}")
        return json.loads(line)


def serve(run: Callable[[], object], facts: Mapping[str, Any]) -> None:
    """The process's side: runs and answers until it is asked to end.

    Args:
      run: Function to time; it blocks until its result is ready. It is called once before the process is ready.
      facts: What to report to the caller.
    """
    run()
    print(json.dumps(dict(facts)), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        start, cpu_start = time.perf_counter(), time.process_time()
        run()
        seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
        print(json.dumps(seconds), flush=True)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # ru_maxrss is in KiB on Linux
    print(json.dumps({"peak_gib": round(peak_gib, 2)}), flush=True)
