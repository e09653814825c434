"""Our models in Scenic's own trainer: the losses are those of our trainer, and the run is a run of ours."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import QUICK_COMPILATION, ROOT

pytestmark = pytest.mark.scenic

NAMES = ("transm3e", "mvitv2_s", "hdgcn")


def environment(num_devices):
    flags = f"{QUICK_COMPILATION} --xla_force_host_platform_device_count={num_devices}"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}


@pytest.fixture(scope="module", params=[1, 8], ids=lambda count: f"{count} devices")
def results(request, smoke_data, tmp_path_factory):
    """{configuration: what twenty_steps.py found}."""
    command = (sys.executable, "-m", "tests.scenic_bridge.twenty_steps", smoke_data, tmp_path_factory.mktemp("runs"))
    process = subprocess.run(
        [*command, *NAMES], cwd=ROOT, env=environment(request.param), capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", NAMES)
def test_twenty_losses_are_those_of_our_trainer(results, name):
    found = results[name]
    assert len(found["scenic"]) == len(found["ours"]) == 20
    np.testing.assert_allclose(found["scenic"], found["ours"], atol=1e-4, rtol=0)
    assert found["scenic"][-1] < found["scenic"][0]


@pytest.mark.parametrize("name", NAMES)
def test_weights_go_in_and_come_back_unchanged(results, name):
    found = results[name]
    assert (found["start"], found["end"], found["moved"], found["steps"]) == (True, True, True, [0, 20])


@pytest.mark.parametrize("name", NAMES)
def test_our_evaluator_scores_what_scenic_trained(results, name):
    scores = results[name]["scores"]
    assert 0 < scores["val_known/mAP"] <= 1
    assert {"val_known/mAP", "test_new/mAP"} <= scores.keys()


def test_the_command_trains_resumes_and_leaves_a_run_of_ours(smoke_data, tmp_path):
    """Five steps in two parts, the second of which starts from Scenic's checkpoint with the sixth batch's clips."""

    def run(module, *arguments):
        process = subprocess.run(
            [sys.executable, "-m", module, f"--workdir={tmp_path / 'run'}", *arguments],
            cwd=ROOT,
            env=environment(1),
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr[-3000:]
        return process.stdout

    arguments = (
        "--config=configs/scenic/hdgcn.py:smoke",
        f"--config.dataset_configs.experiment.data.data_dir={smoke_data}",
    )
    first = run("musclemap_jax.scenic_bridge", *arguments, "--config.num_training_steps=3")
    assert "train_loss" in first
    assert (tmp_path / "run" / "checkpoint_3").is_file()
    assert "train_loss" in run("musclemap_jax.scenic_bridge", *arguments)
    assert (tmp_path / "run" / "checkpoint_5").is_file()
    output = run("musclemap_jax.main", "--mode=eval", f"--config.data.data_dir={smoke_data}")
    assert "newest checkpoint, step 5" in output
    assert (tmp_path / "run" / "evaluation" / "report.html").is_file()
