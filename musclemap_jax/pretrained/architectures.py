"""The published models that can be imported: their tables of names and the model of ours that takes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.transm3e import ModelSpec, TransM3E
from musclemap_jax.models.video.mvit import PRESETS
from musclemap_jax.pretrained.tables import HDGCN_IGNORED, Entry, Path, hdgcn_entries, video_entries

NUM_POSES = 8
"""Of the poses by which a model's shapes are found; no shape depends on it."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A published model and ours.

    Attributes:
      name: of the published model, with its weights' layout.
      model: ours.
      shapes: path of each of our variables, the collection first, and its shape.
      entries: the table.
      ignored: (pattern, rule) of published keys that are left out.
    """

    name: str
    model: ModelSpec
    shapes: Mapping[Path, tuple[int, ...]]
    entries: tuple[Entry, ...]
    ignored: tuple[tuple[str, str], ...] = ()


VIDEO_NAMES: dict[str, tuple[str, str, bool]] = {
    "mvitv2_s": ("mvitv2_s", "pyslowfast", False),
    "mvitv2_b": ("mvitv2_b", "pyslowfast", False),
    "mvitv2_s_image": ("mvitv2_s", "pyslowfast", True),
    "mvitv2_b_image": ("mvitv2_b", "pyslowfast", True),
    "torchvision_mvit_v2_s": ("mvitv2_s", "torchvision", False),
    "musclemap_s": ("mvitv2_s", "released", False),
    "musclemap_b": ("mvitv2_b", "released", False),
}
"""Architecture -> (preset of models/video/mvit.py, names, whether trained on images)."""

ARCHITECTURES = (*VIDEO_NAMES, "hdgcn")


def released_model(**fields: Any) -> ModelSpec:
    """The released code's model: a frozen teacher on RGB difference without a head, and MCTF as released."""
    return ModelSpec(
        branches=("video", "rgb_diff"),
        second_branch_weight=0.0,
        second_branch_frozen=True,
        directions="to_video",
        kd_projection=False,
        released_reshape=True,
        **fields,
    )


def branch_model(branch: str, num_tokens: int = 0, **fields: Any) -> ModelSpec:
    """One branch alone with a head; `num_tokens` 0 is the published one."""
    return ModelSpec(branches=(branch,), num_tokens=num_tokens, sites="none", fusion="none", **fields)


def model_shapes(model: ModelSpec, num_persons: int = 1) -> dict[Path, tuple[int, ...]]:
    """Path and shape of every variable of a model, found without computing any."""
    inputs: dict[str, tuple[jax.Array, ...]] = {}
    for name in model.branches:
        if name == "skeleton":
            poses = (1, NUM_POSES, num_persons, model.skeleton.graph.num_joints, 3)
            inputs[name] = (jnp.zeros(poses), jnp.ones(poses[:3], bool))
        else:
            # The smallest clip: tables have the length of the spec's input size whatever comes in.
            inputs[name] = (jnp.zeros((1, *model.video.patch_stride, 3)),)
    variables = jax.eval_shape(
        lambda: TransM3E(model).init(jax.random.key(0), inputs, 1, False, True, method=TransM3E.run)
    )
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(dict(variables)).items()}


def video_architecture(name: str, model: ModelSpec, *, names: str = "pyslowfast", images: bool = False) -> Architecture:
    """An architecture of video branches.

    Args:
      name: for reports.
      model: ours, without skeleton branch.
      names: ``pyslowfast``, ``torchvision`` or ``released``.
      images: whether the weights were trained on images.
    """
    shapes = model_shapes(model)
    return Architecture(name, model, shapes, video_entries(shapes, names=names, images=images))


def hdgcn_architecture(name: str, skeleton: HDGCNSpec, num_persons: int = 1) -> Architecture:
    """HD-GCN with pooled features, on a layout with the published levels."""
    model = branch_model("skeleton", skeleton=skeleton)
    return Architecture(name, model, model_shapes(model, num_persons), hdgcn_entries(skeleton), HDGCN_IGNORED)


def make_architecture(
    name: str,
    *,
    num_tokens: int | None = None,
    input_size: tuple[int, int, int] | None = None,
    layout: str = "ntu25",
    centre: str | None = None,
    num_persons: int = 2,
) -> Architecture:
    """The architecture of a name.

    Args:
      name: one of ARCHITECTURES.
      num_tokens: class tokens of our video branch; the published number (1, or 20 in the released TransM3E) if None.
      input_size: frames, height and width of our clips, for the length of the tables of relative positions; the
        published ones if None.
      layout: skeleton layout of the HD-GCN.
      centre: its centre joint; None for the layout's default.
      num_persons: persons that its input norm is for.

    Raises:
      UserError: unknown name, or an impossible option.
    """
    if name == "hdgcn":
        if num_tokens is not None or input_size is not None:
            raise UserError("arch hdgcn: num_tokens and input_size are for video models: leave them out")
        if num_persons < 1:
            raise UserError(f"num_persons: expected at least 1, got {num_persons}")
        try:
            return hdgcn_architecture(name, HDGCNSpec(layout=layout, centre=centre), num_persons)
        except ValueError as error:
            raise UserError(f"layout: {error}") from error
    if name not in VIDEO_NAMES:
        raise UserError(f"arch: expected one of {', '.join(ARCHITECTURES)}, got {name!r}")
    preset, names, images = VIDEO_NAMES[name]
    video = PRESETS[preset]
    if input_size is not None:
        if len(input_size) != 3 or min(input_size) < 1:
            raise UserError(f"input_size: expected frames, height and width of at least 1, got {input_size}")
        video = dataclasses.replace(video, input_size=tuple(input_size))
    if num_tokens is not None and num_tokens < 1:
        raise UserError(f"num_tokens: expected at least 1, got {num_tokens}: leave it out for the published number")
    if names == "released":
        fields = {} if num_tokens is None else {"num_tokens": num_tokens}
        model = released_model(video=video, **fields)
    else:
        model = branch_model("video", num_tokens or 0, video=video)
    return video_architecture(name, model, names=names, images=images)
