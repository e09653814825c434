"""The results of one video: predictions, and the files that show them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tqdm

from musclemap_jax.data.raw.video import VideoError, count_frames
from musclemap_jax.predict.annotate import annotate_video
from musclemap_jax.predict.joint_store import JointStore
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.output_folder import results_folder
from musclemap_jax.predict.outputs import write_muscles
from musclemap_jax.predict.page import write_page
from musclemap_jax.predict.prediction import FrameObserver, Prediction, SeenFrame
from musclemap_jax.predict.recorder import Recorder
from musclemap_jax.predict.request import ALL, Request

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model

REPORT, ANNOTATED = "report", "annotated"
"""Names of the page and of the annotated video, without the number of a person and the extension."""


def write_results(
    model: Model,
    video: Path,
    target: Path,
    request: Request,
    skeleton: Path | None = None,
    *,
    annotate: bool = False,
    coach: Callable[[Prediction], Prediction] | None = None,
    explain: Sequence[str] = (),
    show_progress: bool = True,
    on_frame: FrameObserver | None = None,
) -> Sequence[Prediction]:
    """Predicts a video and writes its results.

    Args:
      model: The model.
      video: The video.
      target: The folder of the results, which appears when they are complete; an existing one is replaced.
      request: How to predict.
      skeleton: Pose results; by default those beside the video, if there are any.
      annotate: Whether to write the video with the answer drawn in.
      coach: Adds alerts to a prediction.
      explain: Regions to explain, "top" for the most probable ones.
      show_progress: Whether to show a progress bar where stderr is a terminal.
      on_frame: Called with every frame; what it raises ends the work.

    Returns:
      One prediction, or one per person.

    Raises:
      UserError: A video or skeleton that cannot be used.
      OutputError: The disk is full or does not allow writing.
    """
    recorder, joints = Recorder(), JointStore()
    observers: list[FrameObserver] = [recorder, *([joints] if annotate else []), *([on_frame] if on_frame else [])]
    with results_folder(target) as folder:
        with _progress(shown(video.name), _expected_frames(video), show_progress) as advance:

            def observe(frame: SeenFrame) -> None:
                for observer in observers:
                    observer(frame)
                advance(frame.number + 1)

            predictions = [
                dataclasses.replace(coach(prediction) if coach else prediction, source=shown(prediction.source))
                for prediction in request.predict(model, video, skeleton, observe)
            ]
        if explain:
            predictions = [prediction.with_explanations(explain) for prediction in predictions]
        write_muscles(folder, predictions)
        thresholds = model.decisions.probability_thresholds if model.decisions else None
        for prediction in predictions:
            suffix = f"_person{prediction.person}" if request.person == ALL else ""
            page = folder / f"{REPORT}{suffix}.html"
            write_page(page, prediction, recorder, model=model.name, thresholds=thresholds)
            if annotate:
                num_frames = round(prediction.duration_s * prediction.fps)
                with _progress(f"drawing {shown(video.name)}", num_frames, show_progress) as advance:
                    annotate_video(video, folder / f"{ANNOTATED}{suffix}.mp4", prediction, joints, advance)
    return predictions


def _expected_frames(video: Path) -> int:
    """Number of frames according to the header; 0 if it does not say."""
    try:
        return count_frames(video)
    except VideoError:
        return 0  # the model will say what is wrong


@contextlib.contextmanager
def _progress(name: str, num_frames: int, shows: bool) -> Generator[Callable[[int], None]]:
    """A progress bar with the time left; yields what takes the number of frames done."""
    disable = None if shows else True  # None: where stderr is no terminal
    with tqdm.tqdm(total=num_frames or None, desc=name, unit="frame", leave=False, disable=disable) as bar:
        yield lambda done: bar.update(done - bar.n)
