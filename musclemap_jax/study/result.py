"""What a finished run leaves for the comparison: one JSON file, small enough to be committed.

It holds the mAP of every split and branch, the configuration, the code version, and the ranks of every clip's scores
(`clip_ranks.py`), also by the linear models on skeletons that its report compares it with, so that any two runs can be
compared clip by clip on a machine that has neither the data nor the checkpoints. For 460 clips, twenty regions and two
branches it has about 50 KiB, with the linear models about 105.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.eval.average_precision import macro_mean, per_region_average_precision
from musclemap_jax.eval.baselines import LINEAR
from musclemap_jax.eval.metrics import MEANS, Metrics
from musclemap_jax.eval.predictions import FUSED, SplitPredictions, check_predictions
from musclemap_jax.experiment.config import ExperimentSpec, resolve
from musclemap_jax.experiment.workdir import REPORT_FOLDER, trained_spec
from musclemap_jax.reporting.tables import read_predictions
from musclemap_jax.runtime.code_version import code_version
from musclemap_jax.storage.files import replace_text
from musclemap_jax.storage.json_files import read_json_object
from musclemap_jax.storage.run_times import RunTimes
from musclemap_jax.study.clip_ranks import pack, unpack
from musclemap_jax.study.configurations import config_hash, deciding_changes
from musclemap_jax.study.runs import Run

FORMAT = 1
_FIX = "restore it from a copy, or delete it to run this run again"


@dataclasses.dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
      row: Name of its row.
      seed: Its seed.
      spec: Its configuration.
      code: The code version by which it was trained, or several; that of the collection where the run does not say.
      times_s: Part of the run -> seconds.
      regions: K names of the muscle regions.
      scores: `FUSED` or branch -> split or mean -> mAP in [0, 1]; a model of one branch has the same under both.
      chance: Split or mean -> the mAP of the stronger floor.
      clips: Split -> its clips; only the order of their scores counts.
      baselines: Linear baseline (`baselines.LINEAR`) -> split or mean -> mAP; empty without skeletons. The clips have
        its scores.
    """

    row: str
    seed: int
    spec: ExperimentSpec
    code: str
    times_s: Mapping[str, float]
    regions: tuple[str, ...]
    scores: Mapping[str, Mapping[str, float]]
    chance: Mapping[str, float]
    clips: Mapping[str, SplitPredictions]
    baselines: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)

    def clip_scores(self, branch: str, split: str) -> np.ndarray:
        """(n, K) scores of the clips by the whole model, `FUSED`, or by a branch that has a mAP."""
        clips = self.clips[split]
        return clips.scores if branch == FUSED else clips.branch_scores.get(branch, clips.scores)


def validation_scores(result: RunResult) -> dict[str, float]:
    """Split or mean of validation -> mAP of the model's prediction; test is for the comparison alone."""
    return {split: value for split, value in result.scores[FUSED].items() if split.startswith("val")}


def is_finished(folder: Path) -> bool:
    """Whether the run in a workdir has written its report, whose page is the last of its files."""
    return (folder / REPORT_FOLDER / "report.html").is_file()


def collect_run(run: Run) -> RunResult:
    """The result of a run from its workdir.

    Raises:
      UserError: The workdir holds the run of another configuration, or a damaged report.
    """
    spec = trained_spec(run.folder)
    if changed := deciding_changes(spec, run.spec):
        raise UserError(f"{run.folder}: the run was trained with another configuration ({changed[0]})")
    metrics, clips = _read_report(run.folder / REPORT_FOLDER)
    headlines = {FUSED: metrics.headlines(), **metrics.branches}
    if len(spec.model.weights) == 1:
        (branch,) = spec.model.weights
        headlines[branch] = headlines[FUSED]
    times = RunTimes(run.folder, writes=False)
    return RunResult(
        row=run.row,
        seed=run.seed,
        spec=spec,
        code=", then ".join(times.codes) or code_version(),
        times_s=times.totals_s(),
        regions=metrics.regions,
        scores={
            name: {split: headline.mean_ap for split, headline in of_name.items()}
            for name, of_name in headlines.items()
        },
        chance={split: headline.chance for split, headline in headlines[FUSED].items()},
        clips=clips,
        baselines={
            name: {split: each.headline.mean_ap for split, each in metrics.baselines[name].items()}
            for name in _linear_baselines(clips)
        },
    )


def _linear_baselines(clips: Mapping[str, SplitPredictions]) -> list[str]:
    """Those whose scores stand beside the model's in every split; none in reports of older versions."""
    return [name for name in LINEAR if all(name in of_split.baseline_scores for of_split in clips.values())]


