"""Our model under a mapped step, as Scenic's trainers have it, against our own step; without Scenic."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.models.fusion import FUSIONS, MCTF
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.scenic_bridge.model import AXIS, MappedTransM3E, whole_batch
from musclemap_jax.train.objective import ObjectiveSpec, objective

NOT_READ = ("muscles", "clip_valid", "clip_index")


@pytest.fixture(scope="module")
def batch(tiny_batch):
    """Sixteen clips; in some of them, all of the first two devices' among them, nobody is seen."""
    batch = tiny_batch(16)
    batch["skeleton_valid"][:4] = batch["skeleton_valid"][9] = False
    batch["skeleton"] *= batch["skeleton_valid"][..., None, None]
    return batch


@pytest.fixture(scope="module")
def model(tiny_model_spec, batch):
    """The module as Scenic's trainer gets it."""
    example = ((name, array.shape[1:], str(array.dtype)) for name, array in batch.items() if name not in NOT_READ)
    return MappedTransM3E(tiny_model_spec, tuple(example))


def initial(model):
    return jax.jit(functools.partial(model.init, train=False, debug=False))(
        {"params": jax.random.key(0)}, jnp.zeros((2, 1))
    )


def test_one_array_initialises_what_our_own_trainer_has(model, batch):
    variables = initial(model)
    ours = jax.jit(functools.partial(TransM3E(model.spec).init, distil=True))({"params": jax.random.key(0)}, batch)
    assert jax.tree.structure(variables) == jax.tree.structure(ours)
    jax.tree.map(np.testing.assert_array_equal, variables, ours)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_the_mapped_loss_and_its_gradient_are_those_of_the_whole_batch(model, batch, num_devices, monkeypatch):
    monkeypatch.setitem(FUSIONS, "mctf", functools.partial(MCTF, drop_path_rate=0.0))
    variables = initial(model)
    spec = ObjectiveSpec(kd_weight=500.0, kd_tau=1.0)

    def whole(params):
        state = variables | {"params": params}
        output, changed = TransM3E(model.spec).apply(state, batch, train=True, mutable=["batch_stats"])
        loss, terms = objective(output, batch["muscles"], batch["clip_valid"], spec)
        return loss, (terms, changed["batch_stats"])

    def mapped(params, batch):
        def loss_function(params):
            inputs = {name: array for name, array in batch.items() if name not in NOT_READ}
            output, changed = model.apply(variables | {"params": params}, inputs, train=True, mutable=["batch_stats"])
            loss, terms = objective(*whole_batch((output, batch["muscles"], batch["clip_valid"])), spec)
            return loss, (terms, changed["batch_stats"])

        gradient, outputs = jax.grad(loss_function, has_aux=True)(params)
        return jax.lax.pmean(gradient, AXIS), outputs

    gradient, (terms, stats) = jax.jit(jax.grad(whole, has_aux=True))(variables["params"])
    parts = {name: array.reshape(num_devices, -1, *array.shape[1:]) for name, array in batch.items()}
    step = jax.pmap(mapped, AXIS, in_axes=(None, 0), devices=jax.devices()[:num_devices])
    of_devices, (mapped_terms, mapped_stats) = step(variables["params"], parts)
    for name, value in terms.items():
        np.testing.assert_allclose(mapped_terms[name], np.full(num_devices, value), rtol=1e-4, atol=1e-6, err_msg=name)
    jax.tree.map(_assert_close, mapped_stats, stats)
    jax.tree.map(_assert_close, of_devices, gradient)


def _assert_close(copies, one):
    """Every device's copy is the whole batch's value, but for the order of sums."""
    tolerance = 1e-3 * float(np.abs(one).max()) + 1e-5
    np.testing.assert_allclose(copies, np.broadcast_to(one, copies.shape), rtol=0, atol=tolerance)


def test_evaluation_has_logits_and_no_tokens(model, batch):
    variables = initial(model)
    inputs = {name: array for name, array in batch.items() if name not in NOT_READ}
    output = model.apply(variables, inputs, train=False, debug=False)
    expected = TransM3E(model.spec).apply(variables, batch)
    np.testing.assert_allclose(output.logits, expected.logits, atol=1e-6)
    assert (output.branches, output.sites) == ({}, {})
