"""A trained model that answers for videos: `load`, `Model.predict` and, for researchers, `Model.apply`.

Letters of shapes: B clips, S views, T frames, H W pixels, T_s poses, P persons, V joints, K muscle regions, M class
tokens in one set, D width.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import cast

import jax
import numpy as np

from musclemap_jax.coach.expectation import Expectation, built_in_table, find_exercise
from musclemap_jax.coach.margins import AlertMargins
from musclemap_jax.data.skeletons.alphapose import TAIL_FRAMES
from musclemap_jax.errors import UserError
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.pose.estimator import PoseEstimator
from musclemap_jax.pose.mediapipe_pose import open_estimator
from musclemap_jax.predict.answers import Answer, Uncalibrated, answer_windows, make_prediction
from musclemap_jax.predict.coaching import with_alerts, with_repetitions
from musclemap_jax.predict.explaining import Explainer
from musclemap_jax.predict.frames import FrameStream, array_frames, decoded_ahead, video_frames
from musclemap_jax.predict.joint_track import JointTrack
from musclemap_jax.predict.kept_windows import KeptWindows
from musclemap_jax.predict.model_folder import StoredModel, read_model
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.persons import EstimatedPersons, GivenPersons, Nobody, PersonSource, array_persons
from musclemap_jax.predict.prediction import FrameObserver, Prediction
from musclemap_jax.predict.skeleton_file import check_skeleton, find_skeleton, read_skeleton_file
from musclemap_jax.predict.windows import windows
from tfds_musclemap.importing.skeleton_conversion import stored_layout

_PathOrArray = str | os.PathLike | np.ndarray
Video = _PathOrArray | jax.Array
Skeleton = _PathOrArray | jax.Array

AUTO, NONE = "auto", "none"
"""Values of `pose`."""

PERSONS_TO_CHOOSE_FROM = 4
"""Persons that the pose estimator looks for where one is to be chosen."""


def _path_or_array(given: Video) -> _PathOrArray:
    """A path as it is; anything else, such as an array of JAX or a list of frames, as NumPy's."""
    return given if isinstance(given, str | os.PathLike) else np.asarray(given)


def load(run: str | os.PathLike | None = None) -> Model:
    """Loads a trained model.

    Args:
      run: A run's workdir (also `gs://...`), an imported checkpoint, or a model folder; None for the shipped model.

    Raises:
      UserError: There is no model, or it cannot predict muscle regions.
    """
    return Model(read_model(run))


