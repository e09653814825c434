"""A model for tests of the commands: it reads videos and skeletons as the real one does, and makes up the rest."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
import types
from pathlib import Path

import numpy as np

from musclemap_jax.data.raw.video import VideoError, read_video
from musclemap_jax.errors import UserError
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.skeleton_file import check_skeleton, find_skeleton, read_skeleton_file
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tfds_musclemap.importing.skeleton_conversion import stored_layout

WINDOW_FRAMES = 10


@dataclasses.dataclass(frozen=True)
class Frame:
    """A `SeenFrame`."""

    number: int
    time_s: float
    image: np.ndarray
    persons: dict
    joint_names: tuple[str, ...] = ()


class FakeModel:
    """Takes windows of ten frames; region k has the probability (k + window) / 20 modulo 1, and is active above 0.7.

    A file `slow` in the working folder makes it take 50 ms a frame.
    """

    name = "fake"
    regions = MUSCLE_REGIONS
    decisions = None

    def __init__(self, run):
        self.run = run

    def check_pose(self, pose="auto"):
        """A file `no_pose` in the working folder stands for a pose estimator that is not installed."""
        if pose == "auto" and os.path.exists("no_pose"):
            raise UserError("pose estimation: MediaPipe is not installed: run pip install")

    def predict(self, video, *, skeleton=None, skeleton_layout="coco17", pose="auto", person=None, overlap=0.0,
                on_frame=None):  # fmt: skip
        try:
            return self._predict(Path(video), skeleton, skeleton_layout, pose, person, on_frame)
        except VideoError as error:
            raise UserError(f"{video}: {error}") from error

    def predict_each_person(self, video, **options):
        together = self.predict(video, **options)
        numbers = sorted({number for numbers in together.persons for number in numbers})
        return tuple(dataclasses.replace(together, person=number) for number in numbers)

    def _predict(self, path, skeleton, layout, pose, person, on_frame):
        video = read_video(path)
        skeleton = None if pose == "none" else skeleton or find_skeleton(path)
        persons = read_skeleton_file(skeleton, layout, path.stem) if skeleton else []
        count = 0
        for image in video.frames:
            if on_frame is not None:
                on_frame(Frame(count, count / video.fps, image, {}))
            count += 1
            if os.path.exists("slow"):
                time.sleep(0.05)
        check_skeleton(persons, stored_layout(layout), skeleton or "", size=video.source_size, num_frames=count)
        starts = range(0, count, WINDOW_FRAMES)
        ends = [min(start + WINDOW_FRAMES, count) for start in starts]
        seen = [
            tuple(number for number, each in enumerate(persons, 1) if any(start <= found.frame < end for found in each))
            for start, end in zip(starts, ends, strict=True)
        ]
        if person is not None and not any(person in numbers for numbers in seen):
            raise UserError(f"person: expected one of those seen in the video, got {person}")
        probabilities = (np.arange(20) + np.arange(len(seen))[:, None]) / 20 % 1
        return Prediction(
            source=str(path),
            regions=self.regions,
            duration_s=count / video.fps,
            fps=video.fps,
            times_s=np.array([starts, ends], np.float64).T / video.fps,
            logits=probabilities.astype(np.float32),
            probabilities=probabilities,
            active=probabilities > 0.7,
            branch_probabilities={"video": probabilities},
            modalities=tuple(("video", "skeleton") if numbers else ("video",) for numbers in seen),
            persons=tuple(seen),
            limb_motion=np.full((len(seen), 2, 2), np.nan, np.float32),
            person=person,
            decision_rule="Active: above 70 %.",
            warnings=(f"run {self.run}",) if self.run else (),
        )


def install():
    """Puts it in place of the real one in this process."""
    module = types.ModuleType("musclemap_jax.predict.model")
    module.load = FakeModel
    sys.modules[module.__name__] = module
