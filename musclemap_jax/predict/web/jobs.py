"""The videos that wait for an answer, one of which is worked on, and the answers that are fetched.

A job lives as long as somebody looks: a visitor's page holds a connection for it. When the page is closed, the work
ends and everything is forgotten. The video is deleted as soon as there is an answer, which is kept in memory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musclemap_jax.errors import UserError
from musclemap_jax.predict.web.worker import CANCEL, RESULTS, VIDEO
from musclemap_jax.predict.web.worker_process import WorkerError, WorkerProcess

WAITING, WORKING, DONE, FAILED = "waiting", "working", "done", "failed"

RESULT_FILES = {
    "report.html": "text/html; charset=utf-8",
    "muscles.json": "application/json",
    "muscles.csv": "text/csv; charset=utf-8",
}
"""What a visitor can fetch, and its type."""

GRACE_S = 15.0
"""A job that nobody has looked at for so long is dropped."""

KEPT_S = 600.0
"""An answer is kept for so long after the last look: long enough to go back to the page."""

MAX_ANSWERS = 16
"""Answers that are kept at most; the oldest ones are forgotten."""

CANCEL_S = 5.0
"""A worker that does not end a cancelled job in this time is killed."""

_SWEEP_S = 1.0


class BusyError(Exception):
    """There is no room for another video."""


@dataclasses.dataclass
class Job:
    """A video and what becomes of it.

    Attributes:
      name: Name of the video's file.
      expect: The exercise that the visitor expects; empty for none.
      folder: Where it is, until there is an answer.
      token: By which its visitor, and nobody else, finds it.
      state: WAITING, WORKING, DONE or FAILED.
      progress: Fraction that is done, in [0, 1].
      error: What is wrong, as a sentence; empty unless FAILED.
      results: {name of `RESULT_FILES`: content} once it is DONE.
      seen_at: When somebody looked last, by `time.monotonic`.
    """

    name: str
    expect: str
    folder: Path
    token: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = WAITING
    progress: float = 0.0
    error: str = ""
    results: dict[str, bytes] = dataclasses.field(default_factory=dict)
    seen_at: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will change."""
        return self.state in (DONE, FAILED)

    def end(self, error: str = "") -> None:
        """Ends the job with the results in its folder, or with an error, and deletes the folder."""
        if not error:
            self.results = {name: (self.folder / RESULTS / name).read_bytes() for name in RESULT_FILES}
        self.state, self.error = FAILED if error else DONE, error
        shutil.rmtree(self.folder, ignore_errors=True)


class Jobs:
    """The jobs of a server, by token."""

    def __init__(self, worker: WorkerProcess, max_waiting: int) -> None:
        self._worker, self._max_waiting = worker, max_waiting
        self._jobs: dict[str, Job] = {}
        self._added = asyncio.Event()

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def check_room(self) -> None:
        """Raises BusyError if as many videos wait as may."""
        waiting = sum(job.state == WAITING for job in self)
        if waiting >= self._max_waiting:
            raise BusyError(f"{waiting} videos are waiting already: try again in a few minutes.")

    def add(self, name: str, expect: str, folder: Path) -> Job:
        """Adds a video FOLDER/video/NAME, whose folder belongs to the job from now on.

        Raises:
          BusyError: As many videos wait as may.
        """
        self.check_room()
        job = Job(name, expect, folder)
        self._jobs[job.token] = job
        self._added.set()
        return job

    def get(self, token: str) -> Job | None:
        """The job of a token; that somebody looks is noted."""
        job = self._jobs.get(token)
        if job is not None:
            job.seen_at = time.monotonic()
        return job

    def status(self, job: Job) -> dict[str, Any]:
        """What a visitor sees: `state`, `ahead` (jobs before this one), `progress` and `error`."""
        before = [other for other in self if not other.is_over]
        ahead = before.index(job) if job in before else 0
        return {"state": job.state, "ahead": ahead, "progress": round(job.progress, 3), "error": job.error}

    def drop(self, job: Job) -> None:
        """Forgets a job; one that is worked on is cancelled."""
        self._jobs.pop(job.token, None)
        if job.state == WORKING:
            (job.folder / CANCEL).touch()
            asyncio.get_running_loop().call_later(CANCEL_S, self._kill_if_working, job)
        else:
            shutil.rmtree(job.folder, ignore_errors=True)
            job.state = FAILED

    def _kill_if_working(self, job: Job) -> None:
        if job.state == WORKING:
            self._worker.kill()

    async def work(self) -> None:
        """Answers the jobs in their order, for ever."""
        while True:
            job = next((job for job in self if job.state == WAITING), None)
            if job is None:
                self._added.clear()
                await self._added.wait()
                continue
            job.state = WORKING
            try:
                job.end(await self._answer(job))
            except OSError as error:
                job.end(f"The server could not work on the video: {error.strerror}.")

    async def _answer(self, job: Job) -> str:
        """Has a job answered; returns what is wrong, or nothing."""

        def set_progress(fraction: float) -> None:
            job.progress = fraction

        try:
            task = {"folder": str(job.folder), "video": job.name, "expect": job.expect}
            message = await self._worker.answer(task, set_progress)
        except WorkerError:
            return "The server gave up on this video: it may be damaged. Convert it to MP4 (H.264) and try again."
        except UserError as error:  # the model is gone since the start
            print(f"error: {error}", file=sys.stderr)
            return "The server has lost its model."
        if "failed" in message:
            print(message["failed"], file=sys.stderr)
            return "The server failed on this video."
        return message.get("refused", "")

    async def sweep(self) -> None:
        """Forgets what nobody looks at, for ever."""
        while True:
            now = time.monotonic()
            answered = [job for job in self if job.is_over]
            for job in [*self]:
                forgotten = now - job.seen_at > (KEPT_S if job.is_over else GRACE_S)
                if forgotten or job in answered[:-MAX_ANSWERS]:
                    self.drop(job)
            await asyncio.sleep(_SWEEP_S)


def new_folder(root: Path) -> Path:
    """A new folder for a video, which is to be written to FOLDER/video."""
    folder = root / secrets.token_hex(8)
    (folder / VIDEO).mkdir(parents=True)
    return folder
