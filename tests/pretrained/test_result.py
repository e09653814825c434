"""Tests of an import's folder, of starting models from it or from a run, of the export and of the commands."""

import dataclasses
import json

import grain
import jax
import numpy as np
import optax
import pytest
from flax import traverse_util
from safetensors.numpy import load_file

from musclemap_jax.checkpoints.checkpointer import Checkpointer
from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.checkpoints.trained import is_workdir, load_trained
from musclemap_jax.checkpoints.validation_scores import BEST_METRIC
from musclemap_jax.errors import UserError
from musclemap_jax.models.transm3e import RELEASED, ModelSpec
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.pretrained import __main__ as import_command
from musclemap_jax.pretrained import export
from musclemap_jax.pretrained.hdgcn_names import hdgcn_architecture
from musclemap_jax.pretrained.importing import import_arrays, import_file
from musclemap_jax.pretrained.mvit_names import mvit_architecture, torchvision_name
from musclemap_jax.pretrained.published import branch_model, model_shapes
from musclemap_jax.pretrained.result import initialise, load_initial, save_initial
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor
from tests.models import goldens
from tests.pretrained import torch_writer


def variables(model, seed=0):
    """Random variables of a model, without computing it."""
    rng = np.random.default_rng(seed)
    shapes = model_shapes(model)
    tree = traverse_util.unflatten_dict({path: rng.random(shape, np.float32) for path, shape in shapes.items()})
    return tree["params"], tree.get("batch_stats", {})


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def assert_same(left, right):
    assert flat(left).keys() == flat(right).keys()
    for name, leaf in flat(left).items():
        np.testing.assert_array_equal(leaf, flat(right)[name])


@pytest.fixture(scope="module")
def published():
    return goldens.under(goldens.load("mvit_tiny"), "p/")


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    """Folder of an import of mvit_tiny with its one class token."""
    architecture = mvit_architecture("tiny", branch_model("video", backbones={"mvit": goldens.TINY_SPEC}))
    tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in published.items()}
    folder = tmp_path_factory.mktemp("imported") / "weights"
    save_initial(folder, *import_arrays(Checkpoint(tensors), architecture, "tiny.pyth"), architecture)
    return folder


class TestFolder:
    def test_arrays_and_report_are_kept(self, imported, published):
        loaded = load_initial(imported)
        assert_same(loaded["params"]["video"], strip_head(goldens.to_flax(published)))
        assert loaded["batch_stats"] == {}
        report = json.loads((imported / "report.json").read_text())
        assert report["source"] == "tiny.pyth"
        assert len(report["used"]) == len(published)
        assert report["model"]["backbones"]["mvit"]["embed_dim"] == 16

    def test_faults(self, tmp_path):
        with pytest.raises(UserError, match="no such file: make it by python -m"):
            load_initial(tmp_path)
        export.save_file({"other": np.ones(3, np.float32)}, tmp_path / "params.safetensors")
        with pytest.raises(UserError, match="arrays that an import does not write"):
            load_initial(tmp_path)


def strip_head(tree):
    return {name: part for name, part in tree.items() if name != "head"}


