"""The results of one video: predictions, and the files that show them."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tqdm

from musclemap_jax.data.raw.video import VideoError, count_frames
from musclemap_jax.predict.names import shown
from musclemap_jax.predict.output_folder import results_folder
from musclemap_jax.predict.outputs import write_muscles
from musclemap_jax.predict.prediction import FrameObserver, Prediction, SeenFrame
from musclemap_jax.predict.request import Request

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model


def write_results(
    model: Model,
    video: Path,
    target: Path,
    request: Request,
    skeleton: Path | None = None,
    *,
    annotate: bool = False,
    show_progress: bool = True,
) -> Sequence[Prediction]:
    """Predicts a video and writes its results.

    Args:
      model: The model.
      video: The video.
      target: The folder of the results, which appears when they are complete; an existing one is replaced.
      request: How to predict.
      skeleton: Pose results; by default those beside the video, if there are any.
      annotate: Whether to write the video with the answer drawn in.
      show_progress: Whether to show a progress bar where stderr is a terminal.

    Returns:
      One prediction, or one per person.

    Raises:
      UserError: A video or skeleton that cannot be used.
      OutputError: The disk is full or does not allow writing.
    """
    with results_folder(target) as folder:
        with _progress(video, show_progress) as advance:
            predictions = request.predict(model, video, skeleton, advance)
        write_muscles(folder, predictions)
    return predictions


@contextlib.contextmanager
def _progress(video: Path, shows: bool) -> Generator[FrameObserver]:
    """A progress bar with the time left, and what advances it."""
    try:
        total = count_frames(video) or None
    except VideoError:
        total = None  # the model will say what is wrong
    with tqdm.tqdm(
        total=total, desc=shown(video.name), unit="frame", leave=False, disable=None if shows else True
    ) as bar:

        def advance(frame: SeenFrame) -> None:
            bar.update(frame.number + 1 - bar.n)

        yield advance
