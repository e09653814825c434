"""The comparison of a study's rows: means over seeds, and paired differences from the reference row.

Rows are ordered by their score on validation clips, by which choices are made. Test is shown beside it. The linear
models on skeletons, which every run's report compares it with, are rows beside the study's: they have no seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from musclemap_jax.errors import UserError
from musclemap_jax.eval.activities import count_activities
from musclemap_jax.eval.baselines import LINEAR
from musclemap_jax.eval.bootstrap import draw_activities, drawn_average_precision, macro_means
from musclemap_jax.eval.metrics import MEANS
from musclemap_jax.eval.paired_bootstrap import PairedDifference, mean_and_std, paired_difference, same_clips
from musclemap_jax.eval.predictions import FUSED
from musclemap_jax.reporting.formatting import percent
from musclemap_jax.study.result import RunResult
from musclemap_jax.study.study import Study

SPLITS = ("val_known", "val_new", "val_mean", "test_known", "test_new", "test_mean")
"""Splits and means in the order of the tables."""
_CHOSEN_BY = ("val_mean", "val_new", "val_known")
"""The first that was scored orders the rows."""
_SAME_DATA = 0.005
"""Largest difference in mAP of a linear model on the same data, on two machines; other renderings differ by more."""

Drawn = Float64[np.ndarray, " R"] | None


@dataclasses.dataclass(frozen=True)
class Score:
    """A row's mAP on a split.

    Attributes:
      by_seed: Seed -> mAP in [0, 1]; empty of a baseline.
      mean: Mean over the seeds.
      std: Standard deviation over the seeds (n - 1); NaN with one seed, and of a baseline.
    """

    by_seed: Mapping[int, float]
    mean: float
    std: float


@dataclasses.dataclass(frozen=True)
class RowScores:
    """What a row comes to.

    Attributes:
      name: Its name.
      seeds: Seeds of its finished runs; none of a baseline, which depends on the data alone.
      scores: `FUSED` or branch -> split or mean -> score.
      differences: The same, from the reference row; what is not comparable is absent.
    """

    name: str
    seeds: tuple[int, ...]
    scores: Mapping[str, Mapping[str, Score]]
    differences: Mapping[str, Mapping[str, PairedDifference]]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A compared study.

    Attributes:
      study: The study.
      rows: Its rows with at least one finished run, the best on validation first.
      branches: `FUSED` and the branches of all rows.
      splits: The scored splits and means, in the order of `SPLITS`.
      chosen_by: The split or mean that orders the rows; empty if no validation split was scored.
      chance: Split or mean -> mAP of the stronger floor, where it is the same for all rows.
      codes: Code versions of the runs.
      baselines: Linear models beside the rows, in the order of `baselines.LINEAR`.
    """

    study: Study
    rows: tuple[RowScores, ...]
    branches: tuple[str, ...]
    splits: tuple[str, ...]
    chosen_by: str
    chance: Mapping[str, float]
    codes: tuple[str, ...]
    baselines: tuple[RowScores, ...] = ()

    @property
    def shown_rows(self) -> tuple[RowScores, ...]:
        """The rows, then the baselines."""
        return (*self.rows, *self.baselines)

    @property
    def num_missing(self) -> int:
        """Number of runs without a result."""
        return len(self.study.rows) * len(self.study.seeds) - sum(len(row.seeds) for row in self.rows)


def compare(study: Study, results: Sequence[RunResult]) -> Comparison:
    """Compares the rows of a study by the results of their finished runs.

    Raises:
      UserError: The results are of different data.
    """
    _check_same_data(results)
    of_rows: dict[str, dict[int, RunResult]] = {}
    for result in results:
        of_rows.setdefault(result.row, {})[result.seed] = result
    draws = _Bootstrap()
    reference = of_rows.get(study.reference, {})
    rows = []
    for name in study.rows:
        if of_row := of_rows.get(name):
            differences = {} if name == study.reference else _differences(of_row, reference, draws)
            rows.append(RowScores(name, tuple(sorted(of_row)), _scores(of_row), differences))
    scored = {split for result in results for split in result.scores[FUSED]}
    splits = tuple(split for split in SPLITS if split in scored)
    chosen_by = next((name for name in _CHOSEN_BY if name in splits), "")
    if chosen_by:
        rows.sort(key=lambda row: -_mean(row, chosen_by))
    branches = dict.fromkeys(branch for row in rows for branch in row.scores)
    return Comparison(
        study,
        tuple(rows),
        tuple(branches),
        splits,
        chosen_by,
        _common_chance(results),
        tuple(sorted({result.code for result in results})),
        tuple(_baseline_row(name, of_rows, reference, draws) for name in LINEAR if _have(results, name)),
    )


def _check_same_data(results: Sequence[RunResult]) -> None:
    """Raises UserError if linear models, which depend on the data and the input alone, read differently in two results.

    Clip ids and labels do not tell: two renderings of the same activities have the same.
    """
    seen: dict[tuple[Any, str, str], tuple[RunResult, float]] = {}
    for result in results:
        # Which modalities a row reads does not concern the linear models.
        of_input = dataclasses.replace(result.spec.input, modalities=("skeleton",))
        for name, of_splits in result.baselines.items():
            for split, value in of_splits.items():
                first, before = seen.setdefault((of_input, name, split), (result, value))
                if abs(value - before) > _SAME_DATA:
                    raise UserError(
                        f"{first.row} seed {first.seed} and {result.row} seed {result.seed} are of different data: on "
                        f"{split}, {name} reads {percent(before)} beside one and {percent(value)} beside the other: "
                        "keep results of different data in folders of their own"
                    )