class TestInitialise:
    def test_a_branch_of_the_whole_model(self, imported, tiny_model_spec):
        spec = dataclasses.replace(tiny_model_spec, backbones=tiny_model_spec.backbones | {"mvit": goldens.TINY_SPEC})
        params, statistics = variables(spec)
        loaded = load_initial(imported)
        new_params, new_statistics, report = initialise(params, statistics, loaded, "video")
        assert_same(new_params["video"]["blocks_3"], loaded["params"]["video"]["blocks_3"])
        assert_same(new_params["head_video"], loaded["params"]["head_video"])
        for kept in ("skeleton", "fusion_video", "kd_to_video_unit01"):
            assert_same(new_params[kept], params[kept])
        assert_same(new_params["video"]["class_tokens"], params["video"]["class_tokens"])
        assert_same(new_statistics, statistics)
        assert {entry.rule for entry in report.left_out} == {"class tokens"}
        assert [entry.name for entry in report.left_out] == ["params/video/class_tokens/classification"]
        rules = {entry.rule for entry in report.initial}
        assert rules == {"class tokens", "fusion", "projection of receiver tokens"}
        assert f"{len(report.used)} arrays loaded" in report.text()

    def test_both_branches_one_after_the_other(self, imported, tiny_model_spec):
        spec = dataclasses.replace(tiny_model_spec, backbones=tiny_model_spec.backbones | {"mvit": goldens.TINY_SPEC})
        skeleton, statistics = variables(branch_model("skeleton", 20, backbones=spec.backbones), seed=1)
        params, batch_stats, _ = initialise(*variables(spec), load_initial(imported), "video")
        earlier_run = {"params": skeleton, "batch_stats": statistics}
        params, batch_stats, report = initialise(params, batch_stats, earlier_run, "skeleton")
        taken, given = (flat(tree["skeleton"]["unit01"]) for tree in (params, skeleton))
        assert {name for name in given if not np.array_equal(taken[name], given[name])} == {
            "tokens/adjacency",
            "tokens/spread",
        }
        assert_same(batch_stats["skeleton"], statistics["skeleton"])
        # Twice 20 tokens join the graph in the whole model, 20 in the branch alone.
        assert {entry.rule for entry in report.left_out} == {"class tokens"}

    def test_weights_of_a_video_branch_serve_the_difference_branch(self, imported):
        params, _ = variables(ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC}))
        loaded = load_initial(imported)
        taken, _, report = initialise(params, {}, loaded, "rgb_diff")
        assert_same(taken["rgb_diff"]["blocks_0"], loaded["params"]["video"]["blocks_0"])
        assert_same(taken["video"], params["video"])
        assert {entry.rule for entry in report.left_out} == {"class tokens", "head"}

    def test_the_whole_model(self):
        model = ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC})
        params, _ = variables(model)
        loaded, _ = variables(model, seed=1)
        taken, _, report = initialise(params, {}, {"params": loaded, "batch_stats": {}})
        assert_same(taken, loaded)
        assert report.initial == report.left_out == ()

    def test_heads_for_other_regions_are_left_out(self):
        model = ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC})
        params, _ = variables(model)
        loaded, _ = variables(model, seed=1)
        loaded = {"params": loaded, "batch_stats": {}}
        taken, _, report = initialise(params, {}, loaded, same_regions=False)  # 20 regions of other names
        assert_same(taken["head_video"], params["head_video"])
        assert_same(taken["video"], loaded["params"]["video"])
        assert {entry.rule for entry in report.initial} == {"head"}
        params, _ = variables(dataclasses.replace(model, num_regions=5))
        taken, _, report = initialise(params, {}, loaded, same_regions=False)
        assert_same(taken["head_video"], params["head_video"])
        assert_same(taken["video"]["blocks_0"], loaded["params"]["video"]["blocks_0"])
        assert {entry.rule for entry in report.initial} == {"class tokens", "fusion", "head"}

    @pytest.mark.parametrize(
        ("change", "fragment"),
        [
            ({"input_size": (8, 32, 32)}, "--input_size"),
            ({"depth": 5}, "different architectures"),
            ({"depth": 3, "stages": (1,)}, "different architectures"),
        ],
    )
    def test_models_that_do_not_fit(self, imported, change, fragment):
        video = dataclasses.replace(goldens.TINY_SPEC, **change)
        with pytest.raises(UserError, match=fragment):
            initialise(*variables(branch_model("video", backbones={"mvit": video})), load_initial(imported))

    def test_branches_that_are_not_there(self, imported, tiny_model_spec):
        params, statistics = variables(tiny_model_spec)
        with pytest.raises(UserError, match="no branch 'rgb_diff'"):
            initialise(params, statistics, load_initial(imported), "rgb_diff")
        with pytest.raises(UserError, match="different architectures"):
            initialise(params, statistics, load_initial(imported), "skeleton")


