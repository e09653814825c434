"""The runs of a study: the main job's own reading of the command line, and errors that name the row."""

from __future__ import annotations

import subprocess
import sys

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import default_config, resolve
from musclemap_jax.study.runs import select_runs
from musclemap_jax.study.study import Row, Study
from tests.study.fabricated import plan, study_of

OVERRIDES = {
    "model.branches": ("video", "rgb_diff"),
    "model.second_branch_frozen": True,
    "model.directions": "to_video",
    "model.num_tokens": 4,
    "optimizer.learning_rate": 3e-05,
    "input.augmentation.crop_area": [0.5, 1.0],
    "eval.splits": ("val_new",),
    "loss.kd_weight": 0,
}


def test_overrides_of_every_type_arrive_as_they_were_given(tmp_path):
    (run,) = plan(Study(rows={"a": Row("transm3e:smoke", OVERRIDES)}, seeds=(7,)), tmp_path)
    spec = run.spec
    assert (spec.model.branches, spec.model.second_branch_frozen) == (("video", "rgb_diff"), True)
    assert (spec.model.directions, spec.model.num_tokens) == ("to_video", 4)
    assert spec.optimizer.learning_rate == 3e-05
    assert spec.input.augmentation.crop_area == (0.5, 1.0)
    assert (spec.eval.splits, spec.loss.kd_weight, spec.seed) == (("val_new",), 0.0, 7)
    assert run.folder == tmp_path / "runs" / "a" / "seed_7"
    assert run.result == tmp_path / "results" / "a_seed_7.json"


def test_the_command_gives_the_main_job_the_same_configuration(tmp_path):
    (run,) = plan(Study(rows={"a": Row("transm3e:smoke", OVERRIDES)}, seeds=(7,)), tmp_path)
    code = (
        "import sys; from musclemap_jax.experiment import command_line as c; from absl import flags;"
        "flags.DEFINE_string('workdir', None, ''); c.parse_flags(sys.argv);"
        "print(c.CONFIG.value.to_json())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, *run.command], capture_output=True, text=True, check=True
    ).stdout
    config = default_config()
    config.update(type(config)(__import__("json").loads(output)))
    assert resolve(config) == run.spec


def test_the_first_seed_of_every_row_is_first_and_the_command_line_goes_over_the_row(tmp_path):
    runs = plan(study_of(a=1e-3, b=2e-3), tmp_path, **{"optimizer.learning_rate": "0.5", "train.num_steps": "3"})
    assert [str(run) for run in runs] == ["a seed 0", "b seed 0", "a seed 1", "b seed 1"]
    assert {run.spec.optimizer.learning_rate for run in runs} == {0.5}
    assert {run.spec.train.num_steps for run in runs} == {3}
    assert [run.spec.seed for run in runs] == [0, 0, 1, 1]
    assert runs[0].command_line == (
        "python -m musclemap_jax.main --config=hdgcn:smoke --config.optimizer.learning_rate=0.5 "
        f"--config.train.num_steps=3 --config.seed=0 --workdir={tmp_path}/runs/a/seed_0"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row("hdgcn:smoke", {"loss.tau": 1.0}), r"study made_up, row a: unknown key 'tau'.*list the keys"),
        (Row("hdgcn:smoke", {"train.batch_size": "four"}), r"study made_up, row a: .*batch_size"),
        (Row("hdgcn:smoke", {"train.batch_size": 0}), "study made_up, row a: .*train.batch_size must be at least 1"),
        (Row("hdgcn:tiny"), "study made_up, row a: .*config variant 'tiny'"),
        (Row("absent"), "study made_up, row a: --config: expected a file, found none at absent"),
    ],
)
def test_an_invalid_row_is_named(row, message, tmp_path):
    with pytest.raises(UserError, match=message):
        plan(Study(rows={"a": row}, name="made_up"), tmp_path)


def test_runs_are_selected_by_row(tmp_path):
    runs = plan(study_of(a=1e-3, b=2e-3), tmp_path)
    assert select_runs(runs, []) == runs
    assert [str(run) for run in select_runs(runs, ["b"])] == ["b seed 0", "b seed 1"]
    with pytest.raises(UserError, match="--only=c: expected one of a, b"):
        select_runs(runs, ["a", "c"])
