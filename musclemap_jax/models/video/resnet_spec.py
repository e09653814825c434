"""Architectures of the convolutional networks C2D, I3D, Slow and SlowFast.

Source: Non-local networks (arXiv:1711.07971) for C2D and I3D, SlowFast (arXiv:1812.03982) for Slow and SlowFast, as in
PySlowFast (`slowfast/models/video_model_builder.py`, `configs/Kinetics/c2/*_8x8_R50.yaml`).
"""

from __future__ import annotations

import dataclasses

from musclemap_jax.errors import UserError
from musclemap_jax.models.kernels.sliding_windows import Triple
from musclemap_jax.models.layers.scanned_layers import LayerGroup, group_equal_layers

EXPANSION = 4
"""Width of a bottleneck's output divided by its inner width."""

FUSION_RATIO = 2
"""Width of a lateral connection divided by the fast pathway's."""

TemporalKernels = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class BottleneckSpec:
    """One block: its widths, its kernel in time (of the first convolution) and its stride in space (of the second)."""

    features_in: int
    inner: int
    features: int
    kernel_t: int
    stride: int

    @property
    def preserves_shape(self) -> bool:
        """Whether the skip connection is the identity."""
        return self.features_in == self.features and self.stride == 1


@dataclasses.dataclass(frozen=True)
class ResNetSpec:
    """A network of one pathway, or of a slow and a fast one; the defaults are C2D without its pooling.

    Attributes:
      width: Inner width of the first stage, and of the stem; doubled from stage to stage.
      depths: Blocks of each stage.
      kernels: Kernel sizes in time: of the stem, then of each stage, whose blocks take them in turn.
      pool_frames: Frames of the max-pool in time after the first stage; 1 for none.
      fast_kernels: The same as `kernels` for the fast pathway; empty where there is none.
      alpha: The slow pathway takes one of `alpha` frames.
      beta_inv: Width of the slow pathway divided by that of the fast one.
      fusion_kernel: Kernel size in time of the lateral connections.
    """

    width: int = 64
    depths: tuple[int, ...] = (3, 4, 6, 3)
    kernels: TemporalKernels = ((1,), (1,), (1,), (1,), (1,))
    pool_frames: int = 1
    fast_kernels: TemporalKernels = ()
    alpha: int = 4
    beta_inv: int = 8
    fusion_kernel: int = 7

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1 or self.width < 1:
            raise UserError(
                f"ResNetSpec: expected a width and blocks of each stage of at least 1, got {self.width} and "
                f"{self.depths}"
            )
        for name in ("kernels", "fast_kernels") if self.has_fast else ("kernels",):
            if len(getattr(self, name)) != len(self.depths) + 1:
                raise UserError(
                    f"ResNetSpec.{name}: expected sizes for the stem and {len(self.depths)} stages, got "
                    f"{getattr(self, name)}"
                )
        sizes = [size for part in (*self.kernels, *self.fast_kernels, (self.fusion_kernel,)) for size in part]
        if any(size < 1 or size % 2 == 0 for size in sizes):
            raise UserError(f"ResNetSpec: expected odd kernel sizes, got {sizes}")
        if self.pool_frames < 1 or self.alpha < 1 or self.beta_inv < 1 or self.width % self.beta_inv:
            raise UserError(
                "ResNetSpec: expected pool_frames, alpha and beta_inv of at least 1 and a width that beta_inv divides, "
                f"got {self.pool_frames}, {self.alpha}, {self.beta_inv} and {self.width}"
            )

    @property
    def has_fast(self) -> bool:
        """Whether there is a fast pathway."""
        return bool(self.fast_kernels)

    @property
    def pathways(self) -> tuple[int, ...]:
        """Numbers of the pathways: 0 is the slow one, 1 the fast one."""
        return (0, 1) if self.has_fast else (0,)

    def stem_width(self, pathway: int) -> int:
        """Width of a pathway's stem."""
        return self.width // self.beta_inv if pathway else self.width

    def temporal_kernels(self, pathway: int) -> TemporalKernels:
        """`kernels` of a pathway."""
        return self.fast_kernels if pathway else self.kernels

    def lateral_width(self, part: int) -> int:
        """Width of the lateral connection after the stem (0) or a stage (1, ..): 0 after the last, or without one."""
        if not self.has_fast or part == len(self.depths):
            return 0
        return FUSION_RATIO * self.part_width(part, 1)

    def part_width(self, part: int, pathway: int) -> int:
        """Width of a pathway after the stem (0) or a stage (1, ..), without the lateral connection."""
        stem = self.stem_width(pathway)
        return stem * EXPANSION * 2 ** (part - 1) if part else stem

    def stage_width(self, stage: int) -> int:
        """Width of what class tokens read of a stage (1, ..): both pathways together."""
        return sum(self.part_width(stage, pathway) for pathway in self.pathways)

    def blocks(self, stage: int, pathway: int) -> tuple[BottleneckSpec, ...]:
        """The blocks of a stage (1, ..)."""
        features_in = self.part_width(stage - 1, pathway) + (0 if pathway else self.lateral_width(stage - 1))
        features = self.part_width(stage, pathway)
        kernels, blocks = self.temporal_kernels(pathway)[stage], []
        for index in range(self.depths[stage - 1]):
            stride = 2 if index == 0 and stage > 1 else 1
            kernel = kernels[index % len(kernels)]
            blocks.append(BottleneckSpec(features_in, features // EXPANSION, features, kernel, stride))
            features_in = features
        return tuple(blocks)

    def block_groups(self, stage: int, pathway: int) -> tuple[LayerGroup, ...]:
        """Consecutive equal blocks of a stage."""
        return group_equal_layers(self.blocks(stage, pathway), lambda block: block.preserves_shape)

    @property
    def output_dim(self) -> int:
        """Width of the features that are averaged."""
        return self.stage_width(len(self.depths))

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Class tokens have one layer for each stage."""
        return tuple(range(len(self.depths)))

    @property
    def smallest_input(self) -> Triple:
        """Frames, height and width of the smallest clip."""
        return max(self.pool_frames, self.alpha if self.has_fast else 1), 1, 1


C2D_R50 = ResNetSpec(pool_frames=2)
"""C2D 8x8: 24.3 M parameters with a head of 400 classes."""

I3D_R50 = ResNetSpec(kernels=((5,), (3,), (3, 1), (3, 1), (1, 3)), pool_frames=2)
"""I3D 8x8: 28.0 M parameters with a head of 400 classes."""

SLOW_R50 = ResNetSpec(kernels=((1,), (1,), (1,), (3,), (3,)))
"""Slow 8x8: 32.5 M parameters with a head of 400 classes."""

SLOWFAST_R50 = dataclasses.replace(SLOW_R50, fast_kernels=((5,), (3,), (3,), (3,), (3,)))
"""SlowFast 8x8: 34.6 M parameters with a head of 400 classes; takes 32 frames."""
