"""TFDS's own test of a data set, on the dummy data: registration, tags, reading by tf.data, reloading."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("dill")
pytestmark = [pytest.mark.tfds, pytest.mark.filterwarnings("default")]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_datasets as tfds

    from musclemap_jax import taxonomy
    from tfds_musclemap.build.builder_config import CONFIGS
    from tfds_musclemap.musclemap.musclemap_dataset_builder import Builder

    class MuscleMapTest(tfds.testing.DatasetBuilderTestCase):
        """The configs that read a raw data set; `synthetic` is tested without TensorFlow."""

        DATASET_CLASS = Builder
        BUILDER_CONFIG_NAMES_TO_TEST = [config.name for config in CONFIGS if not config.synthetic]  # noqa: RUF012
        SPLITS = dict.fromkeys(taxonomy.SPLITS, 1)

        def setUp(self):
            super().setUp()
            # The place where TFDS looks if no manual_dir is given.
            shutil.copytree(self.dummy_data, Path(self.tmp_dir) / "downloads" / "manual", dirs_exist_ok=True)
