"""The shipped model's folder and its card, made from a model on rendered people."""

import dataclasses

import numpy as np
import pytest
from flax import traverse_util

from musclemap_jax.errors import UserError
from musclemap_jax.eval.metrics import Metrics
from musclemap_jax.experiment.config import DataSpec
from musclemap_jax.predict import ship
from musclemap_jax.predict.model_folder import read_model, save_model
from musclemap_jax.reporting.tables import headline_table


@pytest.fixture(scope="module")
def rendered(tiny_stored_model, smoke_data):
    """The tiny model as one of a run on the prepared smoke data."""
    spec = tiny_stored_model.spec
    data = DataSpec(builder="synthetic_smoke", data_dir=str(smoke_data))
    return dataclasses.replace(tiny_stored_model, spec=dataclasses.replace(spec, data=data, seed=7))


@pytest.fixture(scope="module")
def shipped(rendered, tmp_path_factory):
    """The written folder, and the metrics that the command returned."""
    folder = tmp_path_factory.mktemp("ship")
    save_model(folder / "run", rendered)
    metrics = ship.ship(str(folder / "run"), folder / "shipped")
    return folder / "shipped", metrics


def test_the_folder_holds_what_prediction_needs_and_nothing_else(shipped, rendered):
    folder, _ = shipped
    model = read_model(folder)
    expected = traverse_util.flatten_dict(rendered.variables, sep="/")
    arrays = traverse_util.flatten_dict(model.variables, sep="/")
    left_out = {name for name in expected if name not in arrays}
    assert left_out == {name for name in expected if "/kd_to_" in name} != set()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, np.float32(np.float16(expected[name])), name)
    assert model.spec.data == DataSpec(builder="synthetic_smoke")
    assert model.spec.input == rendered.spec.input
    assert rendered.spec.data.data_dir not in (folder / "model.json").read_text()
    assert (model.regions, model.clip_length_s) == (rendered.regions, rendered.clip_length_s)


def test_the_card_has_the_metrics_of_the_stored_weights_and_says_what_they_are_not(shipped, rendered):
    folder, metrics = shipped
    card = (folder / "MODEL_CARD.md").read_text()
    assert isinstance(metrics, Metrics)
    assert set(metrics.branches) == {"video", "skeleton"}
    assert headline_table(metrics) in card
    num_parameters = sum(array.size for array in traverse_util.flatten_dict(read_model(folder).variables).values())
    assert f"{num_parameters:,} parameters in float16" in card
    assert "rendered people only: 24 clips of 6 activities (`musclemap/synthetic_smoke`)" in card
    assert "seed 7" in card
    assert "It has never been trained on real video" in card
    assert "{" not in card


def test_runs_that_the_card_would_not_be_true_of_are_refused(rendered, tmp_path, capsys, monkeypatch):
    def error_of(model):
        save_model(tmp_path / "run", model)
        assert ship.main(["--run", "run", "--out", "out"]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err.strip()

    monkeypatch.chdir(tmp_path)
    spec = rendered.spec
    real = dataclasses.replace(spec, data=DataSpec(builder="multimodal"))
    assert error_of(dataclasses.replace(rendered, spec=real)) == (
        "error: --run: expected a run on rendered people, since the model card says so, got run, which was trained on "
        "musclemap/multimodal"
    )
    started = dataclasses.replace(spec, init_from={**spec.init_from, "video": "kinetics"})
    assert error_of(dataclasses.replace(rendered, spec=started)) == (
        "error: --run: expected a run from random weights, got run, which started from others"
    )
    monkeypatch.setattr(ship, "MAX_BYTES", 1_000)
    assert "error: --run: expected weights of at most 0 MB, got 0." in error_of(rendered)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected the workdir of a run"):
        ship.ship(str(tmp_path), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
