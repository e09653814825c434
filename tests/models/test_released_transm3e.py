"""The released model (configs/transm3e_rgbdiff.py) against the published code, in every stored output and gradient."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.config import resolve
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.pretrained.architectures import video_architecture
from musclemap_jax.pretrained.importing import import_arrays
from musclemap_jax.pretrained.source import ArrayTensor, Checkpoint
from musclemap_jax.train.objective import objective
from tests.models import goldens

FORWARD, GRADIENT = 2e-5, 1e-4
DEPTH = goldens.TINY_SPEC.depth


@pytest.fixture(scope="module")
def golden():
    return goldens.load("transm3e_tiny")


@pytest.fixture(scope="module")
def spec():
    """The configuration's file, at the goldens' size."""
    path = goldens.FOLDER.parents[2] / "configs" / "transm3e_rgbdiff.py"
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    spec = resolve(module.get_config())
    model = dataclasses.replace(spec.model, video=goldens.TINY_SPEC, dtype="float32")
    # The released code divides the sum over the blocks by 16, whatever their number.
    loss = dataclasses.replace(spec.loss, kd_weight=spec.loss.kd_weight * DEPTH / 16)
    return dataclasses.replace(spec, model=model, loss=loss)


@pytest.fixture(scope="module")
def to_variables(spec, golden):
    """A function: arrays by the released names (parameters or gradients of some) -> our tree of parameters."""
    architecture = video_architecture("released", spec.model, names="released")

    def convert(arrays):
        every = {name: np.zeros_like(array) for name, array in goldens.under(golden, "p/").items()} | arrays
        checkpoint = Checkpoint({name: ArrayTensor(array) for name, array in every.items()})
        return traverse_util.unflatten_dict(import_arrays(checkpoint, architecture, "goldens")[0])["params"]

    return convert


@pytest.fixture(scope="module")
def inputs(golden):
    """Clips of both branches, as the model's own input would be."""
    clips = goldens.channels_last(golden["x"])
    return {"video": (clips[..., :3],), "rgb_diff": (clips[..., 3:],)}


@pytest.fixture(scope="module")
def forward(spec, to_variables, inputs, golden):
    """(output, intermediates, (loss, terms))."""
    model = TransM3E(spec.model)

    @jax.jit
    def run(params):
        output, state = model.apply(
            {"params": params}, inputs, 2, False, True, method=TransM3E.run, mutable=["intermediates"]
        )
        return output, state["intermediates"], objective(output, golden["y"], jnp.ones(2, bool), spec.loss)

    return run(to_variables(goldens.under(golden, "p/")))


def sequence(tokens, patches):
    """Tokens (B, G, D) and patches (B, T, H, W, D) as one sequence."""
    return jnp.concatenate([*tokens, patches.reshape(patches.shape[0], -1, patches.shape[-1])], axis=1)


def test_every_block_of_both_streams(forward, golden):
    output, intermediates, _ = forward
    for block in range(DEPTH):
        site = output.sites[f"to_video/unit{block + 1:02d}"]
        student = intermediates["video"]["patches"][block]
        teacher = intermediates["rgb_diff"]["patches"][block]
        expected = golden[f"out/block{block:02d}"]
        goldens.assert_close(site.receiver, expected[:, :20], FORWARD, f"receiver {block}")
        goldens.assert_close(sequence((), student), expected[:, 40:], FORWARD, f"patches {block}")
        goldens.assert_close(
            sequence((site.sender,), teacher), golden[f"out/block_diff{block:02d}"], FORWARD, f"teacher {block}"
        )


def test_fusion_logits_and_probabilities(forward, golden):
    output, intermediates, _ = forward
    fusion = intermediates["fusion_video"]
    goldens.assert_close(fusion["cls_fusion"][0], golden["out/clsfusion"], FORWARD)
    goldens.assert_close(intermediates["video"]["embedded"][0].reshape(2, -1, 16), golden["out/patch_embed"], FORWARD)
    goldens.assert_close(sequence((), intermediates["video"]["final_patches"][0]), golden["out/norm"][:, 40:], FORWARD)
    goldens.assert_close(output.logits, golden["out/logits_f64"], FORWARD)
    goldens.assert_close(jax.nn.softmax(output.logits), golden["out/probs"], FORWARD)


def test_losses(forward, golden):
    _, _, (total, terms) = forward
    kd = terms["kd_to_video"]  # the mean over blocks of tau^2 KL
    np.testing.assert_allclose(0.9 * kd * DEPTH / 16, golden["out/kd_total"], rtol=FORWARD)
    np.testing.assert_allclose(np.sum(golden["out/kd"]) / 16, golden["out/kd_total"], rtol=1e-6)
    np.testing.assert_allclose(terms["loss_fused"], golden["out/bce"], rtol=FORWARD)
    np.testing.assert_allclose(total, golden["out/loss"], rtol=FORWARD)


def compare(actual, expected, largest):
    """Compares the gradients that are stored; the number of them."""
    actual, compared = traverse_util.flatten_dict(actual), 0
    for path, array in traverse_util.flatten_dict(expected).items():
        if np.any(array):
            # Some are zero in real arithmetic: what rounding leaves is measured by the largest gradient of all.
            scale = np.abs(array).max() if np.abs(array).max() > 1e-6 * largest else largest
            error = np.abs(actual[path] - array).max() / scale
            assert error <= GRADIENT, (path, error)
            compared += 1
    return compared


def test_gradients(spec, to_variables, inputs, golden):
    model = TransM3E(spec.model)

    def losses(params):
        output = model.apply({"params": params}, inputs, 2, False, True, method=TransM3E.run)
        total, terms = objective(output, golden["y"], jnp.ones(2, bool), spec.loss)
        return total, spec.loss.kd_weight * terms["kd_to_video"]

    params = to_variables(goldens.under(golden, "p/"))
    total, distilled = jax.jit(jax.jacrev(losses))(params)
    stored = goldens.load("transm3e_tiny_grads")
    largest = max(np.abs(array).max() for array in goldens.under(stored, "g/").values())
    compare(total, to_variables(goldens.under(stored, "g/")), largest)
    of_distillation = goldens.under(stored, "gkd/")
    largest = max(np.abs(array).max() for array in of_distillation.values())
    assert compare(distilled, to_variables(of_distillation), largest) == len(of_distillation)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(total["rgb_diff"]))
