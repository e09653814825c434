"""The configurations of the builder ``musclemap``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import tensorflow_datasets as tfds

from musclemap_jax.synthetic.spec import SyntheticSpec
from tfds_musclemap.build.clip_reader import ClipSettings, check_settings

_SMOKE = SyntheticSpec(
    clips_per_activity={"train": 4, "val_known": 1, "test_known": 1, "val_new": 1, "test_new": 2},
    size=64,
    num_frames=(16, 24),
    activities=(
        "bodyweight squat",
        "push-up",
        "jumping jack",
        "biceps curl",
        "russian twist",
        "lateral raise",
        "lunge with biceps curl",
        "hanging knee raise",
        "renegade row",
    ),
)


@dataclasses.dataclass(eq=False)
class MuscleMapConfig(tfds.core.BuilderConfig):
    """A configuration of the builder; fields that are not named here are those of ClipSettings.

    Attributes:
      max_rejected_fraction: share of all clips, 0 to 1, past which the build ends with an error.
      synthetic: what to render; None where the raw data set is given by the user.
    """

    modalities: tuple[str, ...] = ClipSettings.modalities
    skeleton_layout: str = ClipSettings.skeleton_layout
    require_skeleton: bool = ClipSettings.require_skeleton
    short_side: int = ClipSettings.short_side
    jpeg_quality: int = ClipSettings.jpeg_quality
    max_persons: int = ClipSettings.max_persons
    flow_method: str = ClipSettings.flow_method
    flow_bound: float = ClipSettings.flow_bound
    max_rejected_fraction: float = 0.05
    synthetic: SyntheticSpec | None = None

    def __post_init__(self):
        self.modalities = tuple(self.modalities)
        check_settings(self.clip_settings())

    def clip_settings(self) -> ClipSettings:
        """The part that concerns the reading of one clip."""
        return ClipSettings(**{name: getattr(self, name) for name in CLIP_FIELDS})

    def made_of(self) -> dict[str, Any]:
        """What determines the prepared data, as JSON values."""
        settings = json.loads(json.dumps(dataclasses.asdict(self.clip_settings())))
        return settings | {"synthetic": json.loads(self.synthetic.to_json()) if self.synthetic else None}


CLIP_FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(ClipSettings))

CONFIGS: tuple[MuscleMapConfig, ...] = (
    MuscleMapConfig(name="multimodal", description="RGB frames and 2D skeletons of the user's raw data set."),
    MuscleMapConfig(name="rgb", description="RGB frames alone.", modalities=("rgb",)),
    MuscleMapConfig(
        name="rgb_diff",
        description="Absolute differences of neighbouring RGB frames, lossless.",
        modalities=("rgb_diff",),
    ),
    MuscleMapConfig(
        name="optical_flow",
        description="Optical flow in two 8-bit channels: the raw data set's, or estimated.",
        modalities=("optical_flow",),
    ),
    MuscleMapConfig(
        name="rgb_flow",
        description="RGB frames and their optical flow.",
        modalities=("rgb", "optical_flow"),
    ),
    MuscleMapConfig(name="skeleton", description="2D skeletons alone.", modalities=("skeleton",)),
    MuscleMapConfig(
        name="synthetic",
        description="RGB frames and 2D skeletons of a raw data set that the builder renders itself.",
        synthetic=SyntheticSpec(),
    ),
    MuscleMapConfig(
        name="synthetic_smoke",
        description="As synthetic, a few small clips: for a first run and for tests.",
        synthetic=_SMOKE,
    ),
)
