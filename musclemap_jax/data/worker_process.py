"""Set-up of the processes that make batches for a trainer."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import cv2

from musclemap_jax.runtime.signals import STOP_SIGNALS


def one_opencv_thread() -> None:
    """Turns OpenCV's threads off: the threads and workers that make batches already fill the cores."""
    cv2.setNumThreads(0)


def prepare_worker(*_: int) -> None:
    """Ties the process to its trainer: it ignores what asks the run to stop, and ends when the trainer dies."""
    one_opencv_thread()
    # Schedulers and terminals signal the whole process group. The trainer ends its workers itself after its last save.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    # A trainer that is killed cannot end its workers, which would wait for it forever.
    threading.Thread(target=_end_with_parent, name="end_with_parent", daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # ty: ignore[missing-union-attribute]  # a child process has one
    os._exit(1)
