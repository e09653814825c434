"""A pose estimator that runs as its own process: the protocol, and the parent's end of it.

Pose estimators need other versions of numpy, protobuf or PyTorch than this project, so none is imported: an estimator
is a command, in any environment and language. The protocol is one JSON object per line in UTF-8:

    the estimator, when ready  {"protocol": 1, "name": "mediapipe 0.10.21", "layout": "mediapipe33"}
    a request                  {"video": "/absolute/path.mp4"}
    the response               {"num_frames": 120, "detections": [...]}    or    {"error": "why the video failed"}

Requests and responses alternate until the estimator's standard input ends. A detection is an AlphaPose entry for one
person in one frame: ``{"image_id": 12, "keypoints": [x, y, score, ...], "score": s, "box": [x, y, w, h], "idx": i}``.
Coordinates are pixels of the video as a player shows it, frames count from 0, and the last three fields are optional.
``layout`` is a name in ``skeleton_layouts.LAYOUTS``. If an estimator ends, the last line of its standard error is
reported.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musclemap_jax.data.skeletons.alphapose import SkeletonError, parse_detections
from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout

PROTOCOL = 1
MAX_RESPONSE_BYTES = 256 << 20
"""Enough for ten persons during one hour."""

START_TIMEOUT_S = 120.0


class EstimationError(Exception):
    """The estimator gave no detections for a video; one line that says why."""


class PoseProcess:
    """One running estimator, whose detections have the joint order ``layout``, according to its greeting."""

    def __init__(self, command: Sequence[str], timeout_s: float):
        """Starts the estimator, whose time limit is per video in seconds, and waits for its greeting.

        Raises UserError if it cannot be started or its greeting is invalid.
        """
        self._timeout_s = timeout_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        # The estimator must not import packages of this process's environment.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment
            )
        except OSError as error:
            self._errors.close()
            raise UserError(f"pose estimator {command[0]}: cannot be started: {error.strerror}") from error
        try:
            self.layout = _parse_greeting(self._read(START_TIMEOUT_S))
        except (EstimationError, ValueError, RecursionError, UserError) as error:
            self.close()
            raise UserError(f"pose estimator {' '.join(command)}: {error}") from error

    def estimate(self, video: str | Path) -> list[Detection]:
        """Detections in one video.

        Raises EstimationError if the estimator reported an error, died, exceeded the time limit or sent a malformed
        response. In the last three cases ``is_alive`` is False afterwards.
        """
        request = json.dumps({"video": str(Path(video).absolute())})
        try:
            self._process.stdin.write(request.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise EstimationError(self._cause_of_death()) from error
        try:
            return _parse_response(self._read(self._timeout_s), self.layout)
        except (SkeletonError, ValueError, RecursionError) as error:
            self._end()
            raise EstimationError(f"malformed response: {' '.join(str(error).split())[:300]}") from error

    @property
    def is_alive(self) -> bool:
        """Whether the estimator accepts further requests."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the estimator."""
        self._end()
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # the estimator died with a request in the buffer
            self._process.stdin.close()
        self._errors.close()

    def _end(self) -> int:
        """Kills the estimator and returns its exit status; without waiting for it, it would still seem alive."""
        self._process.kill()
        return self._process.wait()

    def _read(self, timeout_s: float) -> Any:
        """The next object that the estimator writes."""
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            self._process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            line = self._process.stdout.readline(MAX_RESPONSE_BYTES)
        finally:
            timer.cancel()
        if is_late.is_set():
            self._end()
            raise EstimationError(f"no response within {timeout_s:g} s")
        if not line.endswith(b"\n"):
            raise EstimationError(self._cause_of_death())
        return json.loads(line)

    def _cause_of_death(self) -> str:
        """The estimator's exit status and the last line of its standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)  # its output ends before the process does
        status = self._end()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 4096))
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the estimator ended with status {status}" + (f": {last[:300]}" if last else "")


def _parse_greeting(content: Any) -> str:
    """The layout that a greeting names."""
    if not isinstance(content, dict) or content.get("protocol") != PROTOCOL:
        raise ValueError(f"expected a greeting with protocol {PROTOCOL}, got {str(content)[:100]}")
    name, layout = content.get("name"), content.get("layout")
    if not isinstance(name, str) or not isinstance(layout, str):
        raise ValueError("expected a greeting with the fields name and layout")
    return get_layout(layout).name


def _parse_response(content: Any, layout: str) -> list[Detection]:
    if isinstance(content, dict) and isinstance(content.get("error"), str):
        raise EstimationError(" ".join(content["error"].split())[:300])
    entries = content.get("detections") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"expected the field detections or error, got {str(content)[:100]}")
    detections = parse_detections(entries, layout, "detections")
    num_frames = content.get("num_frames")
    last = max((detection.frame for detection in detections), default=-1)
    if not isinstance(num_frames, int) or last >= num_frames:
        raise ValueError(f"expected frames below num_frames, got frame {last} of {str(num_frames)[:20]}")
    return detections
