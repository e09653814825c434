"""Statistics of poses, read by a small perceptron: a skeleton branch for little data and new activities.

Each person's means and deviations over the clip, of joints, distances and biomechanical channels
(`biomechanics/statistics.py`), are standardised and go through one hidden layer. There are two views, one without legs
for the class tokens of the arms' muscles and one without arms for all others (`limb_views.py` says why); a view's
hidden layer is the class token of each of its regions. Fusion `by_region` keeps the regions apart up to the logits.

A new activity may also combine known ones one after the other, such as a curl and then a press, and statistics over
both are those of neither. So windows of the clip go through the same layer, and a class token is the mean over them and
the whole clip. Ours, beyond the paper.

Letters of shapes: B clips, T poses, P persons, V joints, F statistics, W spans of time (the clip, then its windows),
M class tokens in one set, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from musclemap_jax.biomechanics.statistics import LAYOUT, Statistics, biomechanical_statistics, joint_statistics
from musclemap_jax.errors import UserError
from musclemap_jax.models.layers.activations import gelu
from musclemap_jax.models.outputs import BranchOutput
from musclemap_jax.models.skeleton.graph import SkeletonGraph, skeleton_graph
from musclemap_jax.models.skeleton.limb_views import regions_of_arms, without_limbs
from musclemap_jax.models.skeleton.persons import mean_over_persons, person_weights
from musclemap_jax.sharding.mapped_axis import mapped_axis, mean_over
from musclemap_jax.skeleton_layouts import LAYOUTS

NUM_STATISTICS = 792
"""F, of a view."""

NUM_VIEWS = 2

_LENGTHS_PER_CLIP = 3
"""A window covers a third of the clip."""

_MOMENTUM = 0.9
_EPSILON = 1e-6
_FARTHEST = 6.0
"""Standard deviations at which a statistic is cut off, so that one joint in a wrong place does not decide a clip."""


@dataclasses.dataclass(frozen=True)
class PoseStatisticsSpec:
    """Shape of the network.

    Attributes:
      layout: A skeleton layout that has the joints of COCO-17.
      width: Width of the hidden layer of a view, which is that of the class tokens.
      input_dropout_rate: Dropout rate of the statistics.
      dropout_rate: Dropout rate of the hidden layer.
      num_windows: Windows of a third of the clip, evenly over it, that are read beside the whole clip; 0 for none.
      limb_views: Whether each view lacks limbs; otherwise both views are of the whole body.
      arm_regions: Indices of the muscle regions of the arms' muscles; None for MuscleMap's.
    """

    layout: str = "coco19"
    width: int = 128
    input_dropout_rate: float = 0.5
    dropout_rate: float = 0.5
    num_windows: int = 0
    limb_views: bool = True
    arm_regions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        where = "config.model.backbones.pose_statistics"
        if self.width < 1:
            raise UserError(f"{where}.width: expected at least 1, got {self.width}")
        if self.num_windows < 0:
            raise UserError(f"{where}.num_windows: must not be negative, got {self.num_windows}")
        for name in ("input_dropout_rate", "dropout_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{where}.{name}: expected a number in [0, 1), got {getattr(self, name)}")
        if self.layout not in LAYOUTS:
            raise UserError(f"{where}.layout: expected one of {', '.join(LAYOUTS)}, got {self.layout!r}")
        if not set(LAYOUTS[LAYOUT].joints) <= set(self.graph_joints):
            raise UserError(f"{where}.layout: {self.layout} lacks joints of {LAYOUT}: use coco19 or halpe26, say")

    @property
    def graph_joints(self) -> tuple[str, ...]:
        """Names of the layout's joints."""
        return LAYOUTS[self.layout].joints

    @property
    def output_dim(self) -> int:
        """Width of the class tokens."""
        return self.width

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """There is one layer."""
        return (0,)

    @property
    def graph(self) -> SkeletonGraph:
        """The layout's joints."""
        return skeleton_graph(self.layout)


