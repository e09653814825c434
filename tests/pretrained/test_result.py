"""Tests of an import's folder, of starting models from it or from a run, of the export and of the commands."""

import json

import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from musclemap_jax.errors import UserError
from musclemap_jax.models.transm3e import RELEASED, ModelSpec
from musclemap_jax.pretrained import __main__ as import_command
from musclemap_jax.pretrained import export
from musclemap_jax.pretrained.importing import import_arrays, import_file
from musclemap_jax.pretrained.mvit_names import mvit_architecture, torchvision_name
from musclemap_jax.pretrained.published import branch_model
from musclemap_jax.pretrained.result import load_initial, read_report, save_initial
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor
from tests.models import goldens
from tests.object_store import BUCKET, Store
from tests.pretrained import torch_writer
from tests.pretrained.trees import STACKED_SPEC, assert_same, variables


class TestFolder:
    def test_arrays_and_report_are_kept(self, imported, published):
        loaded = load_initial(imported)
        backbone = {name: part for name, part in goldens.to_flax(published).items() if name != "head"}
        assert_same(loaded["params"]["video"], backbone)
        assert loaded["batch_stats"] == {}
        report = json.loads((imported / "report.json").read_text())
        assert report["source"] == "tiny.pyth"
        assert len(report["used"]) == len(published)
        assert report["model"]["backbones"]["mvit"]["embed_dim"] == 16

    def test_faults(self, tmp_path):
        with pytest.raises(UserError, match="no such file: make it by python -m"):
            load_initial(tmp_path)
        save_file({"other": np.ones(3, np.float32)}, tmp_path / "params.safetensors")
        with pytest.raises(UserError, match="arrays that an import does not write"):
            load_initial(tmp_path)

    @pytest.mark.parametrize("content", [b'{"model": {"backb', b"[]", b'{"model": 3}', b"\xff\xfe", b""])
    def test_a_damaged_report(self, imported, tmp_path, content):
        assert read_report(imported)["model"]["backbones"]["mvit"]["depth"] == 4
        (tmp_path / "report.json").write_bytes(content)
        with pytest.raises(UserError, match=r"report.json: damaged: .*: import the weights again"):
            read_report(tmp_path)
        with pytest.raises(UserError, match=r"absent/report.json: cannot be read"):
            read_report(tmp_path / "absent")

    def test_a_folder_on_cloud_storage(self, imported, published, monkeypatch, tmp_path):
        """The import and the export, whose file is imported again, all of them on gs://."""
        store = Store(tmp_path / "bucket")
        store.folder.mkdir()
        monkeypatch.setattr("etils.epath.gpath._GPath._backend", property(lambda path: store))
        monkeypatch.chdir(tmp_path)
        torch_writer.save(store.folder / "tiny.pyth", {"model_state": published})
        architecture = mvit_architecture("tiny", branch_model("video", backbones={"mvit": goldens.TINY_SPEC}))
        save_initial(f"{BUCKET}/weights", *import_file(f"{BUCKET}/tiny.pyth", architecture), architecture)
        assert_same(load_initial(f"{BUCKET}/weights")["params"], load_initial(imported)["params"])
        assert read_report(f"{BUCKET}/weights")["source"] == f"{BUCKET}/tiny.pyth"
        assert export.main([f"--source={BUCKET}/weights", f"--out={BUCKET}/out/video.safetensors"]) == 0
        arrays, _ = import_file(f"{BUCKET}/out/video.safetensors", architecture)
        assert_same(traverse_util.unflatten_dict(arrays)["params"], load_initial(imported)["params"])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bucket"]  # nothing in a local folder gs:
        with pytest.raises(UserError, match=f"{BUCKET}/absent.pyth: cannot be read"):
            import_file(f"{BUCKET}/absent.pyth", architecture)


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
        with pytest.raises(UserError, match="MViTv2 branches can be exported"):
            export.published_arrays({"params": params})
        with pytest.raises(UserError, match="MViTv2 branches can be exported"):
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

    def test_the_wanted_copy_and_what_may_be_left_out(self, tmp_path, capsys):
        shapes = goldens.recipes()["mvitv2s_full"]["params"]
        arrays = {name: np.zeros(shape, np.float16) for name, shape in shapes}
        average = {f"module.{name}": array + 1 for name, array in arrays.items()}
        content = {"model": arrays | {"extra.scale": np.ones(3, np.float16)}, "model_ema": average}
        path = torch_writer.save(tmp_path / "checkpoint.pth", content)
        arguments = [f"--source={path}", "--arch=mvitv2_s", f"--out={tmp_path / 'out'}"]
        assert import_command.main(arguments) == 2
        assert "1 are not part of this model (extra.scale): choose another --arch, change" in capsys.readouterr().err
        assert import_command.main([*arguments, "--ignore=^extra"]) == 0
        printed = capsys.readouterr().out
        assert "extra.scale: --ignore=^extra" in printed
        assert "model_ema.module.*: another copy of the model, chosen by --prefix=model_ema.module." in printed
        assert import_command.main([*arguments, "--prefix=model_ema"]) == 0
        assert "mvitv2_s from" in (printed := capsys.readouterr().out)
        assert "model_ema.module.*\n" in printed
        assert load_initial(tmp_path / "out")["params"]["video"]["norm"]["scale"].min() == 1

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
            (["--source=a", "--arch=mvitv2_s", "--out=o", "--ignore=("], "expected a regular expression, got '('"),
            (["--source=a", "--arch=hdgcn", "--out=o", "--from_layout=coco17"], "coco17 has no graph around the neck"),
        ],
    )
    def test_faults_are_one_line_and_status_2(self, capsys, arguments, fragment):
        assert import_command.main(arguments) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1
        assert fragment in printed.err