class Model:
    """A trained model.

    Attributes:
      name: Where it comes from.
      spec: The configuration that it was trained with.
      input: What it takes (`spec.input`).
      regions: Names of the K muscle regions.
      modalities: What it looks at, such as ("video", "skeleton").
      window_s: Length of a window in seconds: the median length of its training clips.
      decisions: How scores become probabilities and decisions; None where the run was not calibrated.
      margins: Margins of alerts; None where they were not calibrated for these weights.
      module: The Flax module.
      variables: {"params": ..., "batch_stats": ...} on the default device.
    """

    def __init__(self, stored: StoredModel) -> None:
        self.name = stored.name
        self.spec = stored.spec
        self.input = stored.spec.input
        self.regions = stored.regions
        self.modalities = tuple(stored.spec.model.modalities)
        self.window_s = stored.clip_length_s
        self.decisions = stored.decisions
        self.margins = stored.margins
        self.module = TransM3E(stored.spec.model)
        self.variables = jax.device_put(stored.variables)
        self._apply = jax.jit(functools.partial(self.module.apply, train=False))

    def apply(self, batch: Mapping[str, jax.Array | np.ndarray]) -> ModelOutput:
        """Runs the jitted model on arrays; each set of shapes is compiled once.

        Args:
          batch: What the branches read, without labels: `video` (B, S, T, H, W, 3) uint8 RGB, `skeleton`
            (B, T_s, P, V, 3) float32 as `data.skeletons.poses.normalise_poses` returns it, `skeleton_valid` (B, T_s, P)
            bool; `data.batch.Batch` describes them, `input` has the sizes.

        Returns:
          `logits` (B, K) float32; `branch_logits` {branch: (B, K)}; `present` {branch: (B,) bool}; and `branches`
          {branch: tokens}, of which `final_classification` is (B, M, D), or (B * S, M, D) for S views.
        """
        return cast(ModelOutput, self._apply(self.variables, dict(batch)))

    def predict(
        self,
        video: Video,
        *,
        skeleton: Skeleton | None = None,
        skeleton_layout: str = "coco17",
        fps: float | None = None,
        pose: str | PoseEstimator = AUTO,
        person: int | None = None,
        window_s: float | None = None,
        overlap: float = 0.0,
        on_frame: FrameObserver | None = None,
    ) -> Prediction:
        """Predicts the active muscle regions of a video, window by window.

        Args:
          video: A video file of any length, or uint8 (T, H, W, 3) RGB frames.
          skeleton: A pose estimator's result file, or (T, P, V, 3) x, y in pixels of the video and score; by default a
            file beside the video (`skeleton_file.find_skeleton`), if there is one, else what `pose` finds.
          skeleton_layout: Joint order of `skeleton`, a name of `skeleton_layouts.LAYOUTS`.
          fps: Frames per second; for arrays alone, which need it.
          pose: "auto" for MediaPipe, the path of a `.task` file of its, "none" to go without (and without a file beside
            the video), or an estimator; not used where there is a skeleton.
          person: Number of the person to answer for; by default the most prominent ones of each window.
          window_s: Length of a window in seconds, by default `Model.window_s`.
          overlap: Fraction of a window that the next one repeats, in [0, 1).
          on_frame: Called with every frame, for pages and annotated videos.

        Raises:
          UserError: The video, the skeleton or an argument is invalid, or no pose estimator is installed.
        """
        chosen, kept = () if person is None else (person,), self._kept_windows()
        with self._open(video, skeleton, skeleton_layout, fps, pose, choose=person is not None) as (stream, persons):
            track = JointTrack(stream.fps, on_frame)
            cut = windows(stream, persons, self.input, self.window_s if window_s is None else window_s, overlap, track)
            answers = list(answer_windows(self, kept.watch((window, person) for window in cut)))
        seen = sorted({number for answer in answers for number in answer.persons})
        if not set(chosen) <= set(seen):
            where = f"{shown(stream.name)}: " if stream.name else ""
            raise UserError(f"{where}person: expected one of those seen in the video, {seen or 'none'}, got {person}")
        return self._prediction(stream, answers, person, kept, track)

    def predict_each_person(
        self,
        video: Video,
        *,
        skeleton: Skeleton | None = None,
        skeleton_layout: str = "coco17",
        fps: float | None = None,
        pose: str | PoseEstimator = AUTO,
        window_s: float | None = None,
        overlap: float = 0.0,
        on_frame: FrameObserver | None = None,
    ) -> tuple[Prediction, ...]:
        """As `predict`, for each person on their own: over the windows in which they are seen.

        Returns:
          One prediction per person, in the order of their numbers; empty if nobody is seen.
        """
        by_person: dict[int, list[Answer]] = {}
        kept = self._kept_windows()
        with self._open(video, skeleton, skeleton_layout, fps, pose, choose=True) as (stream, persons):
            track = JointTrack(stream.fps, on_frame)
            cut = windows(stream, persons, self.input, self.window_s if window_s is None else window_s, overlap, track)
            each = ((window, number) for window in cut for number in window.seen)
            for answer in answer_windows(self, kept.watch(each)):
                by_person.setdefault(cast(int, answer.person), []).append(answer)
        return tuple(self._prediction(stream, by_person[number], number, kept, track) for number in sorted(by_person))

    def coach(
        self, prediction: Prediction, expect: str | Expectation | None = None, reference: Prediction | None = None
    ) -> Prediction:
        """The prediction with alerts where an exercise is done otherwise than expected.

        Args:
          prediction: A prediction of this model with an overlap of at least 0.5.
          expect: Name of an exercise of the built-in table, or what it activates.
          reference: The prediction for a video in which the exercise is done right, instead of `expect`.

        Raises:
          UserError: An unknown exercise, a reference without repetitions, or a model without alert margins.
        """
        expectation = find_exercise(expect, built_in_table()) if isinstance(expect, str) else expect
        return with_alerts(prediction, self.check_margins(), expectation=expectation, reference=reference)

    def check_margins(self) -> AlertMargins:
        """The margins of alerts; UserError if the model has none."""
        if self.margins is None:
            raise UserError(
                f"{self.name}: has no alert margins for its weights, without which nothing is an alert: run "
                "python -m musclemap_jax.predict.calibrate_alerts --run=RUN (those of an earlier version do not count)"
            )
        return self.margins

    def _kept_windows(self) -> KeptWindows:
        return KeptWindows(needs_person=self.modalities == ("skeleton",))

    def _prediction(
        self, stream: FrameStream, answers: list[Answer], person: int | None, kept: KeptWindows, track: JointTrack
    ) -> Prediction:
        """The prediction with its repetitions, which can explain the kept windows that have an answer."""
        index = {answer.times_s: number for number, answer in enumerate(answers) if answer.spoke}
        windows = {index[window.times_s]: window for window in kept.of_person(person) if window.times_s in index}
        decided = self.decisions or Uncalibrated(self.spec.loss.kind)
        prediction = make_prediction(self, stream, answers, person)
        coached = with_repetitions(prediction, track, decided.probabilities, decided.active)
        return dataclasses.replace(coached, explainer=Explainer(self, windows))

    def check_pose(self, pose: str = AUTO) -> None:
        """Checks that a video without a skeleton can be predicted: that the pose estimator can be opened.

        Args:
          pose: As for `predict`.

        Raises:
          UserError: It is not installed, or the model needs a skeleton and `pose` is "none".
        """
        with contextlib.ExitStack() as stack:
            self.pose_estimator(pose, False, stack)

    @contextlib.contextmanager
    def _open(
        self,
        video: Video,
        skeleton: Skeleton | None,
        skeleton_layout: str,
        fps: float | None,
        pose: str | PoseEstimator,
        choose: bool,
    ) -> Generator[tuple[FrameStream, PersonSource]]:
        """The video's frames and who finds the persons in them; closes the estimator that it opened."""
        video = _path_or_array(video)
        skeleton = None if skeleton is None else _path_or_array(skeleton)
        given = self._given_persons(video, skeleton, skeleton_layout, pose)
        estimates = given is None and "skeleton" in self.modalities and pose != NONE
        with contextlib.ExitStack() as stack:
            # The video first: a bad one is refused whether or not there is an estimator.
            if isinstance(video, np.ndarray):
                stream = array_frames(video, fps)
            elif fps is None:
                stream = video_frames(video, with_pose_images=estimates)
            else:
                raise UserError(f"fps: expected none for a video file, which has its own frame rate, got {fps}")
            if given is not None:
                check_skeleton(given.persons, given.layout, given.name, size=stream.source_size)
            estimator = None if given else self.pose_estimator(pose, choose, stack)
            stream = stack.enter_context(decoded_ahead(stream))
            yield stream, given or (EstimatedPersons(estimator, stream) if estimator else Nobody())
            if isinstance(skeleton, np.ndarray) and abs(len(skeleton) - stream.num_frames) > TAIL_FRAMES:
                raise UserError(
                    f"skeleton: expected {stream.num_frames} frames as the video has, got {len(skeleton)}: estimate "
                    "the poses on all of its frames"
                )
            if given is not None:
                check_skeleton(
                    given.persons,
                    given.layout,
                    given.name,
                    num_frames=stream.num_frames,
                    has_variable_rate=stream.has_variable_rate,
                )

    def _given_persons(
        self, video: _PathOrArray, skeleton: _PathOrArray | None, layout: str, pose: str | PoseEstimator
    ) -> GivenPersons | None:
        """The persons that come with the video, if there are any and the model looks at them."""
        if "skeleton" not in self.modalities:
            return None
        if isinstance(skeleton, np.ndarray):
            return array_persons(skeleton, layout, len(video) if isinstance(video, np.ndarray) else None)
        if skeleton is None and pose != NONE and not isinstance(video, np.ndarray):
            skeleton = find_skeleton(Path(video))
        if skeleton is None:
            return None
        clip_id = "" if isinstance(video, np.ndarray) else Path(video).stem
        return GivenPersons(read_skeleton_file(Path(skeleton), layout, clip_id), stored_layout(layout), str(skeleton))

    def pose_estimator(
        self, pose: str | PoseEstimator, choose: bool, stack: contextlib.ExitStack
    ) -> PoseEstimator | None:
        """The estimator that finds the persons of one video; None if the model goes without.

        Args:
          pose: As for `predict`.
          choose: Whether one of several persons is to be chosen.
          stack: Closes the estimator.

        Raises:
          UserError: As `check_pose`.
        """
        if "skeleton" not in self.modalities:
            return None
        if not isinstance(pose, str):
            return pose
        if pose not in (AUTO, NONE) and Path(pose).suffix != ".task":
            raise UserError(f"pose: expected {AUTO!r}, {NONE!r}, a .task file or a pose estimator, got {pose!r}")
        if pose == NONE:
            if self.modalities == ("skeleton",):
                raise UserError(f"pose: expected {AUTO!r} or a skeleton, got {NONE!r}: the model needs one")
            return None
        num_persons = max(self.input.num_persons, PERSONS_TO_CHOOSE_FROM) if choose else self.input.num_persons
        try:
            estimator = open_estimator(None if pose == AUTO else pose, num_persons)
        except UserError as error:
            if self.modalities == ("skeleton",):
                raise
            raise UserError(f"{error}; or go without a skeleton: pose='none' (--pose=none)") from error
        return stack.enter_context(contextlib.closing(estimator))
