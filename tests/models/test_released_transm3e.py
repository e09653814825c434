"""The released model (configs/transm3e_rgbdiff.py) against the published code, in every stored output and gradient."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.experiment.config import resolve
from musclemap_jax.models.distillation import distillation_loss
from musclemap_jax.models.fusion import MCTF
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.models.video.mvit import MViT
from musclemap_jax.pretrained.importing import import_arrays
from musclemap_jax.pretrained.mvit_names import mvit_architecture
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor
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
    model = dataclasses.replace(spec.model, backbones={"mvit": goldens.TINY_SPEC}, dtype="float32")
    # The released code divides the sum over the blocks by 16, whatever their number.
    loss = dataclasses.replace(spec.loss, kd_weight=spec.loss.kd_weight * DEPTH / 16)
    return dataclasses.replace(spec, model=model, loss=loss)


@pytest.fixture(scope="module")
def to_variables(spec, golden):
    """A function: arrays by the released names (parameters or gradients of some) -> our tree of parameters."""
    architecture = mvit_architecture("released", spec.model, names="released")

    def convert(arrays):
        every = {name: np.zeros_like(array) for name, array in goldens.under(golden, "p/").items()} | arrays
        checkpoint = Checkpoint(
            {name: SourceTensor(array.shape, lambda array=array: array) for name, array in every.items()}
        )
        return traverse_util.unflatten_dict(import_arrays(checkpoint, architecture, "goldens")[0])["params"]

    return convert


@pytest.fixture(scope="module")
def inputs(golden):
    """Clips of both branches, as the model's own input would be."""
    clips = goldens.channels_last(golden["x"])
    return {"video": (clips[..., :3],), "rgb_diff": (clips[..., 3:],)}


@pytest.fixture(scope="module")
def forward(spec, to_variables, inputs, golden):
    """(output, intermediates, what MViTs and MCTF return among them, (loss, terms))."""
    model = TransM3E(spec.model)

    @jax.jit
    def run(params):
        output, state = model.apply(
            {"params": params},
            inputs,
            2,
            False,
            True,
            method=TransM3E.run,
            mutable=["intermediates"],
            capture_intermediates=lambda module, _: isinstance(module, (MViT, MCTF)),
        )
        return output, state["intermediates"], objective(output, golden["y"], jnp.ones(2, bool), spec.loss)

    return run(to_variables(goldens.under(golden, "p/")))


def sequence(tokens, patches):
    """Tokens (B, G, D) and patches (B, T, H, W, D) as one sequence."""
    return jnp.concatenate([*tokens, patches.reshape(patches.shape[0], -1, patches.shape[-1])], axis=1)


def returned(intermediates, name):
    """What the module of that name returned."""
    return intermediates[name]["__call__"][0]


def test_every_block_of_both_streams(forward, golden):
    output, intermediates, _ = forward
    student, teacher = (returned(intermediates, name) for name in ("video", "rgb_diff"))
    for name, stored in (("video", "out/patch_embed"), ("rgb_diff", "out/patch_embed_diff")):
        goldens.assert_close(sequence((), intermediates[name]["embedded"][0]), golden[stored], FORWARD, stored)
    for block in range(DEPTH):
        patches = {name: intermediates[name][f"blocks_{block}"]["patches"][0] for name in ("video", "rgb_diff")}
        ours = sequence((student.receiver[block], student.classification[block]), patches["video"])
        goldens.assert_close(ours, golden[f"out/block{block:02d}"], FORWARD, f"student {block}")
        ours = sequence((teacher.classification[block],), patches["rgb_diff"])
        goldens.assert_close(ours, golden[f"out/block_diff{block:02d}"], FORWARD, f"teacher {block}")
        site = output.sites[f"to_video/unit{block + 1:02d}"]
        np.testing.assert_array_equal(site.receiver, student.receiver[block])
        np.testing.assert_array_equal(site.sender, teacher.classification[block])
    ours = sequence((student.final_receiver, student.final_classification), intermediates["video"]["final_patches"][0])
    goldens.assert_close(ours, golden["out/norm"], FORWARD, "norm")


def test_fusion_logits_and_probabilities(forward, golden):
    output, intermediates, _ = forward
    goldens.assert_close(intermediates["fusion_video"]["cls_fusion"][0], golden["out/clsfusion"], FORWARD)
    goldens.assert_close(returned(intermediates, "fusion_video"), golden["out/mctf"], FORWARD)
    for stored in ("out/logits", "out/logits_f64"):
        goldens.assert_close(output.logits, golden[stored], FORWARD, stored)
    goldens.assert_close(jax.nn.softmax(output.logits), golden["out/probs"], FORWARD)


def test_losses(forward, golden):
    output, _, (total, terms) = forward
    of_blocks = [
        0.9 * distillation_loss(site.sender, site.receiver, clip_valid=jnp.ones(2), reduction="released")
        for _, site in sorted(output.sites.items())
    ]
    goldens.assert_close(of_blocks, golden["out/kd"], FORWARD, "every block")
    kd = terms["kd_to_video"]  # the mean over blocks of tau^2 KL
    np.testing.assert_allclose(0.9 * kd * DEPTH / 16, golden["out/kd_total"], rtol=FORWARD)
    np.testing.assert_allclose(terms["loss_fused"], golden["out/bce"], rtol=FORWARD)
    np.testing.assert_allclose(total, golden["out/loss"], rtol=FORWARD)


def compare(actual, stored, to_variables):
    """Compares the stored gradients, by the released names, with those at the same places of our tree."""
    largest = max(np.abs(array).max() for array in stored.values())
    # Ours at the places that are stored: marked by ones, which are brought into our layout as the gradients are.
    marks = traverse_util.flatten_dict(to_variables({name: np.ones_like(array) for name, array in stored.items()}))
    expected, actual = (traverse_util.flatten_dict(tree) for tree in (to_variables(stored), actual))
    places = [path for path, mark in marks.items() if np.any(mark)]
    assert len(places) == len(stored)
    for path in places:
        # Some are zero in real arithmetic: what rounding leaves is measured by the largest gradient of all.
        scale = np.abs(expected[path]).max()
        goldens.assert_close(
            actual[path], expected[path], GRADIENT, path, floor=largest if scale < 1e-6 * largest else 1e-30
        )
    return places


def test_gradients(spec, to_variables, inputs, golden):
    model = TransM3E(spec.model)

    def losses(params):
        output = model.apply({"params": params}, inputs, 2, False, True, method=TransM3E.run)
        total, terms = objective(output, golden["y"], jnp.ones(2, bool), spec.loss)
        return total, spec.loss.kd_weight * terms["kd_to_video"]

    params = to_variables(goldens.under(golden, "p/"))
    total, distilled = jax.jit(jax.jacrev(losses))(params)
    stored = goldens.load("transm3e_tiny_grads")
    places = compare(total, goldens.under(stored, "g/"), to_variables)
    compare(distilled, goldens.under(stored, "gkd/"), to_variables)
    frozen = {path: leaf for path, leaf in traverse_util.flatten_dict(total).items() if path not in places}
    assert {path[0] for path in frozen} == {"rgb_diff"}
    assert not any(np.any(leaf) for leaf in frozen.values())
