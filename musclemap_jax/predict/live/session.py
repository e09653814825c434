"""A camera's windows, answered while it films: three threads and what they hand on.

    capture    reads the camera           -> frames, half a second of them at most
    watch      poses, ring buffer         -> the newest window
    caller     the model                  -> answers

Whoever is too slow loses the oldest of what waits, so that an answer is always about the newest window. Windows are cut
and answered by the code of video files (`windows.windows`, `answers.answer_windows`), so the same frames give the same
answers, and all shapes are fixed: the model is compiled once, before the camera starts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from musclemap_jax.data.skeletons.detection import Detection
from musclemap_jax.errors import UserError
from musclemap_jax.pose.estimator import PoseEstimator
from musclemap_jax.predict.answers import Answer, answer_windows, compile_answers, make_prediction
from musclemap_jax.predict.frames import FrameStream, SourceFrame, source_frame
from musclemap_jax.predict.live.backlog import Backlog, Closed, hand_on
from musclemap_jax.predict.live.camera import REAL_TIME, CameraFrame, open_camera
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.persons import EstimatedPersons, Nobody, PersonSource
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.windows import Window, windows

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model

STEP_S = 0.5
"""An answer is made so often, unless an overlap says otherwise or the machine is too slow."""

_BACKLOG_S = 0.5
_STOPPED_S = 5.0
"""A camera that sends nothing for so long has stopped."""

_JOIN_S = 5.0


@dataclasses.dataclass(frozen=True)
class LiveAnswer:
    """What the model says about the newest window.

    Attributes:
      prediction: The answer, as the prediction of this window alone.
      filmed_at: When the window's last frame was filmed, by `time.monotonic`.
      answered_at: When the answer was there.
    """

    prediction: Prediction
    filmed_at: float
    answered_at: float

    def age_s(self, now: float) -> float:
        """How long ago the window ended, in seconds."""
        return now - self.filmed_at


class Live:
    """A context manager that watches a camera; iterate over it for the answers.

    Attributes:
      model: The model.
      name: The camera, for messages.
      answers: The answers so far.
    """

    def __init__(
        self,
        model: Model,
        camera: str,
        *,
        pace: str = REAL_TIME,
        pose: str | PoseEstimator = "auto",
        person: int | None = None,
        overlap: float | None = None,
    ) -> None:
        """
        Args:
          model: The model.
          camera: Number of a camera, its path, a pipe or a video file; see `camera.open_camera`.
          pace: Of a video file, one of `camera.PACES`.
          pose: As for `Model.predict`.
          person: Number of the only person whom the model is shown; None for the most prominent ones.
          overlap: Fraction of a window that the next one repeats, in [0, 1); by default a window begins every STEP_S.
        """
        self.model, self.name = model, shown(camera)
        self.answers: list[Answer] = []
        self._camera, self._pace, self._pose, self._person = camera, pace, pose, person
        self._overlap = max(0.0, 1 - STEP_S / model.window_s) if overlap is None else overlap
        self._skipped = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Compiles the model and starts to film.

        Raises:
          UserError: The camera does not open, or there is no pose estimator.
        """
        with contextlib.ExitStack() as stack:
            estimator = self.model.pose_estimator(self._pose, self._person is not None, stack)
            compile_answers(self.model)
            camera = open_camera(self._camera, self._pace)
            self._frames = Backlog[CameraFrame](max(1, round(_BACKLOG_S * camera.fps)), camera.drops)
            self._newest = Backlog[tuple[Window, float]](1, camera.drops)
            self._stream = _LiveStream(self.name, camera.fps, camera.source_size, self._frames, estimator is not None)
            persons: PersonSource = EstimatedPersons(estimator, self._stream) if estimator else Nobody()
            if camera.drops:
                persons = _Unrepeated(persons)
            cut = windows(self._stream, persons, self.model.input, self.model.window_s, self._overlap)
            threads = [
                threading.Thread(target=hand_on, args=(camera.frames, self._frames), name="capture", daemon=True),
                threading.Thread(target=hand_on, args=(self._stamped(cut), self._newest), name="watch", daemon=True),
            ]
            for thread in threads:
                thread.start()
                stack.callback(thread.join, _JOIN_S)
            stack.callback(self._newest.close)
            stack.callback(self._frames.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[LiveAnswer]:
        """Yields an answer as soon as it is made, until a file ends.

        Raises:
          UserError: The camera stops.
        """
        reached = 0
        while True:
            try:
                window, filmed_at = self._newest.get()
            except Closed:
                return
            (answer,) = answer_windows(self.model, [(window, self._person)])
            self._skipped += max(0, window.start - reached)
            reached = max(reached, window.start + len(window.frames))
            self.answers.append(answer)
            prediction = make_prediction(self.model, self._stream, [answer], self._person)
            yield LiveAnswer(prediction, filmed_at, time.monotonic())

    @property
    def dropped(self) -> int:
        """Number of frames that no answer is about, because this machine was too slow for them."""
        return self._frames.dropped + self._skipped

    def prediction(self) -> Prediction:
        """All answers, of which there is at least one, as one prediction."""
        return make_prediction(self.model, self._stream, self.answers, self._person)

    def _stamped(self, cut: Iterator[Window]) -> Iterator[tuple[Window, float]]:
        for window in cut:
            yield window, self._stream.filmed_at


class _LiveStream(FrameStream):
    """The frames of a camera at a constant rate: a place that has none repeats the frame before it.

    Attributes:
      filmed_at: When the latest frame was filmed.
    """

    def __init__(
        self,
        name: str,
        fps: float,
        source_size: tuple[int, int],
        backlog: Backlog[CameraFrame],
        with_pose_images: bool,
    ) -> None:
        super().__init__(name, fps, source_size, self._filled(backlog, with_pose_images))
        self.filmed_at = 0.0

    def _filled(self, backlog: Backlog[CameraFrame], with_pose_images: bool) -> Iterator[SourceFrame]:
        latest, last_place = None, -1
        while True:
            try:
                place, decoded, filmed_at = backlog.get(_STOPPED_S)
            except Closed:
                return
            except TimeoutError:
                raise UserError(f"--camera={self.name}: the camera stopped: no frame for {_STOPPED_S:g} s") from None
            if latest is not None:
                if place - last_place > _STOPPED_S * self.fps:
                    gap_s = (place - last_place) / self.fps
                    raise UserError(f"--camera={self.name}: the camera stopped: no frame for {gap_s:.0f} s")
                for _ in range(last_place + 1, place):
                    yield latest
            latest, last_place, self.filmed_at = source_frame(decoded, with_pose_images), place, filmed_at
            yield latest


class _Unrepeated:
    """Finds the persons of a repeated frame where they were: it costs nothing, so that a slow machine can catch up."""

    def __init__(self, source: PersonSource) -> None:
        self.layout, self.name, self.by_prominence = source.layout, source.name, source.by_prominence
        self._source = source
        self._last: int | None = None
        self._found: list[Detection] = []

    def find(self, number: int, frame: SourceFrame) -> list[Detection]:
        if frame.number == self._last:
            return [detection._replace(frame=number) for detection in self._found]
        self._last, self._found = frame.number, self._source.find(number, frame)
        return self._found
