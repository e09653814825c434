"""Prediction of a corpus's videos, one after the other, on this machine."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tqdm

from musclemap_jax.errors import UserError
from musclemap_jax.predict.corpus_files import Corpus, CorpusVideo, has_skeleton, local_video
from musclemap_jax.predict.names import printable, shown
from musclemap_jax.predict.output_folder import disk_errors_are_output_errors
from musclemap_jax.predict.outputs import write_json
from musclemap_jax.predict.prediction import Prediction
from musclemap_jax.predict.request import Request

if TYPE_CHECKING:
    from musclemap_jax.predict.model import Model


@dataclasses.dataclass(frozen=True)
class CorpusSettings:
    """How a corpus is predicted; its results depend on nothing else.

    Attributes:
      run: The model, as for `predict.model.load`; empty for the shipped one.
      version: Version of the package.
      request: What is asked for each video.
    """

    run: str
    version: str
    request: Request

    def as_dict(self) -> dict[str, Any]:
        """The settings for JSON."""
        return {"run": self.run, "version": self.version, **dataclasses.asdict(self.request)}


def load_model(settings: CorpusSettings) -> Model:
    """The model, ready for many videos."""
    from musclemap_jax.predict.model import load
    from musclemap_jax.runtime.compilation_cache import use_compilation_cache

    use_compilation_cache()
    return load(settings.run or None)


def check_pose(model: Model, videos: Sequence[CorpusVideo], request: Request) -> None:
    """Refuses, before the first video, a pose estimator that some video needs and that is not installed.

    Raises:
      UserError: It is not installed.
    """
    if not all(has_skeleton(video) for video in videos):
        model.check_pose(request.pose)


def predict_and_write(model: Model, video: CorpusVideo, path: str, settings: CorpusSettings) -> str | None:
    """Predicts one video and writes its result in one step.

    Args:
      model: The result of `load_model`.
      video: The video.
      path: Path of the result.
      settings: How to predict.

    Returns:
      Why the video has no result; None if it has. An error that is no answer to bad input is printed as well.

    Raises:
      OutputError: The disk is full or does not allow writing.
    """
    try:
        predictions = _predict(model, video, settings.request)
    except UserError as error:
        return printable(str(error).removeprefix(f"{video.path}: "))
    except Exception as error:
        traceback.print_exception(error)
        return printable(f"{type(error).__name__}: {error}")
    with disk_errors_are_output_errors(path):
        write_json(path, [dataclasses.replace(prediction, source=video.name) for prediction in predictions])
    return None


def _predict(model: Model, video: CorpusVideo, request: Request) -> Sequence[Prediction]:
    with local_video(video) as local:
        try:
            return request.predict(model, local)
        except UserError as error:
            # A video on cloud storage is read from a copy, whose path says nothing to anybody.
            raise UserError(str(error).replace(str(local), video.path)) from error


def predict_shard(
    model: Model, corpus: Corpus, videos: Sequence[CorpusVideo], settings: CorpusSettings
) -> dict[str, str]:
    """Predicts videos that have no result yet; returns the name of each that failed -> reason.

    Raises:
      UserError: No pose estimator is installed, and one is needed; or the folder has results of other settings.
      OutputError: The disk is full or does not allow writing.
    """
    check_pose(model, videos, settings.request)
    corpus.record_settings()
    failed = {}
    for video in tqdm.tqdm(videos, unit="video", disable=None):
        reason = predict_and_write(model, video, str(corpus.result_path(video)), settings)
        if reason is not None:
            failed[video.name] = reason
            tqdm.tqdm.write(f"{shown(video.name)}: {reason}", file=sys.stderr)
    return failed