class RunningStandardisation(nn.Module):
    """Standard deviations from the mean, over those rows in which a statistic is defined; 0 where it is not.

    Training takes the batch's own moments, evaluation running ones, as a batch norm does.
    """

    @nn.compact
    def __call__(
        self, values: Float[Array, "*n 2 F"], valid: Bool[Array, "*n 2 F"], train: bool
    ) -> Float[Array, "*n 2 F"]:
        """Standardises the statistics of each view."""
        shape = values.shape[-2:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_variance = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        mean, variance = running_mean.value, running_variance.value
        if train:
            axis_name, rows = mapped_axis(), tuple(range(values.ndim - 2))
            count = mean_over(axis_name, valid.sum(rows, dtype=jnp.float32))
            known, total = count > 0, jnp.maximum(count, 1e-9)
            batch_mean = mean_over(axis_name, jnp.where(valid, values, 0.0).sum(rows)) / total
            centred = jnp.where(valid, values - _like(batch_mean, values), 0.0)
            batch_variance = mean_over(axis_name, jnp.square(centred).sum(rows)) / total
            mean, variance = jnp.where(known, batch_mean, mean), jnp.where(known, batch_variance, variance)
            if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
                for running, batch in ((running_mean, mean), (running_variance, variance)):
                    moved = _MOMENTUM * running.value + (1 - _MOMENTUM) * batch
                    running.value = jax.lax.stop_gradient(moved)
        scaled = (values - _like(mean, values)) * _like(jax.lax.rsqrt(variance + _EPSILON), values)
        return jnp.where(valid, jnp.clip(scaled, -_FARTHEST, _FARTHEST), 0.0)


class PoseStatistics(nn.Module):
    """The branch.

    Attributes:
      spec: Shape of the network.
      num_tokens: M, one class token for each muscle region.
      receiver: Adds a second set of M tokens, which receives another branch's knowledge in distillation.
      dtype: Dtype of the hidden layer; statistics and parameters are float32.
    """

    spec: PoseStatisticsSpec
    num_tokens: int
    receiver: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        poses: Float[Array, "B T P V 3"],
        pose_valid: Bool[Array, "B T P"],
        own_weight: Float[Array, " B"] | None = None,
        *,
        train: bool,
    ) -> BranchOutput:
        """Applies the branch; poses, `pose_valid`, `train` and the result as in `hdgcn.HDGCN`.

        Args:
          poses: x, y, score.
          pose_valid: True where the person is in the frame.
          own_weight: Weight of each clip's standardised statistics, the rest is that of clip B - 1 - i (manifold mixup:
            Verma et al., 2019, arXiv:1806.05236); None for 1.
          train: Turns on dropout and the batch's own moments.

        Raises:
          UserError: There are no class tokens.
        """
        spec, num_sets = self.spec, 1 + self.receiver
        if not self.num_tokens:
            raise UserError(
                "config.model.num_tokens: the branch pose_statistics needs a class token for each muscle region, got 0"
            )
        values, valid = statistics_of_spans(jnp.asarray(poses, jnp.float32), spec)
        x = RunningStandardisation(name="standardisation")(values, valid, train)
        if own_weight is not None:
            own = own_weight[:, None, None, None, None]
            x = own * x + (1 - own) * x[::-1]
        x = nn.Dropout(spec.input_dropout_rate, deterministic=not train)(x).astype(self.dtype)
        shape = (num_sets, NUM_VIEWS, x.shape[-1], spec.width)
        init = nn.initializers.lecun_normal(in_axis=-2, out_axis=-1, batch_axis=(0, 1))
        kernel = self.param("hidden_kernel", init, shape, jnp.float32).astype(self.dtype)
        bias = self.param("hidden_bias", nn.initializers.zeros, (*shape[:2], spec.width), jnp.float32)
        hidden = gelu(jnp.einsum("bpwuf,sufd->bpwsud", x, kernel) + bias.astype(self.dtype)[None, None, None])
        hidden = _mean_over_spans(hidden, valid.any((-2, -1)))
        hidden = nn.Dropout(spec.dropout_rate, deterministic=not train)(hidden)
        sets = [self._tokens(hidden[:, :, index], jnp.asarray(pose_valid)) for index in range(num_sets)]
        classification, *receiver = reversed(sets)
        return BranchOutput((classification,), tuple(receiver), classification, receiver[0] if receiver else None)

    def _tokens(self, hidden: Float[Array, "B P 2 D"], pose_valid: Bool[Array, "B T P"]) -> Float[Array, "B M D"]:
        """Each region's view, averaged over persons."""
        of_arms = regions_of_arms(self.num_tokens, self.spec.arm_regions)[:, None]
        without_legs, without_arms = hidden[:, :, :1], hidden[:, :, 1:]
        tokens = jnp.where(of_arms, without_legs, without_arms)  # (B, P, M, D)
        return mean_over_persons(tokens.reshape(-1, *tokens.shape[2:]), person_weights(pose_valid))