class TestRuns:
    @pytest.mark.parametrize("ema", [False, True])
    def test_the_variables_of_a_run(self, tmp_path, ema):
        params = {"video": {"norm": {"scale": np.ones(3, np.float32)}}, "head_video": {"bias": np.zeros(2, np.float32)}}
        average = jax.tree.map(lambda leaf: leaf + 1, params)
        statistics = {"skeleton": {"norm": {"mean": np.full(2, 5, np.float32)}}} if ema else {}
        state = TrainState(
            step=np.int32(3),
            params=params,
            batch_stats=statistics,
            opt_state=optax.adam(1e-3).init(params),
            ema=average if ema else None,
            skipped=np.int32(0),
            seed=np.uint32(0),
        )
        data = iter(grain.MapDataset.range(4).to_iter_dataset())
        checkpointer = Checkpointer(tmp_path)
        checkpointer.save(jax.device_put(state), data)
        checkpointer.scores.add(3, {BEST_METRIC: 0.5})
        checkpointer.close()
        assert is_workdir(tmp_path)
        loaded = load_trained(tmp_path)
        assert_same(loaded["params"], average if ema else params)
        assert_same(loaded["batch_stats"], statistics)
        assert isinstance(loaded["params"]["head_video"]["bias"], np.ndarray)

    def test_a_folder_without_checkpoint(self, tmp_path):
        assert not is_workdir(tmp_path)
        (tmp_path / "checkpoints").mkdir()
        with pytest.raises(UserError, match="no checkpoint"):
            load_trained(tmp_path)


STACKED_SPEC = MViTSpec(depth=4, embed_dim=8, stages=(1,), kv_stride=(1, 2, 2), input_size=(4, 24, 16))
"""Whose blocks 2 and 3 are equal."""


class TestExport:
    @pytest.mark.parametrize("names", ["pyslowfast", "torchvision", "released"])
    def test_stacked_blocks_go_out_one_by_one_and_come_back(self, names):
        model = (
            ModelSpec(**RELEASED, backbones={"mvit": STACKED_SPEC})
            if names == "released"
            else branch_model("video", backbones={"mvit": STACKED_SPEC})
        )
        params, _ = variables(model)
        stacked = params["video"]["blocks_2_3"]["attn"]["qkv"]["kernel"]
        exported = export.published_arrays({"params": params})
        for place, name in enumerate(("blocks.2.attn.qkv.weight", "blocks.3.attn.qkv.weight")):
            np.testing.assert_array_equal(exported[name], stacked[place].T)
        assert ("blocks_diff.3.attn.qkv.weight" in exported) == (names == "released")
        if names == "torchvision":
            exported = {torchvision_name(name): array for name, array in exported.items()}
        tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in exported.items()}
        arrays, report = import_arrays(Checkpoint(tensors), mvit_architecture("t", model, names=names))
        assert report.left_out == report.initial == report.changed == ()
        assert_same(traverse_util.unflatten_dict(arrays)["params"], params)

    def test_an_array_of_fewer_layers_than_its_name_says(self):
        params, _ = variables(branch_model("video", backbones={"mvit": STACKED_SPEC}))
        params["video"]["blocks_2_3"]["norm1"]["scale"] = np.ones((1, 16), np.float32)
        with pytest.raises(UserError, match=r"blocks_2_3/norm1/scale: expected 2 layers, got shape \(1, 16\)"):
            export.published_arrays({"params": params})

    def test_a_round_trip_is_exact(self, imported, published, tmp_path):
        out = tmp_path / "new" / "exported.safetensors"
        assert export.main([f"--source={imported}", f"--out={out}"]) == 0
        exported = load_file(out)
        assert exported.keys() == published.keys() == export.published_arrays(load_initial(imported), "video").keys()
        for name, array in published.items():
            np.testing.assert_array_equal(exported[name], array)
        architecture = mvit_architecture("tiny", branch_model("video", backbones={"mvit": goldens.TINY_SPEC}))
        arrays, report = import_file(out, architecture)
        assert report.left_out == report.initial == report.changed == ()
        assert_same(traverse_util.unflatten_dict(arrays)["params"], load_initial(imported)["params"])

    def test_the_released_model_goes_out_whole(self):
        golden = goldens.under(goldens.load("transm3e_tiny"), "p/")
        architecture = mvit_architecture(
            "r", ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC}), names="released"
        )
        tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in golden.items()}
        arrays, _ = import_arrays(Checkpoint(tensors), architecture)
        exported = export.published_arrays(traverse_util.unflatten_dict(arrays))
        assert exported.keys() == golden.keys()
        for name, array in golden.items():
            np.testing.assert_array_equal(exported[name], array)

    def test_faults(self, imported, tiny_model_spec, capsys):
        params, _ = variables(tiny_model_spec)
        with pytest.raises(UserError, match="only MViTv2 branches"):
            export.published_arrays({"params": params})
        with pytest.raises(UserError, match="only MViTv2 branches"):
            export.published_arrays({"params": params}, "skeleton")
        assert export.main([f"--source={imported}", "--branch=audio", "--out=x.safetensors"]) == 2
        assert "branch 'audio': not in these weights" in capsys.readouterr().err


