"""The convolutional networks C2D, I3D, Slow and SlowFast, as video branches.

Source: as in resnet_spec.py; equal to PySlowFast in values without class tokens; with them, they read the stages
(token_readout.py). Parameter names are PySlowFast's, except for consecutive equal blocks, whose parameters are stacked
(`s2/pathway0_res1_2/b/kernel`, scanned_layers.py). At the training size the published head averages all positions, as
here; on larger crops PySlowFast averages the probabilities of positions, and we their logits.

Letters of shapes: B clips, T H W frames and pixels or a grid, C colours, M class tokens in one set, D width; 2 marks
the output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.kernels.conv3d import conv3d
from musclemap_jax.models.kernels.max_pool import max_pool3d
from musclemap_jax.models.kernels.sliding_windows import Triple
from musclemap_jax.models.layers.activations import relu
from musclemap_jax.models.layers.batch_norm import BatchNorm
from musclemap_jax.models.layers.initializers import Initializer, fan_out_normal
from musclemap_jax.models.layers.remat import remat_class
from musclemap_jax.models.layers.robust_max import robust_maximum
from musclemap_jax.models.layers.scanned_layers import scan_layers
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.models.video.resnet_spec import C2D_R50, BottleneckSpec, ResNetSpec
from musclemap_jax.models.video.token_readout import TokenReadout
from musclemap_jax.sharding.activation_sharding import constrain_clips

STEM_KERNEL, STEM_STRIDES = (7, 7), (1, 2, 2)
STEM_POOL = (1, 3, 3)

Pathways = list[jax.Array]


class Conv3d(nn.Module):
    """Convolution without a bias; its parameter is `kernel` (t, h, w, D, D2)."""

    features: int
    size: Triple
    strides: Triple = (1, 1, 1)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B T H W D"]) -> Float[Array, "B T2 H2 W2 D2"]:
        shape = (*self.size, x.shape[-1], self.features)
        init = fan_out_normal(self.features * math.prod(self.size))
        kernel = self.param("kernel", init, shape, jnp.float32)
        return conv3d(x, kernel.astype(self.dtype), self.strides)


def _norm(x: jax.Array, name: str, train: bool, scale_init: Initializer = nn.initializers.ones) -> jax.Array:
    return BatchNorm((x.shape[-1],), scale_init, name=name)(x, (-1,), train)


class Bottleneck(nn.Module):
    """Three convolutions with a residual: in time, in space, and pointwise."""

    spec: BottleneckSpec
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B T H W D"], train: bool) -> Float[Array, "B T H2 W2 D2"]:
        """Applies the block; `train` as in BatchNorm."""
        spec, strides = self.spec, (1, self.spec.stride, self.spec.stride)
        y = Conv3d(spec.inner, (spec.kernel_t, 1, 1), dtype=self.dtype, name="a")(x)
        y = relu(_norm(y, "a_bn", train))
        y = Conv3d(spec.inner, (1, 3, 3), strides, self.dtype, name="b")(y)
        y = relu(_norm(y, "b_bn", train))
        y = Conv3d(spec.features, (1, 1, 1), dtype=self.dtype, name="c")(y)
        y = _norm(y, "c_bn", train, nn.initializers.zeros)
        self.sow("intermediates", "residual", y)
        if not spec.preserves_shape:
            x = Conv3d(spec.features, (1, 1, 1), strides, self.dtype, name="branch1")(x)
            x = _norm(x, "branch1_bn", train)
            self.sow("intermediates", "skip", x)
        return constrain_clips(relu(x + y))


class Stem(nn.Module):
    """Convolution from colours, norm, relu and max-pool."""

    features: int
    kernel_t: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"], train: bool) -> Float[Array, "B T H2 W2 D"]:
        """Applies the stem; `train` as in BatchNorm."""
        x = Conv3d(self.features, (self.kernel_t, *STEM_KERNEL), STEM_STRIDES, self.dtype, name="conv")(video)
        return max_pool3d(relu(_norm(x, "bn", train)), STEM_POOL, STEM_STRIDES)


class Lateral(nn.Module):
    """Widens the slow pathway by the fast one, strided in time; the fast one stays."""

    features: int
    kernel: int
    alpha: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pathways: Pathways, train: bool) -> Pathways:
        """Returns both pathways; `train` as in BatchNorm."""
        slow, fast = pathways
        conv = Conv3d(self.features, (self.kernel, 1, 1), (self.alpha, 1, 1), self.dtype, name="conv_f2s")
        return [jnp.concatenate([slow, relu(_norm(conv(fast), "bn", train))], axis=-1), fast]


class ResNetStage(nn.Module):
    """The blocks of a stage (1, ..), of each pathway."""

    spec: ResNetSpec
    stage: int
    dtype: DTypeLike
    remat: str

    @nn.compact
    def __call__(self, pathways: Pathways, train: bool) -> Pathways:
        """Applies the stage; `train` as in BatchNorm."""
        block_class = remat_class(Bottleneck, self.remat, static_argnums=(2,))

        def body(block: Bottleneck, x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return block(x, train), None

        outputs = []
        for pathway, x in zip(self.spec.pathways, pathways, strict=True):
            blocks = self.spec.blocks(self.stage, pathway)
            for group in self.spec.block_groups(self.stage, pathway):
                name = group.name(f"pathway{pathway}_res{{}}")
                x, _ = scan_layers(body, block_class(blocks[group.first], self.dtype, name=name), group, x, None)
            outputs.append(x)
        return outputs


class ResNet(nn.Module):
    """A network without a head.

    Attributes:
      spec: The architecture.
      num_tokens: M, class tokens in one set, which read each stage; 0 for the published network: the output is then
        the pooled features.
      receiver: Whether a receiver set precedes the classification set.
      dtype: Dtype of the computation; parameters and batch norms' statistics are always float32.
      remat: What the backward pass recomputes of the blocks (layers/remat.py).
    """

    spec: ResNetSpec = C2D_R50
    num_tokens: int = 0
    receiver: bool = False
    dtype: DTypeLike = jnp.float32
    remat: str = "none"

    @nn.compact
    def __call__(self, video: Float[Array, "B T H W C"], *, train: bool = False) -> BranchOutput:
        """Returns the class tokens after every stage, or pooled features, in `dtype`.

        Args:
          video: Normalised frames.
          train: Batch norms use the batch's statistics and update the running ones (collection ``batch_stats``).

        Raises:
          UserError: Too few frames, or with a fast pathway a number that is no multiple of `alpha`.
        """
        spec, stages = self.spec, []
        pathways = [
            Stem(spec.stem_width(pathway), spec.temporal_kernels(pathway)[0][0], self.dtype, name=f"stem{pathway}")(
                frames, train
            )
            for pathway, frames in zip(spec.pathways, self._frames(jnp.asarray(video, self.dtype)), strict=True)
        ]
        self.sow("intermediates", "stage_output", tuple(pathways))
        for stage in range(1, len(spec.depths) + 1):
            pathways = self._fuse(pathways, stage - 1, train)
            if stage == 2:
                pathways[0] = max_pool_frames(pathways[0], spec.pool_frames)
            pathways = ResNetStage(spec, stage, self.dtype, self.remat, name=f"s{stage + 1}")(pathways, train)
            self.sow("intermediates", "stage_output", tuple(pathways))
            stages.append(join_pathways(pathways, spec.alpha))
        return TokenReadout(self.num_tokens, self.receiver, self.dtype, name="readout")(stages, stages[-1])

    def _frames(self, video: jax.Array) -> Sequence[Any]:
        """The frames of each pathway."""
        spec, num_frames = self.spec, video.shape[1]
        if num_frames < spec.smallest_input[0] or (spec.has_fast and num_frames % spec.alpha):
            multiple = f"a multiple of {spec.alpha}" if spec.has_fast else f"at least {spec.pool_frames}"
            raise UserError(f"this network takes {multiple} frames, got {num_frames}: change config.input.num_frames")
        if not spec.has_fast:
            return (video,)
        return video[:, slow_frames(num_frames, spec.alpha)], video

    def _fuse(self, pathways: Pathways, part: int, train: bool) -> Pathways:
        width = self.spec.lateral_width(part)
        if not width:
            return list(pathways)
        lateral = Lateral(width, self.spec.fusion_kernel, self.spec.alpha, self.dtype, name=f"s{part + 1}_fuse")
        return lateral(pathways, train)


def slow_frames(num_frames: int, alpha: int) -> np.ndarray:
    """Frames of the slow pathway: evenly from the first to the last, which is not every `alpha`-th; as published."""
    return np.linspace(0, num_frames - 1, num_frames // alpha).astype(int)


def max_pool_frames(x: Float[Array, "B T H W D"], window: int) -> Float[Array, "B T2 H W D"]:
    """Maximum of every `window` frames; frames that do not fill a window are left out."""
    num_frames = x.shape[1] // window
    parts = [x[:, offset : window * num_frames : window] for offset in range(window)]
    y = parts[0]
    for part in parts[1:]:
        y = robust_maximum(part, y)
    return y


def join_pathways(pathways: Pathways, alpha: int) -> Float[Array, "B T H W D"]:
    """The channels of both pathways, the fast one's averaged over `alpha` frames."""
    if len(pathways) == 1:
        return pathways[0]
    slow, fast = pathways
    fast = fast.reshape(fast.shape[0], -1, alpha, *fast.shape[2:]).mean(2)
    return jnp.concatenate([slow, fast.astype(slow.dtype)], axis=-1)
