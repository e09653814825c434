"""An exported model gives the model's own logits, in a process that has JAX alone."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import resolve
from musclemap_jax.experiment.program import batch_shapes
from musclemap_jax.models.skeleton.hdgcn import HDGCNSpec
from musclemap_jax.models.transm3e import TransM3E
from musclemap_jax.predict.export import export_model, main
from musclemap_jax.predict.model import load
from musclemap_jax.predict.model_folder import save_model
from musclemap_jax.pretrained.published import branch_model
from tests.experiment.test_config import CONFIGS
from tests.experiment.test_config import load as load_config
from tests.pretrained.trees import variables

pytestmark = pytest.mark.usefixtures("without_type_checks")  # whose ints are not symbolic dimensions

DOCUMENTED = Path(__file__).parents[2] / "docs" / "export.md"

RUN = """
import sys, numpy as np
from load_exported import load_exported
inputs = dict(np.load("inputs.npz"))
for path in ("inside/model.jax", "beside/model.jax"):
    predict = load_exported(path)
    one = predict({name: each[:1] for name, each in inputs.items()})
    np.savez(path.split("/")[0], **predict(inputs), one=one["logits"])
assert not [name for name in sys.modules if name.startswith(("musclemap_jax", "flax", "safetensors"))]
"""


@pytest.fixture(scope="module")
def folder(tiny_stored_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    save_model(folder / "model", tiny_stored_model)
    return folder


def test_the_documented_loader_gives_the_models_logits_in_a_process_with_jax_alone(folder, tiny_batch):
    for weights in ("inside", "beside"):
        export_model(folder / "model", folder / weights / "model.jax", weights)
    (code,) = re.findall(r"```python\n(# load_exported.py\n.*?)```", DOCUMENTED.read_text(), re.DOTALL)
    (folder / "load_exported.py").write_text(code)
    batch = tiny_batch(3, num_views=2)
    inputs = {name: batch[name] for name in ("video", "skeleton", "skeleton_valid")}
    np.savez(folder / "inputs.npz", **inputs)
    subprocess.run([sys.executable, "-c", RUN], cwd=folder, check=True, capture_output=True)

    expected = load(folder / "model").apply(inputs)
    for weights in ("inside", "beside"):
        result = np.load(folder / f"{weights}.npz")
        np.testing.assert_allclose(result["logits"], expected.logits, atol=1e-6)
        np.testing.assert_allclose(result["logits_video"], expected.branch_logits["video"], atol=1e-6)
        np.testing.assert_allclose(result["one"], expected.logits[:1], atol=1e-6)
    description = json.loads((folder / "inside" / "model.json").read_text())
    assert description["inputs"]["video"] == {"shape": ["b", "2", "4", "16", "16", "3"], "dtype": "uint8"}
    assert description["outputs"] == ["logits", "logits_video", "logits_skeleton"]


def test_the_shipped_model_can_be_exported(tmp_path):
    exported_file, _ = export_model(None, tmp_path / "model.jax")
    model = load()
    random, spec = np.random.default_rng(0), model.input
    size = (1, spec.num_frames, spec.crop_size, spec.crop_size, 3)
    poses = (spec.num_poses, spec.num_persons)
    inputs = {
        "video": random.integers(0, 256, (2, *size), dtype=np.uint8),
        "skeleton": random.uniform(0, 1, (2, *poses, 19, 3)).astype(np.float32),
        "skeleton_valid": np.ones((2, *poses), bool),
    }
    exported = jax.export.deserialize(bytearray(exported_file.read_bytes()))
    np.testing.assert_allclose(exported.call(inputs)["logits"], model.apply(inputs).logits, atol=1e-5)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_architecture_takes_any_number_of_clips(path):
    """An exported function has a symbolic batch size, of which `len` and the like cannot be taken."""
    spec = resolve(load_config(path, "smoke"))
    model = TransM3E(spec.model)
    batch = batch_shapes(spec.input, 2)
    inputs = {name: batch[name] for name in batch if name.startswith(("video", "flow", "skeleton"))}
    variables = jax.eval_shape(model.init, jax.random.key(0), inputs)
    (count,) = jax.export.symbolic_shape("b")
    symbolic = {name: jax.ShapeDtypeStruct((count, *each.shape[1:]), each.dtype) for name, each in inputs.items()}
    logits = jax.eval_shape(lambda *given: model.apply(*given).logits, variables, symbolic)
    assert logits.shape == (count, 20)


def test_skeleton_streams_are_part_of_a_stored_and_of_an_exported_model(tiny_stored_model, tmp_path, tiny_batch):
    skeleton = HDGCNSpec(widths=(8, 8), streams=("joint", "bone", "motion", "biomechanics"))
    spec = branch_model("skeleton", backbones={"hdgcn": skeleton})
    params, batch_stats = variables(spec)
    stored = dataclasses.replace(
        tiny_stored_model,
        spec=dataclasses.replace(tiny_stored_model.spec, model=spec),
        variables={"params": params, "batch_stats": batch_stats},
    )
    save_model(tmp_path / "model", stored)
    model = load(tmp_path / "model")
    assert model.spec.model == spec
    batch = tiny_batch(3)
    inputs = {name: batch[name] for name in ("skeleton", "skeleton_valid")}
    exported_file, _ = export_model(tmp_path / "model", tmp_path / "model.jax")
    exported = jax.export.deserialize(bytearray(exported_file.read_bytes()))
    logits = model.apply(inputs).logits
    np.testing.assert_allclose(exported.call(inputs)["logits"], logits, rtol=1e-5)
    moved = inputs | {"skeleton": inputs["skeleton"][:, ::-1]}  # the same poses, moving backwards
    assert np.abs(model.apply(moved).logits - logits).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model/model.jax", "model/model.json: exists and does not describe an exported model"),
        ("a.json", "a.json: the description and the weights have this suffix"),
        ("a.safetensors", "a.safetensors: the description and the weights have this suffix"),
        ("gs://bucket/model.jax", "expected a local file"),
    ],
)
def test_an_export_replaces_nothing_else(folder, tmp_path, name, message):
    shutil.copytree(folder / "model", tmp_path / "model")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=message):
        export_model(tmp_path / "model", name if "://" in name else tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_file_that_cannot_be_written_ends_with_one_line(folder, capsys):
    (folder / "file").write_text("")
    assert main([f"--run={folder / 'model'}", f"--out={folder / 'file' / 'model.jax'}"]) == 2
    assert re.fullmatch(r"error: .*cannot be written: File exists: choose another --out\n", capsys.readouterr().err)
