"""The report of a finished run: metrics, curves, data, example clips and how the run was made."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
import resource
from collections.abc import Mapping
from importlib import metadata

import jax
import numpy as np
from etils import epath

from musclemap_jax import __version__
from musclemap_jax.checkpoints.checkpointer import CHECKPOINTS
from musclemap_jax.checkpoints.validation_scores import FILE as VALIDATION_SCORES
from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.eval import score_link
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.eval.statistics import data_statistics
from musclemap_jax.experiment.experiment import Experiment
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.workdir import CONFIG, DECISIONS
from musclemap_jax.reporting.examples import Example, choose_examples
from musclemap_jax.reporting.report import write_report
from musclemap_jax.reporting.report_page import RunInfo
from musclemap_jax.runtime.code_version import code_version
from musclemap_jax.runtime.process_log import FOLDER as LOGS
from musclemap_jax.runtime.process_log import given_command
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.storage.files import LocalFolder, local_copy
from musclemap_jax.storage.run_log import SCALARS, TENSORBOARD
from musclemap_jax.storage.run_times import RunTimes
from musclemap_jax.storage.scalars import Series, read_scalars
from musclemap_jax.train.losses import link_of
from tfds_musclemap.source import ClipRecord, stored_clips

EXAMPLES_PER_SPLIT = 4
FRAMES_PER_EXAMPLE = 6
PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")
RUN_FILES = {
    CONFIG: "the resolved configuration",
    DECISIONS: "how logits become probabilities and active regions",
    SCALARS: "training curves",
    TENSORBOARD: "the same for TensorBoard",
    VALIDATION_SCORES: "validation scores by step",
    CHECKPOINTS: "newest and best checkpoint",
    LOGS: "per-process logs",
}
"""Path in the workdir -> what it is."""
CANVAS_GREY = 40
"""Background of examples whose frames are not stored."""


def report_run(
    experiment: Experiment,
    metrics: Metrics,
    predictions: Mapping[str, SplitPredictions],
    times: RunTimes,
    title: str,
    folder: epath.Path,
) -> epath.Path:
    """Writes the report of a run.

    Args:
      experiment: The evaluated experiment.
      metrics: Its metrics.
      predictions: Split -> predictions, with logits as scores.
      times: Times of the run.
      title: Name of the configuration.
      folder: Where to write; remove an earlier report first (`remove_report`).

    Returns:
      The path of ``report.html``.
    """
    data, spec = experiment.data, experiment.spec
    clips = [(split, clip.activity, clip.muscles) for split, rows in data.clips.items() for clip in rows]
    info = RunInfo(
        title=f"{title} · seed {spec.seed} · {experiment.workdir}",
        identity=run_identity(experiment),
        command=given_command(),
        config=json.dumps(dataclasses.asdict(spec), indent=2),
        parameters=experiment.parameter_counts(),
        times_s=times.totals_s(),
        num_sessions=times.num_sessions,
        versions={"musclemap_jax": __version__} | {package: metadata.version(package) for package in PACKAGES},
        facts={
            "data set": f"musclemap/{spec.data.builder}",
            "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "peak memory (main process)": f"{_peak_memory_gib():.2f} GiB",
        },
        files=_run_files(experiment.workdir) if folder.parent == experiment.workdir else {},
    )
    shown = [split for split in predictions if split.startswith("test")] or list(predictions)
    with contextlib.closing(LocalFolder(folder)) as report:
        path = write_report(
            report.path,
            metrics,
            info,
            scalars=_shown_scalars(_scalars_of(experiment.workdir)),
            statistics=data_statistics(clips, data.regions),
            examples=[
                example
                for split in shown
                for example in example_clips(data, split, predictions[split], link_of(spec.loss.kind))
            ],
            predictions=predictions,
        )
    return folder / path.name


def run_identity(experiment: Experiment) -> list[str]:
    """What tells a run from others: code, date, steps and the scored checkpoint."""
    date = datetime.datetime.now(datetime.UTC)
    checkpoints = experiment.workdir / CHECKPOINTS
    saved = [int(path.name) for path in checkpoints.iterdir() if path.name.isdigit()] if checkpoints.exists() else []
    done = max([int(experiment.state.step), *saved])
    return [
        code_version(),
        f"{date:%Y-%m-%d %H:%M} UTC",
        f"{done:,} of {experiment.num_steps:,} steps",
        f"scored: {experiment.scored}",
    ]


def _run_files(workdir: epath.Path) -> dict[str, str]:
    """Path from a report inside the workdir -> what it is, for the run's other files."""
    return {f"../{name}": what for name, what in RUN_FILES.items() if (workdir / name).exists()}


def _scalars_of(workdir: epath.Path) -> dict[str, Series]:
    """What the training has logged; nothing where it has not."""
    path = workdir / SCALARS
    if not path.exists():
        return {}
    with local_copy(path) as log:
        return read_scalars(log)


def _shown_scalars(scalars: Mapping[str, Series]) -> dict[str, Series]:
    """The scalars that the page plots: without the distillation losses of single sites, which TensorBoard shows."""
    return {name: series for name, series in scalars.items() if not re.match(r"train/kd_\w+/", name)}


def _peak_memory_gib() -> float:
    """The peak resident memory of this process so far; Linux reports it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def example_clips(
    data: PreparedData, split: str, predictions: SplitPredictions, link: str = "sigmoid"
) -> list[Example]:
    """Example clips of a split, from the best to the worst prediction, with probabilities by the link of the loss."""
    examples = []
    rows = stored_clips(data.sources[split])
    for position, note in choose_examples(predictions, EXAMPLES_PER_SPLIT):
        record = data.sources[split][position]
        chosen = np.linspace(0, rows[position].num_frames - 1, FRAMES_PER_EXAMPLE).round().astype(int)
        has_skeleton = "skeleton" in record
        examples.append(
            Example(
                split=split,
                clip_id=record["clip_id"],
                activity=record["activity"],
                labels=predictions.labels[position],
                probabilities=score_link.probabilities(score_link.log_odds(predictions.scores[position], link)),
                frames=_frames(record, chosen, rows[position].size),
                skeleton=record["skeleton"][chosen] if has_skeleton else None,
                joint_names=get_layout(record["skeleton_layout"]).joints if has_skeleton else (),
                note=note,
            )
        )
    return examples


def _frames(record: ClipRecord, chosen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(T, H, W, 3) uint8: the chosen frames, or a dark canvas for the skeletons if no frames are stored."""
    if "frames" not in record:
        return np.full((len(chosen), *size, 3), CANVAS_GREY, np.uint8)
    return np.stack([decode_jpeg(record["frames"][index]) for index in chosen])
