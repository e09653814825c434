"""TransM3E: two branches that teach each other through their class tokens.

Source: "Towards Activated Muscle Group Estimation in the Wild" (arXiv:2303.00952). Each branch has M classification
tokens (MCT), one for each muscle region, and, where it is taught, M receiver tokens; at the distillation sites the
receiver tokens follow the other branch's classification tokens (MCTKD); in each branch the two sets are fused (MCTF)
and classified; the prediction is the weighted mean of the logits of the branches that see something: where nobody is
found, the video branch answers alone, and the skeleton branch teaches nothing. In the paper the branches are MViTv2 on
RGB and HD-GCN on skeletons, in the released code two MViTv2, of which the second, on RGB difference, is frozen and has
no head. Any two branches of models/branches.py go together; one alone is the baseline of the same name.

The branches meet only in the losses and in the mean of the logits, so each runs on its own.

Letters of shapes: B clips, S views, M class tokens in one set, D width, K muscle regions.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES, BackboneSpecs, Batch, Inputs
from musclemap_jax.models.distillation import SITE_KINDS, distillation_sites
from musclemap_jax.models.fusion import FUSIONS, Fusion
from musclemap_jax.models.layers.remat import REMAT_POLICIES
from musclemap_jax.models.outputs import BranchOutput, DistillationSite, ModelOutput
from musclemap_jax.sharding.rules import Rules, rules_below
from musclemap_jax.taxonomy import NUM_REGIONS

DTYPES = ("float32", "bfloat16")

RELEASED: Mapping[str, Any] = {
    "branches": ("video", "rgb_diff"),
    "second_branch_weight": 0.0,
    "second_branch_frozen": True,
    "directions": "to_video",
    "kd_projection": False,
    "fusion": "mctf_released",
}
"""Fields of `ModelSpec` that make the released code's model: a frozen teacher on RGB difference without a head."""


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Architecture of the whole model.

    Attributes:
      branches: One branch of `branches.BRANCHES`, or two different ones; the other of two is the second branch.
      second_branch_weight: Weight of the second branch's logits in the prediction; the first branch's weight is 1. At
        0 the second branch only teaches and has no head.
      second_branch_frozen: Whether the second branch is not trained; then it has to be imported.
      num_tokens: M, the number of class tokens in one set; None for one per muscle region, 0 for the published
        branches: one class token in MViTv2, pooled features in HD-GCN, no distillation.
      sites: Where tokens are distilled: `dense`, `sparse`, `final` or `none`.
      directions: Which branches are taught: `both`, or `to_` and the name of a branch, such as `to_video`.
      kd_projection: Whether a learned linear map takes receiver tokens to the sender's width; without it widths must
        be equal.
      fusion: Fusion of the two token sets of a branch that is taught, a name in `fusion.FUSIONS`; `attentive` pools the
        tokens and the patches or joints of every branch instead.
      head_dropout_rate: Dropout rate before each branch's head.
      dtype: Dtype of the computation, `float32` or `bfloat16`; parameters, softmax, norms and logits are float32.
      remat: What the backward pass recomputes of the layers: `none`, `blocks` or `dots`
        (`layers/remat.py`).
      backbones: Architectures by backbone name, such as "mvit"; those that are left out have their defaults. Branches
        with the same backbone share its architecture.
      num_regions: K, the number of muscle regions; it follows from the prepared data.
    """

    branches: tuple[str, ...] = ("video", "skeleton")
    second_branch_weight: float = 1.0
    second_branch_frozen: bool = False
    num_tokens: int | None = None
    sites: str = "dense"
    directions: str = "both"
    kd_projection: bool = True
    fusion: str = "mctf"
    head_dropout_rate: float = 0.5
    dtype: str = "float32"
    remat: str = "none"
    backbones: Mapping[str, Any] = dataclasses.field(default_factory=BackboneSpecs)
    num_regions: int = NUM_REGIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "backbones", BackboneSpecs(self.backbones))
        names = self.branches
        if not 1 <= len(set(names)) == len(names) <= 2 or not set(names) <= set(BRANCHES):
            raise UserError(
                f"config.model.branches: expected one or two different ones of {', '.join(BRANCHES)}, got {names}"
            )
        choices = {
            "sites": SITE_KINDS,
            "directions": ("both", *(f"to_{branch}" for branch in names)),
            "fusion": FUSIONS,
            "dtype": DTYPES,
            "remat": REMAT_POLICIES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(f"config.model.{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.tokens_per_set < 0 or not 0 <= self.head_dropout_rate < 1 or self.second_branch_weight < 0:
            raise UserError(
                "config.model: num_tokens and second_branch_weight must not be negative, "
                "and head_dropout_rate must lie in [0, 1)"
            )
        if self.second_branch_frozen and len(names) == 1:
            raise UserError(f"config.model.second_branch_frozen: config.model.branches has no second one, got {names}")
        if self.second_branch_frozen and names[1] in self.taught:
            raise UserError(
                "config.model.second_branch_frozen: expected a second branch that is not taught, got branches "
                f"{self.branches} and directions {self.directions!r}: set directions to 'to_{self.branches[0]}'"
            )

    @property
    def tokens_per_set(self) -> int:
        """M; 0 for the published branches."""
        return self.num_regions if self.num_tokens is None else self.num_tokens

    @property
    def frozen_branches(self) -> tuple[str, ...]:
        """Names of the branches that are not trained."""
        return self.branches[1:] if self.second_branch_frozen else ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities of the batch that the branches read."""
        return tuple(dict.fromkeys(BRANCHES[name].modality for name in self.branches))

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each branch that has a head in the prediction; they sum to 1."""
        weights = dict(zip(self.branches, (1.0, self.second_branch_weight), strict=False))
        return {name: weight / sum(weights.values()) for name, weight in weights.items() if weight}

    @property
    def taught(self) -> tuple[str, ...]:
        """Names of the branches that have receiver tokens."""
        return () if self.tokens_per_set == 0 or self.sites == "none" else self._taught_by_direction

    @property
    def learners(self) -> tuple[str, ...]:
        """Names of the branches that can be taught by the other one's logits, whatever the sites: both have a head."""
        if len(self.weights) == 1:
            return ()
        return tuple(branch for branch in self._taught_by_direction if branch not in self.frozen_branches)

    @property
    def _taught_by_direction(self) -> tuple[str, ...]:
        if len(self.branches) == 1:
            return ()
        return tuple(branch for branch in self.branches if self.directions in ("both", f"to_{branch}"))

    @property
    def distillation_pairs(self) -> tuple[tuple[int, int], ...]:
        """(layer of the first branch, layer of the second) at which tokens are distilled, counted from 0."""
        if not self.taught:
            return ()
        first, second = (self.architecture(name).stage_ends for name in self.branches)
        return distillation_sites(self.sites, first_stage_ends=first, second_stage_ends=second)

    def architecture(self, branch: str) -> Any:
        """The architecture of a branch's backbone."""
        return self.backbones[BRANCHES[branch].backbone.name]

    def token_sets(self, branch: str) -> int:
        """Number of token sets of a branch: 2 where it is taught, else 1."""
        return 2 if branch in self.taught else 1

    def make_fusion(self, branch: str, **fields: Any) -> Fusion:
        """The fusion of a branch's token sets: its classification tokens' mean where there is only one."""
        has_input = branch in self.taught or not FUSIONS[self.fusion](parent=None).needs_receiver
        return FUSIONS[self.fusion if has_input else "none"](**fields)


