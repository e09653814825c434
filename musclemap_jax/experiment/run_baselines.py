"""The baselines of a run's report: linear models on its data's skeletons, and the lookup of activities.

They are made when a report is, by the process that writes it, and depend on the data alone. The first person of a clip
is looked at, as stored (the most prominent one). At most `MAX_TRAIN_CLIPS` clips are learned from, evenly over the
training split, so that a large data set costs minutes at most.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from musclemap_jax.biomechanics import statistics
from musclemap_jax.biomechanics.limbs import ARM_MUSCLES, joints_without
from musclemap_jax.data.modalities.fields import ClipRecord, field_of, text
from musclemap_jax.data.raw.raw_dataset import Clip
from musclemap_jax.data.sampling import pose_times
from musclemap_jax.data.skeletons.poses import sample_poses
from musclemap_jax.eval.baselines import BIOMECHANICS, BOTH, JOINTS, LIMBS, LOOKUP, TITLES, ActivityLookup
from musclemap_jax.eval.limb_model import LimbModel, fit_limb_model
from musclemap_jax.eval.linear_model import LinearModel, fit_linear_model
from musclemap_jax.eval.predictions import SplitPredictions
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.skeleton_layouts import convert, get_layout
from tfds_musclemap.source import ClipSource, stored_clips

MAX_TRAIN_CLIPS = 5000
NUM_POSES = 64
"""Poses of a clip, evenly over it: as many as a model takes by default."""

_CHUNK = 256
"""Clips whose statistics are computed at once."""

_VIEWS = tuple(joints_without(limb, get_layout(statistics.LAYOUT).joints) for limb in ("legs", "arms"))
"""The joints that the two halves of the statistics of `LIMBS` are of."""

Statistics = dict[str, Float[np.ndarray, "n F"]]
"""Linear baseline -> the statistics that it takes."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Baselines that were fitted on the training split.

    Attributes:
      linear: Linear models by name; empty without skeletons.
      lookup: The lookup of activities.
      remarks: Sentences on what is missing.
    """

    linear: Mapping[str, LinearModel | LimbModel]
    lookup: ActivityLookup
    remarks: tuple[str, ...]

    def scores(self, data: PreparedData, split: str) -> dict[str, np.ndarray]:
        """Baseline -> (n, K) scores of all clips of a split, in its order; those that have none are left out."""
        found: dict[str, np.ndarray | None] = {}
        if self.linear:
            of_kinds = _statistics(data.sources[split], range(len(data.clips[split])))
            found = {name: model.log_odds(of_kinds[name]) for name, model in self.linear.items()}
        found[LOOKUP] = self.lookup.scores([clip.activity for clip in data.clips[split]])
        return {name: scores for name in TITLES if (scores := found.get(name)) is not None}


def fit_baselines(data: PreparedData) -> Baselines:
    """Fits all baselines on the training split."""
    clips = data.clips["train"]
    labels = _labels(clips, len(data.regions))
    lookup = ActivityLookup([clip.activity for clip in clips], labels)
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(len(clips), MAX_TRAIN_CLIPS)).round().astype(int))
    source = data.sources["train"]
    if "skeleton" not in source[0]:
        return Baselines(
            {}, lookup, ("The prepared data holds no skeletons, so there are no linear models beside it.",)
        )
    log.info("fitting linear models on the skeletons of %d training clips", len(chosen))
    of_kinds = _statistics(source, chosen)
    if all(np.isnan(of_kind).all() for of_kind in of_kinds.values()):
        return Baselines({}, lookup, ("No training clip shows a person, so there are no linear models beside it.",))
    limbs = of_kinds.pop(LIMBS)
    linear: dict[str, LinearModel | LimbModel] = {
        name: fit_linear_model(of_kind, labels[chosen]) for name, of_kind in of_kinds.items()
    }
    of_arms = np.isin(data.regions, ARM_MUSCLES)
    if of_arms.any() and not of_arms.all():
        linear[LIMBS] = fit_limb_model(limbs, labels[chosen], of_arms)
    remarks = ()
    if len(chosen) < len(clips):
        remarks = (f"The linear models were fitted on {len(chosen):,} of {len(clips):,} training clips.",)
    return Baselines(linear, lookup, remarks)


def with_baselines(
    data: PreparedData, predictions: Mapping[str, SplitPredictions]
) -> tuple[dict[str, SplitPredictions], tuple[str, ...]]:
    """Predictions of a model on splits of the data, with the scores of baselines; and what is missing, in sentences."""
    baselines = fit_baselines(data)
    added = {
        split: of_split._replace(baseline_scores=baselines.scores(data, split))
        for split, of_split in predictions.items()
    }
    return added, baselines.remarks


def _statistics(source: ClipSource, positions: Sequence[int] | np.ndarray) -> Statistics:
    """Statistics of the clips at some positions of a split, NaN where they are undefined."""
    durations_s = [clip.num_frames / clip.fps for clip in stored_clips(source)]
    chunks = []
    for chunk in _chunks(positions):
        poses = np.stack([_poses(source[row]) for row in chunk])
        per_s = np.array([NUM_POSES / durations_s[row] for row in chunk], np.float32)
        views = (poses, *(np.where(kept[:, None], poses, np.float32(0)) for kept in _VIEWS))
        chunks.append([part for view in views for part in _of_both_kinds(view, per_s)])
    joints, biomechanics, *views = (np.concatenate(part) for part in zip(*chunks, strict=True))
    both, limbs = (np.concatenate(parts, axis=1) for parts in ([joints, biomechanics], views))
    return {JOINTS: joints, BIOMECHANICS: biomechanics, BOTH: both, LIMBS: limbs}


def _of_both_kinds(poses: Float[np.ndarray, "n T V 3"], poses_per_s: Float[np.ndarray, " n"]) -> Iterator[np.ndarray]:
    for found in (statistics.joint_statistics(poses), statistics.biomechanical_statistics(poses, poses_per_s)):
        yield np.where(found.valid, found.values, np.float32(np.nan))


def _chunks(positions: Sequence[int] | np.ndarray) -> Iterator[list[int]]:
    rest = iter(positions)
    while chunk := [int(row) for row in itertools.islice(rest, _CHUNK)]:
        yield chunk


def _poses(record: ClipRecord) -> Float[np.ndarray, "T V 3"]:
    """Poses of a clip's first person."""
    skeleton = convert(
        field_of(record, "skeleton")[:, :1], text(field_of(record, "skeleton_layout")), statistics.LAYOUT
    )
    return sample_poses(skeleton, pose_times(len(skeleton), NUM_POSES), num_persons=1)[:, 0]


def _labels(clips: Sequence[Clip], num_regions: int) -> np.ndarray:
    labels = np.zeros((len(clips), num_regions), np.uint8)
    for row, clip in enumerate(clips):
        labels[row, list(clip.muscles)] = 1
    return labels
