"""A published model and its import."""

import pytest

from musclemap_jax.pretrained.importing import import_arrays
from musclemap_jax.pretrained.mvit_names import mvit_architecture
from musclemap_jax.pretrained.published import branch_model
from musclemap_jax.pretrained.result import save_initial
from musclemap_jax.pretrained.source import Checkpoint, SourceTensor
from tests.models import goldens


@pytest.fixture(scope="module")
def published():
    """Parameters of mvit_tiny under PySlowFast's names."""
    return goldens.under(goldens.load("mvit_tiny"), "p/")


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    """Folder of an import of mvit_tiny with its one class token."""
    architecture = mvit_architecture("tiny", branch_model("video", backbones={"mvit": goldens.TINY_SPEC}))
    tensors = {name: SourceTensor(array.shape, lambda array=array: array) for name, array in published.items()}
    folder = tmp_path_factory.mktemp("imported") / "weights"
    save_initial(folder, *import_arrays(Checkpoint(tensors), architecture, "tiny.pyth"), architecture)
    return folder
