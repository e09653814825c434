"""TransM3E: a video branch and a second branch that teach each other through their class tokens.

Source: "Towards Activated Muscle Group Estimation in the Wild". Each branch has M = 20 classification tokens (MCT) and,
where it is taught, M receiver tokens; at the distillation sites the receiver tokens follow the other branch's
classification tokens (MCTKD); in each branch the two sets are fused (MCTF) and classified; the prediction is the
weighted mean of the branches' logits. The second branch is HD-GCN on skeletons (the paper) or a second MViTv2 on RGB
difference (the released code, there frozen and without a head) or on optical flow. One branch alone is the baseline of
the same name.

The branches meet in the losses and in the last mean only, so each runs on its own.

Letters of shapes: B clips, S views, M class tokens in one set, D width, K muscle regions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from musclemap_jax.errors import UserError
from musclemap_jax.models import fusion
from musclemap_jax.models.distillation import SITE_KINDS, distillation_sites
from musclemap_jax.models.outputs import BranchOutput, DistillationSite, ModelOutput
from musclemap_jax.models.skeleton.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.video.mvit import REMAT_POLICIES, MViT, MViTSpec
from musclemap_jax.models.video.video_input import normalised_flow, normalised_rgb, rgb_difference
from musclemap_jax.taxonomy import NUM_REGIONS

SECOND_BRANCHES = ("skeleton", "rgb_diff", "optical_flow")
BRANCHES = ("video", *SECOND_BRANCHES)
DTYPES = ("float32", "bfloat16")

_NORMALISED = {"video": normalised_rgb, "rgb_diff": rgb_difference, "optical_flow": normalised_flow}
"""What each branch of MViTv2 makes of uint8 clips."""

Inputs = dict[str, tuple[jax.Array, ...]]


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Architecture of the whole model.

    Attributes:
      branches: one of ``video``, ``skeleton``, ``rgb_diff``, ``optical_flow`` alone, or ``video`` and one of the rest,
        its second branch.
      second_branch_weight: weight of the second branch's logits in the prediction, beside 1 for the video branch's;
        at 0 the second branch only teaches and has no head.
      second_branch_frozen: the second branch is not trained; it has to be imported then.
      num_tokens: M, class tokens in one set; 0 for the published branches: one class token in MViTv2, pooled features
        in HD-GCN, nothing distilled.
      sites: where tokens are distilled: ``dense``, ``sparse``, ``final`` or ``none``.
      directions: who is taught: ``both``, or ``to_`` and the name of a branch, such as ``to_video``.
      kd_projection: a learned linear map takes receiver tokens to the sender's width; without it widths must be equal.
      fusion: of the two token sets of a branch that is taught, one of ``fusion.KINDS``.
      released_reshape: MCTF mixes tokens with channels as the released code does (for its checkpoints).
      head_dropout_rate: before each branch's head.
      dtype: of the computation, ``float32`` or ``bfloat16``; parameters, softmax, norms and logits are float32.
      remat: what the backward pass computes again of the video blocks: ``none``, ``blocks`` or ``dots`` (`mvit.MViT`).
      video: the video branch, and the one on RGB difference or optical flow.
      skeleton: the skeleton branch.
    """

    branches: tuple[str, ...] = ("video", "skeleton")
    second_branch_weight: float = 1.0
    second_branch_frozen: bool = False
    num_tokens: int = NUM_REGIONS
    sites: str = "dense"
    directions: str = "both"
    kd_projection: bool = True
    fusion: str = "mctf"
    released_reshape: bool = False
    head_dropout_rate: float = 0.5
    dtype: str = "float32"
    remat: str = "none"
    video: MViTSpec = dataclasses.field(default_factory=MViTSpec)
    skeleton: HDGCNSpec = dataclasses.field(default_factory=HDGCNSpec)

    def __post_init__(self) -> None:
        pairs = [("video", second) for second in SECOND_BRANCHES]
        possible = [(branch,) for branch in BRANCHES] + pairs
        if tuple(self.branches) not in possible:
            raise UserError(f"config.model.branches: expected one of {possible}, got {self.branches}")
        choices = {
            "sites": SITE_KINDS,
            "directions": ("both", *(f"to_{branch}" for branch in self.branches)),
            "fusion": fusion.KINDS,
            "dtype": DTYPES,
            "remat": REMAT_POLICIES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(f"config.model.{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.num_tokens < 0 or not 0 <= self.head_dropout_rate < 1 or self.second_branch_weight < 0:
            raise UserError(
                "config.model: num_tokens and second_branch_weight must not be negative, "
                "and head_dropout_rate must lie in [0, 1)"
            )
        if self.released_reshape and self.fusion != "mctf":
            raise UserError(f"config.model.released_reshape: is of fusion 'mctf', got fusion {self.fusion!r}")
        if self.second_branch_frozen and (self.second_branch is None or self.second_branch in self.taught):
            raise UserError(
                "config.model.second_branch_frozen: expected a second branch that is not taught, got branches "
                f"{self.branches} and directions {self.directions!r}: take directions 'to_video'"
            )

    @property
    def second_branch(self) -> str | None:
        """The second branch, if there is one."""
        return self.branches[1] if len(self.branches) == 2 else None

    @property
    def weights(self) -> dict[str, float]:
        """Share of each branch that has a head in the prediction; they sum to 1."""
        weights = dict(zip(self.branches, (1.0, self.second_branch_weight), strict=False))
        return {name: weight / sum(weights.values()) for name, weight in weights.items() if weight}

    @property
    def taught(self) -> tuple[str, ...]:
        """Branches that have receiver tokens."""
        if self.second_branch is None or self.num_tokens == 0 or self.sites == "none":
            return ()
        return tuple(branch for branch in self.branches if self.directions in ("both", f"to_{branch}"))

    @property
    def distillation_pairs(self) -> tuple[tuple[int, int], ...]:
        """(video block, unit of the second branch) at which tokens are distilled, counted from 0."""
        if not self.taught:
            return ()
        second = self.skeleton if self.second_branch == "skeleton" else self.video
        return distillation_sites(
            self.sites, video_stage_ends=self.video.stage_ends, second_stage_ends=second.stage_ends
        )


class TransM3E(nn.Module):
    """The whole model; parameters lie under the branch's name, then ``fusion_<branch>``, ``head_<branch>``, ``kd_...``.

    Attributes:
      spec: the architecture.
    """

    spec: ModelSpec = ModelSpec()

    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool = False, distil: bool | None = None
    ) -> ModelOutput:
        """Runs the branches on a batch (`data.batch.Batch`).

        Args:
          batch: ``video`` (B, S, T, H, W, 3) uint8, ``flow`` (B, S, T, H, W, 2) uint8 and ``skeleton``
            (B, T_s, P, V, 3), ``skeleton_valid`` (B, T_s, P), as the branches need them. Views are averaged in the
            logits.
          train: dropout is on (rng stream ``dropout``) and batch norms use and update batch statistics.
          distil: whether to return the distillation sites; by default in training.

        Returns:
          Logits (B, K) float32 of the whole and of each branch with a head, and the sites.
        """
        return self.run(self.inputs(batch), batch["muscles"].shape[0], train, train if distil is None else distil)

    def inputs(self, batch: Mapping[str, jax.Array]) -> Inputs:
        """What each branch takes: normalised clips (B * S, T, H, W, 3), or poses and which of them are valid."""
        dtype = jnp.dtype(self.spec.dtype)
        inputs = {}
        for name in self.spec.branches:
            if name == "skeleton":
                inputs[name] = (batch["skeleton"], batch["skeleton_valid"])
            else:
                clips = batch["flow" if name == "optical_flow" else "video"]
                inputs[name] = (_NORMALISED[name](clips.reshape(-1, *clips.shape[2:]), dtype),)
        return inputs

    @nn.compact
    def run(self, inputs: Inputs, num_clips: int, train: bool, distil: bool) -> ModelOutput:
        """Runs the branches on their inputs.

        Args:
          inputs: as `inputs` returns them.
          num_clips: B.
          train: as in `__call__`.
          distil: whether to return the distillation sites.
        """
        branches = {name: self._branch(name, inputs[name], train) for name in self.spec.branches}
        weights = self.spec.weights
        logits = {name: self._classify(name, branches[name], num_clips, train) for name in weights}
        prediction = sum(weight * logits[name] for name, weight in weights.items())
        return ModelOutput(logits=prediction, branch_logits=logits, sites=self._sites(branches) if distil else {})

    def _branch(self, name: str, inputs: tuple[jax.Array, ...], train: bool) -> BranchOutput:
        spec, dtype = self.spec, jnp.dtype(self.spec.dtype)
        receiver = name in spec.taught
        frozen = spec.second_branch_frozen and name == spec.second_branch
        train = train and not frozen
        if name == "skeleton":
            output = HDGCN(spec.skeleton, spec.num_tokens, receiver, dtype, name=name)(*inputs, train)
        else:
            branch = MViT(spec.video, spec.num_tokens or 1, receiver, dtype, remat=spec.remat, name=name)
            output = branch(*inputs, train=train)
        return jax.lax.stop_gradient(output) if frozen else output

    def _classify(self, name: str, output: BranchOutput, num_clips: int, train: bool) -> jax.Array:
        """Fuses a branch's tokens and classifies them: (B, K) float32, views averaged."""
        spec = self.spec
        taught = name in spec.taught
        fuse = fusion.make_fusion(
            spec.fusion if taught else "none",
            released_reshape=spec.released_reshape and taught,
            dtype=jnp.dtype(spec.dtype),
            name=f"fusion_{name}",
        )
        features = fuse(output.final_classification, output.final_receiver, train=train).astype(jnp.float32)
        features = nn.Dropout(spec.head_dropout_rate, deterministic=not train)(features)
        head = nn.Dense(NUM_REGIONS, kernel_init=nn.initializers.truncated_normal(0.02), name=f"head_{name}")
        return head(features).reshape(num_clips, -1, NUM_REGIONS).mean(1)

    def _sites(self, branches: Mapping[str, BranchOutput]) -> dict[str, DistillationSite]:
        """Pairs the classification tokens of one branch with the receiver tokens of the other."""
        sites = {}
        for pair in self.spec.distillation_pairs:
            layer = dict(zip(self.spec.branches, pair, strict=True))
            for taught in self.spec.taught:
                (teacher,) = (name for name in self.spec.branches if name != taught)
                sender = jax.lax.stop_gradient(branches[teacher].classification[layer[teacher]])
                receiver = branches[taught].receiver[layer[taught]]
                if sender.shape[0] != receiver.shape[0]:
                    raise ValueError(f"distillation takes one view a clip, got {receiver.shape} and {sender.shape}")
                site = f"unit{pair[1] + 1:02d}"
                if self.spec.kd_projection:
                    project = nn.Dense(sender.shape[-1], dtype=receiver.dtype, name=f"kd_to_{taught}_{site}")
                    receiver = project(receiver)
                sites[f"to_{taught}/{site}"] = DistillationSite(sender=sender, receiver=receiver)
        return sites
