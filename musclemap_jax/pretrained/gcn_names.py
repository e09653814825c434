"""Published names of the parameters and statistics of ST-GCN and CTR-GCN.

Sources: the state_dicts of pyskl's `STGCN` and `CTRGCN`, and of the code of CTR-GCN's authors. pyskl reads the edges of
CTR-GCN in the other direction (models/skeleton/ctrgcn.py), so its edges are transposed, its two relations exchanged,
and their last convolution negated.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from musclemap_jax.errors import UserError
from musclemap_jax.models.layers.scanned_layers import LayerGroup
from musclemap_jax.models.skeleton.backbones import CTRGCN, STGCN
from musclemap_jax.models.skeleton.ctrgcn import CTRGCNSpec
from musclemap_jax.models.skeleton.gcn import GCNSpec
from musclemap_jax.models.skeleton.spatial_graph import NUM_SUBSETS
from musclemap_jax.models.skeleton.stgcn import STGCNSpec
from musclemap_jax.models.skeleton.temporal_conv import NUM_BRANCHES
from musclemap_jax.pretrained.hdgcn_joints import LEFT_OUT, NORM_RULE, joint_names
from musclemap_jax.pretrained.hdgcn_names import INPUT_NORM
from musclemap_jax.pretrained.published import (
    NORM,
    Architecture,
    Names,
    Path,
    Source,
    branch_model,
    named_architecture,
)
from musclemap_jax.pretrained.transforms import (
    COPY,
    FLATTENED,
    NEGATED_CONVOLUTION,
    SUBSETS_CONVOLUTION,
    TEMPORAL_CONVOLUTION,
    TRANSPOSED_EDGES,
    Transform,
)

PYSKL, AUTHORS = "pyskl", "authors"
PYSKL_LAYOUT, AUTHORS_LAYOUT = "coco17", "ntu25"

PERSONS_NORM = dataclasses.replace(INPUT_NORM, backward=np.ravel)
"""Flat (persons, joints, coordinates)."""


def _leaf(name: str, path: tuple[str, str], index: tuple[int, ...] = ()) -> Source:
    """The source of a convolution's kernel or bias, or of a norm's array; `path` is the collection and our name."""
    if path[-1] == "kernel":
        return f"{name}.weight", TEMPORAL_CONVOLUTION, index
    return f"{name}.{NORM[path[0], path[-1]]}", COPY, index


def _unit_sources(path: Path, rules: Callable[[int, Path], list[Source]]) -> list[Source]:
    """The sources of a variable of a group of units, by rules for one unit, counted from 1."""
    collection, first, *rest = path
    group = LayerGroup.from_name(first, "unit")
    if group is None:
        raise KeyError(path)
    return [
        (name, transform, group.index(unit) + index)
        for unit in group.layers
        for name, transform, index in rules(unit, (collection, *rest))
    ]


def stgcn_sources(path: Path) -> list[Source]:
    """pyskl's arrays of a variable of ST-GCN; KeyError if there is none."""
    if path[1] == "input_norm":
        return [(f"backbone.data_bn.{NORM[path[0], path[2]]}", FLATTENED, ())]
    return _unit_sources(path, _stgcn_unit)


def _stgcn_unit(unit: int, path: Path) -> list[Source]:
    collection, module, *rest = path
    prefix, leaf = f"backbone.gcn.{unit - 1}", (collection, rest[-1])
    names = {"graph": "gcn", "temporal": "tcn", "residual": "residual"}
    name = f"{prefix}.{names[module]}"
    if rest[0] == "edge_weights":
        return [(f"{name}.PA", COPY, ())]
    if rest[0] == "norm":
        return [_leaf(f"{name}.bn", leaf)]
    if module == "graph":
        return [
            (f"{name}.conv.weight", SUBSETS_CONVOLUTION, ())
            if leaf[1] == "kernel"
            else (f"{name}.conv.bias", FLATTENED, ())
        ]
    return [_leaf(f"{name}.conv", leaf)]


