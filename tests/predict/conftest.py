"""A tiny model with random weights, as prediction loads it, and the real clip with its skeleton."""

import shutil
import sys
from pathlib import Path

import jax
import pytest

from musclemap_jax.data.batch import InputSpec
from musclemap_jax.data.examples import empty_batch
from musclemap_jax.eval.evaluator import EvalSpec
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.predict.model_folder import StoredModel
from musclemap_jax.runtime import compilation_cache
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.predict import fake_model

REAL = Path(__file__).parents[1] / "data" / "real"
REAL_FRAMES, REAL_FPS = 100, 60.0


@pytest.fixture(scope="session")
def tiny_stored_model(tiny_model_spec):
    """TransM3E with random weights; a window is as long as the real clip."""
    input_spec = InputSpec(num_frames=4, frame_stride=8, crop_size=16, num_views=2, num_poses=8, num_persons=1)
    spec = ExperimentSpec(input=input_spec, model=tiny_model_spec, eval=EvalSpec(num_views=2))
    module, batch = TransM3E(spec.model), empty_batch(input_spec, 1, 1)
    variables = jax.jit(lambda key: module.init(key, batch, train=False, distil=True))(jax.random.key(3))
    return StoredModel("tiny", spec, MUSCLE_REGIONS, REAL_FRAMES / REAL_FPS, jax.device_get(variables), None)


@pytest.fixture
def with_fake_model(tmp_path, monkeypatch):
    """The tests' folder as working folder, and `fake_model` in the place of the real model."""
    monkeypatch.setitem(sys.modules, "musclemap_jax.predict.model", None)
    fake_model.install()
    monkeypatch.setattr(compilation_cache, "use_compilation_cache", lambda: None)  # it would stay on in later tests
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def real_clip(tmp_path):
    """Path of a real video of one person, 100 frames, 60 fps, 1080x1920, with its skeleton file (coco17) beside it."""
    for suffix in (".mp4", ".json"):
        shutil.copy(REAL / f"pose2sim_cam01{suffix}", tmp_path / f"person{suffix}")
    return tmp_path / "person.mp4"
