"""Jobs in their order, what is kept of them, and what is forgotten; the worker is made up."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.predict.web import jobs as rooms
from musclemap_jax.predict.web.jobs import DONE, FAILED, RESULT_FILES, BusyError, Jobs, new_folder
from musclemap_jax.predict.web.worker_process import WorkerError


class Worker:
    """Answers at once with what it is given, or writes results."""

    def __init__(self, *outcomes):
        self.outcomes, self.killed = list(outcomes), 0

    async def answer(self, task, on_progress):
        on_progress(0.5)
        outcome = self.outcomes.pop(0) if self.outcomes else {"answered": True}
        if isinstance(outcome, Exception):
            raise outcome
        if "answered" in outcome:
            folder = rooms.Path(task["folder"]) / "results"
            folder.mkdir()
            for name in RESULT_FILES:
                (folder / name).write_text(f"{task['video']} {name}")
        return outcome

    def kill(self):
        self.killed += 1


async def worked(jobs, *names, root):
    """Adds videos and works until all are over."""
    added = [jobs.add(name, "", new_folder(root)) for name in names]
    task = asyncio.create_task(jobs.work())
    while not all(job.is_over for job in added):
        await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return added


def test_results_are_kept_in_memory_and_the_folder_is_deleted(tmp_path):
    (job,) = asyncio.run(worked(Jobs(Worker(), 2), "squat.mp4", root=tmp_path))
    assert (job.state, job.progress) == (DONE, 0.5)
    assert job.results == {name: f"squat.mp4 {name}".encode() for name in RESULT_FILES}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        ({"refused": "squat.mp4: truncated"}, "squat.mp4: truncated"),
        ({"failed": "Traceback"}, "The server failed on this video."),
        (WorkerError(), "The server gave up on this video: it may be damaged."),
        (UserError("runs/demo: no such run"), "The server has lost its model."),
        ({"progress is over": True}, "The server could not work on the video: No such file or directory."),
    ],
)
def test_every_failure_is_a_sentence_and_the_next_job_is_done(tmp_path, outcome, error):
    first, second = asyncio.run(worked(Jobs(Worker(outcome), 2), "a", "b", root=tmp_path))
    assert first.state == FAILED
    assert first.error.startswith(error)
    assert second.state == DONE
    assert list(tmp_path.iterdir()) == []


def test_places_in_the_queue_and_its_end(tmp_path):
    async def run():
        jobs = Jobs(Worker(), max_waiting=3)
        added = [jobs.add(name, "", new_folder(tmp_path)) for name in "abc"]
        assert [jobs.status(job)["ahead"] for job in added] == [0, 1, 2]
        with pytest.raises(BusyError, match="3 videos are waiting already"):
            jobs.add("d", "", new_folder(tmp_path))
        jobs.drop(added[0])
        assert [jobs.status(job)["ahead"] for job in added[1:]] == [0, 1]
        assert not added[0].folder.exists()

    asyncio.run(run())


def test_old_answers_and_forgotten_ones_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "MAX_ANSWERS", 2)

    async def run():
        jobs = Jobs(Worker(), max_waiting=9)
        first, second, third = await worked(jobs, "a", "b", "c", root=tmp_path)
        waiting, forgotten = (jobs.add(name, "", new_folder(tmp_path)) for name in "de")
        second.seen_at = time.monotonic() - rooms.KEPT_S - 1
        waiting.seen_at = time.monotonic() - rooms.GRACE_S + 5
        forgotten.seen_at = time.monotonic() - rooms.GRACE_S - 1
        task = asyncio.create_task(jobs.sweep())
        await asyncio.sleep(0)
        task.cancel()
        assert [job.name for job in jobs] == ["c", "d"]
        assert jobs.get(first.token) is None
        assert jobs.get(third.token) is third

    asyncio.run(run())
