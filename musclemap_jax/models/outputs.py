"""What the branches and the whole model return.

Letters of shapes: B clips, M class tokens in one set, N patches or joints, D width of a layer, K muscle regions.
"""

from __future__ import annotations

import jax
from flax import struct


@struct.dataclass
class BranchOutput:
    """Class tokens of one branch, after every layer and at its end.

    Attributes:
      classification: One (B, M, D_l) array per layer: the classification tokens after that layer, before any final
        norm. Empty where the branch has no class tokens.
      receiver: The same for the receiver tokens; empty where the branch has no receiver set.
      final_classification: (B, M, D) classification tokens after the branch's final norm; (B, 1, D) pooled
        features where the branch has no class tokens.
      final_receiver: (B, M, D) receiver tokens after the final norm, or None.
      features: (B, N, D) what the network ends with beside the tokens, for attentive pooling: patches or positions, or
        joints averaged over time and persons; None where it has no such thing, and outside the model.
    """

    classification: tuple[jax.Array, ...]
    receiver: tuple[jax.Array, ...]
    final_classification: jax.Array
    final_receiver: jax.Array | None = None
    features: jax.Array | None = None


@struct.dataclass
class DistillationSite:
    """Receiver tokens (B, M, D), projected to the sender's width, and the other branch's classification tokens.

    The sender's gradient is stopped.
    `valid` (B,) is True for a clip in which both branches see something; None for all clips.
    """

    sender: jax.Array
    receiver: jax.Array
    valid: jax.Array | None = None


@struct.dataclass
class ModelOutput:
    """Predictions of the whole model.

    Attributes:
      logits: (B, K) float32 logits of the prediction.
      branch_logits: {name of a branch with a head: its (B, K) float32 logits}.
      sites: {site name such as "to_video/unit03": DistillationSite}; empty when nothing is distilled.
      learners: Names of the branches that the other one teaches by its logits; empty when nothing is distilled.
      present: {name of a branch whose input may be absent: (B,) bool, True for a clip in which it sees something}.
      branches: {name of a branch: its class tokens}; their first axis is B * S where the branch reads S views.
    """

    logits: jax.Array
    branch_logits: dict[str, jax.Array]
    sites: dict[str, DistillationSite]
    learners: tuple[str, ...] = struct.field(pytree_node=False, default=())
    present: dict[str, jax.Array] = struct.field(default_factory=dict)
    branches: dict[str, BranchOutput] = struct.field(default_factory=dict)
