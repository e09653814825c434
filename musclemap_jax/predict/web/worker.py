"""The process that answers the page's videos, one after another: `python -m musclemap_jax.predict.web.worker`.

It is a process of its own since it reads what strangers send: a file that crashes a decoder or keeps it for ever costs
one answer, and the server starts another worker. Lines of JSON on standard input ask, lines on standard output answer:

    {"video": "squat.mp4", "folder": "/...", "expect": ""}  the video is in FOLDER/video; results go to FOLDER/results
    {"ready": true, "exercises": []}          the model is loaded and compiled; exercises that can be expected
    {"progress": 0.4}                         this fraction of the frames was read
    {"answered": true}                        the results are there
    {"refused": "..."}                        the video, or at the start the model, cannot be used
    {"failed": "..."}                         an error of ours

A file FOLDER/cancel ends the work on a video.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclemap_jax.data.raw.decoding import opened
from musclemap_jax.data.raw.packets import best_stream, header_frames
from musclemap_jax.data.raw.video import VideoError
from musclemap_jax.errors import UserError
from musclemap_jax.predict.prediction import SeenFrame
from musclemap_jax.predict.request import Request
from musclemap_jax.predict.video_results import write_results
from musclemap_jax.predict.web import exercises

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model

VIDEO, RESULTS, CANCEL = "video", "results", "cancel"
"""Names in the folder of a video."""

MAX_SIDE_PX = 8192
"""A frame of a larger video takes hundreds of megabytes."""

_REPORT_EVERY = 10


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


def main() -> None:
    """Answers until standard input ends, which it does when the server dies."""
    # Keep output of libraries out of the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: dict[str, Any]) -> None:
        try:
            print(json.dumps(message), file=answers, flush=True)
        except BrokenPipeError:  # the server died
            os._exit(0)

    settings = json.loads(sys.argv[1])
    request, max_s = Request(**settings["request"]), settings["max_s"]
    try:
        model = _ready_model(settings["run"], request)
    except UserError as error:
        send({"refused": str(error)})
        return
    send({"ready": True, "exercises": exercises.exercise_names(model)})
    for line in sys.stdin:
        task = json.loads(line)
        try:
            _answer(model, request, max_s, task, send)
            send({"answered": True})
        except (UserError, Cancelled) as error:
            send({"refused": str(error)})
        except Exception:  # the server goes on, and says so to the visitor
            send({"failed": traceback.format_exc()})


def _ready_model(run: str | None, request: Request) -> Model:
    """The model, compiled."""
    from musclemap_jax.predict.answers import compile_answers
    from musclemap_jax.predict.model import load
    from musclemap_jax.runtime.compilation_cache import use_compilation_cache

    use_compilation_cache()
    model = load(run)
    model.check_pose(request.pose)
    compile_answers(model)
    return model


def _answer(model: Model, request: Request, max_s: float, task: dict[str, Any], send) -> None:
    folder = Path(task["folder"])
    os.chdir(folder / VIDEO)  # paths of this machine are no part of the results
    video = Path(task["video"])
    num_frames = _checked_length(video, max_s)

    def observe(frame: SeenFrame) -> None:
        if (folder / CANCEL).exists():
            raise Cancelled("cancelled")
        if frame.time_s > max_s:
            raise UserError(_too_long(max_s))
        if frame.number % _REPORT_EVERY == 0:  # also without a fraction: a silent worker is ended
            send({"progress": min(1.0, frame.number / num_frames) if num_frames else 0.0})

    coach = None
    if task["expect"]:
        coach, request = exercises.coach_of(model, task["expect"]), exercises.coach_request(request)
    write_results(model, video, folder / RESULTS, request, coach=coach, on_frame=observe, show_progress=False)


def _checked_length(video: Path, max_s: float) -> int:
    """Number of frames according to the header, 0 if it does not say; refuses videos that are too large."""
    try:
        with opened(video) as container:
            stream = best_stream(container)
            if max(stream.width, stream.height) > MAX_SIDE_PX:
                size = f"{stream.width}x{stream.height}"
                raise UserError(f"{video}: expected frames of at most {MAX_SIDE_PX} pixels a side, got {size}")
            if (container.duration or 0) / 1e6 > max_s:
                raise UserError(_too_long(max_s))
            return header_frames(container)
    except VideoError:
        return 0  # the model will say what is wrong


def _too_long(max_s: float) -> str:
    return f"The video is longer than {max_s / 60:g} min: cut it."


if __name__ == "__main__":
    main()
