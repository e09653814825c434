"""What a process that makes batches for a trainer does at its start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import cv2

_ORPHANED_STATUS = 1


def one_opencv_thread() -> None:
    """Threads and workers that make batches already fill the cores; OpenCV's own would only compete with them."""
    cv2.setNumThreads(0)


def prepare_worker(*_: int) -> None:
    """Ties the process to its trainer: it outlives a SIGTERM to the group, and not the trainer's death."""
    one_opencv_thread()
    # Schedulers send it to the whole process group; the trainer needs its workers until it has saved, then ends them.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A trainer that is killed cannot end its workers, who would wait for it for ever.
    threading.Thread(target=_end_with_parent, name="end_with_parent", daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # ty: ignore[missing-union-attribute]  # a child process has one
    os._exit(_ORPHANED_STATUS)
