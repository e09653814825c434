"""Video Swin against torchvision's numbers, and what is ours."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.video.multiply_adds import swin_multiply_adds
from musclemap_jax.models.video.swin import SWIN_B, SWIN_S, SWIN_T, Swin, SwinSpec, stage_groups
from musclemap_jax.models.video.swin_block import NORM_EPSILON, norm
from musclemap_jax.models.video.windows import Windows, relative_bias, table_rows
from musclemap_jax.pretrained.architectures import make_architecture
from musclemap_jax.pretrained.published import branch_model, named_architecture
from musclemap_jax.pretrained.swin_names import SWIN_NAMES
from tests.models import baseline_goldens as goldens

SPECS = {
    "swin3d_tiny": SwinSpec(embed_dim=12, depths=(2, 1, 2, 1), num_heads=(1, 2, 4, 8), drop_path_rate=0.0),
    "swin3d_e24": SwinSpec(embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), drop_path_rate=0.0),
}


def published_arrays(name):
    if name == "swin3d_tiny":
        return goldens.packed(goldens.load(name), "p")
    return {key: goldens.drawn_parameter(key, shape) for key, shape in goldens.settings(name)["params"]}


def clips(name):
    if name == "swin3d_tiny":
        first = goldens.load(name)["x0"].astype(np.float32)
        return np.concatenate([first, -first[..., ::-1]])
    return goldens.drawn_input(f"x/{name}", (1, 3, 17, 126, 140))


def blocks_outputs(state, spec):
    """{published name: output} of the attention of every block, of merging and of every stage, before the norm."""
    sown, outputs = state["intermediates"], {}
    outputs["patch_embed.proj"] = goldens.channels_first(sown["patch_embed"]["projected"][0])
    outputs["patch_embed"] = sown["embedded"][0]
    for stage, depth in enumerate(spec.depths):
        own = sown[f"stage{stage + 1}"]
        for group, alone in stage_groups(depth):
            pair = own[group.name("pairs_{}")]
            for offset, kind in enumerate(("plain",) if alone else ("plain", "shifted")):
                attended = pair[kind]["attn"]["output"][0]
                for index in group.layers:
                    one = attended[index - group.first] if group.count > 1 else attended
                    outputs[f"features.{2 * stage}.{2 * index + offset}.attn"] = one
        outputs[f"features.{2 * stage}"] = sown["stage_output"][stage]
        if stage:
            outputs[f"features.{2 * stage - 1}"] = own["merged"][0]
    return outputs | {"norm": sown["final"][0]}


@pytest.mark.parametrize("name", SPECS)
def test_outputs_and_gradients_are_the_published_ones(name):
    spec, golden, meta = SPECS[name], goldens.load(name), goldens.settings(name)
    architecture = named_architecture(name, branch_model("swin", backbones={"swin": spec}), SWIN_NAMES)
    variables = goldens.imported(architecture, published_arrays(name))
    run = functools.partial(goldens.apply, Swin(spec), "swin", False)
    gradients, d_video, (logits, state) = goldens.gradients(run, variables, goldens.channels_last(clips(name)))
    outputs = blocks_outputs(state, spec)
    stored = {key.partition("|")[0] for key in golden if key.startswith("eval/") and "logits" not in key}
    assert {f"eval/{key}" for key in outputs} == stored
    for key, output in outputs.items():
        goldens.assert_stored(output, golden, f"eval/{key}", goldens.FORWARD)
    for key in ("eval/logits", "eval/logits_f64"):
        goldens.assert_stored(logits, golden, key, goldens.FORWARD)
    goldens.assert_gradients(goldens.published(SWIN_NAMES, gradients), golden, meta, goldens.GRADIENT)
    goldens.assert_stored(goldens.channels_first(d_video), golden, "g/x", goldens.GRADIENT)


def published_rows(size, num_tokens):
    """Row of the table for each query and key, from the tokens' coordinates in a whole window."""
    tokens = np.stack(np.unravel_index(np.arange(num_tokens), size))
    difference = tokens[:, :, None] - tokens[:, None] + np.reshape(size, (3, 1, 1)) - 1
    return np.ravel_multi_index(tuple(difference), [2 * length - 1 for length in size])