def _have(results: Sequence[RunResult], baseline: str) -> bool:
    return any(baseline in result.baselines for result in results)


def _baseline_row(
    name: str, of_rows: Mapping[str, Mapping[int, RunResult]], reference: Mapping[int, RunResult], draws: _Bootstrap
) -> RowScores:
    """A linear model's row: its scores as those of a run, beside each run of the reference."""
    beside = {}
    for of_row in (reference, *of_rows.values()):
        for seed, result in of_row.items():
            if name in result.baselines:
                beside.setdefault(seed, _as_run(result, name))
    first = next(iter(beside.values()))
    scores = {split: Score({}, value, math.nan) for split, value in first.scores[FUSED].items()}
    return RowScores(name, (), {FUSED: scores}, _differences(beside, reference, draws))


def _as_run(result: RunResult, baseline: str) -> RunResult:
    """A baseline in the place of the model that it stands beside."""
    clips = {
        split: of_split._replace(scores=of_split.baseline_scores[baseline], branch_scores={}, baseline_scores={})
        for split, of_split in result.clips.items()
    }
    return dataclasses.replace(result, scores={FUSED: result.baselines[baseline]}, clips=clips, baselines={})


def _scores(of_row: Mapping[int, RunResult]) -> dict[str, dict[str, Score]]:
    """`FUSED` or branch -> split or mean -> score over the seeds that have one."""
    values: dict[str, dict[str, dict[int, float]]] = {}
    for seed, result in sorted(of_row.items()):
        for branch, of_branch in result.scores.items():
            for split, value in of_branch.items():
                values.setdefault(branch, {}).setdefault(split, {})[seed] = value
    return {
        branch: {split: Score(by_seed, *mean_and_std(list(by_seed.values()))) for split, by_seed in of_branch.items()}
        for branch, of_branch in values.items()
    }


def _differences(
    of_row: Mapping[int, RunResult], reference: Mapping[int, RunResult], draws: _Bootstrap
) -> dict[str, dict[str, PairedDifference]]:
    """`FUSED` or branch -> split or mean -> difference, from the pairs of the same seed and the same clips."""
    found: dict[str, dict[str, PairedDifference]] = {}
    pairs = [(of_row[seed], reference[seed]) for seed in sorted(of_row.keys() & reference.keys())]
    for branch in dict.fromkeys(branch for one, _ in pairs for branch in one.scores):
        for split in SPLITS:
            comparable = [pair for pair in pairs if _is_comparable(*pair, branch, split)]
            if comparable:
                values = [one.scores[branch][split] - other.scores[branch][split] for one, other in comparable]
                drawn = [draws.difference(one, other, branch, split) for one, other in comparable]
                found.setdefault(branch, {})[split] = paired_difference(values, drawn)
    return found


def _is_comparable(one: RunResult, other: RunResult, branch: str, split: str) -> bool:
    """Whether both have the score, of the same clips and regions."""
    return (
        one.regions == other.regions
        and all(split in each.scores.get(branch, {}) for each in (one, other))
        and all(same_clips(one.clips[part], other.clips[part]) for part in MEANS.get(split, (split,)))
    )


class _Bootstrap:
    """The mAP of each run in each repetition of the bootstrap over activities, computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str], tuple[RunResult, Drawn]] = {}
        self._draws = functools.cache(draw_activities)

    def difference(self, one: RunResult, other: RunResult, branch: str, split: str) -> Drawn:
        """The difference in each repetition; of a mean of known and new the mean of both, drawn independently."""
        total = []
        for part in MEANS.get(split, (split,)):
            of_one, of_other = (self._mean_ap(each, branch, part) for each in (one, other))
            if of_one is None or of_other is None:
                return None
            total.append(of_one - of_other)
        return np.mean(total, axis=0)

    def _mean_ap(self, result: RunResult, branch: str, split: str) -> Drawn:
        key = id(result), branch, split
        if key not in self._known:
            clips = result.clips[split]
            drawn = None
            if count_activities(clips.activities) > 1:
                draws = self._draws(split, tuple(clips.activities))
                scores = result.clip_scores(branch, split)
                drawn = macro_means(drawn_average_precision(scores, clips.labels, clips.activities, draws))
            self._known[key] = result, drawn  # with the result, so that no other one gets its id
        return self._known[key][1]


def _common_chance(results: Sequence[RunResult]) -> dict[str, float]:
    """The floors that all results share: those of the same clips."""
    if not results:
        return {}
    first = results[0].chance
    return {
        split: value
        for split, value in first.items()
        if all(math.isclose(result.chance.get(split, math.nan), value, abs_tol=1e-9) for result in results)
    }


def _mean(row: RowScores, split: str) -> float:
    """A row's mean score; below all others where there is none."""
    score = row.scores[FUSED].get(split)
    return -math.inf if score is None or math.isnan(score.mean) else score.mean
