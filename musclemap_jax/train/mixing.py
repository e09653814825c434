"""Mixup and CutMix: each clip of a batch is mixed with a partner, on the device, before the step computes it.

Sources: Zhang et al., "mixup", 2018; Yun et al., "CutMix", 2019; pairs, boxes and the choice between the two as in
PySlowFast's `mixup.py`. The partner of clip i of B is clip B - 1 - i. A clip and its partner are mixed in every
modality with the same coefficient, and so are their labels:

- mixup: pixels, optical flow, and each joint's place and score are the weighted means of both. A joint that only one of
  them has stays in its place, with its score weighed.
  A branch that takes statistics of the poses (`pose_statistics`) mixes those of both clips instead.
- CutMix: a rectangle of the images, the same in all frames, is the partner's. Joints have no pixels, so of the skeleton
  a stretch of time is the partner's, the same fraction of the poses as the rectangle is of the frame.

A clip stays as it is if its partner is padding, or if only one of the two has somebody for a branch to see: its labels
would speak of a person whom the skeleton does not show.

Differences from upstream: every clip draws its own coefficient (there, one for a batch); labels are not smoothed.

Everything is drawn from the run's seed and the step's number, for the batch as a whole, so a resumed run draws the same
on any mesh, and so do steps with gradient accumulation, where a clip and its partner are in one part of the batch.

Letters of shapes: B clips, S views, T H W frames and pixels, C channels, T_s poses, P persons, V joints, K muscle
regions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from musclemap_jax.checkpoints.state import TrainState
from musclemap_jax.errors import UserError
from musclemap_jax.models.branches import BRANCHES, OWN_WEIGHT
from musclemap_jax.train.training_loss import Batch

_Result = TypeVar("_Result")
_STREAM = 2**31
"""What is folded into the step's key; gradient accumulation folds in small numbers."""


@dataclasses.dataclass(frozen=True)
class MixingSpec:
    """Settings of mixup and CutMix; both are off by default.

    Attributes:
      mixup_alpha: Mixup's coefficient has the probability distribution Beta(alpha, alpha); 0 for no mixup.
      cutmix_alpha: The same for CutMix.
      probability: Probability that a clip is mixed.
      cutmix_probability: Probability that a mixed clip is mixed by CutMix, where both are on.
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0
    probability: float = 1.0
    cutmix_probability: float = 0.5

    def __post_init__(self) -> None:
        for name in ("mixup_alpha", "cutmix_alpha"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"config.train.mixing.{name}: expected 0 (off) or more, got {getattr(self, name)}")
        for name in ("probability", "cutmix_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"config.train.mixing.{name}: expected 0 <= value <= 1, got {getattr(self, name)}")

    @property
    def is_on(self) -> bool:
        """Whether any clip is mixed."""
        return self.probability > 0 and max(self.mixup_alpha, self.cutmix_alpha) > 0


class Mix(NamedTuple):
    """How each clip is mixed with its partner.

    Attributes:
      own: (B,) weight of the clip itself, of its labels too; the partner's is 1 - own.
      cut: (B,) True for CutMix, False for mixup.
      box: (B, 4) top, bottom, left, right of CutMix's rectangle in pixels; the ends are outside of it.
      place: (B,) where in the clip CutMix's stretch of time lies, in [0, 1).
    """

    own: Float[Array, " B"]
    cut: Bool[Array, " B"]
    box: Int[Array, "B 4"]
    place: Float[Array, " B"]

    def pixel_weights(self, height: int, width: int) -> Float[Array, "B H W"]:
        """The clip's own weight at each pixel."""
        top, bottom, left, right = (self.box[:, side, None, None] for side in range(4))
        rows, columns = jnp.arange(height)[None, :, None], jnp.arange(width)[None, None, :]
        inside = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
        return jnp.where(self.cut[:, None, None], 1.0 - inside, self.own[:, None, None])

    def time_weights(self, num_poses: int) -> Float[Array, "B T_s"]:
        """The clip's own weight at each pose."""
        length = jnp.round((1 - self.own) * num_poses)[:, None]
        start = jnp.floor(self.place[:, None] * (num_poses - length + 1))
        times = jnp.arange(num_poses)[None]
        inside = (start <= times) & (times < start + length)
        return jnp.where(self.cut[:, None], 1.0 - inside, self.own[:, None])


def draw_mix(key: Array, num_clips: int, size: int, spec: MixingSpec) -> Mix:
    """Draws how each clip is mixed; rectangles are of frames of `size` x `size` pixels.

    A rectangle has its centre anywhere in the frame and is clipped to it; `own` is 1 minus what is left of its area.
    """
    keys = jax.random.split(key, 6)
    cut_probability = (
        spec.cutmix_probability if spec.mixup_alpha and spec.cutmix_alpha else float(spec.cutmix_alpha > 0)
    )
    cut = jax.random.bernoulli(keys[0], cut_probability, (num_clips,))
    mixed = jax.random.bernoulli(keys[1], spec.probability, (num_clips,))
    by_mixup, by_cut = (
        jax.random.beta(each, alpha, alpha, (num_clips,)) if alpha else jnp.ones(num_clips)
        for each, alpha in ((keys[2], spec.mixup_alpha), (keys[3], spec.cutmix_alpha))
    )
    half = jnp.floor(size * jnp.sqrt(1 - by_cut)).astype(jnp.int32)[:, None] // 2
    centre = jax.random.randint(keys[4], (num_clips, 2), 0, size)
    low, high = jnp.maximum(centre - half, 0), jnp.minimum(centre + half, size)
    by_box = 1 - jnp.prod(high - low, axis=1) / size**2
    own = jnp.where(cut, by_box, by_mixup)
    return Mix(
        own=jnp.where(mixed, own, 1.0).astype(jnp.float32),
        cut=cut & mixed,
        box=jnp.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1),
        place=jax.random.uniform(keys[5], (num_clips,)),
    )


