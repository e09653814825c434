"""TransM3E: a video branch and a skeleton branch that teach each other through their class tokens.

Source: "Towards Activated Muscle Group Estimation in the Wild". Each branch has M = 20 classification tokens (MCT) and,
where it is taught, M receiver tokens; at the distillation sites the receiver tokens follow the other branch's
classification tokens (MCTKD); in each branch the two sets are fused (MCTF) and classified; the prediction is the
weighted mean of the branches' logits. One branch alone is the baseline of the same name.

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
from musclemap_jax.models.hdgcn import HDGCN, HDGCNSpec
from musclemap_jax.models.mvit import REMAT_POLICIES, MViT, MViTSpec
from musclemap_jax.models.outputs import BranchOutput, DistillationSite, ModelOutput
from musclemap_jax.models.video_input import normalised_rgb
from musclemap_jax.taxonomy import NUM_REGIONS

BRANCHES = ("video", "skeleton")
DIRECTIONS = ("both", "to_video", "to_skeleton")
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Architecture of the whole model.

    Attributes:
      branches: ``("video", "skeleton")``, or one of them.
      branch_weights: weights of the logits of (video, skeleton) in the prediction; those of the branches that there are
        are divided by their sum.
      num_tokens: M, class tokens in one set; 0 for the published branches: one class token in MViTv2, pooled features
        in HD-GCN, nothing distilled.
      sites: where tokens are distilled: ``dense``, ``sparse``, ``final`` or ``none``.
      directions: ``both``, ``to_video`` or ``to_skeleton``: who is taught.
      fusion: of the two token sets of a branch that is taught, one of ``fusion.KINDS``.
      released_reshape: MCTF mixes tokens with channels as the released code does (for its checkpoints).
      head_dropout_rate: before each branch's head.
      dtype: of the computation, ``float32`` or ``bfloat16``; parameters, softmax, norms and logits are float32.
      remat: ``none``, or ``blocks`` to compute the video blocks again in the backward pass.
      video: the video branch.
      skeleton: the skeleton branch.
    """

    branches: tuple[str, ...] = BRANCHES
    branch_weights: tuple[float, float] = (1.0, 1.0)
    num_tokens: int = NUM_REGIONS
    sites: str = "dense"
    directions: str = "both"
    fusion: str = "mctf"
    released_reshape: bool = False
    head_dropout_rate: float = 0.5
    dtype: str = "float32"
    remat: str = "none"
    video: MViTSpec = dataclasses.field(default_factory=MViTSpec)
    skeleton: HDGCNSpec = dataclasses.field(default_factory=HDGCNSpec)

    def __post_init__(self) -> None:
        choices = {
            "sites": SITE_KINDS,
            "directions": DIRECTIONS,
            "fusion": fusion.KINDS,
            "dtype": DTYPES,
            "remat": REMAT_POLICIES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(f"config.model.{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        if (
            not self.branches
            or len(set(self.branches)) != len(self.branches)
            or not set(self.branches) <= set(BRANCHES)
        ):
            raise UserError(f"config.model.branches: expected some of {BRANCHES}, each once, got {self.branches}")
        if len(self.branch_weights) != len(BRANCHES) or min(self.branch_weights) < 0 or not sum(self.weights.values()):
            raise UserError(
                f"config.model.branch_weights: expected a weight for each of {BRANCHES}, not negative, and above zero "
                f"for one of {self.branches}, got {self.branch_weights}"
            )
        if self.num_tokens < 0 or not 0 <= self.head_dropout_rate < 1:
            raise UserError("config.model: num_tokens must not be negative, head_dropout_rate lie in [0, 1)")
        if self.released_reshape and self.fusion != "mctf":
            raise UserError(f"config.model.released_reshape: is of fusion 'mctf', got fusion {self.fusion!r}")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each branch that there is."""
        return {name: self.branch_weights[BRANCHES.index(name)] for name in self.branches}

    @property
    def taught(self) -> tuple[str, ...]:
        """Branches that have receiver tokens."""
        if len(self.branches) < 2 or self.num_tokens == 0 or self.sites == "none":
            return ()
        return tuple(branch for branch in self.branches if self.directions in ("both", f"to_{branch}"))

    @property
    def distillation_pairs(self) -> tuple[tuple[int, int], ...]:
        """(video block, skeleton unit) at which tokens are distilled, counted from 0."""
        if not self.taught:
            return ()
        return distillation_sites(
            self.sites, video_stage_ends=self.video.stage_ends, auxiliary_stage_ends=self.skeleton.stage_ends
        )


class TransM3E(nn.Module):
    """The whole model; parameters lie under the branch's name, then ``fusion_<branch>``, ``head_<branch>``, ``kd_...``.

    Attributes:
      spec: the architecture.
    """

    spec: ModelSpec = ModelSpec()

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool = False, distil: bool | None = None
    ) -> ModelOutput:
        """Runs the branches on a batch (`data.batch.Batch`).

        Args:
          batch: ``video`` (B, S, T, H, W, 3) uint8 and ``skeleton`` (B, T_s, P, V, 3), ``skeleton_valid``
            (B, T_s, P), as the branches need them. Views are averaged in the logits.
          train: dropout is on (rng stream ``dropout``) and batch norms use and update batch statistics.
          distil: whether to return the distillation sites; by default in training.

        Returns:
          Logits (B, K) float32 of the whole and of each branch, and the sites.
        """
        spec = self.spec
        branches = {name: self._branch(name, batch, train) for name in spec.branches}
        logits = {name: self._classify(name, output, batch, train) for name, output in branches.items()}
        total = sum(spec.weights.values())
        prediction = sum(weight / total * logits[name] for name, weight in spec.weights.items())
        sites = self._sites(branches) if (train if distil is None else distil) else {}
        return ModelOutput(logits=prediction, branch_logits=logits, sites=sites)

    def _branch(self, name: str, batch: Mapping[str, jax.Array], train: bool) -> BranchOutput:
        spec, dtype = self.spec, jnp.dtype(self.spec.dtype)
        receiver = name in spec.taught
        if name == "skeleton":
            branch = HDGCN(spec.skeleton, spec.num_tokens, receiver, dtype, name=name)
            return branch(batch["skeleton"], batch["skeleton_valid"], train)
        video = batch["video"]
        views = video.reshape(-1, *video.shape[2:])
        branch = MViT(spec.video, spec.num_tokens or 1, receiver, dtype, remat=spec.remat, name=name)
        return branch(normalised_rgb(views, dtype), train=train)

    def _classify(self, name: str, output: BranchOutput, batch: Mapping[str, jax.Array], train: bool) -> jax.Array:
        """Fuses a branch's tokens and classifies them: (B, K) float32, views averaged."""
        spec = self.spec
        fuse = fusion.make_fusion(
            spec.fusion if name in spec.taught else "none",
            released_reshape=spec.released_reshape and name in spec.taught,
            dtype=jnp.dtype(spec.dtype),
            name=f"fusion_{name}",
        )
        features = fuse(output.final_classification, output.final_receiver, train=train).astype(jnp.float32)
        features = nn.Dropout(spec.head_dropout_rate, deterministic=not train)(features)
        head = nn.Dense(NUM_REGIONS, kernel_init=nn.initializers.truncated_normal(0.02), name=f"head_{name}")
        logits = head(features)
        return logits.reshape(batch["muscles"].shape[0], -1, NUM_REGIONS).mean(1)

    def _sites(self, branches: Mapping[str, BranchOutput]) -> dict[str, DistillationSite]:
        """Pairs the classification tokens of one branch with the receiver tokens of the other."""
        sites = {}
        for pair in self.spec.distillation_pairs:
            layer = dict(zip(BRANCHES, pair, strict=True))
            for taught in self.spec.taught:
                (teacher,) = (name for name in self.spec.branches if name != taught)
                sender = jax.lax.stop_gradient(branches[teacher].classification[layer[teacher]])
                receiver = branches[taught].receiver[layer[taught]]
                if sender.shape[0] != receiver.shape[0]:
                    raise ValueError(f"distillation takes one view a clip, got {receiver.shape} and {sender.shape}")
                site = f"unit{pair[1] + 1:02d}"
                project = nn.Dense(sender.shape[-1], dtype=receiver.dtype, name=f"kd_to_{taught}_{site}")
                sites[f"to_{taught}/{site}"] = DistillationSite(sender=sender, receiver=project(receiver))
        return sites
