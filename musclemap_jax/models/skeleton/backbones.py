"""The backbones that read skeletons; each entry is documented by `backbone.Backbone`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax.typing import DTypeLike

from musclemap_jax.models.backbone import Backbone
from musclemap_jax.models.skeleton.ctrgcn import CTRGCNSpec, make_ctrgcn
from musclemap_jax.models.skeleton.gcn import GCN
from musclemap_jax.models.skeleton.gcn_multiply_adds import ctrgcn_multiply_adds, stgcn_multiply_adds
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.skeleton.limb_views import check_regions
from musclemap_jax.models.skeleton.multiply_adds import hdgcn_multiply_adds
from musclemap_jax.models.skeleton.pose_statistics import (
    PoseStatistics,
    PoseStatisticsSpec,
    pose_statistics_multiply_adds,
)
from musclemap_jax.models.skeleton.stgcn import STGCNSpec, make_stgcn
from musclemap_jax.sharding.rules import Rules


def _build_hdgcn(spec: HDGCNSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> HDGCN:
    return HDGCN(spec, num_tokens, receiver, dtype, name=name)


HDGCN_BACKBONE = Backbone(
    name="hdgcn",
    default=HDGCNSpec(),
    build=_build_hdgcn,
    multiply_adds=hdgcn_multiply_adds,
    sharding_rules=(
        # Never cut over `tensor`: the network is narrow, and GSPMD (jax 0.10.2, CPU) gives it a wrong gradient on a
        # 2x2x2 mesh as soon as what its tokens go into is cut there.
        (r"kernel$", ("fsdp", None)),
        (r"(adjacency|spread|tokens)$", ()),
    ),
    token_pattern=r"^(tokens|norm|unit\w+/tokens)(/|$)",
    graph_pattern=r"^input_norm/|/graph/(adjacency$|down_|subset_|edge/)",
    stream_pattern=r"(^|/)stream_\w+",
    graph=lambda spec: spec.graph,
    input_fields=lambda spec: {"layout": spec.layout},
    variants={"synthetic": {"widths": (16, 16, 16, 32, 32, 64)}, "smoke": {"widths": (8, 16)}},
)


def _build_stgcn(spec: STGCNSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> GCN:
    return make_stgcn(spec, num_tokens, receiver, dtype, name)


def _build_ctrgcn(spec: CTRGCNSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str) -> GCN:
    return make_ctrgcn(spec, num_tokens, receiver, dtype, name)


def _gcn(
    name: str, default: Any, build: Callable[..., GCN], multiply_adds: Callable[..., int], rules: Rules = ()
) -> Backbone:
    return Backbone(
        name=name,
        default=default,
        build=build,
        multiply_adds=multiply_adds,
        sharding_rules=(
            *rules,
            (r"kernel$", ("fsdp", None)),  # never cut over `tensor`, as HD-GCN
            (r"(adjacency|edge_weights|alpha|spread|tokens)$", ()),
        ),
        token_pattern=HDGCN_BACKBONE.token_pattern,
        graph_pattern=r"^input_norm/|/graph/(adjacency|edge_weights)$",
        graph=lambda spec: spec.graph,
        input_fields=lambda spec: {"layout": spec.layout},
        variants=HDGCN_BACKBONE.variants,
    )


# Its graph convolution has a kernel for each edge set: (inputs, edge sets, outputs).
_STGCN_RULES: Rules = ((r"graph/kernel$", ("fsdp", None, None)),)
STGCN = _gcn("stgcn", STGCNSpec(), _build_stgcn, stgcn_multiply_adds, _STGCN_RULES)
CTRGCN = _gcn("ctrgcn", CTRGCNSpec(), _build_ctrgcn, ctrgcn_multiply_adds)


def _build_pose_statistics(
    spec: PoseStatisticsSpec, num_tokens: int, receiver: bool, dtype: DTypeLike, remat: str, name: str
) -> PoseStatistics:
    return PoseStatistics(spec, num_tokens, receiver, dtype, name=name)


def _check_limb_views(spec: PoseStatisticsSpec, regions: Sequence[str], num_tokens: int | None) -> None:
    if spec.limb_views:
        check_regions(regions, spec.arm_regions, num_tokens)


POSE_STATISTICS = Backbone(
    name="pose_statistics",
    default=PoseStatisticsSpec(),
    build=_build_pose_statistics,
    multiply_adds=pose_statistics_multiply_adds,
    sharding_rules=((r"hidden_kernel$", (None, None, None, "fsdp")), (r"hidden_bias$", ())),
    token_pattern=r"(?!)",
    graph=lambda spec: spec.graph,
    input_fields=lambda spec: {"layout": spec.layout},
    check_regions=_check_limb_views,
    variants={"smoke": {"width": 16}},
)
