"""Where in a clip a region's score comes from: Grad-CAM on the patches, and the class token's attention to them.

Source: Grad-CAM (Selvaraju et al., ICCV 2017, arXiv:1610.02391) on the patches that the class tokens read last
(`models.backbone.PatchReading`), whose channels are weighted by the score's mean gradient over frames and places:

    heat = relu(sum over d of mean over (t, h, w) of dz/dX[..., d] * X[..., d])

The attention is that of the last block, averaged over heads. With one class token per region it is the region's own
token's; but the tokens are fused before the head, so nothing in training ties a token to its region, and the attention
says what reaches the fusion by way of that token, not what the region's score rests on. With any other number of tokens
it is the mean of all of them.

Letters of shapes: B clips, S views, T H W patches in time and space, D width, K muscle regions, M class tokens in one
set.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Array, Float

from musclemap_jax.models.backbone import READ_PATCHES, TOKEN_LOGITS, PatchReading
from musclemap_jax.models.branches import BRANCHES, Batch
from musclemap_jax.models.layers.tap import TAPS
from musclemap_jax.models.outputs import ModelOutput
from musclemap_jax.models.transm3e import ModelSpec, TransM3E

_INTERMEDIATES = "intermediates"


class PatchEvidence(NamedTuple):
    """What a branch sees of a region.

    Attributes:
      heat: Grad-CAM, at least 0; not scaled.
      attention: Weights of the keys at the places of the patches, coarser where keys are strided; their sum is at most
        1, since tokens attend to tokens too. None where there are no class tokens.
    """

    heat: Float[Array, "B S T H W"]
    attention: Float[Array, "B S T2 H2 W2"] | None


def explained_branches(spec: ModelSpec) -> tuple[str, ...]:
    """Branches with a head of their own and patches to explain."""
    return tuple(name for name in spec.weights if _reading(spec, name) is not None)


def patch_evidence(
    module: TransM3E, variables: Any, batch: Batch, branch: str, region: jax.Array | int
) -> PatchEvidence:
    """Explains a region's logit by a branch's patches.

    Args:
      module: The model.
      variables: Its variables.
      batch: What the branches read.
      branch: One of `explained_branches`.
      region: Index of the region.
    """
    reading = cast(PatchReading, _reading(module.spec, branch))
    path = (branch, *reading.module, READ_PATCHES)

    def run(taps: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        output, sown = module.apply(variables | taps, batch, train=False, mutable=[_INTERMEDIATES])
        flat = traverse_util.flatten_dict(sown[_INTERMEDIATES])
        (patches,) = flat[path]
        token_logits = reading.attention and flat[(branch, *reading.attention, TOKEN_LOGITS)][0][reading.layer]
        score = cast(ModelOutput, output).branch_logits[branch][:, region].sum()
        return score, (patches, token_logits)

    _, (shape, _) = jax.eval_shape(run, {})
    zeros = traverse_util.unflatten_dict({(TAPS, *path): jnp.zeros(shape.shape, shape.dtype)})
    gradient, (patches, token_logits) = jax.grad(run, has_aux=True)(zeros)
    gradient = traverse_util.flatten_dict(gradient)[(TAPS, *path)][reading.layer]
    heat = grad_cam(patches[reading.layer], gradient)
    views = batch[BRANCHES[branch].modality].shape[:2]
    attention = None
    if token_logits is not None:
        attention = _attention(module.spec, branch, token_logits, region)
        keys = [-(-size // stride) for size, stride in zip(heat.shape[1:], reading.key_stride, strict=True)]
        attention = attention[:, -math.prod(keys) :].reshape(*views, *keys)
    return PatchEvidence(heat.reshape(*views, *heat.shape[1:]), attention)


def grad_cam(patches: Float[Array, "B T H W D"], gradient: Float[Array, "B T H W D"]) -> Float[Array, "B T H W"]:
    """Grad-CAM of patches and a score's gradient with respect to them; float32."""
    patches, gradient = patches.astype(jnp.float32), gradient.astype(jnp.float32)
    return jax.nn.relu(jnp.einsum("bthwd,bd->bthw", patches, gradient.mean((1, 2, 3))))


def _attention(spec: ModelSpec, branch: str, logits: jax.Array, region: jax.Array | int) -> Float[Array, "B keys"]:
    """Attention of the region's classification token, or the mean of all, from (B, ..., tokens, keys) logits."""
    weights = jax.nn.softmax(logits.astype(jnp.float32))
    weights = weights.reshape(weights.shape[0], -1, *weights.shape[-2:]).mean(1)
    num_tokens = weights.shape[1] // spec.token_sets(branch)
    weights = weights[:, -num_tokens:]  # the receiver set comes first
    return weights[:, region] if num_tokens == spec.num_regions else weights.mean(1)


def _reading(spec: ModelSpec, branch: str) -> PatchReading | None:
    return BRANCHES[branch].backbone.reading(spec.architecture(branch), spec.tokens_per_set)