def statistics_of_spans(poses: Float[Array, "B T P V 3"], spec: PoseStatisticsSpec) -> Statistics:
    """Statistics (B, P, W, 2, F) of the whole clip and of each window; speeds are per clip in all of them."""
    num_poses = poses.shape[1]
    parts = [
        _statistics_of_views(poses[:, span], spec, float(num_poses)) for span in spans(num_poses, spec.num_windows)
    ]
    return Statistics(*(jnp.stack(arrays, axis=2) for arrays in zip(*parts, strict=True)))


def spans(num_poses: int, num_windows: int) -> list[slice]:
    """The poses of the whole clip, then those of each window."""
    length = -(-num_poses // _LENGTHS_PER_CLIP)
    starts = np.linspace(0, num_poses - length, num_windows).round().astype(int).tolist()
    return [slice(None), *(slice(start, start + length) for start in starts)]


def _statistics_of_views(
    poses: Float[Array, "B T P V 3"], spec: PoseStatisticsSpec, poses_per_clip: float
) -> Statistics:
    """Statistics (B, P, 2, F) of each person without legs and without arms, or twice whole."""
    num_clips, _, num_persons = poses.shape[:3]
    joints = [LAYOUTS[spec.layout].joints.index(name) for name in LAYOUTS[LAYOUT].joints]
    whole = poses[..., joints, :]
    views = without_limbs(whole, LAYOUTS[LAYOUT]) if spec.limb_views else jnp.concatenate([whole, whole], axis=2)
    views = views.swapaxes(1, 2)
    parts = joint_statistics(views), biomechanical_statistics(views, poses_per_clip)
    arrays = (jnp.concatenate(kind, axis=-1) for kind in zip(*parts, strict=True))
    by_view = (array.reshape(num_clips, NUM_VIEWS, num_persons, -1).swapaxes(1, 2) for array in arrays)
    return Statistics(*by_view)


def _mean_over_spans(hidden: Float[Array, "B P W *rest"], seen: Bool[Array, "B P W"]) -> Float[Array, "B P *rest"]:
    """Mean over the spans in which the person is seen; of one who never is, that of the clip, which has no weight."""
    weights = seen.at[:, :, 0].set(True).astype(hidden.dtype)
    weights = weights / weights.sum(axis=2, keepdims=True)
    return jnp.einsum("bpw...,bpw->bp...", hidden, weights)


def pose_statistics_multiply_adds(
    spec: PoseStatisticsSpec, shapes: Sequence[tuple[int, ...]], num_tokens: int = 0
) -> int:
    """Counts the hidden layer of one set, and the means over spans and over persons; not the statistics."""
    (_, num_persons, *_), num_spans = shapes[0], 1 + spec.num_windows
    return num_persons * NUM_VIEWS * spec.width * (num_spans * (NUM_STATISTICS + 1) + num_tokens)


def _like(of_statistic: Float[Array, "2 F"], values: Array) -> Array:
    return of_statistic.reshape((1,) * (values.ndim - 2) + of_statistic.shape)
