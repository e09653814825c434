"""The configurations of the builder ``musclemap``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import tensorflow_datasets as tfds

from musclemap_jax.data.modalities import MODALITIES, stored_modalities
from musclemap_jax.data.modalities.modality import ClipSettings
from musclemap_jax.data.raw.flow import check_method
from musclemap_jax.errors import UserError
from musclemap_jax.skeleton_layouts import get_layout
from musclemap_jax.synthetic.spec import SyntheticSpec


@dataclasses.dataclass(eq=False)
class MuscleMapConfig(tfds.core.BuilderConfig):
    """A configuration of the builder.

    Attributes:
      clip: How clips are stored.
      max_rejected_fraction: Fraction of all clips, 0 to 1, above which the build ends with an error.
      synthetic: What to render; None where the user gives the raw data set.
    """

    clip: ClipSettings = dataclasses.field(default_factory=ClipSettings)
    max_rejected_fraction: float = 0.05
    synthetic: SyntheticSpec | None = None

    def __post_init__(self):
        """Raises UserError for settings that make no sense, or that need a package which is not installed."""
        clip = self.clip
        if not clip.modalities or not set(clip.modalities) <= set(MODALITIES):
            raise UserError(f"modalities: expected some of {', '.join(MODALITIES)}, got {clip.modalities}")
        if len(set(clip.modalities)) != len(clip.modalities):
            raise UserError(
                f"modalities: expected each once, got {', '.join(clip.modalities)}: remove the repeated one"
            )
        check_method(clip.flow_method)
        get_layout(clip.skeleton_layout)
        ranges = {"short_side": (16, 4096), "jpeg_quality": (1, 100), "max_persons": (1, 100), "flow_bound": (1, 1000)}
        for name, (lowest, highest) in ranges.items():
            check_range(name, getattr(clip, name), lowest, highest)
        for modality in stored_modalities(clip):
            modality.check_settings(clip)

    def made_of(self) -> dict[str, Any]:
        """What determines the prepared data, as JSON values."""
        settings = json.loads(json.dumps(dataclasses.asdict(self.clip)))
        return settings | {"synthetic": json.loads(self.synthetic.to_json()) if self.synthetic else None}


def check_range(name: str, value: float, lowest: float, highest: float) -> None:
    """Raises UserError unless lowest <= value <= highest."""
    if not lowest <= value <= highest:
        raise UserError(f"{name}: expected {lowest} to {highest}, got {value}")


def _config(name: str, description: str, *modalities: str) -> MuscleMapConfig:
    return MuscleMapConfig(name=name, description=description, clip=ClipSettings(modalities=modalities))


CONFIGS: tuple[MuscleMapConfig, ...] = (
    _config("multimodal", "RGB frames and 2D skeletons of the user's raw data set.", "video", "skeleton"),
    _config("rgb", "RGB frames alone.", "video"),
    _config("rgb_diff", "Absolute differences of neighbouring RGB frames, lossless.", "rgb_diff"),
    _config("optical_flow", "Optical flow in two 8-bit channels: the raw data set's own, or estimated.", "flow"),
    _config("rgb_flow", "RGB frames and their optical flow.", "video", "flow"),
    _config("multimodal_flow", "RGB frames, their optical flow and 2D skeletons.", "video", "flow", "skeleton"),
    _config("skeleton", "2D skeletons alone.", "skeleton"),
    MuscleMapConfig(
        name="synthetic",
        description="RGB frames and 2D skeletons of a raw data set that the builder renders itself.",
        synthetic=SyntheticSpec(),
    ),
    MuscleMapConfig(
        name="synthetic_large",
        description="synthetic with five times as many training clips; its other clips are the same.",
        synthetic=SyntheticSpec(more_train_clips=48),
    ),
    MuscleMapConfig(
        name="synthetic_flow",
        description="The clips of synthetic with their optical flow.",
        clip=ClipSettings(modalities=("video", "flow", "skeleton")),
        synthetic=SyntheticSpec(),
    ),
    MuscleMapConfig(
        name="synthetic_smoke",
        description="A few small clips of the kind of synthetic: for a first run and for tests.",
        synthetic=SyntheticSpec(
            clips_per_activity={"train": 4, "val_known": 1, "test_known": 1, "val_new": 1, "test_new": 2},
            size=64,
            num_frames=(16, 24),
            activities=(
                *("bodyweight squat", "push-up", "jumping jack", "biceps curl", "russian twist", "lateral raise"),
                *("lunge with biceps curl", "hanging knee raise", "renegade row"),
            ),
        ),
    ),
)
