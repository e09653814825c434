"""Equal layers in a loop, against the same layers one after another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from musclemap_jax.models.layers import scanned_layers
from musclemap_jax.models.layers.scanned_layers import LayerGroup, group_equal_layers, scan_layers
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.video.mvit import MVITV2_B, MVITV2_S, MViT, MViTSpec
from tests.models import goldens
from tests.models.stacking import stack_layers, unstack_layers


def spans(groups):
    return [(group.first, group.count) for group in groups]


class TestGroups:
    def test_groups_of_the_published_models(self):
        assert spans(MVITV2_S.block_groups()) == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 10), (14, 1), (15, 1)]
        assert spans(MVITV2_B.block_groups()) == [(0, 2), (2, 1), (3, 2), (5, 1), (6, 15), (21, 1), (22, 2)]
        assert spans(HDGCNSpec().unit_groups()) == [(1, 1), (2, 3), (5, 1), (6, 2), (8, 1), (9, 1), (10, 1)]

    def test_layers_that_change_the_shape_are_grouped_alone(self):
        assert spans(group_equal_layers(["a", "a", "b", "b", "a"], lambda layer: layer != "b")) == [
            (0, 2),
            (2, 1),
            (3, 1),
            (4, 1),
        ]
        # Two strided units of equal widths are equal, but the second sees half as many frames.
        assert spans(HDGCNSpec(widths=(8,) * 4, strided_units=(2, 3)).unit_groups()) == [(1, 1), (2, 1), (3, 1), (4, 1)]

    @pytest.mark.parametrize(
        ("group", "template", "name"),
        [
            (LayerGroup(4, 10), "blocks_{}", "blocks_4_13"),
            (LayerGroup(3, 1), "blocks_{}", "blocks_3"),
            (LayerGroup(9, 2), "unit{:02d}", "unit09_10"),
            (LayerGroup(2, 1), "unit{:02d}", "unit02"),
        ],
    )
    def test_names_give_the_layers(self, group, template, name):
        assert group.name(template) == name
        assert LayerGroup.from_name(name, template[: template.index("{")]) == group

    @pytest.mark.parametrize(
        "name", ["norm", "blocks_", "blocks_x", "blocks_1_2_3", "my_blocks_1", "blocks_3_2", "blocks_0_1000000"]
    )
    def test_other_modules_are_no_groups(self, name):
        assert LayerGroup.from_name(name, "blocks_") is None

    def test_indices(self):
        assert [LayerGroup(4, 3).index(layer) for layer in LayerGroup(4, 3).layers] == [(0,), (1,), (2,)]
        assert LayerGroup(4, 1).index(4) == ()


class Layer(nn.Module):
    """With parameters, running statistics, intermediates and dropout."""

    @nn.compact
    def __call__(self, x, offset, train):
        x = nn.Dense(x.shape[-1], name="mix")(x) + offset[None]
        count = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        if train:
            count.value = count.value + x.mean(0)
        self.sow("intermediates", "hidden", x)
        return nn.Dropout(0.5, deterministic=not train)(jnp.tanh(x))


class Stack(nn.Module):
    """Layers as a group, or each as a module of its own."""

    count: int
    looped: bool

    @nn.compact
    def __call__(self, x, offsets, train):
        def body(layer, x, offset):
            x = layer(x, offset, train)
            return x, x

        groups = (
            [LayerGroup(1, self.count)] if self.looped else [LayerGroup(layer, 1) for layer in range(1, self.count + 1)]
        )
        outputs = []
        for group in groups:
            group_offsets = offsets[group.first - 1 : group.first - 1 + group.count]
            x, layer_outputs = scan_layers(body, Layer(name=group.name("layer{:02d}")), group, x, group_offsets)
            outputs += layer_outputs
        return x, outputs


class TestLoop:
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    offsets = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)

    def variables(self):
        return Stack(3, looped=True).init(jax.random.key(0), self.x, self.offsets, False)

    def test_layers_start_with_values_of_their_own(self):
        kernel = self.variables()["params"]["layer01_03"]["mix"]["kernel"]
        assert kernel.shape == (3, 6, 6)
        assert len(np.unique(kernel)) == kernel.size

    @pytest.mark.parametrize("compiled_for", ["cpu", "tpu"])
    def test_equals_the_layers_one_after_another(self, compiled_for, monkeypatch):
        """As a loop, and unrolled."""
        monkeypatch.setattr(scanned_layers, "platform", lambda: compiled_for)
        variables = {name: self.variables()[name] for name in ("params", "batch_stats")}
        apart = {name: unstack_layers(tree, "layer{:02d}") for name, tree in variables.items()}
        assert list(apart["params"]) == ["layer01", "layer02", "layer03"]
        collections = ["batch_stats", "intermediates"]

        def run(looped, variables):
            def loss(params):
                (x, outputs), changed = Stack(3, looped).apply(
                    variables | {"params": params}, self.x, self.offsets, False, mutable=collections
                )
                return jnp.sum(x**3) + jnp.sum(outputs[1]), (outputs, changed)

            return jax.value_and_grad(loss, has_aux=True)(variables["params"])

        loops = str(jax.make_jaxpr(functools.partial(run, True))(variables)).count("unroll=1")
        assert (loops > 0) == (compiled_for == "cpu")
        (loss, (outputs, changed)), gradient = run(True, variables)
        (expected_loss, (expected_outputs, expected_changed)), expected_gradient = run(False, apart)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
        np.testing.assert_allclose(outputs, expected_outputs, rtol=1e-5)
        unstack = functools.partial(unstack_layers, template="layer{:02d}")
        expected = (expected_gradient, expected_changed["batch_stats"], expected_changed["intermediates"])
        ours = (unstack(gradient), unstack(changed["batch_stats"]), unstack(changed["intermediates"]))
        assert jax.tree.structure(ours) == jax.tree.structure(expected)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, expected)

    def test_statistics_move_and_dropout_differs_between_layers(self):
        variables = self.variables()
        (_, outputs), changed = Stack(3, looped=True).apply(
            variables, self.x, self.offsets, True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(1)}
        )
        means = changed["batch_stats"]["layer01_03"]["mean"]
        assert means.shape == (3, 6)
        assert np.abs(means).min() > 0
        dropped = [np.asarray(output == 0) for output in outputs]
        assert not np.array_equal(dropped[0], dropped[1])
        assert not np.array_equal(dropped[1], dropped[2])


LOOPED = MViTSpec(depth=4, embed_dim=8, stages=(1,), kv_stride=(1, 2, 2), input_size=(4, 24, 16), drop_path_rate=0.5)


@pytest.mark.parametrize("remat", ["none", "blocks", "dots"])
def test_mvit_with_a_loop_equals_its_blocks_one_by_one(remat, monkeypatch):
    """Tokens after every block and all gradients, with stochastic depth drawn alike."""
    video = np.random.default_rng(0).standard_normal((3, 4, 24, 16, 3)).astype(np.float32)
    model = MViT(LOOPED, num_tokens=3, receiver=True, remat=remat)
    params = goldens.random_parameters(model, video)
    assert "blocks_2_3" in params

    def loss(params):
        output = model.apply({"params": params}, video, train=True, rngs={"dropout": jax.random.key(2)})
        layers = (*output.classification, *output.receiver, output.final_classification)
        return sum(jnp.sum(jnp.sin(layer)) for layer in layers), layers

    (_, layers), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    alone = tuple(LayerGroup(block, 1) for block in range(LOOPED.depth))
    monkeypatch.setattr(MViTSpec, "block_groups", lambda spec: alone)
    apart = unstack_layers(params, "blocks_{}")
    (_, expected_layers), expected = jax.jit(jax.value_and_grad(loss, has_aux=True))(apart)
    assert len(layers) == len(expected_layers) == 9
    jax.tree.map(lambda a, b: goldens.assert_close(a, b, 1e-5), layers, expected_layers)
    goldens.assert_trees_close(gradient, stack_layers(expected, [LayerGroup(2, 2)], "blocks_{}"), 1e-4)


def test_hdgcn_with_a_loop_equals_its_units_one_by_one(monkeypatch):
    """Tokens of every unit and the running statistics; the goldens of HD-GCN have loops but no tokens."""
    spec = HDGCNSpec(widths=(8, 8, 8, 16))
    model = HDGCN(spec, num_tokens=3, receiver=True, dtype=jnp.float64)
    poses = np.random.default_rng(0).standard_normal((2, 8, 2, 19, 3)).astype(np.float32)
    valid = np.ones(poses.shape[:3], bool)
    shapes = jax.eval_shape(lambda: HDGCN(spec, 3, True).init(jax.random.key(0), poses, valid, False))
    rng = np.random.default_rng(3)
    variables = {
        name: jax.tree.map(lambda leaf: 1 + 0.2 * rng.standard_normal(leaf.shape), shapes[name])
        for name in ("params", "batch_stats")
    }
    assert {"unit02_03"} < set(variables["params"])

    def apply(variables):
        return model.apply(variables, poses, valid, True, mutable=["batch_stats"])

    apart = {name: unstack_layers(tree, "unit{:02d}") for name, tree in variables.items()}
    with jax.enable_x64(True):  # in which compiling another program does not round otherwise
        output, changed = jax.tree.map(np.asarray, jax.jit(apply)(variables))
        monkeypatch.setattr(HDGCNSpec, "unit_groups", lambda spec: tuple(LayerGroup(unit, 1) for unit in range(1, 5)))
        expected, expected_changed = jax.tree.map(np.asarray, jax.jit(lambda variables: apply(variables))(apart))
    assert len(output.classification) == 4
    jax.tree.map(lambda a, b: goldens.assert_close(a, b, 1e-9), output, expected)
    ours = unstack_layers(changed["batch_stats"], "unit{:02d}")
    # Running statistics are float32.
    goldens.assert_trees_close(ours, expected_changed["batch_stats"], 1e-6)
