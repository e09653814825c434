"""A run on labels of the user's own: five regions, from the raw data set to the metrics and the workdir."""

import dataclasses
import json

import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import Manifest, write_manifest
from musclemap_jax.synthetic.generate import render
from tfds_musclemap.build.builder_config import CONFIGS

REGIONS = ("left arm", "right arm", "trunk", "left leg", "right leg")


@pytest.fixture
def own_labels(tmp_path):
    """A small rendered raw data set that is labelled with REGIONS."""
    folder = tmp_path / "raw"
    smoke = next(config for config in CONFIGS if config.name == "synthetic_smoke")
    render(folder, smoke.synthetic, num_workers=1)
    clips = raw_dataset.read_annotations(folder)
    write_manifest(folder, Manifest(regions=REGIONS))
    own = [dataclasses.replace(clip, muscles=tuple(sorted({k % 5 for k in clip.muscles}))) for clip in clips]
    raw_dataset.write_annotations(folder, own)
    return folder


def test_a_run_learns_the_regions_of_its_data_and_refuses_others(own_labels, run_main, smoke_data, tmp_path):
    workdir = tmp_path / "run"
    arguments = ["--config=configs/hdgcn.py:smoke", "--config.train.num_steps=2", f"--workdir={workdir}"]
    own = [f"--config.data.raw_dir={own_labels}", f"--config.data.data_dir={tmp_path / 'data'}"]
    process = run_main(*arguments, *own, "--config.data.builder=skeleton")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    metrics = json.loads((workdir / "report" / "metrics.json").read_text())
    assert metrics["regions"] == list(REGIONS)
    assert json.loads((workdir / "config.json").read_text())["regions"] == list(REGIONS)

    process = run_main(*arguments, f"--config.data.data_dir={smoke_data}", "--mode=eval")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    line = errors.strip().splitlines()[-1]
    assert "trained on 5 muscle regions and the prepared data has 20: only the run has left arm, right arm, " in line
