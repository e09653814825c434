"""Scenic's video models as branches: the same numbers as Scenic's own modules, and whole models with them."""

import dataclasses
import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from musclemap_jax.cost.flops import branch_multiply_adds
from musclemap_jax.data.batch import InputSpec
from musclemap_jax.errors import UserError
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.scenic_bridge.installed import scenic_module
from musclemap_jax.train.objective import ObjectiveSpec, objective
from tests.conftest import QUICK_COMPILATION, ROOT

pytestmark = pytest.mark.usefixtures("scenics_own_rules")

SIZES = {"patch_size": (2, 8, 8), "input_size": (4, 16, 16), "width": 16, "num_heads": 2, "mlp_dim": 32}
ENCODING = ml_collections.ConfigDict({"method": "3d_conv", "kernel_init_method": "central_frame_initializer"})
PATCHES = ml_collections.ConfigDict({"size": (8, 8, 2)})
NO_DROPOUT = {"dropout_rate": 0.0, "attention_dropout_rate": 0.0}


def vivit_spec(**changes):
    from musclemap_jax.scenic_bridge.vivit import ViViTSpec

    return ViViTSpec(**SIZES | {"spatial_layers": 2, "temporal_layers": 2} | changes)


def token_learner_spec(**changes):
    from musclemap_jax.scenic_bridge.token_learner import TokenLearnerSpec

    return TokenLearnerSpec(**SIZES | {"num_layers": 3, "num_learned": 2, "learned_from": 1} | changes)


def scenics_vivit():
    """Scenic's own module of the same architecture, with ten classes."""
    return scenic_module("scenic.projects.vivit.model").SpaceTimeViViT(
        **{f"{axis}_{name}": value for axis in ("spatial", "temporal") for name, value in _encoder().items()},
        **{"num_classes": 10, "hidden_size": 16, "classifier": "token"} | NO_DROPOUT,
        patches=PATCHES,
        temporal_encoding_config=ENCODING,
        attention_config=ml_collections.ConfigDict({"type": "factorized_encoder"}),
    )


def _encoder():
    return {"mlp_dim": 32, "num_layers": 2, "num_heads": 2}


def scenics_token_learner():
    """Scenic's own module of the same architecture, with ten classes."""
    tokenizer = {"type": "video", "patches": PATCHES, "temporal_encoding_config": ENCODING}
    learn = {"use_tokenfuse": False, "num_tokens": 2, "tokenlearner_loc": 1, "use_v11": True}
    return scenic_module("scenic.projects.token_learner.model").TokenLearnerViT(
        **{"num_classes": 10, "mlp_dim": 32, "num_layers": 3, "num_heads": 2, "hidden_size": 16},
        **NO_DROPOUT,
        tokenizer=ml_collections.ConfigDict(tokenizer | learn),
        representation_size=None,
    )


def branch_of(backbone, spec):
    """One branch alone, without class tokens, with ten regions."""
    return ModelSpec(
        branches=(backbone,),
        num_tokens=0,
        sites="none",
        fusion="none",
        head_dropout_rate=0.0,
        backbones={backbone: spec},
        num_regions=10,
    )


def random_like(tree):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.2, leaf.shape).astype(np.float32), tree)


@pytest.mark.scenic
@pytest.mark.parametrize(
    ("backbone", "make_spec", "make_scenics"),
    [("vivit", vivit_spec, scenics_vivit), ("token_learner", token_learner_spec, scenics_token_learner)],
    ids=["vivit", "token_learner"],
)
def test_the_branch_is_scenics_module_under_its_names(backbone, make_spec, make_scenics, tiny_batch):
    model, module = TransM3E(branch_of(backbone, make_spec())), make_scenics()
    batch = {"video": tiny_batch(3)["video"]}
    clips = batch["video"][:, 0] / np.float32(127.5) - 1
    scenics = random_like(jax.eval_shape(functools.partial(module.init, train=False), jax.random.key(0), clips))
    params = dict(scenics["params"])
    ours = {"params": {f"head_{backbone}": params.pop("output_projection"), backbone: params}}
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, dict(shapes))
    expected = jax.jit(functools.partial(module.apply, train=False))(scenics, clips)
    np.testing.assert_allclose(jax.jit(model.apply)(ours, batch).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.scenic
def test_vivit_takes_the_video_branchs_place_with_tokens_distillation_and_fusion(tiny_model_spec, tiny_batch):
    backbones = dict(tiny_model_spec.backbones) | {"vivit": vivit_spec()}
    spec = dataclasses.replace(tiny_model_spec, branches=("vivit", "skeleton"), backbones=backbones)
    assert spec.distillation_pairs == ((0, 0), (1, 1))
    model, batch = TransM3E(spec), tiny_batch(4)
    variables = jax.jit(functools.partial(model.init, distil=True))(jax.random.key(0), batch)

    def loss(params):
        state = variables | {"params": params}
        rngs = {"dropout": jax.random.key(1)}  # of the fusion's stochastic depth
        output, _ = model.apply(state, batch, train=True, mutable=["batch_stats"], rngs=rngs)
        assert output.branches["vivit"].final_classification.shape == (4, 20, 16)
        return objective(output, batch["muscles"], batch["clip_valid"], ObjectiveSpec())

    gradient, terms = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert {"loss_vivit", "kd_to_vivit", "kd_to_skeleton"} <= terms.keys()
    assert np.isfinite(terms["loss"])
    tokens = gradient["vivit"]["class_tokens"]
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(tokens))


