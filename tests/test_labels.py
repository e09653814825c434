"""Labels of the user's own, from the raw data set to the report: three regions, and clips without an active one."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import read_manifest, write_manifest
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.synthetic.generate import render
from musclemap_jax.synthetic.spec import SyntheticSpec

REGIONS = ("arms", "trunk", "legs")
REGION_OF = (1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0)
"""For each of MuscleMap's 20 regions, the index of ours."""

ACTIVITIES = ("bodyweight squat", "push-up", "biceps curl", "lunge with biceps curl", "renegade row")
BACKGROUND = "push-up"

MODEL = (
    "--config=configs/transm3e.py:smoke",
    "--config.model.branches=('skeleton',)",  # compiles in seconds; what concerns labels is the same for every branch
    "--config.model.sites=none",
    "--config.model.fusion=none",
)


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory):
    """A rendered raw data set that is relabelled; the clips of one activity are background."""
    root = tmp_path_factory.mktemp("labels") / "raw"
    clips = {"train": 3, "val_known": 1, "val_new": 1, "test_known": 1, "test_new": 1}
    render(root, SyntheticSpec(clips, size=32, num_frames=(8, 10), activities=ACTIVITIES), num_workers=1)
    relabelled = [
        dataclasses.replace(
            clip,
            muscles=() if clip.activity == BACKGROUND else tuple(sorted({REGION_OF[index] for index in clip.muscles})),
        )
        for clip in raw_dataset.read_annotations(root)
    ]
    write_manifest(root, dataclasses.replace(read_manifest(root), regions=REGIONS, allow_background=True))
    raw_dataset.write_annotations(root, relabelled)
    return root


@pytest.fixture(scope="module")
def arguments(raw_dir):
    """Arguments of a run on these labels, without its workdir."""
    return [
        *MODEL,
        "--config.data.builder=multimodal",
        f"--config.data.raw_dir={raw_dir}",
        f"--config.data.data_dir={raw_dir.parent / 'data'}",
        "--config.train.num_steps=2",
    ]


@pytest.fixture(scope="module")
def workdir(run_main, arguments, raw_dir):
    """Workdir of a finished run."""
    workdir = raw_dir.parent / "run"
    process = run_main(*arguments, f"--workdir={workdir}")
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors
    return workdir


def test_the_report_has_the_regions_of_the_data(workdir):
    metrics = Metrics.from_json((workdir / "report" / "metrics.json").read_text())
    assert tuple(metrics.regions) == REGIONS
    with (workdir / "report" / "per_muscle.csv").open() as table:
        assert [row["region"] for row in csv.DictReader(table)] == [*REGIONS, "macro mean"]
    page = (workdir / "report" / "report.html").read_text()
    assert all(region in page for region in REGIONS)
    assert "latissimus" not in page


def test_the_model_has_a_class_token_and_a_logit_for_each_region(workdir):
    config = json.loads((workdir / "config.json").read_text())
    assert config["regions"] == list(REGIONS)
    assert config["model"]["num_regions"] == len(REGIONS)
    assert config["model"]["num_tokens"] is None  # one for each region


def test_a_model_refuses_data_of_other_labels(workdir, run_main, smoke_data):
    process = run_main(*MODEL, f"--config.data.data_dir={smoke_data}", f"--workdir={workdir}", "--mode=eval")
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 2
    assert "trained on 3 muscle regions and the prepared data has 20" in errors


def test_prepared_data_of_other_labels_is_not_reused(workdir, run_main, arguments, raw_dir):
    write_manifest(raw_dir, dataclasses.replace(read_manifest(raw_dir), regions=("arms", "trunk", "hips")))
    process = run_main(*arguments, f"--workdir={workdir}")
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 2
    assert "the prepared data is out of date: regions changed in raw_dataset.json" in errors