def mix_images(
    own: UInt8[Array, "B S T H W C"], partner: UInt8[Array, "B S T H W C"], mix: Mix
) -> UInt8[Array, "B S T H W C"]:
    """Mixes video, or 8-bit optical flow; rounded to the nearest level."""
    weights = mix.pixel_weights(*own.shape[3:5])[:, None, None, :, :, None]
    first, second = own.astype(jnp.float32), partner.astype(jnp.float32)
    return jnp.round(second + weights * (first - second)).astype(jnp.uint8)


def mix_poses(
    own: Float[Array, "B T_s P V 3"], partner: Float[Array, "B T_s P V 3"], mix: Mix
) -> Float[Array, "B T_s P V 3"]:
    """Mixes joints x, y, score, person by person; joints that both clips lack are all zero."""
    weights = mix.time_weights(own.shape[1])[:, :, None, None, None]
    first, second = weights * (own[..., 2:] > 0), (1 - weights) * (partner[..., 2:] > 0)
    total = first + second
    places = (first * own[..., :2] + second * partner[..., :2]) / jnp.where(total > 0, total, 1.0)
    return jnp.concatenate([places, first * own[..., 2:] + second * partner[..., 2:]], axis=-1)


def _mix_images_of(name: str) -> Callable[[Batch, Batch, Mix], Batch]:
    return lambda batch, partner, mix: {name: mix_images(batch[name], partner[name], mix)}


def _mix_poses_of(name: str) -> Callable[[Batch, Batch, Mix], Batch]:
    def mixed(batch: Batch, partner: Batch, mix: Mix) -> Batch:
        poses = mix_poses(batch[name], partner[name], mix)
        return {name: poses, f"{name}_valid": (poses[..., 2] > 0).any(-1)}

    return mixed


MIXERS: dict[str, Callable[[Batch, Batch, Mix], Batch]] = {
    "video": _mix_images_of("video"),
    "flow": _mix_images_of("flow"),
    "skeleton": _mix_poses_of("skeleton"),
}
"""(batch, the clips' partners, mix) -> the modality's arrays, mixed, by modality; a new modality enters its own."""


def mix_batch(batch: Batch, mix: Mix, branches: Sequence[str], modalities: Sequence[str]) -> Batch:
    """A batch whose clips are mixed with their partners.

    Args:
      batch: The batch.
      mix: How; it has no effect on clips that cannot be mixed with their partners.
      branches: Names of the branches that see the batch.
      modalities: Modalities that they read.
    """
    partner = jax.tree.map(lambda array: array[::-1], batch)
    possible = batch["clip_valid"] & partner["clip_valid"]
    for name in branches:
        if (present := BRANCHES[name].present) is not None:
            possible &= present(batch) == present(partner)
    mix = mix._replace(own=jnp.where(possible, mix.own, 1.0), cut=mix.cut & possible)
    # Not multiplied by zero alone: padding may hold NaN.
    partner = {name: jnp.where(_like(possible, value), value, batch[name]) for name, value in partner.items()}
    mixed: dict[str, Array] = {OWN_WEIGHT: mix.own}
    mixed_inside = {BRANCHES[name].modality for name in branches if BRANCHES[name].mixes_features}
    for name in modalities:
        if name not in mixed_inside:
            mixed |= MIXERS[name](batch, partner, mix)
    own = mix.own[:, None]
    return {**batch, **mixed, "muscles": own * batch["muscles"] + (1 - own) * partner["muscles"]}


def on_mixed_batch(
    function: Callable[[TrainState, Batch], _Result],
    spec: MixingSpec,
    size: int,
    branches: Sequence[str],
    modalities: Sequence[str],
) -> Callable[[TrainState, Batch], _Result]:
    """A function of a state and a batch, such as the training step, that mixes the batch first.

    Args:
      function: The function.
      spec: Settings.
      size: Pixels of a side of the images.
      branches: Names of the model's branches.
      modalities: Modalities that they read.

    Raises:
      UserError: It is not defined how one of the modalities is mixed.
    """
    unknown = [name for name in modalities if name not in MIXERS]
    if unknown:
        raise UserError(
            f"config.train.mixing: modality {unknown[0]!r} cannot be mixed: enter a function for it in "
            "train.mixing.MIXERS, or set mixup_alpha and cutmix_alpha to 0"
        )

    def mixing_function(state: TrainState, batch: Batch) -> _Result:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(state.seed), state.step), _STREAM)
        mix = draw_mix(key, batch["muscles"].shape[0], size, spec)
        return function(state, mix_batch(batch, mix, branches, modalities))

    return mixing_function


def _like(clips: Bool[Array, " B"], array: Array) -> Array:
    """(B,) with as many axes as an array (B, ...)."""
    return clips.reshape(-1, *(1,) * (array.ndim - 1))