def test_multiply_adds_are_those_of_the_paper():
    """ViViT-B/16x2 FE: 284.4 GFLOPs in table 3 of arXiv:2103.15691 (one view), which count multiply-adds."""
    spec = dataclasses.replace(branch_of("vivit", vivit_spec()), num_regions=400)
    from musclemap_jax.scenic_bridge.vivit import ViViTSpec

    spec = dataclasses.replace(spec, backbones={"vivit": ViViTSpec()})
    counted = branch_multiply_adds(spec, InputSpec(num_frames=32, num_regions=400))["vivit"]
    assert counted / 1e9 == pytest.approx(284.4, rel=0.01)


def test_impossible_sizes_are_refused():
    with pytest.raises(
        UserError, match=r"^ViViTSpec: input_size \(4, 16, 16\) is not a multiple of patch_size \(3, 8, 8\)"
    ):
        vivit_spec(patch_size=(3, 8, 8))
    with pytest.raises(
        UserError, match=r"^ViViTSpec: expected square frames and a width that num_heads divides, .* 3$"
    ):
        vivit_spec(num_heads=3)
    with pytest.raises(UserError, match=r"^TokenLearnerSpec.learned_from: expected a layer below num_layers=3, got 3$"):
        token_learner_spec(learned_from=3)


def test_token_learner_has_no_class_tokens(tiny_batch):
    spec = dataclasses.replace(branch_of("token_learner", token_learner_spec()), num_tokens=None)
    with pytest.raises(UserError, match=r"^branch token_learner has no class tokens: set config.model.num_tokens=0"):
        jax.eval_shape(TransM3E(spec).init, jax.random.key(0), {"video": tiny_batch(1)["video"]})


@pytest.mark.scenic
def test_clips_of_another_size_are_refused(tiny_batch):
    spec = branch_of("vivit", vivit_spec(input_size=(4, 32, 32)))
    with pytest.raises(
        UserError, match=r"^ViViTSpec: expected clips of \(4, 32, 32\), got \(4, 16, 16\): set the backbone's"
    ):
        jax.eval_shape(TransM3E(spec).init, jax.random.key(0), {"video": tiny_batch(1)["video"]})


@pytest.mark.scenic
@pytest.mark.parametrize("name", ["vivit_branch", "token_learner_branch"])
def test_our_program_trains_and_reports_a_branch_of_scenics(name, run_main, smoke_data, tmp_path):
    config = (f"--config=configs/scenic/{name}.py:smoke", f"--config.data.data_dir={smoke_data}")
    process = run_main(*config, f"--workdir={tmp_path / 'run'}")
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert (tmp_path / "run" / "report" / "report.html").is_file()
    assert "mean" in output


@pytest.mark.scenic
def test_scenics_vivit_trains_in_scenics_trainer_on_our_data(smoke_data, tmp_path):
    flags = {"XLA_FLAGS": f"{QUICK_COMPILATION} --xla_force_host_platform_device_count=2", "TF_CPP_MIN_LOG_LEVEL": "2"}
    data_dir = f"--config.dataset_configs.experiment.data.data_dir={smoke_data}"
    arguments = ("--config=configs/scenic/vivit_multilabel.py:smoke", f"--workdir={tmp_path}", data_dir)
    process = subprocess.run(
        [sys.executable, "-m", "musclemap_jax.scenic_bridge", *arguments],
        cwd=ROOT,
        env=os.environ | flags,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert {"train_loss", "valid_loss", "valid_prec@1"} <= set(process.stdout.split())
    assert (tmp_path / "checkpoint_5").is_file()
