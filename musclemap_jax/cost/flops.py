"""Multiply-adds of a model from its shapes: what a step has to compute, however it is computed.

Counted as in the tables of MViTv2 (arXiv:2112.01526) and torchvision, which call them FLOPs: convolutions, matrix
products, attention and relative positions; no norms, activations, sums or softmax. One multiply-add is two floating
point operations; a training step takes three times the forward pass's, for the gradients of inputs and of weights.
Each backbone and each fusion counts its own.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.examples import empty_batch
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.transm3e import ModelSpec

FLOPS_PER_MULTIPLY_ADD = 2
BACKWARD_PER_FORWARD = 2
"""The gradient of a product is two products of the same size."""


def branch_multiply_adds(spec: ModelSpec, inputs: InputSpec, num_views: int = 1) -> dict[str, int]:
    """Counts the forward pass of one clip by branch, each with its fusion and head; training takes one view."""
    batch = empty_batch(dataclasses.replace(inputs, modalities=spec.modalities), 1, num_views=num_views)
    counts = {}
    for name in spec.branches:
        branch, architecture = BRANCHES[name], spec.architecture(name)
        arrays = jax.eval_shape(lambda batch, branch=branch: branch.inputs(batch, jnp.float32), dict(batch))
        tokens, width = spec.tokens_per_set, architecture.output_dim
        shapes = [array.shape[1:] for array in arrays]
        count = branch.backbone.multiply_adds(architecture, shapes, spec.token_sets(name) * tokens)
        if name in spec.weights:
            count += spec.make_fusion(name).multiply_adds(tokens, width) + width * spec.num_regions
        counts[name] = count * arrays[0].shape[0]
    return counts


def model_multiply_adds(spec: ModelSpec, inputs: InputSpec, num_views: int = 1) -> int:
    """Counts the forward pass of the whole model on one clip; arguments as in `branch_multiply_adds`.

    The linear maps of distillation are left out: they run in training only and are below a thousandth.
    """
    return sum(branch_multiply_adds(spec, inputs, num_views).values())


def training_flops(spec: ModelSpec, inputs: InputSpec) -> int:
    """Counts the floating point operations per clip of a training step: forward and backward, without recomputation.

    A frozen branch only runs forward. Divided by the time and by the devices' peak this is the model FLOPs utilisation
    (MFU) of PaLM (arXiv:2204.02311, appendix B).
    """
    return FLOPS_PER_MULTIPLY_ADD * sum(
        count * (1 if name in spec.frozen_branches else 1 + BACKWARD_PER_FORWARD)
        for name, count in branch_multiply_adds(spec, inputs).items()
    )
