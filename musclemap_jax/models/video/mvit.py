"""MViTv2, the video branch.

Source: MViTv2 (arXiv:2112.01526) as published in PySlowFast (`configs/Kinetics/MVITv2_{S_16x4,B_32x3}.yaml`), with one
class token or with the class tokens of TransM3E instead. Equal to the published code in values; parameter names are
PySlowFast's (`blocks.3.attn.qkv` is `blocks_3/attn/qkv`), except for the class tokens (class_tokens.py) and for
consecutive equal blocks, whose parameters are stacked (`blocks_4_13/attn/qkv`, scanned_layers.py).

Letters of shapes: B clips, T H W frames and pixels, C colours, M class tokens in one set, D width.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.class_tokens import ClassTokens, split_layers
from musclemap_jax.models.kernels.sliding_windows import Triple
from musclemap_jax.models.layers.drop_path import drop_path_factors
from musclemap_jax.models.layers.layer_norm import LayerNorm
from musclemap_jax.models.layers.remat import remat_class
from musclemap_jax.models.layers.scanned_layers import LayerGroup, group_equal_layers, scan_layers
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.models.video.patch_embed import PatchEmbed
from musclemap_jax.models.video.pooling_attention import BlockSpec, MViTBlock
from musclemap_jax.sharding.activation_sharding import constrain_clips
from musclemap_jax.taxonomy import NUM_REGIONS

TokensAndPatches = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True)
class MViTSpec:
    """Architecture of an MViTv2; the defaults are MViTv2-S 16x4 at 224 x 224.

    Attributes:
      depth: The number of blocks.
      embed_dim: Width of the first block.
      num_heads: Heads of the first block.
      stages: Blocks at which width and heads double and the grid is strided, increasing, in 1 .. depth - 1.
      stage_strides: Stride (t, h, w) of the grid at each of those blocks; (1, 2, 2) everywhere if None.
      kv_stride: Stride of keys and values in the first block; divided by each stage's stride, at least 1.
      patch_kernel: Size of a patch in frames and pixels; odd.
      patch_stride: Stride of the patches.
      pool_kernel: Size of the pooling convolutions; odd.
      input_size: Frames, height and width that the tables of relative positions are made for. Other inputs work: the
        tables are interpolated.
      mlp_ratio: Hidden width of the MLP divided by the width.
      qkv_bias: Whether queries, keys and values have a bias.
      drop_path_rate: Stochastic depth rate of the last block; it grows linearly from 0 at the first.
      dropout_rate: Dropout inside the blocks and after the patch embedding.
    """

    depth: int = 16
    embed_dim: int = 96
    num_heads: int = 1
    stages: tuple[int, ...] = (1, 3, 14)
    stage_strides: tuple[Triple, ...] | None = None
    kv_stride: Triple = (1, 8, 8)
    patch_kernel: Triple = (3, 7, 7)
    patch_stride: Triple = (2, 4, 4)
    pool_kernel: Triple = (3, 3, 3)
    input_size: Triple = (16, 224, 224)
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    drop_path_rate: float = 0.2
    dropout_rate: float = 0.0

    def __post_init__(self) -> None:
        if self.depth < 1 or self.embed_dim < 1 or self.num_heads < 1:
            raise UserError(f"MViTSpec: expected depth, embed_dim and num_heads of at least 1, got {self}")
        if self.embed_dim % self.num_heads:
            raise UserError(
                f"MViTSpec.embed_dim: expected a multiple of num_heads={self.num_heads}, got {self.embed_dim}: "
                "change one of them"
            )
        if list(self.stages) != sorted(set(self.stages)) or not all(0 < s < self.depth for s in self.stages):
            raise UserError(
                f"MViTSpec.stages: expected increasing block numbers from 1 to {self.depth - 1}, got {self.stages}: "
                "remove the others, or increase depth"
            )
        if self.stage_strides is not None and len(self.stage_strides) != len(self.stages):
            raise UserError(
                f"MViTSpec.stage_strides: expected {len(self.stages)} strides, one for each stage, "
                f"got {self.stage_strides}"
            )
        for name in ("patch_kernel", "pool_kernel"):
            if any(k < 1 or k % 2 == 0 for k in getattr(self, name)):
                raise UserError(f"MViTSpec.{name}: expected three odd sizes, got {getattr(self, name)}")
        if min(self.input_size) < 1 or self.mlp_ratio <= 0:
            raise UserError(
                f"MViTSpec: expected a positive input_size and mlp_ratio, got {self.input_size} and {self.mlp_ratio}"
            )
        strides = (self.patch_stride, self.kv_stride, *(self.stage_strides or ()))
        if any(len(stride) != 3 or min(stride) < 1 for stride in strides):
            raise UserError(f"MViTSpec: expected strides (t, h, w) of at least 1, got {strides}")
        for name in ("drop_path_rate", "dropout_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"MViTSpec.{name}: expected a rate in [0, 1), got {getattr(self, name)}")

    @property
    def smallest_input(self) -> Triple:
        """Frames, height and width of the smallest clip; tables have the length of `input_size` whatever comes in."""
        return self.patch_stride

    @property
    def output_dim(self) -> int:
        """Width after the last block."""
        return self.embed_dim * 2 ** len(self.stages)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The last block of every stage: (0, 2, 13, 15) for S."""
        return (*(first - 1 for first in self.stages), self.depth - 1)

    def blocks(self) -> tuple[BlockSpec, ...]:
        """Resolves width, heads, strides and grid of every block."""
        strides = dict(zip(self.stages, self.stage_strides or ((1, 2, 2),) * len(self.stages), strict=True))
        # As in PySlowFast, sizes are rounded down here: they only determine the lengths of the tables.
        grid = _divide(self.input_size, self.patch_stride)
        dim, heads, kv_stride = self.embed_dim, self.num_heads, self.kv_stride
        specs = []
        for index in range(self.depth):
            q_stride, growth = tuple(strides.get(index, (1, 1, 1))), 2 if index in strides else 1
            kv_stride = _divide(kv_stride, q_stride)
            heads *= growth
            specs.append(
                BlockSpec(
                    dim_in=dim,
                    dim_out=dim * growth,
                    num_heads=heads,
                    q_stride=q_stride,
                    kv_stride=kv_stride,
                    grid=grid,
                    pool_kernel=tuple(self.pool_kernel),
                    mlp_ratio=self.mlp_ratio,
                    qkv_bias=self.qkv_bias,
                    dropout_rate=self.dropout_rate,
                )
            )
            dim, grid = dim * growth, _divide(grid, q_stride)
        return tuple(specs)

    def block_groups(self) -> tuple[LayerGroup, ...]:
        """Consecutive equal blocks: 0, 1, 2, 3, 4 to 13, 14 and 15 for S."""
        return group_equal_layers(
            self.blocks(), lambda block: block.dim_in == block.dim_out and max(block.q_stride) == 1
        )


