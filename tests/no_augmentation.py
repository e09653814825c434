"""An augmentation that changes nothing but the place of the crop."""

from musclemap_jax.data.augmentation import AugmentationSpec

NO_AUGMENTATION = AugmentationSpec(
    crop_area=(1.0, 1.0),
    crop_aspect=(1.0, 1.0),
    flip_probability=0.0,
    colour_probability=0.0,
    erase_probability=0.0,
    pose_span=1.0,
    joint_rotation=0.0,
    joint_stretch=(1.0, 1.0),
    joint_jitter=0.0,
    joint_drop_probability=0.0,
)
"""The largest square crop, at a random place along the longer side, and no other augmentation."""
