"""What is done already: finished runs, changed configurations, and what --rerun deletes."""

from __future__ import annotations

import pytest
from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.workdir import claim_workdir
from musclemap_jax.study.carrying_out import unfinished_runs
from musclemap_jax.study.earlier import check_unchanged
from musclemap_jax.study.result import collect_run, write_result
from tests.study.fabricated import CROSSED, REGIONS, clips, plan, study_of, write_finished_run


def finish(run):
    """Leaves the workdir and the result of a finished run."""
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    write_result(run.result, collect_run(run))


def test_finished_runs_are_not_run_again(tmp_path):
    runs = plan(study_of(a=1e-3, b=2e-3), tmp_path)
    assert unfinished_runs(runs) == runs
    finish(runs[0])
    write_finished_run(runs[2].folder, runs[2], {"val_new": clips(CROSSED)})  # by the main job alone
    assert unfinished_runs(runs) == [runs[1], runs[3]]
    assert runs[2].result.exists()
    check_unchanged(runs)


def test_results_of_another_machine_are_finished_runs(tmp_path):
    there = plan(study_of(a=1e-3), tmp_path / "there")
    for run in there:
        finish(run)
    here = plan(study_of(a=1e-3), tmp_path / "here", **{"data.data_dir": "/elsewhere", "data.num_workers": "2"})
    (tmp_path / "here").mkdir()
    (tmp_path / "there" / "results").rename(tmp_path / "here" / "results")
    check_unchanged(here)
    assert unfinished_runs(here) == []


def test_changed_configurations_are_named_by_their_keys(tmp_path):
    for run in plan(study_of(a=1e-3, b=2e-3), tmp_path):
        finish(run)
    changed = plan(study_of(a=1e-3, b=5e-3), tmp_path)
    with pytest.raises(UserError) as caught:
        check_unchanged(changed)
    assert str(caught.value) == (
        "b seed 0, and 1 more: already run with another configuration (optimizer.learning_rate was 0.002, is 0.005): "
        "pass --rerun to run it again, give the row another name, or choose another --workdir"
    )
    many = {"optimizer.weight_decay": "0.5", "loss.kd_tau": "3", "train.num_steps": "9", "train.batch_size": "4"}
    with pytest.raises(UserError, match=r"\(loss.kd_tau was 10.0, is 3.0; .*; train.batch_size was 8, is 4; \.\.\.\):"):
        check_unchanged(plan(study_of(a=1e-3), tmp_path, **many))


def test_a_changed_run_that_is_not_finished_is_named_too(tmp_path):
    (run,) = plan(study_of(seeds=(0,), a=1e-3), tmp_path)
    write_finished_run(run.folder, run, {"val_new": clips(CROSSED)})
    with pytest.raises(UserError, match=r"a seed 0: already run with .* \(optimizer.learning_rate was 0.001, is 0.005"):
        check_unchanged(plan(study_of(seeds=(0,), a=5e-3), tmp_path))


def test_rerun_deletes_what_has_changed_and_nothing_else(tmp_path):
    before = plan(study_of(a=1e-3, b=2e-3), tmp_path)
    for run in before:
        finish(run)
    after = plan(study_of(a=1e-3, b=5e-3), tmp_path)
    check_unchanged(after, rerun=True)
    assert [run.result.exists() for run in after] == [True, False, True, False]
    assert [run.folder.exists() for run in after] == [True, False, True, False]


def test_rerun_keeps_what_was_learned_if_only_the_evaluation_has_changed(tmp_path):
    (run,) = plan(study_of(seeds=(0,), a=1e-3), tmp_path)
    finish(run)
    (after,) = plan(study_of(seeds=(0,), a=1e-3), tmp_path, **{"eval.num_views": "3"})
    with pytest.raises(UserError, match=r"\(eval.num_views was 1, is 3\)"):
        check_unchanged([after])
    check_unchanged([after], rerun=True)
    assert run.folder.exists()
    assert not run.result.exists()
    assert unfinished_runs([after]) == [after]
    # Interrupted when the workdir has the new configuration, it is not finished by the report of the earlier one.
    claim_workdir(epath.Path(run.folder), after.spec, REGIONS, 2.0, num_clips=10, step=10)
    assert unfinished_runs([after]) == [after]
