"""A rival in a process of its own, with its own interpreter and memory, that runs when it is told to.

Standard library alone: the process of a peer imports this module in an environment without the project's packages.
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
    """The caller's end.

    Attributes:
      facts: what the process told when it was ready.
    """

    def __init__(self, module: str, arguments: Sequence[str], python: str = sys.executable) -> None:
        """Starts a module that calls `serve` and waits until it is ready.

        Args:
          module: name of the module.
          arguments: of its command line.
          python: interpreter that runs it.
        """
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.facts: dict[str, Any] = self._answer()

    def run(self) -> float:
        """Runs once; seconds, by the process's own clock."""
        return self._ask("run")["seconds"]

    def close(self) -> float:
        """Ends the process; the most memory that it held, in GiB."""
        peak = self._ask("end")["peak_gib"]
        self._process.communicate()
        return peak

    def _ask(self, command: str) -> dict[str, Any]:
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with status {self._process.wait()}")
        return json.loads(line)


def serve(run: Callable[[], object], facts: Mapping[str, Any]) -> None:
    """The process's end: runs and answers until it is told to end.

    Args:
      run: what is measured; it blocks until its result is there. Runs twice before the process is ready.
      facts: what is told to the caller.
    """
    for _ in range(2):
        run()
    print(json.dumps(dict(facts)), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        start = time.perf_counter()
        run()
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # ru_maxrss is in KiB on Linux
    print(json.dumps({"peak_gib": round(peak_gib, 2)}), flush=True)
