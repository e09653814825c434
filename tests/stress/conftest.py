"""Records and runs for the stress test's tests."""

import numpy as np
import pytest

from musclemap_jax.data.images import encode_jpeg
from musclemap_jax.experiment.config import resolve
from musclemap_jax.experiment.experiment import Experiment
from musclemap_jax.experiment.prepared_data import load_data
from tests.eval.conftest import metrics, predictions
from tests.experiment.test_config import CONFIGS, load

__all__ = ["experiment_of", "metrics", "predictions", "records"]


@pytest.fixture(scope="module")
def records():
    """Five records of 24 frames of 40 x 48 pixels, with one person."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(5):
        joints = rng.uniform(5, 35, (24, 1, 17, 3)).astype(np.float32)
        joints[..., 2] = 0.9
        frames = [encode_jpeg(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)) for _ in range(24)]
        found.append(
            {
                "clip_id": f"clip_{number}",
                "muscles": np.eye(20, dtype=np.uint8)[number],
                "fps": 15.0,
                "frames": frames,
                "skeleton": joints,
                "skeleton_layout": "coco17",
            }
        )
    return found


@pytest.fixture(scope="package")
def experiment_of(smoke_data, tmp_path_factory):
    """A function (name of a configuration) -> experiment on the smoke data, with random parameters."""

    def make(name):
        config = load(CONFIGS[0].with_name(f"{name}.py"), "smoke")
        config.data.data_dir = str(smoke_data)
        spec = resolve(config)
        return Experiment(spec, tmp_path_factory.mktemp(name), load_data(spec.data))

    return make
