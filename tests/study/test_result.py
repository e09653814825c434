"""The JSON file of a finished run: everything comes back, and what is damaged is named."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.eval.metrics import compute_metrics
from musclemap_jax.eval.predictions import FUSED
from musclemap_jax.runtime.code_version import code_version
from musclemap_jax.storage.run_times import RunTimes
from musclemap_jax.study.configurations import config_hash
from musclemap_jax.study.result import (
    collect_run,
    is_finished,
    read_result,
    result_of_run,
    validation_scores,
    write_result,
)
from musclemap_jax.study.study import Row, Study
from tests.study.fabricated import (
    CROSSED,
    LABELS,
    PERFECT,
    REGIONS,
    REVERSED,
    clips,
    plan,
    study_of,
    write_finished_run,
)


@pytest.fixture
def run(tmp_path):
    """The only run of a study of HD-GCN alone, not finished."""
    (run,) = plan(study_of(seeds=(3,), only=1e-3), tmp_path)
    return run


def test_a_run_of_one_branch(run):
    assert not is_finished(run.folder)
    write_finished_run(run.folder, run, {"val_known": clips(PERFECT, "val_known"), "val_new": clips(CROSSED)})
    assert is_finished(run.folder)
    result = collect_run(run)
    assert (result.row, result.seed, result.spec.seed) == ("only", 3, 3)
    expected = {"val_known": 1.0, "val_new": 5 / 6, "val_mean": 11 / 12}
    assert result.scores == {FUSED: pytest.approx(expected), "skeleton": pytest.approx(expected)}
    assert result.times_s == {"training": 90.0, "evaluation": 5.0}
    assert result.code.split()[0] in ("commit", "version")
    # Half of the clips show the region; a random order of 2 in 4 expects more: (1 + 2/3 + 5/9 + 1/2) / 4 = 0.6805...
    assert result.chance["val_new"] == pytest.approx((1 + (1 + 1 / 3) / 2 + (1 + 2 / 3) / 3 + 2 / 4) / 4)
    np.testing.assert_array_equal(result.clip_scores("skeleton", "val_new"), result.clip_scores(FUSED, "val_new"))
    assert validation_scores(result) == pytest.approx(expected)


def test_a_run_of_two_branches(tmp_path):
    (run,) = plan(Study(rows={"full": Row("transm3e:smoke")}, seeds=(0,)), tmp_path)
    write_finished_run(run.folder, run, {"test_new": clips(PERFECT, "test_new", video=REVERSED, skeleton=CROSSED)})
    result = collect_run(run)
    found = {branch: of_branch["test_new"] for branch, of_branch in result.scores.items()}
    assert found == pytest.approx({FUSED: 1.0, "video": 0.5, "skeleton": 5 / 6})
    assert result.clip_scores("video", "test_new")[:, 0].tolist() == list(REVERSED)
    assert validation_scores(result) == {}


def test_a_result_names_the_code_of_every_session(run):
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    assert collect_run(run).code == code_version()  # of a run that does not say
    for code in ("commit 1", "commit 2", "commit 2"):
        times = RunTimes(run.folder, writes=True, code=code)
        times.end("training")
        times.save()
    assert collect_run(run).code == "commit 1, then commit 2"


def test_a_result_comes_back_from_its_file(run, tmp_path):
    beside = {"linear_joints": REVERSED, "activity_lookup": PERFECT}
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED, baselines=beside)})
    expected = collect_run(run)
    assert expected.baselines == {"linear_joints": {"val_new": 0.5}}
    write_result(run.result, expected)
    found = read_result(run.result)
    for name in ("row", "seed", "spec", "code", "times_s", "regions", "scores", "chance", "baselines"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.clips["val_new"].baseline_scores["linear_joints"][:, 0].tolist() == [0, 1, 2, 3]
    assert found.clips["val_new"].baseline_scores.keys() == {"linear_joints"}
    assert found.clips["val_new"].scores[:, 0].tolist() == [3, 2, 1, 0]
    assert found.clips["val_new"].labels.tolist() == LABELS.tolist()
    content = json.loads(run.result.read_text())
    assert content["mAP"]["fused"]["val_new"] == pytest.approx(5 / 6)
    assert content["config_sha256"] == config_hash(run.spec)
    assert content["config"]["optimizer"]["learning_rate"] == 1e-3
    text = run.result.read_text()
    write_result(run.result, found)  # ranks of ranks are the same ranks
    assert run.result.read_text() == text


def test_a_result_of_an_older_version_has_no_linear_models(run):
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    write_result(run.result, collect_run(run))
    content = json.loads(run.result.read_text())
    assert content.pop("baselines") == {}
    run.result.write_text(json.dumps(content))
    assert read_result(run.result).baselines == {}


def test_an_undefined_score_is_null(run):
    nothing = clips(CROSSED)._replace(labels=np.zeros_like(LABELS))
    write_finished_run(run.folder, run, {"val_new": nothing})
    write_result(run.result, collect_run(run))
    assert json.loads(run.result.read_text())["mAP"]["fused"] == {"val_new": None}
    assert math.isnan(read_result(run.result).scores[FUSED]["val_new"])


def test_predictions_that_contradict_the_metrics_are_refused(run):
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    metrics = compute_metrics({"val_new": clips(PERFECT)}, REGIONS)
    path = run.folder / "report" / "metrics.json"
    path.write_text(metrics.to_json())
    with pytest.raises(UserError, match=rf"{path}: mAP 1.000000 of val_new, and 0.833333 by its predictions: evaluate"):
        collect_run(run)
    path.write_text("{}")
    with pytest.raises(UserError, match=rf"{path}: not the metrics of a run \('regions'\): evaluate the run again"):
        collect_run(run)


def test_a_workdir_of_another_configuration_is_refused(run, tmp_path):
    (other,) = plan(study_of(seeds=(3,), only=5e-3), tmp_path)
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    with pytest.raises(UserError, match=r"another configuration \(optimizer.learning_rate was 0.001, is 0.005\)"):
        collect_run(other)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content.pop("seed"), "damaged, or of another version"),
        (lambda content: content.update(format=0), "expected a result of format 1, got 0"),
        (lambda content: content["clips"].update(val_new="AAAA"), "damaged, or of another version"),
        (lambda content: content["config"].update(novelty=1), "config.novelty: unknown key"),
        (lambda content: content["mAP"].update(fused=3), "damaged, or of another version"),
        (lambda content: content.update(seed="a"), "seed: expected a value of type int, got 'a'"),
        (lambda content: content.update(seed=9), "seed: expected 3, as in config, got 9"),
        (lambda content: content.update(config_sha256="0" * 64), "config_sha256 is not that of config"),
        (lambda content: content["config"]["optimizer"].update(weight_decay=0.5), "config_sha256 is not that of"),
        (
            lambda content: content["regions"].pop(),
            r"val_new: expected scores and labels of shape \(4, 0\), got \(4, 1\)",
        ),
        (
            lambda content: content["mAP"]["fused"].update(val_new=500),
            r"mAP of fused: expected .* in \[0, 1\] for val_new",
        ),
        (lambda content: content["mAP"].pop("fused"), "mAP of fused: expected val_new, the splits of clips, got none"),
        (lambda content: content["mAP"]["fused"].update(test_new=0.5), "expected val_new, .*, got test_new, val_new"),
        (lambda content: content["mAP"]["skeleton"].update(test_new=0.5), "mAP of skeleton: no clips of test_new"),
        (lambda content: content["clips"].clear(), "mAP of fused: expected none, the splits of clips, got val_new"),
        (lambda content: content["chance"].update(val_new=-1), r"chance: expected .* in \[0, 1\] for val_new, got -1"),
        (
            lambda content: content["baselines"].update(linear_limbs={}),
            "linear_limbs has no scores of the clips of val_new",
        ),
        (lambda content: content.update(times_s=[1]), r"times_s: expected a value of type dict, got \[1\]"),
        (lambda content: content["times_s"].update(training="long"), "could not convert string to float: 'long'"),
        (lambda content: content["times_s"].update(training=-1), "times_s: expected seconds, got -1.0 for training"),
    ],
)
def test_a_damaged_result_is_named_with_the_fix(run, damage, message):
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    write_result(run.result, collect_run(run))
    content = json.loads(run.result.read_text())
    damage(content)
    run.result.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        read_result(run.result)
    assert str(caught.value).startswith(f"{run.result}: ")
    assert str(caught.value).endswith(": restore it from a copy, or delete it to run this run again")


def test_a_configuration_of_an_older_version_keeps_its_hash(run):
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    write_result(run.result, collect_run(run))
    content = json.loads(run.result.read_text())
    content["config_sha256"] = config_hash(run.spec, content["config"])
    assert content["config_sha256"] == config_hash(run.spec)
    del content["config"]["optimizer"]["weight_decay"]  # a key that the older version did not know
    content["config_sha256"] = config_hash(run.spec, content["config"])
    run.result.write_text(json.dumps(content))
    assert read_result(run.result).spec == run.spec


def test_the_result_of_another_run_is_refused(tmp_path):
    one, other = plan(study_of(seeds=(0,), one=1e-3, other=1e-3), tmp_path)
    write_finished_run(other.folder, other, {"val_new": clips(CROSSED)})
    write_result(other.result, collect_run(other))
    assert result_of_run(other).row == "other"
    other.result.rename(one.result)
    with pytest.raises(
        UserError, match=f"^{one.result}: expected the result of one seed 0, got that of other seed 0: restore"
    ):
        result_of_run(one)
