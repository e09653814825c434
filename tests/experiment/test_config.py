"""Tests of the configuration: files, variants, what is refused."""

import ast
import importlib.util
import json
import math
import os
import re
from pathlib import Path

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import default_config, resolve
from musclemap_jax.experiment.variants import VARIANTS
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.video.mvit import MVITV2_S
from musclemap_jax.train.mixing import MixingSpec
from tests.conftest import ROOT
from tests.documented_commands import python_commands

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


def load(path, variant):
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    return module.get_config(variant)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_variant_of_every_file_resolves_and_is_locked(path, variant):
    config = load(path, variant)
    spec = resolve(config)
    assert spec.data.builder == {"": "multimodal", "synthetic": "synthetic", "smoke": "synthetic_smoke"}[variant]
    assert set(spec.input.modalities) == {BRANCHES[name].modality for name in spec.model.branches}
    with pytest.raises(AttributeError):
        config.train.no_such_key = 1


def test_the_paper_model_is_mvitv2_s_with_ten_sites():
    spec = resolve(load(CONFIGS[0].with_name("transm3e.py"), ""))
    assert spec.model.backbones["mvit"] == MVITV2_S
    assert (spec.input.num_frames, spec.input.frame_stride, spec.input.crop_size) == (16, 4, 224)
    assert len(spec.model.distillation_pairs) == 10
    assert spec.model.taught == ("video", "skeleton")


def test_skeleton_streams_are_a_setting_of_the_architecture():
    config = default_config()
    assert config.model.backbones.hdgcn.streams == ("joint",)
    config.model.backbones.hdgcn.streams = ("joint", "bone", "biomechanics")
    spec = resolve(json.loads(config.to_json()))
    assert spec.model.backbones["hdgcn"].streams == ("joint", "bone", "biomechanics")
    config.model.backbones.hdgcn.streams = ("joint", "bones")
    with pytest.raises(UserError, match=r"config.model.backbones.hdgcn: streams: .* got \('joint', 'bones'\)"):
        resolve(config)


def test_an_unknown_variant_names_the_known_ones():
    with pytest.raises(UserError, match="'synthetic', 'smoke'"):
        load(CONFIGS[0], "tiny")


@pytest.mark.parametrize("arm_regions", [None, [1, 2, 3]])
def test_a_retired_key_of_a_stored_configuration_is_read_if_it_had_no_effect(arm_regions):
    config = json.loads(default_config().to_json())
    config["model"]["backbones"]["hdgcn"] |= {"limb_views": False, "arm_regions": arm_regions}
    assert resolve(config) == resolve(default_config())
    config["model"]["backbones"]["hdgcn"]["limb_views"] = True
    with pytest.raises(
        UserError, match=r"config\.model\.backbones\.hdgcn\.limb_views: this version .* no longer has it"
    ):
        resolve(config)


def test_an_unknown_key_in_a_plain_mapping_is_refused():
    config = json.loads(default_config().to_json())
    config["train"]["batchsize"] = 4
    with pytest.raises(UserError, match=r"config.train.batchsize: unknown key; known are .*batch_size"):
        resolve(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.batch_size", 0, "train.batch_size must be at least 1"),
        ("train.samples_per_clip", 0, "config.train.samples_per_clip must be at least 1, got 0"),
        ("train.samples_per_clip", 3, r"batch_size=64 is not a multiple of 3 \(samples_per_clip\): a batch holds all"),
        ("train.mixing.mixup_alpha", -0.8, r"config.train.mixing.mixup_alpha: expected 0 \(off\) or more, got -0.8"),
        ("input.augmentation.rand_augment", "rand-m7-x4", "augmentation.rand_augment: expected a name such as rand-m7"),
        ("eval.num_crops", 0, "config.eval.num_crops must be at least 1, got 0"),
        ("optimizer.warmup_fraction", 1.5, "longer than the run"),
        ("loss.kd_axis", "time", "kd_axis"),
        ("model.backbones.hdgcn.widths", (6,), "multiples of 4"),
        ("input.layout", "halpe26", "make them the same"),
        ("input.augmentation.flip_probability", 2.0, "flip_probability"),
        ("eval.splits", ("train",), "eval.splits"),
        ("eval.recall", 0.0, "config.eval.recall: expected a fraction above 0 and up to 1, got 0.0"),
        ("eval.scores", "softmax", "config.eval.scores: expected 'link' or 'logits', got 'softmax'"),
        ("eval.recall", 90.0, "config.eval.recall: expected a fraction above 0 and up to 1, got 90.0"),
        ("seed", -1, "seed"),
        ("seed", 2**32, r"config.seed must be from 0 to 2\^32 - 1, got 4294967296"),
        ("optimizer.learning_rate", math.nan, "config.optimizer.learning_rate: expected a finite number, got nan"),
        ("train.stall_timeout_s", math.inf, "config.train.stall_timeout_s: expected a finite number, got inf"),
        ("input.augmentation.crop_aspect", (0.5, math.inf), "crop_aspect: expected a finite number, got inf"),
        ("data.max_rejected_fraction", 5.0, r"config.data.max_rejected_fraction: expected a fraction in \[0, 1\]"),
        ("data.num_workers", -1, "config.data.num_workers must not be negative, got -1"),
        ("input.num_frames", 0, "input.num_frames: expected at least 1, got 0"),
        ("model.backbones.mvit.input_size", (16, 0, 224), "positive input_size and mlp_ratio"),
        ("model.backbones.mvit.input_size", (1, 2), r"mvit.input_size: expected tuple\[int, int, int\], got \(1, 2\)"),
        ("model.backbones.mvit.patch_kernel", (), r"patch_kernel: expected tuple\[int, int, int\], got \(\)"),
        ("model.backbones.mvit.pool_kernel", (3, True, 3), r"pool_kernel: expected .*, got \(3, True, 3\)"),
        ("model.backbones.mvit.stage_strides", ((1, 2),), r"expected tuple\[.*\] \| None, got \(\(1, 2\),\)"),
        ("model.backbones.pose_statistics.layout", "foo", "statistics.layout: expected one of coco17, .*, got 'foo'"),
        (
            "loss.positive_weights",
            ("abc",),
            r"config.loss.positive_weights: expected tuple\[float, ...\], got \('abc',",
        ),
        ("input.augmentation.crop_area", ("a", 1), r"crop_area: expected Sequence\[float\], got \('a', 1\)"),
        (
            "optimizer.multipliers",
            (("head", "x"),),
            r"config.optimizer.multipliers: expected tuple\[tuple\[str, float\]",
        ),
        ("model.backbones.hdgcn.kernel_size", -1, "odd and positive, got -1"),
        ("model.backbones.hdgcn.joint_neighbours", 20, "joint_neighbours must be from 1 to 19, got 20"),
        ("model.backbones.hdgcn.hierarchy_neighbours", 0, "hierarchy_neighbours must be from 1 to"),
    ],
)
def test_values_that_cannot_be_or_contradict_are_refused_by_name(key, value, message):
    config = default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=message):
        resolve(config)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "batch_size", "4", "config.train.batch_size: expected int, got '4'"),
        ("train", "batch_size", True, "config.train.batch_size: expected int, got True"),
        ("optimizer", "learning_rate", None, "config.optimizer.learning_rate: expected float, got None"),
        ("data", "rebuild", 1, "config.data.rebuild: expected bool, got 1"),
        ("eval", "splits", "val_new", r"config.eval.splits: expected tuple\[str, ...\], got 'val_new'"),
    ],
)
def test_values_of_another_type_in_json_are_refused(section, key, value, message):
    config = json.loads(default_config().to_json())
    config[section][key] = value
    with pytest.raises(UserError, match=message):
        resolve(config)