def ctrgcn_sources(convention: str, path: Path) -> list[Source]:
    """The arrays of a variable of CTR-GCN in a convention (`ctrgcn.CONVENTIONS`); KeyError if there is none."""
    if path[1] == "input_norm":
        norm = "backbone.data_bn" if convention == PYSKL else "data_bn"
        return [(f"{norm}.{NORM[path[0], path[2]]}", PERSONS_NORM, ())]
    return _unit_sources(path, functools.partial(_ctrgcn_unit, convention))


def _ctrgcn_unit(convention: str, unit: int, path: Path) -> list[Source]:
    collection, module, *rest = path
    prefix = f"backbone.net.{unit - 1}" if convention == PYSKL else f"l{unit}"
    if module == "temporal":
        return _temporal(f"{prefix}.tcn1.branches", collection, rest)
    if module == "graph":
        return _graph(convention, f"{prefix}.gcn1", collection, rest)
    if module != "residual":
        raise KeyError(path)
    part = "bn" if rest[0] == "norm" else "conv"
    return [_leaf(f"{prefix}.residual.{part}", (collection, rest[-1]))]


def _graph(convention: str, name: str, collection: str, rest: list[str]) -> list[Source]:
    pyskl, leaf = convention == PYSKL, (collection, rest[-1])
    if rest[0] == "norm":
        return [_leaf(f"{name}.bn", leaf)]
    if rest[0] == "shortcut":
        return [_leaf(f"{name}.down.{int(rest[1] == 'norm')}", leaf)]
    if rest[0] == "alpha":
        return [(f"{name}.alpha", COPY, ())]
    if rest[0] == "adjacency":
        return [(f"{name}.A", TRANSPOSED_EDGES, ()) if pyskl else (f"{name}.PA", COPY, ())]
    part, _, kind = rest[0].rpartition("_")
    transform = TEMPORAL_CONVOLUTION if kind == "kernel" else COPY
    if part == "refine" and pyskl and kind == "kernel":
        transform = NEGATED_CONVOLUTION
    # Published number of the convolution, and index into ours.
    convolutions = {
        "value": [(3, ())],
        "refine": [(4, ())],
        "relation": [(2, (0,)), (1, (1,))] if pyskl else [(1, (0,)), (2, (1,))],
    }[part]
    suffix = "weight" if kind == "kernel" else "bias"
    return [
        (f"{name}.convs.{subset}.conv{number}.{suffix}", transform, (*index, subset))
        for number, index in convolutions
        for subset in range(NUM_SUBSETS)
    ]


def _temporal(name: str, collection: str, rest: list[str]) -> list[Source]:
    """The arrays of a `MultiScaleTemporalConv`: two dilated convolutions, a max-pool and a 1x1 convolution."""
    part, leaf, convs = rest[0], rest[-1], range(NUM_BRANCHES - 2)
    pool, point = NUM_BRANCHES - 2, NUM_BRANCHES - 1
    norms = {
        "reduce_norm": [(f"{branch}.1", (branch,)) for branch in (*convs, pool)],
        "conv_norm": [(f"{branch}.3.bn", (branch,)) for branch in convs],
        "pool_norm": [(f"{pool}.4", ())],
        "point_norm": [(f"{point}.1", ())],
    }
    if part in norms:
        return [(f"{name}.{norm}.{NORM[collection, leaf]}", COPY, index) for norm, index in norms[part]]
    kind, _, leaf = part.partition("_")
    branches = {
        "reduce": [f"{branch}.0" for branch in range(NUM_BRANCHES)],
        "conv": [f"{branch}.3.conv" for branch in convs],
    }
    return [
        (f"{name}.{branch}.weight", TEMPORAL_CONVOLUTION, (index,))
        if leaf == "kernel"
        else (f"{name}.{branch}.bias", COPY, (index,))
        for index, branch in enumerate(branches[kind])
    ]


