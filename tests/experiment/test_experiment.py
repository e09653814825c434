"""A run that fails, is configured again, resumed longer and evaluated, by the command as a user starts it."""

import json

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.experiment.config import default_config, resolve
from musclemap_jax.experiment.experiment import check_best_can_be_chosen
from musclemap_jax.experiment.prepared_data import PreparedData
from musclemap_jax.experiment.setup import check_teacher
from musclemap_jax.experiment.workdir import read_decisions
from tests.experiment.test_config import CONFIGS, load


@pytest.fixture(scope="module")
def start(run_main, smoke_data, tmp_path_factory):
    """A function (*arguments) that runs the command on one workdir; returns its status, output and errors."""
    workdir = tmp_path_factory.mktemp("runs") / "run"

    def run(*arguments):
        process = run_main(f"--workdir={workdir}", *arguments)
        output, errors = process.communicate(timeout=600)
        return process.returncode, output, errors

    run.workdir = workdir
    small = "--config.model.backbones.hdgcn.widths=(8,)"  # compiles in seconds
    run.config = ("--config=configs/hdgcn.py:smoke", f"--config.data.data_dir={smoke_data}", small)
    return run


@pytest.fixture(scope="module")
def not_finite(start):
    """A start whose parameters explode in the first step."""
    explode = ("--config.optimizer.learning_rate=1e38", "--config.optimizer.warmup_fraction=0.0")
    rare = ("--config.train.checkpoint_every=100", "--config.train.max_skipped=2", "--config.train.num_steps=9")
    return start(*start.config, *explode, *rare)


@pytest.fixture(scope="module")
def trained(not_finite, start):
    """The same workdir with another learning rate, and with decisions of other weights."""
    (start.workdir / "decisions.json").write_text("of an earlier training")
    return start(*start.config, "--config.train.num_steps=4", "--mode=train")


@pytest.fixture(scope="module")
def extended(trained, start):
    """The run, longer and with other settings, without its configuration."""
    return start("--config.train.num_steps=6", "--extend", "--config.train.log_every=2", "--config.eval.num_views=2")


@pytest.fixture(scope="module")
def evaluated(extended, start, tmp_path_factory):
    """An evaluation into another folder: its result, the folder, and the workdir's files before and after."""
    folder, before = tmp_path_factory.mktemp("evaluation"), files(start.workdir)
    result = start("--mode=eval", f"--report_dir={folder}", "--config.eval.checkpoint=best", "--config.eval.recall=0.8")
    return result, folder, before, files(start.workdir)


def files(folder):
    """Size and time of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_a_loss_that_is_not_finite_ends_the_run_for_good_and_says_so_last(not_finite):
    status, _, errors = not_finite
    assert status == 2
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == (
        "error: step 3: loss or gradient was not finite in 2 steps in a row; the parameters are still those of step 1: "
        "lower config.optimizer.learning_rate"
    )


def test_its_workdir_takes_the_configuration_that_it_advised(trained, start):
    status, _, errors = trained
    assert status == 0, errors
    assert json.loads((start.workdir / "config.json").read_text())["optimizer"]["learning_rate"] == 3e-3
    rows = [json.loads(line) for line in (start.workdir / "scalars.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row][:4] == [1, 2, 3, 4]


def test_a_training_removes_the_decisions_of_other_weights(trained, start):
    assert not (start.workdir / "decisions.json").exists()


def test_without_a_terminal_progress_and_validation_are_lines(trained, start):
    _, _, errors = trained
    log = (start.workdir / "logs" / "process_000.log").read_text()
    for text in (errors, log):
        assert "train: step 4 of 4: loss 0." in text
        assert "train: step 4 of 4: val_known/mAP 0." in text
        assert "compiling train_step" in text
        assert "evaluating val_new: 3 clips" in text
    assert "\r" not in errors


def test_a_run_can_be_made_longer_with_other_settings(extended, start):
    status, output, errors = extended
    assert status == 0, errors
    assert "resumed from step 4 of 6" in errors
    assert "from step 4 on, config.train.num_steps was 4, is 6" in errors
    assert "scored: newest checkpoint, step 6" in output
    content = json.loads((start.workdir / "config.json").read_text())
    assert [change["key"] for change in content["changes"]] == [
        "eval.num_views",
        "train.log_every",
        "train.num_steps",
    ]


def test_an_evaluation_into_another_folder_leaves_the_workdir_as_it_is(evaluated):
    (status, output, errors), folder, before, after = evaluated
    assert status == 0, errors
    assert before == after
    assert read_decisions(folder).recall == 0.8
    assert Metrics.from_json((folder / "metrics.json").read_text()).splits
    assert (folder / "logs" / "process_000.log").exists()
    assert "scored: best checkpoint by val_mean/mAP, step " in output
    assert "scored: best checkpoint by val_mean/mAP, step " in (folder / "report.html").read_text()


def test_the_best_checkpoint_of_a_run_without_scores_is_refused(evaluated, start, tmp_path):
    (start.workdir / "validation_scores.json").unlink()
    status, _, errors = start("--mode=eval", f"--report_dir={tmp_path}", "--config.eval.checkpoint=best")
    assert status == 2
    assert errors.splitlines()[-1] == (
        f"error: {start.workdir}: no checkpoint here has validation scores, so none is the best: set "
        "config.eval.checkpoint=latest"
    )


def test_the_best_checkpoint_needs_clips_that_choose_it():
    config = default_config()
    config.eval.checkpoint = "best"
    with pytest.raises(UserError, match="chosen on val_known and val_new, and the data has clips in neither: set"):
        check_best_can_be_chosen(resolve(config), PreparedData({"train": []}, {}, ()))
    check_best_can_be_chosen(resolve(config), PreparedData({"train": [], "val_new": []}, {}, ()))


def test_a_frozen_teacher_is_not_random_except_on_rendered_clips():
    path = CONFIGS[0].with_name("transm3e_rgbdiff.py")
    for variant in ("synthetic", "smoke"):
        check_teacher(resolve(load(path, variant)))
    config = load(path, "")
    with pytest.raises(UserError, match="branch rgb_diff is not trained and would stay random: set config"):
        check_teacher(resolve(config))
    for name in ("rgb_diff", "model"):
        config.init_from.update(rgb_diff="", model="")
        config.init_from[name] = "weights"
        check_teacher(resolve(config))
