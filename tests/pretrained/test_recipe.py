"""The README's recipe in two stages, its commands run at a small size, and the export of what it trained."""

import json

import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.checkpoints.trained import load_trained
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.pretrained import export
from musclemap_jax.pretrained.importing import import_file
from musclemap_jax.pretrained.mvit_names import mvit_architecture
from musclemap_jax.pretrained.published import branch_model

VIDEO = ("--config.model.backbones.mvit.depth=1", "--config.model.backbones.mvit.stages=()")
SKELETON = ("--config.model.backbones.hdgcn.widths=(8,)",)


@pytest.fixture(scope="module")
def runs(run_main, smoke_data, tmp_path_factory):
    """Workdirs of the three runs, and the output of the last one."""
    folder = tmp_path_factory.mktemp("runs")

    def start(name, *changes):
        data, workdir = f"--config.data.data_dir={smoke_data}", f"--workdir={folder / name}"
        return run_main(f"--config=configs/{name}.py:smoke", data, workdir, "--mode=train", *changes)

    stages = {"mvitv2_s": VIDEO, "hdgcn": SKELETON}
    for process in [start(name, "--config.train.num_steps=2", *sizes) for name, sizes in stages.items()]:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    whole = start(
        "transm3e",
        *VIDEO,
        *SKELETON,
        f"--config.init_from.video={folder / 'mvitv2_s'}",
        f"--config.init_from.skeleton={folder / 'hdgcn'}",
        "--config.train.num_steps=1",
        "--config.optimizer.learning_rate=1e-12",  # so that what it began with is what it ends with
    )
    _, errors = whole.communicate(timeout=600)
    assert whole.returncode == 0, errors
    return folder, errors


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def test_the_whole_model_starts_from_both_branches(runs):
    folder, output = runs
    whole = flat(load_trained(folder / "transm3e")["params"])
    for run, branch in (("mvitv2_s", "video"), ("hdgcn", "skeleton")):
        before = load_trained(folder / run)
        taken = {name: array for name, array in flat(before["params"]).items() if "class_tokens" not in name}
        assert {name.partition("/")[0] for name in taken} == {branch, f"head_{branch}"}
        assert f"init_from.{branch}: {len(taken) + len(flat(before['batch_stats']))} arrays loaded" in output
        for name, array in taken.items():
            np.testing.assert_allclose(whole[name], array, rtol=0, atol=1e-6, err_msg=name)


def test_a_trained_branch_goes_out_and_comes_back_exactly(runs, tmp_path):
    folder, _ = runs
    out = tmp_path / "mvitv2_s.safetensors"
    assert export.main([f"--source={folder / 'mvitv2_s'}", f"--out={out}"]) == 0
    config = json.loads((folder / "mvitv2_s" / "config.json").read_text())["model"]["backbones"]["mvit"]
    spec = MViTSpec(**{name: tuple(value) if isinstance(value, list) else value for name, value in config.items()})
    arrays, report = import_file(out, mvit_architecture("smoke", branch_model("video", backbones={"mvit": spec})))
    assert report.left_out == report.initial == report.changed == ()
    trained = flat({"params": load_trained(folder / "mvitv2_s")["params"]})
    assert {"/".join(path) for path in arrays} == set(trained)
    for path, array in arrays.items():
        np.testing.assert_array_equal(array, trained["/".join(path)])
