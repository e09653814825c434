"""Tests of the import: tables against published names, golden outputs from written files, and what is left out."""

import dataclasses
import functools
import gzip
import json
import re
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.transm3e import RELEASED, ModelSpec, TransM3E
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.pretrained import export
from musclemap_jax.pretrained.architectures import make_architecture
from musclemap_jax.pretrained.hdgcn_joints import HIERARCHY_RULE, NORM_RULE
from musclemap_jax.pretrained.hdgcn_names import hdgcn_architecture, published_arrays
from musclemap_jax.pretrained.importing import import_arrays, import_file
from musclemap_jax.pretrained.mvit_names import IMAGE_RULE, TOKEN_RULE, mvit_architecture, torchvision_name
from musclemap_jax.pretrained.published import HEAD_RULE, NO_HEAD_RULE, branch_model
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor
from musclemap_jax.pretrained.transforms import resize_axis
from tests.models import goldens, hdgcn_goldens
from tests.pretrained import torch_writer

HDGCN_NAMES = Path(__file__).parent.parent / "data" / "goldens" / "hdgcn" / "hdgcn_ntu25_names.json.gz"


@functools.cache
def tiny(num_tokens=0, **options):
    """The architecture of the tiny goldens."""
    return mvit_architecture(
        "tiny", branch_model("video", num_tokens, backbones={"mvit": goldens.TINY_SPEC}), **options
    )


def checkpoint(arrays):
    return Checkpoint({name: SourceTensor(array.shape, lambda array=array: array) for name, array in arrays.items()})


def logits(architecture, arrays, **inputs):
    """Of our model, called on clips (B, C, T, H, W)."""
    variables = traverse_util.unflatten_dict(arrays)
    clips = {name: (goldens.channels_last(clip),) for name, clip in inputs.items()}
    model = TransM3E(architecture.model)
    run = jax.jit(lambda *arrays: model.apply(*arrays, 2, False, False, method=TransM3E.run).logits)
    return run(variables, clips)


