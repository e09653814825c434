"""Tests of the whole model: how branches, tokens, sites and views come together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.checkpoints.state import create_state
from musclemap_jax.errors import UserError
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.models.video.video_input import normalised_flow
from musclemap_jax.sharding.mesh import make_mesh
from musclemap_jax.train.objective import ObjectiveSpec, objective
from musclemap_jax.train.optimizer import OptimizerSpec, make_optimizer
from musclemap_jax.train.step import compile_train_step, make_train_step
from musclemap_jax.train.training_loss import TrainingLoss
from tests.conftest import FUSED


@pytest.fixture(scope="module")
def model(tiny_model_spec):
    return TransM3E(tiny_model_spec)


@pytest.fixture(scope="module")
def apply(model):
    return jax.jit(model.apply, static_argnames=("train", "distil"))


@pytest.fixture(scope="module")
def variables(model, tiny_batch):
    batch = tiny_batch(2)
    return jax.jit(lambda key: model.init(key, batch, train=False, distil=True))(jax.random.key(0))


def test_prediction_is_the_weighted_mean_of_the_branches(tiny_model_spec, variables, tiny_batch):
    weighted = TransM3E(dataclasses.replace(tiny_model_spec, second_branch_weight=1 / 3))
    output = jax.jit(weighted.apply)(variables, tiny_batch(2))
    expected = 0.75 * output.branch_logits["video"] + 0.25 * output.branch_logits["skeleton"]
    np.testing.assert_allclose(output.logits, expected, atol=1e-6)
    assert output.logits.shape == (2, 20)
    assert float(jnp.ptp(output.logits)) > 0


def test_views_are_averaged_in_the_logits(apply, variables, tiny_batch):
    batch = tiny_batch(2, num_views=2)
    both = apply(variables, batch)
    apart = [apply(variables, batch | {"video": batch["video"][:, view : view + 1]}) for view in (0, 1)]
    mean = (apart[0].branch_logits["video"] + apart[1].branch_logits["video"]) / 2
    np.testing.assert_allclose(both.branch_logits["video"], mean, atol=1e-5)
    np.testing.assert_allclose(both.branch_logits["skeleton"], apart[0].branch_logits["skeleton"], atol=1e-5)


def test_every_unit_is_a_site_in_both_directions(apply, variables, tiny_batch):
    sites = apply(variables, tiny_batch(2), distil=True).sites
    assert set(sites) == {"to_video/unit01", "to_skeleton/unit01", "to_video/unit02", "to_skeleton/unit02"}
    assert sites["to_video/unit02"].sender.shape == sites["to_video/unit02"].receiver.shape == (2, 20, 8)
    assert sites["to_skeleton/unit02"].receiver.shape == (2, 20, 16)  # the last video block is 16 wide


def test_tokens_of_two_widths_need_the_projection(tiny_model_spec, tiny_batch):
    model = TransM3E(dataclasses.replace(tiny_model_spec, kd_projection=False))
    with pytest.raises(UserError, match=r"kd_projection: .* at unit02 video has 16 and skeleton 8: set it to True"):
        jax.eval_shape(lambda: model.init(jax.random.key(0), tiny_batch(2), train=False, distil=True))


def test_distillation_sends_gradients_to_the_taught_branch_alone(model, variables, tiny_batch):
    batch = tiny_batch(2)

    def loss(params):
        sites = model.apply(variables | {"params": params}, batch, distil=True).sites
        taught = [site for name, site in sites.items() if name.startswith("to_video/")]
        return sum(jnp.sum((site.sender - site.receiver) ** 2) for site in taught)

    gradient = jax.jit(jax.grad(loss))(variables["params"])
    largest = {
        name: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(part)) for name, part in gradient.items()
    }
    assert largest["skeleton"] == 0.0
    assert largest["video"] > 0
    assert largest["kd_to_video_unit01"] > 0


def test_a_branch_that_is_not_taught_has_no_receiver_and_no_fusion(tiny_model_spec, tiny_batch):
    model = TransM3E(dataclasses.replace(tiny_model_spec, directions="to_video"))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), tiny_batch(1), distil=True))["params"]
    assert "fusion_video" in params
    assert "fusion_skeleton" not in params
    assert "receiver" in params["video"]["class_tokens"]
    assert params["skeleton"]["tokens"].shape == (20, 8)


def test_optical_flow_is_a_branch_of_its_own_and_standing_still_is_zero(tiny_model_spec, tiny_batch):
    spec = dataclasses.replace(tiny_model_spec, branches=("video", "optical_flow"), sites="none", fusion="none")
    model = TransM3E(spec)
    flow = np.random.default_rng(1).integers(0, 256, (1, 1, 4, 16, 16, 2), np.uint8)
    batch = {name: tiny_batch(1)[name] for name in ("video", "muscles")} | {"flow": flow}
    variables = jax.jit(lambda key: model.init(key, batch))(jax.random.key(0))
    apply = jax.jit(model.apply)
    moving, still = (apply(variables, batch | {"flow": each}).branch_logits for each in (flow, np.full_like(flow, 128)))
    np.testing.assert_array_equal(moving["video"], still["video"])
    assert float(jnp.abs(moving["optical_flow"] - still["optical_flow"]).max()) > 1e-6
    np.testing.assert_array_equal(normalised_flow(jnp.full((1, 2, 2, 2, 2), 128, jnp.uint8)), 0)


def test_any_two_branches_teach_each_other_and_train(tiny_model_spec, tiny_batch):
    """A pair that neither the paper nor the released code has, skeletons first."""
    spec = dataclasses.replace(tiny_model_spec, branches=("skeleton", "rgb_diff"), sites="final", fusion="sum")
    batch, mesh = tiny_batch(2), make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    model, optimizer = TransM3E(spec), make_optimizer(OptimizerSpec(learning_rate=1e-3, warmup_fraction=0.0))
    state, shardings = create_state(model, optimizer, batch, seed=0, mesh=mesh, ema=False)
    before = jax.tree.map(np.asarray, state.params)
    step = make_train_step(TrainingLoss(model), optimizer, lambda step: 1e-3)
    state, metrics = compile_train_step(step, shardings, mesh)(state, batch)
    assert {"kd_to_skeleton/unit02", "kd_to_rgb_diff/unit02", "loss_skeleton", "loss_rgb_diff"} <= metrics.keys()
    assert np.isfinite(metrics["loss"])
    assert float(metrics["skipped"]) == 0
    for name, part in before.items():
        changed = jax.tree.map(lambda old, new: np.any(old != np.asarray(new)), part, state.params[name])
        assert any(jax.tree.leaves(changed)), name


def test_tokens_and_heads_follow_the_number_of_regions(tiny_model_spec, tiny_batch):
    spec = dataclasses.replace(tiny_model_spec, num_regions=5)
    model = TransM3E(spec)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), tiny_batch(1), distil=True))["params"]
    assert params["video"]["class_tokens"]["classification"].shape == (1, 5, 8)
    assert params["skeleton"]["tokens"].shape == (2 * 5, 8)
    assert params["head_video"]["kernel"].shape == (16, 5)
    assert params["head_skeleton"]["bias"].shape == (5,)
    fixed = dataclasses.replace(spec, num_tokens=3)
    assert (spec.tokens_per_set, fixed.tokens_per_set) == (5, 3)


def test_without_class_tokens_the_branches_are_the_published_ones(tiny_model_spec, tiny_batch):
    model = TransM3E(dataclasses.replace(tiny_model_spec, num_tokens=0))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), tiny_batch(1), distil=True))["params"]
    assert params["video"]["class_tokens"]["classification"].shape == (1, 1, 8)
    assert "tokens" not in params["skeleton"]
    assert not [name for name in params if name.startswith(("kd_", "fusion_"))]


def test_logits_teach_in_the_directions_of_the_model_where_both_have_a_head():
    assert ModelSpec(sites="none").learners == ("video", "skeleton")
    assert ModelSpec(directions="to_video").learners == ("video",)
    assert ModelSpec(sites="none", second_branch_frozen=True).learners == ("video",)
    assert ModelSpec(second_branch_weight=0.0).learners == ()
    assert ModelSpec(branches=("video",)).learners == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"branches": ("video", "audio")}, "branches"),
        ({"branches": ()}, "branches"),
        ({"branches": ("video", "video")}, "branches"),
        ({"branches": ("video", "skeleton", "rgb_diff")}, "branches"),
        ({"second_branch_weight": -1.0}, "second_branch_weight"),
        ({"branches": ("video",), "second_branch_frozen": True}, "second_branch_frozen: .* has no second one"),
        ({"second_branch_frozen": True}, "second_branch_frozen: .* set directions to 'to_video'"),
        ({"directions": "to_rgb_diff"}, "directions: expected one of both, to_video, to_skeleton"),
        ({"sites": "everywhere"}, "sites: expected one of dense"),
        ({"fusion": "mean"}, "fusion: expected one of mctf, sum"),
        ({"backbones": {"vit": None}}, "backbones: expected some of mvit, hdgcn, swin, .*, got 'vit'"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_specs_that_cannot_be_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        ModelSpec(**change)


def test_a_clip_without_a_person_is_answered_by_the_video_branch_alone(model, variables, tiny_batch):
    batch = tiny_batch(2)
    absent = batch["skeleton_valid"].copy()
    absent[1] = False
    output = jax.jit(model.apply)(variables, batch | {"skeleton_valid": absent})
    video, skeleton = (output.branch_logits[name] for name in ("video", "skeleton"))
    np.testing.assert_array_equal(output.present["skeleton"], [True, False])
    weights = model.spec.weights
    expected = weights["video"] * video[0] + weights["skeleton"] * skeleton[0]
    np.testing.assert_allclose(output.logits[0], expected, atol=1e-6)
    np.testing.assert_allclose(output.logits[1], video[1], atol=1e-6)


def test_a_clip_without_a_person_teaches_nothing(model, variables, tiny_batch):
    """Its skeleton is empty, so the distillation and the skeleton branch's own loss leave the clip out."""
    batch = tiny_batch(2)
    absent = batch["skeleton_valid"].copy()
    absent[1] = False

    def terms(batch):
        output = model.apply(variables, batch, distil=True)
        return objective(output, batch["muscles"], batch["clip_valid"], ObjectiveSpec())[1]

    terms = jax.jit(terms, compiler_options=FUSED)
    both = terms(batch | {"skeleton_valid": absent})
    alone = terms({name: value[:1] for name, value in batch.items()})
    for name in ("loss_skeleton", "kd_to_video", "kd_to_skeleton"):
        np.testing.assert_allclose(both[name], alone[name], rtol=1e-5, atol=1e-6)
    assert abs(float(both["loss_video"] - alone["loss_video"])) > 1e-6


def test_inference_needs_no_labels_and_returns_the_tokens(model, variables, tiny_batch):
    batch = {
        name: value for name, value in tiny_batch(2).items() if name not in ("muscles", "clip_valid", "clip_index")
    }
    output = jax.jit(model.apply)(variables, batch)
    assert output.logits.shape == (2, 20)
    assert output.learners == ()
    assert output.branches["video"].final_classification.shape == (2, 20, 16)
    assert output.branches["skeleton"].final_classification.shape == (2, 20, 8)
