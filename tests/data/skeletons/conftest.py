"""A random skeleton for the tests of files and poses."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def random_skeleton():
    """A function seed -> (6, 2, 17, 3) float32; a fifth of the joints is absent."""

    def make(seed, num_frames=6, num_persons=2, num_joints=17):
        rng = np.random.default_rng(seed)
        skeleton = rng.uniform(0, 200, (num_frames, num_persons, num_joints, 3))
        skeleton[..., 2] = rng.uniform(0.2, 1, skeleton.shape[:3])
        skeleton[:, 0, :, :2] *= 3  # the first person is the largest
        return np.where(rng.uniform(size=(*skeleton.shape[:3], 1)) < 0.2, 0, skeleton).astype(np.float32)

    return make