class TestPySlowFast:
    def test_a_written_file_gives_the_published_logits(self, tmp_path, published):
        content = {"epoch": 7, "model_state": published, "optimizer_state": {"state": {}}, "cfg": "MVIT: {}"}
        path = torch_writer.save(tmp_path / "checkpoint_epoch_00007.pyth", content)
        architecture = tiny()
        arrays, report = import_file(path, architecture)
        assert report.left_out == report.initial == report.changed == ()
        assert sorted(used.source for used in report.used) == sorted(published)
        assert sorted(used.target for used in report.used) == sorted(map("/".join, architecture.shapes))
        golden = goldens.load("mvit_tiny")
        goldens.assert_close(logits(architecture, arrays, video=golden["x"]), golden["out/logits"], 2e-5)

    def test_another_head_token_and_length_leave_out_exactly_those(self, tmp_path, published):
        rng = np.random.default_rng(0)
        tables = [name for name in published if name.endswith("rel_pos_t")]
        # Of 8 frames, where the model has 4.
        longer = {name: rng.standard_normal((7, published[name].shape[1]), np.float32) for name in tables}
        head = {"head.projection.weight": np.ones((400, 64), np.float32)}
        head |= {"head.projection.bias": np.ones(400, np.float32)}
        path = torch_writer.save(tmp_path / "k400.pyth", {"model_state": published | longer | head})
        arrays, report = import_file(path, tiny(num_tokens=20))
        assert [(u.source, u.change, u.shape[0]) for u in report.changed] == [(t, "interpolated", 3) for t in tables]
        assert sorted(entry.name for entry in report.left_out) == ["cls_token", *sorted(head)]
        rules = {entry.name: entry.rule for entry in report.left_out}
        assert rules["cls_token"] == f"{TOKEN_RULE} (1 x 1 x 16, ours 1 x 20 x 16)"
        assert rules["head.projection.bias"] == f"{HEAD_RULE} (400, ours 20)"
        assert sorted(entry.name for entry in report.initial) == [
            "params/head_video/bias",
            "params/head_video/kernel",
            "params/video/class_tokens/classification",
        ]
        assert len(report.used) == len(published) - 3
        table = longer["blocks.2.attn.rel_pos_t"]
        # Three of seven, centres of cells aligned: rows 2/3, 3 and 16/3.
        expected = [table[0] / 3 + table[1] * 2 / 3, table[3], table[5] * 2 / 3 + table[6] / 3]
        np.testing.assert_allclose(arrays["params", "video", "blocks_2", "attn", "rel_pos_t"], expected, atol=1e-6)

    def test_interpolation_equals_the_published(self):
        golden = goldens.load("relpos")
        names = [name for name in golden if re.fullmatch(r"get_rel_pos_\d+", name)]
        assert names
        table = golden["table"]
        for name in names:
            np.testing.assert_allclose(resize_axis(table, 0, len(golden[name])), golden[name], atol=1e-6)

    def test_weights_of_images_are_inflated(self, published):
        lacking = ("cls_token", "rel_pos_t")
        images = {name: array for name, array in published.items() if not name.endswith(lacking)}
        images["patch_embed.proj.weight"] = published["patch_embed.proj.weight"][:, :, 1]
        pools = [name for name in images if ".pool_" in name]
        # PySlowFast keeps a time of one frame here, the MViTv2 of images alone has two axes.
        images |= {name: images[name][:, :, 1:2] if "pool_q" in name else images[name][:, :, 1] for name in pools}
        arrays, report = import_arrays(checkpoint(images), tiny(images=True))
        assert {u.source for u in report.changed} == {"patch_embed.proj.weight", *pools}
        assert {u.change for u in report.changed} == {"inflated in time"}
        assert {entry.name.rpartition("/")[2] for entry in report.initial} == {"classification", *lacking[1:]}
        assert {entry.rule for entry in report.initial} == {IMAGE_RULE}
        kernel = arrays["params", "video", "patch_embed", "proj", "kernel"]
        image = images["patch_embed.proj.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_allclose(kernel, np.stack([image / 3] * 3), rtol=1e-6)
        for pool in ("pool_q", "pool_k"):
            kernel = arrays["params", "video", "blocks_0", "attn", pool]
            image = published[f"blocks.0.attn.{pool}.weight"][:, 0, 1].transpose(1, 2, 0)
            np.testing.assert_allclose(kernel, np.stack([image / 3] * 3), rtol=1e-6)
        with pytest.raises(UserError, match="missing"):
            import_arrays(checkpoint(images), tiny())

    def test_tables_of_some_of_the_stacked_blocks_alone_are_refused(self):
        """Weights of images have none in time; one of two equal blocks with it is no such file."""
        spec = MViTSpec(depth=4, embed_dim=8, stages=(1,), kv_stride=(1, 2, 2), input_size=(4, 24, 16))
        architecture = mvit_architecture("images", branch_model("video", backbones={"mvit": spec}), images=True)
        rng = np.random.default_rng(0)
        params = {path: rng.random(shape, np.float32) for path, shape in architecture.shapes.items()}
        arrays = export.published_arrays(traverse_util.unflatten_dict(params))
        lacking = {name: array for name, array in arrays.items() if not name.endswith(("cls_token", "rel_pos_t"))}
        _, report = import_arrays(checkpoint(lacking), architecture)
        names = [entry.name for entry in report.initial]
        assert len(names) == len(set(names)) == 4  # three modules of blocks, and the token
        one = "blocks.2.attn.rel_pos_t"
        with pytest.raises(UserError, match="blocks_2_3/attn/rel_pos_t of some layers and not of others"):
            import_arrays(checkpoint(lacking | {one: arrays[one]}), architecture)

    @pytest.mark.parametrize("prefix", ["_orig_mod.module.", "model_state._orig_mod.backbone.", "student.model."])
    def test_prefixes_of_training_code_are_taken_off(self, tmp_path, published, prefix):
        path = torch_writer.save(tmp_path / "file.pth", {f"{prefix}{name}": array for name, array in published.items()})
        arrays, report = import_file(path, tiny())
        expected, _ = import_arrays(checkpoint(published), tiny())
        assert report.left_out == report.initial == ()
        assert report.prefix == prefix.replace("_orig_mod.", "")
        assert f", {report.prefix}*" in report.text()
        assert all(np.array_equal(arrays[path], expected[path]) for path in expected)

    def test_the_average_of_the_weights_can_be_chosen(self, tmp_path, published):
        average = {f"module.{name}": array + 1 for name, array in published.items()}
        path = torch_writer.save(tmp_path / "file.pth", {"model": published, "model_ema": average})
        plain, report = import_file(path, tiny())
        assert "--prefix=model_ema.module." in report.text()
        for array, mean in zip(plain.values(), import_file(path, tiny(), "model_ema")[0].values(), strict=True):
            np.testing.assert_array_equal(array + 1, mean)

    def test_a_file_without_a_head_leaves_the_head_initial(self, published):
        body = {name: array for name, array in published.items() if not name.startswith("head.")}
        arrays, report = import_arrays(checkpoint(body), tiny())
        assert {entry.rule for entry in report.initial} == {NO_HEAD_RULE}
        assert {path[1] for path in tiny().shapes.keys() - arrays.keys()} == {"head_video"}

    def test_arrays_that_a_rule_allows_are_left_out(self, published):
        extra = {"total_ops": np.ones(1), "blocks.0.attn.total_params": np.ones(1), "mask_token": np.ones(3)}
        architecture = dataclasses.replace(tiny(), ignored=(("^mask_", "--ignore=^mask_"),))
        _, report = import_arrays(checkpoint(published | extra), architecture)
        assert {entry.name for entry in report.left_out} == {*extra}
        assert report.initial == ()

    def test_half_precision_is_read(self, tmp_path, published):
        halves = {name: array.astype(torch_writer.BFLOAT16) for name, array in published.items()}
        arrays, _ = import_file(torch_writer.save(tmp_path / "half.pt", halves), tiny())
        qkv = published["blocks.0.attn.qkv.weight"].T
        taken = arrays["params", "video", "blocks_0", "attn", "qkv", "kernel"]
        assert taken.dtype == np.float32
        np.testing.assert_allclose(taken, qkv, rtol=2**-8)


class TestFaults:
    def fault(self, arrays, *fragments):
        with pytest.raises(UserError) as caught:
            import_arrays(checkpoint(arrays), tiny(), "weights.pyth")
        assert "\n" not in str(caught.value)
        for fragment in ("weights.pyth", *fragments):
            assert fragment in str(caught.value)

    def test_a_tensor_of_another_shape(self, published):
        wrong = published | {"blocks.1.attn.qkv.weight": np.zeros((96, 17), np.float32)}
        self.fault(wrong, "blocks.1.attn.qkv.weight", "16 x 96", "got 96 x 17")
        wrong = published | {"blocks.1.attn.pool_q.weight": np.zeros((16, 2, 3, 3, 3), np.float32)}
        self.fault(wrong, "blocks.1.attn.pool_q.weight", "got 16 x 2 x 3 x 3 x 3")

    def test_a_missing_and_an_unknown_key(self, published):
        missing = {name: array for name, array in published.items() if name != "norm.bias"}
        self.fault(missing, "1 arrays are missing (norm.bias)")
        self.fault(published | {"mask_token": np.zeros(3, np.float32)}, "1 are not part of this model (mask_token)")

    def test_numbers_that_are_none(self, published):
        self.fault(published | {"norm.bias": np.full(64, np.nan, np.float32)}, "norm.bias", "not finite")
        self.fault(published | {"norm.bias": np.ones(64, np.int64)}, "norm.bias", "int64")

    def test_nothing_is_read_of_an_array_that_does_not_fit(self, published):
        def read():
            raise AssertionError("read")

        tensors, huge = dict(checkpoint(published).tensors), SourceTensor((1 << 40, 1 << 20), read)
        for name in ("norm.bias", "head.projection.weight", "blocks.0.attn.rel_pos_h", "patch_embed.proj.weight"):
            if name == "head.projection.weight":
                assert import_arrays(Checkpoint(tensors | {name: huge}), tiny())[1].left_out
            else:
                with pytest.raises(UserError, match=name):
                    import_arrays(Checkpoint(tensors | {name: huge}), tiny())

    def test_options(self):
        with pytest.raises(UserError, match="arch: expected one of mvitv2_s"):
            make_architecture("vgg")
        with pytest.raises(UserError, match="input_size"):
            make_architecture("mvitv2_s", input_size=(0, 224, 224))
        with pytest.raises(UserError, match="layout"):
            make_architecture("hdgcn", layout="coco17")


class TestOtherNames:
    def test_full_size_tables_have_the_published_names_and_shapes(self):
        recipe = goldens.recipes()["mvitv2s_full"]["params"]
        arrays = {name: np.zeros(shape, np.float32) for name, shape in recipe}
        _, report = import_arrays(checkpoint(arrays), make_architecture("mvitv2_s"))
        assert len(report.used) == 397
        assert report.left_out == report.initial == report.changed == ()

    def test_torchvision_names(self, published):
        """Compared with the state_dict of torchvision 0.28's mvit_v2_s, of which these are the kinds of names."""
        kinds = {re.sub(r"blocks\.\d+", "blocks.1", torchvision_name(name)) for name in published}
        attention = [f"attn.pool_{p}.{part}" for p in "qkv" for part in ("pool.weight", *norm("norm_act.0"))]
        attention += [f"attn.rel_pos_{axis}" for axis in "thw"]
        linear = [name for part in ("attn.qkv", "attn.project.0", "mlp.0", "mlp.3", "project") for name in norm(part)]
        block = [*attention, *linear, *norm("norm1"), *norm("norm2")]
        ends = [name for part in ("conv_proj", "norm", "head.1") for name in norm(part)]
        assert kinds == {f"blocks.1.{name}" for name in block} | {"pos_encoding.class_token", *ends}

    def test_torchvision_arrays(self, published):
        renamed = {torchvision_name(name): array for name, array in published.items()}
        assert len(renamed) == len(published)
        renamed["pos_encoding.class_token"] = renamed["pos_encoding.class_token"].reshape(-1)
        arrays, report = import_arrays(checkpoint(renamed), tiny(names="torchvision"))
        assert report.left_out == report.initial == report.changed == ()
        expected, _ = import_arrays(checkpoint(published), tiny())
        assert all(np.array_equal(arrays[path], expected[path]) for path in expected)

    def test_the_released_checkpoint_gives_the_published_logits(self, tmp_path):
        golden = goldens.load("transm3e_tiny")
        path = torch_writer.save(tmp_path / "transm3e.pyth", {"model_state": goldens.under(golden, "p/")})
        architecture = mvit_architecture(
            "released", ModelSpec(**RELEASED, backbones={"mvit": goldens.TINY_SPEC}), names="released"
        )
        arrays, report = import_file(path, architecture)
        assert report.left_out == report.initial == report.changed == ()
        names = json.loads((goldens.FOLDER / "transm3e_tiny_names.json").read_text())
        frozen = {used.source for used in report.used if used.target.startswith("params/rgb_diff/")}
        assert frozen == set(names["frozen"])
        assert {used.source for used in report.used} - frozen == set(names["trainable"])
        video, difference = golden["x"][:, :3], golden["x"][:, 3:]
        result = logits(architecture, arrays, video=video, rgb_diff=difference)
        goldens.assert_close(result, golden["out/logits"], 2e-5)


def norm(name):
    return (f"{name}.weight", f"{name}.bias")


class TestHDGCN:
    @pytest.fixture(scope="class")
    @classmethod
    def arrays(cls):
        """A state_dict of the published shapes, with its second names and its counts of steps."""
        entries = json.loads(gzip.decompress(HDGCN_NAMES.read_bytes()))["entries"]
        arrays = {}
        for entry in entries:
            rng = np.random.default_rng(zlib.crc32(entry["name"].encode()))
            kind = np.int64 if entry["kind"] == "bn_count" else np.float32
            arrays[entry["name"]] = rng.standard_normal(entry["shape"]).astype(kind)
        again = {re.sub(r"\.conv\.0\.weight", ".conv_d.0.weight", name): array for name, array in arrays.items()}
        return arrays | {name: array for name, array in again.items() if name not in arrays}

    def test_every_array_is_taken_or_left_out_by_rule(self, tmp_path, arrays):
        path = torch_writer.save(tmp_path / "hdgcn.pt", arrays)
        filled, report = import_file(path, make_architecture("hdgcn"))
        assert len(report.used) == 2343
        assert report.initial == report.changed == ()
        assert {re.sub(r".*\.(conv_d|num_batches_tracked).*", r"\1", entry.name) for entry in report.left_out} == {
            "conv_d",
            "num_batches_tracked",
        }
        spec = HDGCNSpec(layout="ntu25")
        ours = {path: array for path, array in filled.items() if path[1] == "skeleton"}
        template = traverse_util.unflatten_dict({(path[0], *path[2:]): array for path, array in ours.items()})
        expected = traverse_util.flatten_dict(hdgcn_goldens.from_published(arrays, template, published_arrays(spec)))
        assert len(expected) == len(ours)
        assert all(np.array_equal(expected[path[0], *path[2:]], array) for path, array in ours.items())
        np.testing.assert_array_equal(filled["params", "head_skeleton", "kernel"], arrays["fc.weight"].T)

    def test_the_first_person_of_two(self, arrays):
        filled, report = import_arrays(checkpoint(arrays), hdgcn_architecture("hdgcn", HDGCNSpec(layout="ntu25"), 1))
        assert {used.change for used in report.changed} == {"cut to the first persons"}
        scale = filled["params", "skeleton", "input_norm", "scale"]
        np.testing.assert_array_equal(scale, arrays["data_bn.weight"].reshape(2, 25, 3)[:1])

    def test_weights_of_another_layout_than_the_file_are_refused(self, arrays):
        with pytest.raises(UserError, match="are not part of this model"):
            import_arrays(checkpoint(arrays), make_architecture("hdgcn", layout="coco19", from_layout="coco19"))

    def test_published_weights_serve_our_layout_by_joint_name(self, arrays):
        filled, report = import_arrays(checkpoint(arrays), make_architecture("hdgcn", layout="coco19"))
        assert filled["params", "head_skeleton", "kernel"].shape == (256, 20)
        unit = ("params", "skeleton", "unit02_04")
        temporal = arrays["l3.tcn1.branches.0.0.weight"][:, :, 0, 0].T
        np.testing.assert_array_equal(filled[*unit, "temporal", "reduce_kernel"][1, 0], temporal)
        for ours, published in enumerate((0, 1, 2, 4)):
            kernel = arrays[f"l3.gcn1.conv.{published}.1.0.weight"][:, :, 0, 0].T
            np.testing.assert_array_equal(filled[*unit, "graph", "subset_kernel"][1, ours, 1], kernel)
            mean = arrays[f"l3.gcn1.conv_down.{published}.1.running_mean"]
            statistics = ("batch_stats", *unit[1:], "graph", "down_norm", "mean")
            np.testing.assert_array_equal(filled[statistics][1, ours], mean)
        assert {entry.name.rpartition("/")[0] for entry in report.initial} == {
            "params/skeleton/input_norm",
            "batch_stats/skeleton/input_norm",
        }
        assert {entry.rule for entry in report.left_out if "conv_d." not in entry.name} == {
            "count of steps of a batch norm with fixed momentum",
            HIERARCHY_RULE,
            f"{NORM_RULE} (150, ours 2 x 19 x 3)",
        }
        assert len(report.changed) == 10  # the learned edges of each unit
        assert {used.change for used in report.changed} == {"by joint name"}
        used = {entry.source for entry in report.used} | {entry.name for entry in report.left_out}
        assert used == set(arrays)
