"""The report of a finished run: figures, curves, data, example clips and what made them."""

from __future__ import annotations

import dataclasses
import json
import resource
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import jax
import numpy as np

from musclemap_jax import __version__
from musclemap_jax.data.video import decode_jpeg
from musclemap_jax.distributed.process_log import command_line
from musclemap_jax.eval.examples import Example, choose_examples
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.report import write_report
from musclemap_jax.eval.report_sections import RunInfo
from musclemap_jax.eval.scalars import read_scalars
from musclemap_jax.eval.statistics import data_statistics
from musclemap_jax.experiment import Experiment, PreparedData
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.train.run_log import SCALARS

REPORT_FOLDER = "report"
EXAMPLES_PER_SPLIT = 4
FRAMES_PER_EXAMPLE = 6
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")
KIBIBYTE = 1024


def report_run(
    experiment: Experiment,
    metrics: Metrics,
    predictions: Mapping[str, SplitPredictions],
    times_s: Mapping[str, float],
    title: str,
) -> Path:
    """Writes ``<workdir>/report``.

    Args:
      experiment: that was evaluated.
      metrics: its figures.
      predictions: split -> logits of its clips.
      times_s: part of the run -> seconds.
      title: name of the run.

    Returns:
      The path of ``report.html``.
    """
    data = experiment.data
    clips = [(split, clip.activity, clip.muscles) for split, rows in data.clips.items() for clip in rows]
    info = RunInfo(
        title=title,
        command=command_line(),
        config=json.dumps(dataclasses.asdict(experiment.spec), indent=2),
        parameters=experiment.parameter_counts(),
        times_s=times_s,
        versions={"musclemap_jax": __version__} | {package: metadata.version(package) for package in PACKAGES},
        facts={
            "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "steps": str(int(experiment.state.step)),
            "peak memory of the main process": f"{peak_memory_bytes() / 2**30:.2f} GiB",
        },
        note=f"Data set: musclemap/{experiment.spec.data.builder}.",
    )
    shown = [split for split in predictions if split.startswith("test")] or list(predictions)
    return write_report(
        experiment.workdir / REPORT_FOLDER,
        metrics,
        info,
        scalars=read_scalars(experiment.workdir / SCALARS),
        statistics=data_statistics(clips),
        examples=[example for split in shown for example in _examples(data, split, predictions[split])],
        predictions=predictions,
    )


def peak_memory_bytes() -> int:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE


def _examples(data: PreparedData, split: str, predictions: SplitPredictions) -> list[Example]:
    """Clips of a split from the best to the worst prediction."""
    examples = []
    for position, note in choose_examples(predictions, EXAMPLES_PER_SPLIT):
        record = data.sources[split][position]
        chosen = np.linspace(0, len(record["frames"]) - 1, FRAMES_PER_EXAMPLE).round().astype(int)
        examples.append(
            Example(
                split=split,
                clip_id=record["clip_id"],
                activity=record["activity"],
                labels=np.asarray(predictions.labels)[position],
                probabilities=1 / (1 + np.exp(-np.asarray(predictions.scores, np.float64)[position])),
                frames=np.stack([decode_jpeg(record["frames"][index]) for index in chosen]),
                skeleton=record["skeleton"][chosen],
                joint_names=get_layout(record["skeleton_layout"]).joints,
                note=note,
            )
        )
    return examples