def _read_report(folder: Path) -> tuple[Metrics, dict[str, SplitPredictions]]:
    path = folder / "metrics.json"
    try:
        metrics = Metrics.from_json(path.read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the metrics of a run ({error}): evaluate the run again") from error
    clips = {}
    for split in metrics.splits:
        logits, _ = read_predictions(folder / "predictions" / f"predictions_{split}.npz")
        linear = {name: scores for name, scores in logits.baseline_scores.items() if name in LINEAR}
        clips[split] = logits.rescored(metrics.scores)._replace(baseline_scores=linear)
        _check_agrees(path, split, metrics, clips[split])
    return metrics, clips


def _check_agrees(path: Path, split: str, metrics: Metrics, predictions: SplitPredictions) -> None:
    """Refuses predictions that do not have the metrics beside them."""
    every_clip = np.ones(len(predictions.clip_ids), bool)
    mean_ap = macro_mean(per_region_average_precision(predictions.scores, predictions.labels, every_clip))
    expected = metrics.splits[split].headline.mean_ap
    if not math.isclose(mean_ap, expected, abs_tol=1e-9) and not math.isnan(expected):
        raise UserError(
            f"{path}: mAP {expected:.6f} of {split}, and {mean_ap:.6f} by its predictions: evaluate the run again"
        )


def write_result(path: Path, result: RunResult) -> None:
    """Writes the JSON file; its folder is made if absent."""
    config = json.loads(json.dumps(dataclasses.asdict(result.spec)))
    content = {
        "format": FORMAT,
        "row": result.row,
        "seed": result.seed,
        "code": result.code,
        "config_sha256": config_hash(result.spec),
        "times_s": {name: round(seconds, 1) for name, seconds in result.times_s.items()},
        "mAP": {branch: _as_json(scores) for branch, scores in result.scores.items()},
        "chance": _as_json(result.chance),
        "baselines": {name: _as_json(scores) for name, scores in result.baselines.items()},
        "regions": list(result.regions),
        "config": config,
        "clips": {split: pack(predictions) for split, predictions in result.clips.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> RunResult:
    """Reads a file of `write_result`.

    Raises:
      UserError: The file is damaged, or of a version with other keys.
    """
    content = read_json_object(path, _FIX)
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: expected a result of format {FORMAT}, got {content.get('format')!r}: {_FIX}")
    try:
        config = _field(content, "config", dict)
        result = RunResult(
            row=_field(content, "row", str),
            seed=_field(content, "seed", int),
            spec=resolve(config),
            code=_field(content, "code", str),
            times_s={name: float(seconds) for name, seconds in _field(content, "times_s", dict).items()},
            regions=tuple(_field(content, "regions", list)),
            scores={branch: _from_json(scores) for branch, scores in _field(content, "mAP", dict).items()},
            chance=_from_json(_field(content, "chance", dict)),
            clips={split: unpack(text) for split, text in _field(content, "clips", dict).items()},
            baselines={name: _from_json(scores) for name, scores in content.get("baselines", {}).items()},
        )
        if content.get("config_sha256") != config_hash(result.spec, config):
            raise ValueError("config_sha256 is not that of config")
        _check_result(result)
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise UserError(f"{path}: damaged, or of another version ({error}): {_FIX}") from error
    return result


def result_of_run(run: Run) -> RunResult:
    """Reads the file that a run has left.

    Raises:
      UserError: The file is damaged, or that of another run.
    """
    result = read_result(run.result)
    if (result.row, result.seed) != (run.row, run.seed):
        raise UserError(
            f"{run.result}: expected the result of {run}, got that of {result.row} seed {result.seed}: {_FIX}"
        )
    return result


def _field(content: Mapping[str, Any], name: str, kind: type) -> Any:
    """A value of the file; ValueError if it is absent or of another type."""
    value = content.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name}: expected a value of type {kind.__name__}, got {value!r:.40}")
    return value


def _check_result(result: RunResult) -> None:
    """Raises ValueError for what a comparison could not use, or would not notice."""
    if result.seed != result.spec.seed:
        raise ValueError(f"seed: expected {result.spec.seed}, as in config, got {result.seed}")
    for part, seconds in result.times_s.items():
        if not 0 <= seconds < math.inf:
            raise ValueError(f"times_s: expected seconds, got {seconds} for {part}")
    for split, of_split in result.clips.items():
        check_predictions(split, of_split, len(result.regions))
        if absent := result.baselines.keys() - of_split.baseline_scores.keys():
            raise ValueError(f"baselines: {min(absent)} has no scores of the clips of {split}")
    splits = {*result.clips, *(name for name, parts in MEANS.items() if result.clips.keys() >= set(parts))}
    if (found := result.scores.get(FUSED, {}).keys()) != splits:
        expected, got = (", ".join(sorted(names)) or "none" for names in (splits, found))
        raise ValueError(f"mAP of {FUSED}: expected {expected}, the splits of clips, got {got}")
    of_names = {f"mAP of {name}": values for name, values in {**result.scores, **result.baselines}.items()}
    for name, values in (of_names | {"chance": result.chance}).items():
        if unknown := values.keys() - splits:
            raise ValueError(f"{name}: no clips of {min(unknown)}")
        for split, value in values.items():
            if not (0 <= value <= 1 or math.isnan(value)):
                raise ValueError(f"{name}: expected a fraction in [0, 1] for {split}, got {value}")


def _as_json(values: Mapping[str, float]) -> dict[str, float | None]:
    """NaN as null."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _from_json(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in values.items()}
