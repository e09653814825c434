"""The backbones that read clips of frames; each entry is documented by `backbone.Backbone`."""

from __future__ import annotations

from jax.typing import DTypeLike

from musclemap_jax.models.backbone import Backbone, PatchReading
from musclemap_jax.models.video.multiply_adds import mvit_multiply_adds, resnet_multiply_adds, swin_multiply_adds
from musclemap_jax.models.video.mvit import MViT, MViTSpec
from musclemap_jax.models.video.resnet import ResNet
from musclemap_jax.models.video.resnet_spec import C2D_R50, I3D_R50, SLOW_R50, SLOWFAST_R50, ResNetSpec
from musclemap_jax.models.video.swin import Swin, SwinSpec
from musclemap_jax.models.video.token_readout import TOKEN_PATTERN, readout_reading


def _build_mvit(spec: MViTSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> MViT:
    return MViT(spec, num_tokens or 1, receiver, dtype, remat=remat, name=name)


def _mvit_reading(spec: MViTSpec, num_tokens: int) -> PatchReading:
    """The last block, whose input is the last that the tokens see of the patches."""
    last = spec.block_groups()[-1]
    block = last.name("blocks_{}")
    return PatchReading((block,), (block, "attn"), last.index(spec.depth - 1), spec.blocks()[-1].kv_stride)


MVIT = Backbone(
    name="mvit",
    default=MViTSpec(),
    build=_build_mvit,
    multiply_adds=mvit_multiply_adds,
    sharding_rules=(
        (r"patch_embed/.*kernel$", ("fsdp",)),
        # Narrowing projections follow widening ones, so that the two are one pair for tensor parallelism.
        (r"(attn/proj|mlp/fc2)/kernel$", ("tensor", "fsdp")),
        # Widening projections and everything else of the form (..., inputs, outputs).
        (r"kernel$", ("fsdp", "tensor")),
        (r"pool_[qkv]$", ("fsdp",)),
        (r"(rel_pos_[thw]|classification|receiver)$", ()),
    ),
    table_pattern=r"/rel_pos_[thw]$",
    reading=_mvit_reading,
    variants={
        # Two stages only, which makes the weights small enough to ship.
        "synthetic": {
            "depth": 4,
            "embed_dim": 32,
            "stages": (1, 2),
            "kv_stride": (1, 4, 4),
            "input_size": (8, 64, 64),
            "drop_path_rate": 0.0,
        },
        "smoke": {"depth": 2, "embed_dim": 16, "stages": (1,), "input_size": (4, 32, 32)},
    },
)


def _build_swin(spec: SwinSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> Swin:
    return Swin(spec, num_tokens, receiver, dtype, remat, name=name)


SWIN = Backbone(
    name="swin",
    default=SwinSpec(),
    build=_build_swin,
    multiply_adds=swin_multiply_adds,
    sharding_rules=(
        (r"readout/.*kernel$", ("fsdp", None)),
        (r"patch_embed/.*kernel$", ("fsdp",)),
        # Narrowing projections follow widening ones, as in MViTv2.
        (r"(attn/proj|fc2)/kernel$", ("tensor", "fsdp")),
        (r"kernel$", ("fsdp", "tensor")),
        (r"(relative_position_bias_table|classification|receiver)$", ()),
    ),
    token_pattern=TOKEN_PATTERN,
    reading=lambda spec, num_tokens: readout_reading(len(spec.depths), num_tokens),
    variants={
        "synthetic": {
            "embed_dim": 32,
            "depths": (1, 2, 1),
            "num_heads": (1, 2, 4),
            "window_size": (4, 4, 4),
            "drop_path_rate": 0.0,
        },
        "smoke": {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "window_size": (2, 4, 4)},
    },
)


def _build_resnet(spec: ResNetSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> ResNet:
    return ResNet(spec, num_tokens, receiver, dtype, remat, name=name)


def _resnet(name: str, default: ResNetSpec) -> Backbone:
    return Backbone(
        name=name,
        default=default,
        build=_build_resnet,
        multiply_adds=resnet_multiply_adds,
        sharding_rules=(
            (r"stem\d/.*kernel$", ("fsdp",)),
            # Never cut over `tensor`: a convolution over channels that are cut would sum over the mesh every time.
            (r"kernel$", ("fsdp", None)),
            (r"(classification|receiver)$", ()),
        ),
        token_pattern=TOKEN_PATTERN,
        reading=lambda spec, num_tokens: readout_reading(len(spec.depths), num_tokens),
        variants={
            "synthetic": {"width": 16, "depths": (1, 1, 2, 1)},
            "smoke": {"width": 8, "depths": (1, 1, 1, 1)},
        },
    )


C2D, I3D, SLOW, SLOWFAST = (
    _resnet(name, spec)
    for name, spec in (("c2d", C2D_R50), ("i3d", I3D_R50), ("slow", SLOW_R50), ("slowfast", SLOWFAST_R50))
)
