"""The README: its runs of the main job, its make targets, its links and its citation."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

import musclemap_jax as mm
from musclemap_jax.data.examples import empty_batch
from musclemap_jax.experiment.config import resolve
from tests.conftest import ROOT
from tests.documented_commands import python_commands

README = (ROOT / "README.md").read_text()
RUNS = [command for command in python_commands(ROOT / "README.md") if command[2] == "musclemap_jax.main"]


def test_there_are_runs_of_the_main_job():
    assert len(RUNS) >= 8


@pytest.mark.parametrize("command", RUNS, ids=" ".join)
def test_every_run_of_the_main_job_has_a_valid_configuration(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    # config_flags looks for overrides in sys.argv.
    arguments = ["main", *command[3:]]
    if not any(word.startswith("--config=") for word in arguments):  # a command for the run of `make demo`
        assert "--workdir=runs/demo" in arguments
        arguments.insert(1, "--config=configs/transm3e.py:synthetic")
    monkeypatch.setattr(sys, "argv", arguments)
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_string("mode", "train_and_eval", "", flag_values=values)
    values(arguments)
    spec = resolve(config.value)
    assert values["workdir"].value
    assert spec.train.batch_size > 0


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("answer", "musclemap_jax.predict"),
        ("demo", "musclemap_jax.main"),
        ("test", "pytest"),
        ("docs", "mkdocs build --strict"),
    ],
)
def test_make_knows_its_targets(target, command):
    plan = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert command in plan
    assert f"make {target}" in README


def test_links_lead_to_files_and_to_every_page_of_the_documentation():
    links = {link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("https://")}
    assert [link for link in links if not (ROOT / link).exists()] == []
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
    assert pages <= links


def test_the_paper_is_linked_and_cited():
    assert "](https://arxiv.org/abs/2303.00952)" in README
    (entry,) = re.findall(r"```bibtex\n(.*?)```", README, re.DOTALL)
    assert entry == (ROOT / "tfds_musclemap" / "musclemap" / "CITATIONS.bib").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for suffix in (".mp4", ".json"):
        shutil.copy(ROOT / "tests" / "data" / "real" / f"pose2sim_cam01{suffix}", tmp_path / f"squat{suffix}")
    monkeypatch.chdir(tmp_path)
    given = mm.load().input
    batch = {
        name: value
        for name, value in empty_batch(given, 2, 2, given.views_per_clip).items()
        if name not in ("muscles", "clip_valid", "clip_index")
    }
    names = {"frames": np.zeros((40, 64, 48, 3), np.uint8), "joints": np.zeros((40, 1, 17, 3)), "batch": batch}
    exec(code, names)
    prediction, output = names["prediction"], names["output"]
    assert prediction.probabilities.shape == (len(prediction.times_s), 20) == prediction.active.shape
    assert len(prediction.modalities) == len(prediction.times_s) >= 1
    assert output.logits.shape == (2, 20)
    assert output.branches["rgb_diff"].final_classification.shape[:2] == (2, 20)
