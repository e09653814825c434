"""Prediction for a corpus by Apache Beam: each worker process loads the model once, each video is one element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared

from musclemap_jax.predict.corpus_files import Corpus, CorpusVideo, has_skeleton, write_failed
from musclemap_jax.predict.corpus_prediction import CorpusSettings, load_model, predict_and_write

FAILED_SHARD = "beam"


class PredictVideos(beam.DoFn):
    """Writes the results of videos, and yields the videos that failed: (name, reason)."""

    def __init__(self, settings: CorpusSettings, needs_pose: bool) -> None:
        self._settings, self._needs_pose = settings, needs_pose
        self._shared = Shared()
        self._model: Any = None

    def setup(self) -> None:
        """Loads the model, or takes the one that another thread of the process has loaded."""
        self._model = self._shared.acquire(lambda: load_model(self._settings))
        if self._needs_pose:
            self._model.check_pose(self._settings.request.pose)

    def process(self, element: tuple[CorpusVideo, str]) -> Iterator[tuple[str, str]]:
        """Predicts one video; a retry writes the same result."""
        video, path = element
        reason = predict_and_write(self._model, video, path, self._settings)
        if reason is not None:
            yield video.name, reason


def predict_by_beam(corpus: Corpus, settings: CorpusSettings, options: Any) -> None:
    """Predicts the videos that have no result yet, in one pipeline.

    Args:
      corpus: The corpus.
      settings: How to predict.
      options: apache_beam's PipelineOptions.

    Raises:
      UserError: A worker has no pose estimator, and some video needs one.
    """
    missing = [(video, str(corpus.result_path(video))) for video in corpus.missing(corpus.videos)]
    if not missing:
        write_failed(corpus.out, FAILED_SHARD, {})
        return
    corpus.record_settings()
    needs_pose = not all(has_skeleton(video) for video, _ in missing)
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | beam.Create(missing)
            | beam.Reshuffle()
            | "Predict" >> beam.ParDo(PredictVideos(settings, needs_pose))
            | beam.combiners.ToList()
            | "WriteFailed" >> beam.Map(_write_failed, str(corpus.out))
        )


def _write_failed(failed: list[tuple[str, str]], out: str) -> None:
    write_failed(out, FAILED_SHARD, dict(failed))
