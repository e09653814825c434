"""The examples of docs/extending.md, as files that a user would write: each resolves, counts, and runs forward."""

import importlib.util
import re

import jax
import numpy as np
import pytest

from musclemap_jax.cost.flops import branch_multiply_adds
from musclemap_jax.experiment.config import resolve
from musclemap_jax.experiment.program import batch_shapes
from musclemap_jax.models.branches import BRANCHES
from musclemap_jax.models.fusion import FUSIONS
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.train.losses import LOSSES
from musclemap_jax.train.objective import objective
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "extending.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# configs/(\w+)\.py\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def _tables():
    """The tables, without the examples' entries afterwards."""
    before = [(table, dict(table)) for table in (BRANCHES, FUSIONS, LOSSES)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


def test_there_is_an_example_of_each():
    assert set(EXAMPLES) == {"focal", "gated", "pose_attention"}


@pytest.mark.usefixtures("_tables")
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_from_its_file(name, tmp_path):
    path = tmp_path / f"{name}.py"
    path.write_text(EXAMPLES[name])
    module_spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    spec = resolve(module.get_config("smoke"))
    rng = np.random.default_rng(0)
    batch = {
        name: (rng.random(array.shape) * (255 if array.dtype == np.uint8 else 1)).astype(array.dtype)
        for name, array in batch_shapes(spec.input, 2).items()
    }
    batch["clip_valid"] = np.asarray([True, False])
    model = TransM3E(spec.model)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), batch, distil=True))
    variables = jax.tree.map(lambda leaf: rng.uniform(0, 0.05, leaf.shape).astype(leaf.dtype), shapes)

    @jax.jit
    def run(batch):
        output = model.apply(variables, batch, distil=True)
        return objective(output, batch["muscles"], batch["clip_valid"], spec.loss)

    loss, terms = run(batch)
    assert np.isfinite(loss)
    assert {f"loss_{branch}" for branch in spec.model.branches} < terms.keys()
    padding = {name: array.copy() for name, array in batch.items()}
    padding["video"][1] = 255 - padding["video"][1]
    np.testing.assert_allclose(run(padding)[0], loss, rtol=1e-5)
    assert min(branch_multiply_adds(spec.model, spec.input).values()) > 0
