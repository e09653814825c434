"""The modalities of a clip: one object each, in one table."""

from __future__ import annotations

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.modalities.fields import COMMON_FIELDS, Field, Images
from musclemap_jax.data.modalities.flow import Flow
from musclemap_jax.data.modalities.modality import BatchModality, ClipSettings, Modality
from musclemap_jax.data.modalities.rgb_diff import RgbDifference
from musclemap_jax.data.modalities.skeleton import Skeleton
from musclemap_jax.data.modalities.video import Video
from musclemap_jax.errors import UserError

MODALITIES: dict[str, Modality] = {
    modality.name: modality for modality in (Video(), RgbDifference(), Flow(), Skeleton())
}
"""All modalities. Their order is that in which a clip's augmentation is drawn: changing it changes the batches."""

BATCH_MODALITIES: dict[str, BatchModality] = {
    name: modality for name, modality in MODALITIES.items() if isinstance(modality, BatchModality)
}
"""Those that a batch can hold."""


def batch_modalities(spec: InputSpec) -> tuple[BatchModality, ...]:
    """The modalities that a model takes, in the order of the table. Raises UserError for an unknown one."""
    if not set(spec.modalities) <= set(BATCH_MODALITIES):
        raise UserError(f"input.modalities: expected some of {', '.join(BATCH_MODALITIES)}, got {spec.modalities}")
    return tuple(modality for name, modality in BATCH_MODALITIES.items() if name in spec.modalities)


def stored_modalities(settings: ClipSettings) -> tuple[Modality, ...]:
    """The modalities that a build stores, in the order of the table."""
    return tuple(modality for name, modality in MODALITIES.items() if name in settings.modalities)


def record_fields(settings: ClipSettings) -> dict[str, Field]:
    """{name: kind} of all fields of the records that a build stores."""
    fields = dict(COMMON_FIELDS)
    for modality in stored_modalities(settings):
        fields |= modality.fields(settings)
    return fields


ALL_FIELDS = record_fields(ClipSettings(modalities=tuple(MODALITIES)))
"""{name: kind} of the fields of all modalities."""

IMAGE_FIELDS: dict[str, Images] = {name: field for name, field in ALL_FIELDS.items() if isinstance(field, Images)}
"""Those that hold images."""
