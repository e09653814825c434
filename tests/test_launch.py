"""The files of launch/ and the commands of docs/tpu.md: they parse, and their runs have valid configurations."""

import copy
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from absl import flags
from ml_collections import config_flags

from musclemap_jax import main
from musclemap_jax.errors import USER_ERROR_STATUS, UserError
from musclemap_jax.experiment.config import resolve
from musclemap_jax.train.loop import NotFiniteError
from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "tpu.md").read_text()
JOBSET = ROOT / "launch" / "tpu_jobset.yaml"
SLURM = ROOT / "launch" / "gpu_slurm.sh"
BLOCKS = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)


def runs():
    """Arguments of every run of the main job."""
    found = []
    for text in (*BLOCKS, SLURM.read_text().replace("#   sbatch launch/gpu_slurm.sh", "musclemap_jax.main")):
        for line in text.replace("\\\n", " ").splitlines():
            if "musclemap_jax.main --" in line:
                words = line.partition("musclemap_jax.main")[2].partition("> run.log")[0]
                found.append(shlex.split(words, comments=True))
    command = container()["command"]
    return [*found, command[command.index("musclemap_jax.main") + 1 :]]


def container():
    job = yaml.safe_load(JOBSET.read_text())["spec"]["replicatedJobs"][0]["template"]["spec"]
    (only,) = job["template"]["spec"]["containers"]
    return only


def test_every_file_has_a_run():
    assert len(runs()) == 5


@pytest.mark.parametrize("arguments", runs(), ids=" ".join)
def test_every_run_has_known_flags_and_a_valid_configuration(arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["main", *arguments])  # config_flags looks for overrides there
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values)
    for flag in flags.FLAGS.flags_by_module_dict()[main.__name__]:
        if not flag.name.startswith("config"):
            values[flag.name] = copy.deepcopy(flag)
    values(sys.argv)
    resolve(config.value)
    assert values["workdir"].value


@pytest.mark.parametrize("text", [*BLOCKS, SLURM.read_text()])
def test_shell_commands_parse(text):
    process = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_the_jobset_requests_as_many_machines_as_its_topology_has():
    job = yaml.safe_load(JOBSET.read_text())["spec"]["replicatedJobs"][0]["template"]["spec"]
    rows, columns = map(int, job["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    chips = container()["resources"]["limits"]["google.com/tpu"]
    assert job["parallelism"] == job["completions"] == rows * columns // chips


@pytest.mark.parametrize("text", [GUIDE, JOBSET.read_text(), SLURM.read_text()])
def test_each_says_that_it_was_not_run_on_hardware(text):
    assert re.search(r"Not run on hardware", text)


def test_the_jobset_does_not_restart_what_would_end_the_same_way():
    jobset = yaml.safe_load(JOBSET.read_text())["spec"]
    (rule,) = jobset["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert (rule["action"], codes["operator"], codes["values"]) == ("FailJob", "In", [USER_ERROR_STATUS])
    assert codes["containerName"] == container()["name"]
    (rule,) = jobset["failurePolicy"]["rules"]
    assert rule == {"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    assert issubclass(NotFiniteError, UserError)  # which ends with that status


def test_every_installation_has_a_python_that_the_package_runs_on():
    (installation,) = [block for block in BLOCKS if "pip install" in block and "tpu-vm create" in block]
    assert "uv venv --python=3.11" in installation
    assert "python3 -m venv" not in installation
    assert 'python_requires=">=3.11"' in (ROOT / "setup.py").read_text()


def test_the_slurm_script_passes_the_cores_of_a_task_to_srun():
    text = SLURM.read_text()
    assert re.search(r"^#SBATCH --cpus-per-task=\d+$", text, re.MULTILINE)
    assert re.search(r'^srun .*--cpus-per-task="\$SLURM_CPUS_PER_TASK"', text, re.MULTILINE)


def test_the_slurm_script_requeues_a_preempted_run(tmp_path):
    for name, body in {"srun": 'exit "${SRUN_STATUS}"', "scontrol": 'echo "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    for status, output in {"75": "requeue 12", "0": "", "1": ""}.items():
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SRUN_STATUS": status, "SLURM_JOB_ID": "12"}
        process = subprocess.run(["bash", str(SLURM)], env=environment, capture_output=True, text=True)
        assert (process.returncode, process.stdout.strip()) == (int(status), output), process.stderr