def test_windows_are_the_published_ones():
    """Sizes, shifts, padding, relative positions and regions of every attention."""
    for name, spec in SPECS.items():
        golden = goldens.load(name)
        for key, dims in goldens.settings(name)["dims"].items():
            shifted = int(key.split(".")[2]) % 2 == 1
            windows = Windows.of(tuple(dims["size"]), spec.window_size, shifted)
            assert (list(windows.size), list(windows.shift)) == (dims["window"], dims["shift"])
            assert [a - b for a, b in zip(windows.padded, windows.grid, strict=True)] == dims["pad"]
            rows = published_rows(spec.window_size, windows.num_tokens)
            assert rows[0, :12].tolist() == dims["relative_index_first_row_head"]
            assert rows.sum() == dims["relative_index_sum"]
            if f"mask_first_allowed/{key}" in golden:
                regions = windows.regions()
                same = regions[:, :, None] == regions[:, None]
                np.testing.assert_array_equal(same.argmax(2), golden[f"mask_first_allowed/{key}"])
                assert (~same).sum() == dims["mask_blocked_pairs"]


@pytest.mark.parametrize("num_tokens", [60, 40, 9])
def test_the_bias_of_two_tokens_is_the_row_of_their_difference(num_tokens):
    size = (3, 5, 4)
    table = np.random.default_rng(0).standard_normal((table_rows(size), 2)).astype(np.float32)
    bias = relative_bias(jnp.asarray(table), size, num_tokens)
    np.testing.assert_array_equal(bias, table[published_rows(size, num_tokens)].transpose(2, 0, 1))


def test_the_norm_has_the_published_epsilon():
    golden = goldens.load("swin3d_tiny")
    arrays = published_arrays("swin3d_tiny")
    params = {"scale": arrays["patch_embed.norm.weight"], "bias": arrays["patch_embed.norm.bias"]}
    assert NORM_EPSILON == 1e-5
    ours = norm("norm", jnp.float32).apply({"params": params}, golden["aux/ln_small_in"])
    np.testing.assert_allclose(ours, golden["aux/ln_small_out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("spec", "millions"), [(SWIN_T, 28_158_070), (SWIN_S, 49_816_678), (SWIN_B, 88_048_984)])
def test_parameter_counts_are_the_published_ones(spec, millions):
    video = jax.ShapeDtypeStruct((1, *spec.smallest_input, 3), jnp.float32)
    params = jax.eval_shape(Swin(spec).init, jax.random.key(0), video)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) + 400 * (spec.output_dim + 1) == millions


@pytest.mark.parametrize(
    ("spec", "frames", "counted"),
    [(SWIN_T, 16, 43_881_937_920), (SWIN_T, 32, 87_763_860_480), (SWIN_S, 16, 82_840_992_768)],
)
def test_multiply_adds_are_torchvisions(spec, frames, counted):
    assert swin_multiply_adds(spec, [(frames, 224, 224, 3)]) + 20 * spec.output_dim == counted


def test_a_file_of_another_size_is_refused():
    arrays = {key: np.zeros(shape) for key, shape in goldens.settings("swin3d_tiny")["params"]}
    with pytest.raises(UserError, match="not a checkpoint of arch swin3d_t: "):
        goldens.imported(make_architecture("swin3d_t"), arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": (5, 6, 12, 24)}, "num_heads: expected divisors of the stages' widths"),
        ({"depths": (2, 0)}, "at least one block"),
        ({"window_size": (8, 0, 7)}, "sizes of at least 1"),
        ({"drop_path_rate": 1.0}, "drop_path_rate: expected a rate"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        SwinSpec(**change)