MVITV2_S = MViTSpec()
"""MViTv2-S 16x4: 34.5 M parameters with a head of 400 classes."""

MVITV2_B = MViTSpec(depth=24, stages=(2, 5, 21), input_size=(32, 224, 224), drop_path_rate=0.3)
"""MViTv2-B 32x3: 51.2 M parameters with a head of 400 classes."""


class MViT(nn.Module):
    """MViTv2 without a head.

    The collection `intermediates`, if mutable, holds the patches (B, T2, H2, W2, D) of each block, and in its `attn`
    the query, key, value and output, and the logits of tokens and patches before the softmax; stacked like the
    parameters.

    Attributes:
      spec: The architecture.
      num_tokens: M, class tokens in one set; 1 is the published model.
      receiver: Whether a receiver set precedes the classification set.
      dtype: Dtype of the computation; parameters, layer norms' statistics and softmax are always float32.
      remat: What the backward pass recomputes: "none"; "blocks": everything inside the blocks; "dots": everything but
        the outputs of linear layers, so attention's weights are not kept.
    """

    spec: MViTSpec = MVITV2_S
    num_tokens: int = NUM_REGIONS
    receiver: bool = False
    dtype: DTypeLike = jnp.float32
    remat: str = "none"

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"], *, train: bool = False) -> BranchOutput:
        """Returns class tokens after every block and after the final norm, in `dtype`.

        Args:
          video: Normalised frames; any sizes of at least 1.
          train: Turns dropout and stochastic depth on; needs the rng stream `dropout`.
        """
        spec, batch_size = self.spec, video.shape[0]
        embed = PatchEmbed(spec.embed_dim, spec.patch_kernel, spec.patch_stride, self.dtype, name="patch_embed")
        patches = embed(jnp.asarray(video, self.dtype))
        self.sow("intermediates", "embedded", patches)
        class_tokens = ClassTokens(spec.embed_dim, self.num_tokens, self.receiver, self.dtype, name="class_tokens")
        drop = nn.Dropout(spec.dropout_rate, deterministic=not train)
        tokens, patches = drop(class_tokens(batch_size)), drop(patches)

        block_class, blocks = remat_class(MViTBlock, self.remat, static_argnums=(4,)), spec.blocks()
        factors = self._drop_path_factors(batch_size, train)

        def body(block: MViTBlock, carry: TokensAndPatches, drop_path: jax.Array | None) -> tuple[Any, jax.Array]:
            tokens, patches = map(constrain_clips, block(*carry, drop_path, train))
            return (tokens, patches), tokens

        layers = []
        for group in spec.block_groups():
            block = block_class(blocks[group.first], self.dtype, name=group.name("blocks_{}"))
            group_factors = None if factors is None else factors[group.first : group.first + group.count]
            (tokens, patches), tokens_of_layers = scan_layers(body, block, group, (tokens, patches), group_factors)
            layers += tokens_of_layers

        norm = LayerNorm(dtype=self.dtype, name="norm")
        output = split_layers(layers, norm(tokens), self.num_tokens)
        if self.is_mutable_collection("intermediates"):
            self.sow("intermediates", "final_patches", norm(patches))
        return dataclasses.replace(output, features=patches.reshape(batch_size, -1, patches.shape[-1]))

    def _drop_path_factors(self, batch_size: int, train: bool) -> Float[Array, "depth 2 B"] | None:
        """Factors of both residual branches of each block; the rate grows linearly with depth."""
        if not train or self.spec.drop_path_rate == 0.0:
            return None
        rates = jnp.linspace(0.0, self.spec.drop_path_rate, self.spec.depth)[:, None]
        return drop_path_factors(self.make_rng("dropout"), jnp.tile(rates, (1, 2)), batch_size)


def _divide(sizes: Triple, strides: Triple) -> Triple:
    time, height, width = (max(size // stride, 1) for size, stride in zip(sizes, strides, strict=True))
    return time, height, width
