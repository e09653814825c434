"""Runs a function over many items in worker processes, results in order and few in flight.

Why not multiprocessing: fork is unsafe once JAX has started its threads; spawn imports the caller's main module again
in every worker (seconds, and a script without a main guard starts itself anew); and a pool does not outlive a worker
that a damaged file crashes. Here a worker is a plain ``python -m tfds_musclemap.build.worker_pool`` that takes pickled
calls on its standard input, and a crash is the result of one item.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import pickle
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<Q")
_MODULE = "tfds_musclemap.build.worker_pool"

_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""glibc hands large blocks back to the system as soon as they are free; a worker takes some megabytes anew for every
clip, and the page faults were a tenth of its time."""


def num_cpus() -> int:
    """CPUs that this process may use, where the system tells (Linux)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerCrash(Exception):
    """The worker process died while it worked on an item."""


class WorkerPool:
    """Worker processes; a context manager that ends them.

    Attributes:
      num_workers: processes; 1 works in the calling process itself, where a crash cannot be caught.
    """

    def __init__(self, num_workers: int):
        self.num_workers = max(1, num_workers)
        self._local = threading.local()
        self._processes: list[subprocess.Popen] = []
        self._threads = ThreadPoolExecutor(self.num_workers) if self.num_workers > 1 else None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes:
            process.kill()
        if self._threads:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            _close(process)

    def map(self, function: Callable[..., Any], items: Iterable[tuple]) -> Iterator[Any]:
        """Yields ``function(*item)`` in the order of the items; at most 2 results a worker wait to be taken.

        Args:
          function: of a module, since it is pickled by name.
          items: its arguments, small: they travel to the workers.

        Yields:
          The result, or a WorkerCrash in its place.

        Raises:
          RuntimeError: the function raised; with the worker's traceback.
        """
        if self._threads is None:
            for item in items:
                yield function(*item)
            return
        waiting: collections.deque = collections.deque()
        for item in items:
            waiting.append(self._threads.submit(self._call, function, item))
            if len(waiting) > 2 * self.num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _call(self, function: Callable[..., Any], item: tuple) -> Any:
        """Runs in a thread of this process: each thread has one worker."""
        process = getattr(self._local, "process", None)
        if process is None:
            process = self._local.process = _start()
            self._processes.append(process)
        try:
            _send(process.stdin, (function, item))
            succeeded, result = _receive(process.stdout)
        except (EOFError, BrokenPipeError):
            self._local.process = None
            status = process.wait()
            return WorkerCrash(f"the process that read it ended with status {status}")
        if not succeeded:
            raise RuntimeError(f"a worker failed at {item}:\n{result}")
        return result


def _start() -> subprocess.Popen:
    environment = (
        _KEPT_MEMORY
        | os.environ
        | {
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
            # One process a core: numerical libraries must not start threads of their own.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "OPENCV_FOR_THREADS_NUM": "1",
        }
    )
    process = subprocess.Popen(
        [sys.executable, "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    _widen(process.stdout)
    return process


def _widen(pipe: BinaryIO) -> None:
    """A clip is some megabytes: through Linux's 64 KiB at a time, both processes would wake dozens of times for it."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # a user's pipes may hold 64 MiB together: the rest stay as they are
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _close(process: subprocess.Popen) -> None:
    process.wait()
    process.stdout.close()
    try:
        process.stdin.close()
    except BrokenPipeError:
        return  # it died with a call in its buffer


def _send(stream: BinaryIO, value: Any) -> None:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: BinaryIO) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    length = _LENGTH.unpack(head)[0]
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def _work() -> None:
    """Answers calls until standard input ends, as it does when the parent dies."""
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    calls = sys.stdin.buffer
    while True:
        try:
            function, item = _receive(calls)
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = (True, function(*item))
        except KeyboardInterrupt:
            return
        except Exception:  # handed to the parent, which raises it
            answer = (False, traceback.format_exc())
        try:
            _send(answers, answer)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    _work()
