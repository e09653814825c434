"""The TFDS data set ``musclemap``."""
