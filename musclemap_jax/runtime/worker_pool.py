"""Runs a function over many items in worker processes, with results in order and few items in flight.

Why not multiprocessing: fork is unsafe once JAX has started its threads; spawn imports the caller's main module again
in every worker, which takes seconds and restarts a script that has no main guard; and its pools do not survive a worker
that a damaged file crashes. Here a worker is a plain ``python -m musclemap_jax.runtime.worker_pool`` that reads pickled
calls from its standard input, and a crash is the result of one item.
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
_MODULE = "musclemap_jax.runtime.worker_pool"

_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""By default glibc returns large blocks to the system as soon as they are free. A worker allocates some megabytes for
every clip, and the page faults took a tenth of its time."""


def num_cpus() -> int:
    """CPUs that this process may use on Linux; elsewhere all CPUs."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerCrash(Exception):
    """The worker process died while working on an item."""


class WorkerPool:
    """A context manager that starts worker processes as they are needed and ends them.

    Attributes:
      num_workers: Number of processes. With 1 the work is done in the calling process, where a crash is not caught.
    """

    def __init__(self, num_workers: int):
        self.num_workers = max(1, num_workers)
        self._local = threading.local()
        self._processes: list[subprocess.Popen] = []
        self._is_closing = False
        self._threads = ThreadPoolExecutor(self.num_workers) if self.num_workers > 1 else None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_closing = True
        for process in self._processes:
            process.kill()
        if self._threads:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            _close(process)

    def map(self, function: Callable[..., Any], items: Iterable[tuple]) -> Iterator[Any]:
        """Yields ``function(*item)`` in the order of the items; at most 2 results per worker are held back.

        Args:
          function: A module-level function, since it is pickled by name.
          items: The arguments of each call; keep them small, since they are sent to the workers.

        Yields:
          The result, or a WorkerCrash in its place.

        Raises:
          RuntimeError: The function raised; the message holds the worker's traceback.
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
        """Runs in a thread of this process; each thread has a worker of its own."""
        process = getattr(self._local, "process", None)
        if process is None:
            process = self._local.process = _start()
            self._processes.append(process)
            if self._is_closing:  # in place of one that has died
                process.kill()
        try:
            _send(process.stdin, (function, item))
            succeeded, result = _receive(process.stdout)
        except (EOFError, BrokenPipeError):
            self._local.process = None
            status = process.wait()
            return WorkerCrash(f"its worker process ended with status {status}")
        if not succeeded:
            raise RuntimeError(f"a worker failed at {item}:\n{result}")
        return result


def _start() -> subprocess.Popen:
    environment = (
        _KEPT_MEMORY
        | os.environ
        | {
            "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
            # The workers fill the cores: numerical libraries must not start threads of their own.
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
    """Enlarges a pipe: at Linux's 64 KiB both processes would wake dozens of times for the megabytes of a clip."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # beyond 64 MiB for all of a user's pipes the default size stays
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)


def _close(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()
    try:
        process.stdin.close()
    except BrokenPipeError:
        return  # the worker died with a call in its buffer


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
    """Answers calls until standard input ends, which it does when the parent dies."""
    # Keep output of libraries out of the answers.
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
        except Exception:  # the parent raises it
            answer = (False, traceback.format_exc())
        try:
            _send(answers, answer)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    _work()