class Head(nn.Module):
    """A linear layer to the K logits; of one feature for each region, (B, K, D), logit k reads feature k alone."""

    num_regions: int

    @nn.compact
    def __call__(self, features: Float[Array, "B D"] | Float[Array, "B M D"]) -> Float[Array, "B K"]:
        shape = (features.shape[-1], self.num_regions)
        kernel = self.param("kernel", nn.initializers.truncated_normal(0.02), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[1:], jnp.float32)
        if features.ndim == 2:
            return features @ kernel + bias[None]
        if features.shape[1] != self.num_regions:
            raise UserError(
                f"config.model.num_tokens: a fusion by region needs a class token for each of the {self.num_regions} "
                f"regions, got {features.shape[1]}"
            )
        return jnp.einsum("bkd,dk->bk", features, kernel) + bias[None]


class TransM3E(nn.Module):
    """The whole model; parameters lie under the branch's name, then `fusion_<branch>`, `head_<branch>`, `kd_...`."""

    spec: ModelSpec = dataclasses.field(default_factory=ModelSpec)

    @property
    def sharding_rules(self) -> Rules:
        """Sharding rules of the branches' parameters (sharding/rules.py)."""
        rules = (rules_below(name, BRANCHES[name].backbone.sharding_rules) for name in self.spec.branches)
        return tuple(itertools.chain.from_iterable(rules))

    def __call__(self, batch: Batch, *, train: bool = False, distil: bool | None = None) -> ModelOutput:
        """Runs the branches on a batch (`data.batch.Batch`); the logits are averaged over views.

        Args:
          batch: What the branches read, such as `video` (B, S, T, H, W, 3) uint8, `skeleton`
            (B, T_s, P, V, 3) and `skeleton_valid` (B, T_s, P).
          train: Turns on dropout (rng stream `dropout`) and makes batch norms use and update batch statistics.
          distil: Whether to return the distillation sites; None for in training only.
        """
        num_clips = batch[BRANCHES[self.spec.branches[0]].modality].shape[0]
        return self.run(self.inputs(batch), num_clips, train, train if distil is None else distil, self.present(batch))

    def inputs(self, batch: Batch) -> dict[str, Inputs]:
        """Preprocesses a batch for each branch, such as normalised clips (B * S, T, H, W, 3)."""
        return {name: BRANCHES[name].inputs(batch, jnp.dtype(self.spec.dtype)) for name in self.spec.branches}

    def present(self, batch: Batch) -> dict[str, Array]:
        """(B,) bool for each branch whose input may be absent, True for a clip in which it sees something."""
        branches = (BRANCHES[name] for name in self.spec.branches)
        return {branch.name: branch.present(batch) for branch in branches if branch.present}

    @nn.compact
    def run(
        self,
        inputs: dict[str, Inputs],
        num_clips: int,
        train: bool,
        distil: bool,
        present: Mapping[str, Array] = MappingProxyType({}),
    ) -> ModelOutput:
        """Runs the branches on their inputs.

        Args:
          inputs: The result of `inputs`.
          num_clips: B.
          train: As in `__call__`.
          distil: Whether to return the distillation sites.
          present: The result of `present`; a branch that is left out sees something in every clip.
        """
        branches = {name: self._branch(name, inputs[name], train) for name in self.spec.branches}
        logits = {name: self._classify(name, branches[name], num_clips, train) for name in self.spec.weights}
        return ModelOutput(
            logits=self.combine(logits, present),
            branch_logits=logits,
            sites=self._sites(branches, present) if distil else {},
            learners=self.spec.learners if distil else (),
            present=dict(present),
            # Features are for the fusion; outside, they would only be copied about.
            branches={name: dataclasses.replace(branch, features=None) for name, branch in branches.items()},
        )

    @nn.nowrap
    def combine(self, logits: Mapping[str, Array], present: Mapping[str, Array]) -> Float[Array, "B K"]:
        """Weighted mean of the logits of the branches that see something; of all branches where none does.

        Args:
          logits: {branch with a head: (B, K)}.
          present: {branch: (B,) bool}; a branch that is left out sees something in every clip.
        """
        weights = self.spec.weights
        if len(weights) == 1 or not present:
            return functools.reduce(jnp.add, [weight * logits[name] for name, weight in weights.items()])
        given = jnp.array(list(weights.values()))[:, None]
        speaking = jnp.stack([present.get(name, jnp.ones(logits[name].shape[:1], bool)) for name in weights])
        spoken = given * speaking
        total = spoken.sum(0, keepdims=True)
        spoken = jnp.where(total > 0, spoken / jnp.where(total > 0, total, 1), given)
        return jnp.sum(spoken[..., None] * jnp.stack([logits[name] for name in weights]), axis=0)

    def _branch(self, name: str, inputs: Inputs, train: bool) -> BranchOutput:
        spec = self.spec
        frozen, taught = name in spec.frozen_branches, name in spec.taught
        build = BRANCHES[name].backbone.build
        branch = build(spec.architecture(name), spec.tokens_per_set, taught, jnp.dtype(spec.dtype), spec.remat, name)
        output = branch(*inputs, train=train and not frozen)
        return jax.lax.stop_gradient(output) if frozen else output

    def _classify(self, name: str, output: BranchOutput, num_clips: int, train: bool) -> Float[Array, "B K"]:
        """Fuses a branch's tokens and classifies them; float32, views averaged."""
        spec = self.spec
        fuse = spec.make_fusion(name, dtype=jnp.dtype(spec.dtype), name=f"fusion_{name}")
        extra = {"features": output.features} if fuse.reads_features else {}
        features = fuse(output.final_classification, output.final_receiver, train=train, **extra).astype(jnp.float32)
        features = nn.Dropout(spec.head_dropout_rate, deterministic=not train)(features)
        head = Head(spec.num_regions, name=f"head_{name}")
        return head(features).reshape(num_clips, -1, spec.num_regions).mean(1)

    def _sites(self, branches: Mapping[str, BranchOutput], present: Mapping[str, Array]) -> dict[str, DistillationSite]:
        """Pairs the classification tokens of one branch with the receiver tokens of the other."""
        sites = {}
        valid = functools.reduce(jnp.logical_and, present.values()) if present else None
        for pair in self.spec.distillation_pairs:
            layer = dict(zip(self.spec.branches, pair, strict=True))
            for taught in self.spec.taught:
                (teacher,) = (name for name in self.spec.branches if name != taught)
                sender = jax.lax.stop_gradient(branches[teacher].classification[layer[teacher]])
                receiver = branches[taught].receiver[layer[taught]]
                if sender.shape[0] != receiver.shape[0]:
                    raise ValueError(f"distillation takes one view per clip, got {receiver.shape} and {sender.shape}")
                site = f"unit{pair[1] + 1:02d}"
                if self.spec.kd_projection:
                    project = nn.Dense(sender.shape[-1], dtype=receiver.dtype, name=f"kd_to_{taught}_{site}")
                    receiver = project(receiver)
                elif receiver.shape[-1] != sender.shape[-1]:
                    raise UserError(
                        f"config.model.kd_projection: without it, branches need tokens of one width, but at {site} "
                        f"{taught} has {receiver.shape[-1]} and {teacher} {sender.shape[-1]}: set it to True"
                    )
                sites[f"to_{taught}/{site}"] = DistillationSite(sender, receiver, valid)
        return sites
