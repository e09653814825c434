"""Test set-up: eight fake CPU devices, strict rank promotion, checked shapes; a tiny model and its batch."""

import contextlib
import dataclasses
import os
import sys
from pathlib import Path

# Most of the suite's time is compilation; programs this small gain nothing from LLVM's optimisations, nor from the
# fusion emitters, which take twice as long to compile.
QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
FUSED = {"xla_cpu_use_fusion_emitters": True}
"""Options of jax.jit where two programs are compared closer than the order of their sums lets them agree otherwise."""
os.environ["XLA_FLAGS"] = f"{QUICK_COMPILATION} --xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import hypothesis
import jax
import jaxtyping
import numpy as np
import pytest

from tests import typechecker
from tests.processes import Processes

ARRAY_MODULES = (
    *(f"musclemap_jax.models.{room}" for room in ("layers", "kernels", "video", "skeleton")),
    *(f"musclemap_jax.models.{name}" for name in ("branches", "class_tokens", "distillation", "fusion", "transm3e")),
    "musclemap_jax.train.losses",
    "musclemap_jax.train.mixing",
    "musclemap_jax.train.objective",
    "musclemap_jax.eval",
    *(f"musclemap_jax.data.{name}" for name in ("affine", "augmentation", "pixel_operations", "rand_augment")),
    "musclemap_jax.skeleton_layouts",
    "musclemap_jax.biomechanics",
    "musclemap_jax.stress.perturbations",
)
"""Modules whose annotations, shapes included, are checked at every call.

Not models/outputs.py: its classes are pytrees, which JAX rebuilds with leaves of any kind.
"""

jaxtyping.install_import_hook(ARRAY_MODULES, f"{typechecker.__name__}.check")

from musclemap_jax.errors import UserError
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.models.video.mvit import MViTSpec
from musclemap_jax.pose.mediapipe_pose import installed_model
from tfds_musclemap.prepare import prepare

ROOT = Path(__file__).parent.parent

jax.config.update("jax_numpy_rank_promotion", "raise")

# Examples have no deadline, which a busy machine would miss.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

LONGEST = ("test_main.py", "test_processes.py", "test_step.py", "test_real_video.py", "test_scanned_layers.py")
"""Files that take minutes each, longest first."""


def pytest_collection_modifyitems(items):
    """The longest files start first: one that is left for the end runs while the other workers have nothing to do."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture
def without_type_checks():
    """The package as users run it, where our own errors answer for wrong shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def tiny_model_spec():
    """TransM3E with two blocks and two units, without dropout of any kind."""
    video = MViTSpec(depth=2, embed_dim=8, stages=(1,), kv_stride=(1, 2, 2), input_size=(4, 16, 16), drop_path_rate=0.0)
    skeleton = HDGCNSpec(widths=(8, 8))
    return ModelSpec(backbones={"mvit": video, "hdgcn": skeleton}, head_dropout_rate=0.0)


@pytest.fixture(scope="session")
def tiny_video_spec(tiny_model_spec):
    """The video branch alone, which has no batch statistics."""
    return dataclasses.replace(tiny_model_spec, branches=("video",), sites="none", fusion="none")


@pytest.fixture(scope="session")
def tiny_batch():
    """A function (batch_size, num_views=1) -> random batch for the tiny models, the same at every call."""

    def make(batch_size, num_views=1):
        rng = np.random.default_rng(0)
        return {
            "video": rng.integers(0, 256, (batch_size, num_views, 4, 16, 16, 3), dtype=np.uint8),
            "skeleton": rng.standard_normal((batch_size, 8, 1, 19, 3)).astype(np.float32),
            "skeleton_valid": np.ones((batch_size, 8, 1), bool),
            "muscles": (rng.random((batch_size, 20)) < 0.3).astype(np.float32),
            "clip_valid": np.ones(batch_size, bool),
            "clip_index": np.arange(batch_size, dtype=np.int32),
        }

    return make


@pytest.fixture
def processes():
    """Starts processes, which end with the test."""
    with contextlib.closing(Processes()) as processes:
        yield processes


@pytest.fixture(scope="session")
def run_main(tmp_path_factory):
    """A function (*arguments, num_devices=1, under=(), xla_flags="", **options) that runs the main job in a process.

    It runs on CPU devices, under the command ``under``. Programs compiled by one run are kept for the others.
    Options go to `subprocess.Popen`; returns the Popen object.
    """
    cache = tmp_path_factory.mktemp("xla")
    processes = Processes()

    def start(*arguments, num_devices=1, under=(), xla_flags="", **options):
        flags = f"{QUICK_COMPILATION} --xla_force_host_platform_device_count={num_devices} {xla_flags}"
        environment = os.environ | {"XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": str(cache)}
        command = [*under, sys.executable, "-m", "musclemap_jax.main", *map(str, arguments)]
        return processes.start(*command, **{"cwd": ROOT, "env": environment, "stdin": None} | options)

    with contextlib.closing(processes):
        yield start


@pytest.fixture(scope="session")
def pose_model():
    """The installed pose model, for tests with the mark `pose`; they are skipped without it or without MediaPipe."""
    try:
        return installed_model()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory):
    """Data folder with the prepared `synthetic_smoke`."""
    data_dir = tmp_path_factory.mktemp("data")
    prepare("synthetic_smoke", data_dir)
    return data_dir
