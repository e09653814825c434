"""Models are read from runs, imports and model folders, and anything else is refused in one line."""

import dataclasses
import json

import numpy as np
import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.models.transm3e import ModelSpec
from musclemap_jax.predict.model import load
from musclemap_jax.predict.model_folder import MODEL, WEIGHTS, read_model, save_model
from musclemap_jax.pretrained.published import Architecture
from musclemap_jax.taxonomy import MUSCLE_REGIONS
from tests.object_store import BUCKET, Store


def test_a_model_folder_holds_the_model_to_half_precision(tiny_stored_model, tmp_path, tiny_batch):
    save_model(tmp_path / "model", tiny_stored_model)
    stored = read_model(tmp_path / "model")
    assert stored.spec == tiny_stored_model.spec
    assert (stored.regions, stored.clip_length_s) == (MUSCLE_REGIONS, tiny_stored_model.clip_length_s)
    before, after = (
        model["params"]["head_video"]["kernel"] for model in (tiny_stored_model.variables, stored.variables)
    )
    np.testing.assert_array_equal(after, before.astype(np.float16).astype(np.float32))
    assert not np.array_equal(after, before)


def test_a_model_folder_on_cloud_storage(tiny_stored_model, tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr("etils.epath.gpath._GPath._backend", property(lambda path: store))
    save_model(f"{BUCKET}/models/tiny", tiny_stored_model)
    assert sorted(path.name for path in (tmp_path / "models" / "tiny").iterdir()) == [MODEL, WEIGHTS]
    assert read_model(f"{BUCKET}/models/tiny").spec == tiny_stored_model.spec


def test_the_shipped_model_is_small_and_calibrated():
    model = load()
    assert model.decisions is not None
    assert model.decisions.covers_new_activities
    assert model.regions == MUSCLE_REGIONS
    assert 1 < model.window_s < 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a model folder of this project, or damaged"),
        ("[]", "not a model folder of this project, or damaged"),
        ('{"format": 9}', "expected format 1, got 9"),
    ],
)
def test_damaged_model_folders_are_refused(tmp_path, content, message):
    (tmp_path / MODEL).write_text(content)
    with pytest.raises(UserError, match=message):
        read_model(tmp_path)


def test_truncated_weights_are_refused(tiny_stored_model, tmp_path):
    save_model(tmp_path, tiny_stored_model)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:5000])
    with pytest.raises(UserError):
        read_model(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected the workdir of a run with checkpoints, an imported checkpoint"):
        read_model(tmp_path)


def test_names_of_regions_are_checked(tiny_stored_model, tmp_path):
    save_model(tmp_path, dataclasses.replace(tiny_stored_model, regions=MUSCLE_REGIONS))
    content = json.loads((tmp_path / MODEL).read_text())
    content["regions"][1] = content["regions"][0]
    (tmp_path / MODEL).write_text(json.dumps(content))
    with pytest.raises(UserError, match="expected different names"):
        read_model(tmp_path)


def test_an_import_without_a_head_cannot_predict(tmp_path):
    from musclemap_jax.pretrained.report import ImportReport
    from musclemap_jax.pretrained.result import save_initial

    architecture = Architecture.__new__(Architecture)
    object.__setattr__(architecture, "model", ModelSpec(branches=("video",), sites="none", fusion="none"))
    report = ImportReport("file", "mvitv2_s", (), (), ())
    save_initial(tmp_path, {("params", "video", "norm"): np.zeros(2, np.float32)}, report, architecture)
    with pytest.raises(UserError, match="these weights have no head for muscle regions"):
        read_model(tmp_path)
