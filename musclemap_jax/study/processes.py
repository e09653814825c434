"""Runs that are processes of their own: several at a time, stopped together, each with what it wrote in a file."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from musclemap_jax.study.runs import CONSOLE, Run

STOPPED_STATUS = 75
"""Exit status of a run that was asked to stop."""
MAIN_JOB = (sys.executable, "-m", "musclemap_jax.main")
_LONGEST_LINE = 300


class Ended(NamedTuple):
    """How a run ended.

    Attributes:
      run: The run.
      status: Its exit status; None if it was not started.
      was_stopped: Whether the study was asked to stop before it ended.
      seconds: How long it took.
      last_line: The last line that it wrote.
    """

    run: Run
    status: int | None
    was_stopped: bool
    seconds: float
    last_line: str


class RunProcesses:
    """The processes of the runs that are running."""

    def __init__(self, command: Sequence[str] = MAIN_JOB) -> None:
        """Starts nothing yet; `command` is that of the main job."""
        self._command = command
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._asked = False
        self.over = False
        """Whether all runs have ended."""

    def run_all(
        self,
        runs: Sequence[Run],
        slots: Sequence[Mapping[str, str]],
        started: Callable[[Run], None],
        ended: Callable[[Ended], None],
    ) -> None:
        """Carries out runs, as many at a time as there are slots.

        Args:
          runs: The runs, in the order of their starts.
          slots: For each of the runs at a time, what is added to its environment.
          started: Called with each run that is started, in a thread of its own.
          ended: Called with each run that has ended, in this thread.
        """
        free: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        for slot in slots:
            free.put(slot)

        def job(run: Run) -> Ended:
            slot = free.get()
            try:
                return self._run(run, slot, started)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(len(slots)) as threads:
            try:
                for future in as_completed([threads.submit(job, run) for run in runs]):
                    ended(future.result())
            except BaseException:
                self.stop(signal.SIGTERM)
                raise
        self.over = True

    def stop(self, number: signal.Signals) -> None:
        """Asks all runs to save and end, and starts no more; they leave at once if SIGINT comes after another signal.

        Called in any thread.
        """
        with self._lock:
            passed_on = signal.SIGINT if self._asked and number == signal.SIGINT else signal.SIGTERM
            self._asked = True
            for process in self._running:
                process.send_signal(passed_on)

    @property
    def asked_to_stop(self) -> bool:
        """Whether `stop` was called."""
        return self._asked

    def _run(self, run: Run, slot: Mapping[str, str], started: Callable[[Run], None]) -> Ended:
        not_started = Ended(run, None, True, 0.0, "")
        if self._asked:
            return not_started
        begin_s = time.monotonic()
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / CONSOLE).open("a+b") as console:
            start = console.seek(0, os.SEEK_END)
            process = self._start(run, slot, console.fileno())
            if process is None:
                return not_started
            started(run)
            status = process.wait()
            with self._lock:
                self._running.discard(process)
            console.seek(start)
            return Ended(run, status, self._asked, time.monotonic() - begin_s, _last_line(console.read()))

    def _start(self, run: Run, slot: Mapping[str, str], console: int) -> subprocess.Popen | None:
        """Starts a run, unless the study was asked to stop."""
        command = [*self._command, *run.command, f"--stopped_status={STOPPED_STATUS}"]
        with self._lock:
            if self._asked:
                return None
            # A session of its own: Ctrl-C reaches it through `stop` alone, not a second time from the terminal.
            process = subprocess.Popen(
                command,
                env={**os.environ, **slot},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            return process


def _last_line(output: bytes) -> str:
    """The last line with text in it, of limited length."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output.decode(errors="replace"))]
    return next((line for line in reversed(lines) if line), "")[:_LONGEST_LINE]