STGCN_NAMES = Names(stgcn_sources, "cls_head.fc_cls", ((r"\.gcn\.A$", "edges that follow from the skeleton layout"),))
CTRGCN_NAMES = {
    PYSKL: Names(
        functools.partial(ctrgcn_sources, PYSKL),
        "cls_head.fc_cls",
        ((r"^backbone\.A$", "edges that the published model does not read"),),
    ),
    AUTHORS: Names(functools.partial(ctrgcn_sources, AUTHORS), "fc"),
}


def edges_by_name(
    ours: GCNSpec, published: GCNSpec, initial: Callable[[GCNSpec], np.ndarray], change: Transform
) -> Transform:
    """Our initial edges plus what training changed in the published ones, where both layouts name the pair of joints.

    Args:
      ours: Our network.
      published: The same for the layout of the published weights.
      initial: Initial edges (3, V, V) of a network, in our order of axes.
      change: From the published order of axes to ours.
    """
    names = joint_names(published.layout)
    places = [(v, names.index(name)) for v, name in enumerate(joint_names(ours.layout)) if name in names]
    here, there = (list(joints) for joints in zip(*places, strict=True))
    before, size = initial(published), (NUM_SUBSETS, published.graph.num_joints, published.graph.num_joints)

    def forward(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        learned = change.forward(array, size) - before
        edges = initial(ours).copy()
        edges[:, np.array(here)[:, None], here] += learned[:, np.array(there)[:, None], there]
        return edges

    return Transform(
        f"edges of {published.layout}",
        lambda source, shape: source == size,
        forward,
        change=lambda source, shape: "by joint name",
    )


def _architecture(
    name: str, backbone: str, spec: GCNSpec, names: Names, num_persons: int, from_layout: str, initial: Callable
) -> Architecture:
    """A published network for our layout: as it is, or by the joints' names where its layout is another one."""
    if num_persons < 1:
        raise UserError(f"num_persons: expected at least 1, got {num_persons}")
    architecture = named_architecture(name, branch_model(backbone, backbones={backbone: spec}), names, num_persons)
    if from_layout == spec.layout:
        return architecture
    published, entries = dataclasses.replace(spec, layout=from_layout), []
    for entry in architecture.entries:
        if entry.target[2] == "input_norm":
            entry = dataclasses.replace(entry, transform=LEFT_OUT, misfit=NORM_RULE, absent=NORM_RULE)
        elif entry.target[-1] in ("adjacency", "edge_weights"):
            entry = dataclasses.replace(entry, transform=edges_by_name(spec, published, initial, entry.transform))
        entries.append(entry)
    return dataclasses.replace(architecture, entries=tuple(entries))


def published_stgcn(
    name: str, *, layout: str = PYSKL_LAYOUT, num_persons: int = 2, from_layout: str = PYSKL_LAYOUT
) -> Architecture:
    """pyskl's ST-GCN.

    Args:
      name: Name for reports.
      layout: Skeleton layout of our model.
      num_persons: Persons of the input; the norm shares its statistics between them.
      from_layout: Skeleton layout of the published weights; from another one than ours, edges are taken by the joints'
        names.

    Raises:
      UserError: An impossible option.
    """

    def ones(spec: GCNSpec) -> np.ndarray:
        return np.ones((NUM_SUBSETS, spec.graph.num_joints, spec.graph.num_joints), np.float32)

    return _architecture(name, STGCN.name, STGCNSpec(layout), STGCN_NAMES, num_persons, from_layout, ones)


def published_ctrgcn(
    convention: str, name: str, *, layout: str | None = None, num_persons: int = 2, from_layout: str | None = None
) -> Architecture:
    """CTR-GCN in a convention; options as in `published_stgcn`, with the convention's layout for None."""
    usual = PYSKL_LAYOUT if convention == PYSKL else AUTHORS_LAYOUT
    spec = CTRGCNSpec(layout or usual, convention=convention)
    names = CTRGCN_NAMES[convention]
    return _architecture(
        name, CTRGCN.name, spec, names, num_persons, from_layout or usual, lambda spec: spec.adjacency()
    )
