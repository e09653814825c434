"""A file that torchvision's MViT wrote gives torchvision's logits and gradients, where no size is square or even."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.pretrained.importing import import_file
from musclemap_jax.pretrained.mvit_names import mvit_architecture
from musclemap_jax.pretrained.published import branch_model
from tests.models import goldens

FOLDER = Path(__file__).parent.parent / "data" / "pretrained"
SPEC = MViTSpec(depth=4, embed_dim=8, stages=(1, 3), kv_stride=(1, 4, 4), input_size=(6, 36, 28))


@pytest.fixture(scope="module")
def imported():
    """Architecture and parameters."""
    architecture = mvit_architecture("tiny", branch_model("video", backbones={"mvit": SPEC}), names="torchvision")
    arrays, report = import_file(FOLDER / "torchvision_mvit.pt", architecture)
    assert report.left_out == report.initial == report.changed == ()
    return architecture, traverse_util.unflatten_dict(arrays)["params"]


@pytest.fixture(scope="module")
def stored():
    with np.load(FOLDER / "torchvision_mvit.npz") as stored:
        return dict(stored)


def drawn(size):
    """The recorded clips and weights of logits."""
    rng = np.random.RandomState(5)
    video = rng.standard_normal((2, 3, *size)).astype(np.float32)
    return goldens.channels_last(video), rng.standard_normal((2, 20)).astype(np.float32)


def logits(architecture, params, video):
    model = TransM3E(architecture.model)
    return model.apply({"params": params}, {"video": (video,)}, 2, False, False, method=TransM3E.run).logits


def test_logits_at_the_size_of_the_tables(imported, stored):
    architecture, params = imported
    video, _ = drawn((6, 36, 28))
    ours = jax.jit(functools.partial(logits, architecture))(params, video)
    goldens.assert_close(ours, stored["own/logits"], 2e-5)


def test_logits_and_gradients_at_another_size(imported, stored):
    architecture, params = imported
    video, weights = drawn((10, 52, 20))

    @jax.jit
    def run(params):
        def loss(params):
            ours = logits(architecture, params, video)
            return jnp.sum(weights * ours), ours

        return jax.grad(loss, has_aux=True)(params)

    gradients, ours = run(params)
    goldens.assert_close(ours, stored["other/logits"], 2e-5, "logits")
    gradients = traverse_util.flatten_dict({"params": gradients})
    expected = goldens.under(stored, "other/grad/")
    entries = [entry for entry in architecture.entries if entry.source in expected]
    assert len(entries) == len(expected) > 15
    for entry in entries:
        gradient = entry.transform.forward(expected[entry.source], architecture.shapes[entry.target])
        goldens.assert_close(gradients[entry.target], gradient, 1e-4, entry.source, floor=0.05)
