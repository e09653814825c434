"""Video Swin, a video branch.

Source: Video Swin Transformer (arXiv:2106.13230) as published in torchvision (`swin3d_t`, `_s`, `_b`), which
it equals in values without class tokens; with them, they read the stages (token_readout.py). Parameter names are
torchvision's, except that a stage's blocks are stacked in pairs, a plain one and a shifted one
(`stage3/pairs_0_2/shifted/attn/qkv` holds blocks 1, 3 and 5 of the stage, `features.4.{1,3,5}`).

Letters of shapes: B clips, T H W frames and pixels, C colours, M class tokens in one set, D width; 2 marks the grid of
patches or of a stage.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.kernels.sliding_windows import Triple
from musclemap_jax.models.layers.drop_path import drop_path_factors
from musclemap_jax.models.layers.remat import remat_class
from musclemap_jax.models.layers.scanned_layers import LayerGroup, scan_layers
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.models.video.swin_block import SwinBlock, SwinPatchEmbed, linear, norm, pad_to_multiple
from musclemap_jax.models.video.token_readout import TokenReadout

PAIRS = "pairs_{}"
"""Name of a group of pairs of blocks (`LayerGroup.name`)."""


@dataclasses.dataclass(frozen=True)
class SwinSpec:
    """Architecture of a Video Swin; the defaults are the tiny one.

    Attributes:
      embed_dim: Width of the first stage; doubled from stage to stage.
      depths: Blocks of each stage.
      num_heads: Heads of each stage.
      patch_size: Frames and pixels of a patch.
      window_size: Sizes of a window in patches.
      drop_path_rate: Stochastic depth rate of the last block; it grows linearly from 0 at the first.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    patch_size: Triple = (2, 4, 4)
    window_size: Triple = (8, 7, 7)
    drop_path_rate: float = 0.1

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1 or len(self.num_heads) != len(self.depths):
            raise UserError(
                f"SwinSpec: expected at least one block and a number of heads for each stage, got depths {self.depths} "
                f"and num_heads {self.num_heads}"
            )
        for width, heads in zip(self.widths, self.num_heads, strict=True):
            if heads < 1 or width < 1 or width % heads:
                raise UserError(
                    f"SwinSpec.num_heads: expected divisors of the stages' widths {self.widths}, got {self.num_heads}"
                )
        if any(len(sizes) != 3 or min(sizes) < 1 for sizes in (self.patch_size, self.window_size)):
            raise UserError(
                f"SwinSpec: expected three sizes of at least 1, got patch_size {self.patch_size} and window_size "
                f"{self.window_size}"
            )
        if not 0.0 <= self.drop_path_rate < 1.0:
            raise UserError(f"SwinSpec.drop_path_rate: expected a rate in [0, 1), got {self.drop_path_rate}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))

    @property
    def output_dim(self) -> int:
        """Width of the last stage."""
        return self.widths[-1]

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Class tokens have one layer for each stage."""
        return tuple(range(len(self.depths)))

    @property
    def smallest_input(self) -> Triple:
        """Frames, height and width of one patch; any clip works."""
        return self.patch_size


SWIN_T = SwinSpec()
"""swin3d_t: 28.2 M parameters with a head of 400 classes."""

SWIN_S = SwinSpec(depths=(2, 2, 18, 2))
"""swin3d_s: 49.8 M parameters with a head of 400 classes."""

SWIN_B = SwinSpec(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
"""swin3d_b: 88.0 M parameters with a head of 400 classes."""


class SwinPair(nn.Module):
    """A plain block and a shifted one; or the plain one alone, at the end of a stage of odd depth."""

    num_heads: int
    size: Triple
    dtype: DTypeLike
    remat: str
    alone: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T H W D"], drop_path: Float[Array, "blocks 2 B"] | None
    ) -> Float[Array, "B T H W D"]:
        """Applies the blocks; `drop_path` as in `SwinBlock`, for each block."""
        block_class = remat_class(SwinBlock, self.remat, static_argnums=())
        for index, name in enumerate(("plain", "shifted")[: 1 if self.alone else 2]):
            block = block_class(self.num_heads, self.size, index == 1, self.dtype, name=name)
            x = block(x, None if drop_path is None else drop_path[index])
        return x


class SwinStage(nn.Module):
    """Patch merging, except in the first stage, and the blocks."""

    depth: int
    num_heads: int
    size: Triple
    merges: bool
    dtype: DTypeLike
    remat: str

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T H W D"], drop_path: Float[Array, "blocks 2 B"] | None
    ) -> Float[Array, "B T H2 W2 D2"]:
        """Applies the stage; `drop_path` as in `SwinBlock`, for each block."""
        if self.merges:
            x = self._merge(x)
            self.sow("intermediates", "merged", x)
        make = functools.partial(SwinPair, self.num_heads, self.size, self.dtype, self.remat)

        def body(pair: SwinPair, x: jax.Array, factors: jax.Array | None) -> tuple[jax.Array, None]:
            return pair(x, factors), None

        for group, alone in stage_groups(self.depth):
            factors = None
            if drop_path is not None:
                first, blocks = 2 * group.first, 1 if alone else 2
                factors = drop_path[first : first + blocks * group.count]
                factors = factors.reshape(group.count, blocks, *factors.shape[1:])
            x, _ = scan_layers(body, make(alone=alone, name=group.name(PAIRS)), group, x, factors)
        return x

    def _merge(self, x: jax.Array) -> jax.Array:
        """Concatenates four neighbours and halves the channels: (B, T, H, W, D) to (B, T, H / 2, W / 2, 2 D)."""
        x = pad_to_multiple(x, (1, 2, 2))
        x = jnp.concatenate([x[:, :, row::2, column::2] for column in range(2) for row in range(2)], axis=-1)
        x = norm("norm", self.dtype)(x)
        return linear(x.shape[-1] // 2, "reduction", self.dtype, use_bias=False)(x)


def stage_groups(depth: int) -> list[tuple[LayerGroup, bool]]:
    """Groups of pairs of a stage's blocks, and whether the group is the single block at the end of an odd stage."""
    groups = [(LayerGroup(0, depth // 2), False)] if depth > 1 else []
    return groups + ([(LayerGroup(depth // 2, 1), True)] if depth % 2 else [])


class Swin(nn.Module):
    """Video Swin without a head.

    Attributes:
      spec: The architecture.
      num_tokens: M, class tokens in one set, which read each stage; 0 for the published network: the output is then
        the pooled features.
      receiver: Whether a receiver set precedes the classification set.
      dtype: Dtype of the computation; parameters, layer norms' statistics and softmax are always float32.
      remat: What the backward pass recomputes of the blocks (layers/remat.py).
    """

    spec: SwinSpec = SWIN_T
    num_tokens: int = 0
    receiver: bool = False
    dtype: DTypeLike = jnp.float32
    remat: str = "none"

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"], *, train: bool = False) -> BranchOutput:
        """Returns the class tokens after every stage, or pooled features, in `dtype`.

        Args:
          video: Normalised frames; any sizes of at least 1.
          train: Turns stochastic depth on; needs the rng stream `dropout`.
        """
        spec = self.spec
        embed = SwinPatchEmbed(spec.embed_dim, spec.patch_size, self.dtype, name="patch_embed")
        x = embed(jnp.asarray(video, self.dtype))
        self.sow("intermediates", "embedded", x)
        factors = self._drop_path_factors(video.shape[0], train)
        ends = [0, *itertools.accumulate(spec.depths)]
        stages = []
        for stage, (depth, heads) in enumerate(zip(spec.depths, spec.num_heads, strict=True)):
            of_stage = None if factors is None else factors[ends[stage] : ends[stage + 1]]
            name = f"stage{stage + 1}"
            x = SwinStage(depth, heads, spec.window_size, stage > 0, self.dtype, self.remat, name=name)(x, of_stage)
            self.sow("intermediates", "stage_output", x)
            stages.append(x)
        stages[-1] = norm("norm", self.dtype)(x)
        self.sow("intermediates", "final", stages[-1])
        return TokenReadout(self.num_tokens, self.receiver, self.dtype, name="readout")(stages, stages[-1])

    def _drop_path_factors(self, batch_size: int, train: bool) -> Float[Array, "blocks 2 B"] | None:
        if not train or self.spec.drop_path_rate == 0.0:
            return None
        rates = jnp.linspace(0.0, self.spec.drop_path_rate, sum(self.spec.depths))[:, None]
        return drop_path_factors(self.make_rng("dropout"), jnp.tile(rates, (1, 2)), batch_size)