@pytest.mark.parametrize(
    ("branches", "given", "message"),
    [
        (("video",), {"skeleton": "runs/hdgcn"}, "init_from: expected 'model' or branches of .*video.* got skeleton"),
        (("video",), {"model": "runs/a", "video": "runs/b"}, "got model, video"),
        (("video",), {"audio": "runs/a"}, "init_from.audio: unknown key; known are c2d, ctrgcn, i3d, model,"),
    ],
)
def test_weights_for_branches_that_the_model_lacks_are_refused(branches, given, message):
    config = json.loads(default_config().to_json())
    config["model"]["branches"] = branches
    config["init_from"] |= given
    with pytest.raises(UserError, match=message):
        resolve(config)


def test_keys_of_backbones_and_weights_follow_the_table():
    config = default_config()
    assert set(config.init_from) == {"model", *BRANCHES}
    config.model.backbones.mvit.depth = 15
    config.init_from.skeleton = "runs/hdgcn"
    spec = resolve(config)
    assert spec.model.architecture("video").depth == 15
    assert spec.init_from["skeleton"] == "runs/hdgcn"
    with pytest.raises(AttributeError):
        config.model.backbones.vit = 1
    with pytest.raises(UserError, match=r"config.model.backbones.vit: unknown key; known are c2d, ctrgcn, hdgcn, i3d"):
        resolve({"model": {"backbones": {"vit": {}}}})


def test_views_of_the_evaluation_reach_the_input():
    config = default_config()
    config.eval.update(num_views=3, num_crops=2)
    assert resolve(config).input.num_views == 3
    assert resolve(config).input.views_per_clip == 6


def test_integers_do_not_shut_out_fractions():
    config = default_config()
    config.input.frame_stride = 2.5
    assert resolve(config).input.frame_stride == 2.5


def test_the_home_folder_is_expanded():
    config = default_config()
    config.data.data_dir, config.data.raw_dir, config.init_from.video = "~/data", "~/raw", "~/runs/mvitv2_s"
    spec, home = resolve(config), os.path.expanduser("~")
    assert (spec.data.data_dir, spec.data.raw_dir) == (f"{home}/data", f"{home}/raw")
    assert spec.init_from["video"] == f"{home}/runs/mvitv2_s"


def test_more_steps_than_the_counter_holds_are_refused():
    config = default_config()
    config.train.num_steps = 2**31
    with pytest.raises(UserError, match="at most 2147483647 steps, got 2147483648"):
        resolve(config).train.total_steps(100)


def test_every_fragment_of_the_page_on_training_is_a_configuration():
    page = (CONFIGS[0].parents[1] / "docs" / "training.md").read_text()
    fragments = re.findall(r"```python\n(config\..*?)```", page, re.DOTALL)
    assert len(fragments) == 3
    for fragment in fragments:
        config = default_config()
        exec(fragment, {"config": config})
        assert resolve(config) != resolve(default_config())


def test_the_documented_recipe_of_augmentation_resolves():
    (command,) = python_commands(ROOT / "docs" / "augmentation.md")
    given = dict(word.removeprefix("--config.").split("=") for word in command if word.startswith("--config."))
    config = load(CONFIGS[0].with_name("mvitv2_s.py"), "")
    for key, value in given.items():
        config.update_from_flattened_dict({key: value if key.endswith("rand_augment") else ast.literal_eval(value)})
    spec = resolve(config)
    assert spec.input.augmentation.rand_augment == "rand-m7-n4-mstd0.5-inc1"
    assert spec.input.augmentation.crop_area == (0.08, 1.0)
    assert spec.train.mixing == MixingSpec(mixup_alpha=0.8, cutmix_alpha=1.0)
    assert spec.train.samples_per_clip == 2