class TestImportCommand:
    def test_a_file_of_full_size(self, tmp_path, capsys):
        shapes = goldens.recipes()["mvitv2s_full"]["params"]
        head = {"head.projection.weight": (400, 768), "head.projection.bias": (400,)}
        path = tmp_path / "k400.pyth"
        arrays = {name: np.zeros(head.get(name, shape), np.float16) for name, shape in shapes}
        torch_writer.save(path, {"model_state": arrays})
        arguments = [f"--source={path}", "--arch=mvitv2_s", "--input_size=8,224,224", f"--out={tmp_path / 'out'}"]
        assert import_command.main(arguments) == 0
        printed = capsys.readouterr().out
        assert "blocks.15.attn.rel_pos_t: interpolated 15x96 -> 7x96" in printed
        assert "head.projection.weight: head for other classes (400 x 768, ours 768 x 20)" in printed
        assert "used              395" in printed
        assert load_initial(tmp_path / "out")["params"]["video"]["blocks_15"]["attn"]["rel_pos_t"].shape == (7, 96)

    @pytest.mark.parametrize("command", [import_command, export])
    def test_help(self, capsys, command):
        with pytest.raises(SystemExit, match="0"):
            command.main(["--help"])
        assert "--source" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "fragment"),
        [
            ([], "required"),
            (["--source=absent.pth", "--arch=mvitv2_s", "--out=o"], "absent.pth: cannot be read"),
            (["--source=absent.pth", "--arch=resnet", "--out=o"], "arch: expected one of"),
            (["--source=a", "--arch=mvitv2_s", "--out=o", "--input_size=16,224"], "T,H,W"),
            (["--source=a", "--arch=hdgcn", "--out=o", "--num_tokens=20"], "leave them out"),
        ],
    )
    def test_faults_are_one_line_and_status_2(self, capsys, arguments, fragment):
        assert import_command.main(arguments) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1
        assert fragment in printed.err

    def test_hdgcn_starts_a_skeleton_branch(self, tiny_model_spec):
        """A published network without tokens starts ours with tokens; they are new."""
        architecture = hdgcn_architecture("hdgcn", tiny_model_spec.backbones["hdgcn"])
        params, statistics = variables(architecture.model, seed=1)
        taken, batch_stats, report = initialise(
            *variables(tiny_model_spec), {"params": params, "batch_stats": statistics}, "skeleton"
        )
        unit = {name: part for name, part in taken["skeleton"]["unit02"].items() if name != "tokens"}
        assert_same(unit, params["skeleton"]["unit02"])
        assert_same(batch_stats["skeleton"], statistics["skeleton"])
        assert {entry.rule for entry in report.initial} == {"class tokens", "fusion", "projection of receiver tokens"}
