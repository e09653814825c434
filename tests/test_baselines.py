"""TransM3E on Video Swin and CTR-GCN, trained in a real process: each branch teaches the other, both are fused."""

import json

import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.checkpoints.trained import load_trained


@pytest.fixture(scope="module")
def workdir(run_main, smoke_data, tmp_path_factory):
    """The workdir of a run."""
    folder = tmp_path_factory.mktemp("runs") / "swin_ctrgcn"
    data = f"--config.data.data_dir={smoke_data}"
    process = run_main("--config=configs/transm3e_swin_ctrgcn.py:smoke", data, f"--workdir={folder}")
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    return folder


def test_swin_and_ctrgcn_teach_each_other_and_train(workdir):
    rows = [json.loads(line) for line in (workdir / "scalars.jsonl").read_text().splitlines()]
    last = [row for row in rows if "train/loss" in row][-1]
    sites = {name.removeprefix("train/") for name in last if name.startswith("train/kd_")}
    assert {"kd_to_swin", "kd_to_ctrgcn"} <= sites
    assert all(np.isfinite(value) for value in last.values() if isinstance(value, float))
    assert {"train/loss_swin", "train/loss_ctrgcn"} <= last.keys()
    params = traverse_util.flatten_dict(load_trained(workdir, "latest")["params"], sep="/")
    parts = {name.partition("/")[0] for name in params}
    assert {"fusion_swin", "fusion_ctrgcn", "head_swin", "head_ctrgcn"} <= parts
    assert "swin/readout/class_tokens/receiver" in params
    assert all(np.isfinite(array).all() for array in params.values())


def test_it_is_evaluated_by_branch_and_fused(workdir):
    metrics = json.loads((workdir / "report" / "metrics.json").read_text())
    for split in ("test_known", "test_new"):
        assert 0 < metrics["splits"][split]["headline"]["mean_ap"] <= 1
    assert set(metrics["branches"]) == {"swin", "ctrgcn"}
