"""Tests of what a workdir is recognised by: its configuration and its muscle regions."""

import dataclasses
import json

import pytest
from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.workdir import CONFIG, check_regions, claim_workdir

REGIONS = ("biceps", "calves", "chest")


@pytest.fixture
def workdir(tmp_path):
    """The claimed workdir of a run."""
    claim_workdir(epath.Path(tmp_path), ExperimentSpec(), REGIONS)
    return epath.Path(tmp_path)


def changed(section, **values):
    return dataclasses.replace(
        ExperimentSpec(), **{section: dataclasses.replace(getattr(ExperimentSpec(), section), **values)}
    )


def test_the_same_run_and_one_that_learns_the_same_are_resumed(workdir):
    before = (workdir / CONFIG).read_text()
    claim_workdir(workdir, ExperimentSpec(), list(REGIONS))
    claim_workdir(workdir, changed("train", log_every=3), REGIONS)
    claim_workdir(workdir, changed("eval", batch_size=1), REGIONS)
    assert (workdir / CONFIG).read_text() == before


def test_another_configuration_is_refused_with_its_keys(workdir):
    with pytest.raises(UserError, match=r"another configuration \(optimizer.learning_rate was 0.0001, is 0.5\)"):
        claim_workdir(workdir, changed("optimizer", learning_rate=0.5), REGIONS)


@pytest.mark.parametrize(
    ("regions", "difference"),
    [
        (
            ("biceps", "chest", "feet", "neck"),
            "3 muscle regions and the prepared data has 4: only the run has calves; only the data has feet, neck",
        ),
        (("biceps", "calves"), "3 muscle regions and the prepared data has 2: only the run has chest"),
        (("biceps", "chest", "calves"), "number 1 is calves in the run and chest in the data"),
    ],
)
def test_data_of_other_regions_is_refused_with_the_difference(workdir, regions, difference):
    with pytest.raises(UserError, match=difference):
        claim_workdir(workdir, ExperimentSpec(), regions)
    with pytest.raises(UserError, match=difference):
        check_regions(workdir, regions)


def test_a_workdir_of_an_older_version_is_refused_in_one_sentence(workdir):
    config = json.loads((workdir / CONFIG).read_text())
    del config["regions"]
    (workdir / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json: written by an older version, whose runs cannot be read: choose"):
        check_regions(workdir, REGIONS)


def test_a_folder_without_a_run_fits_all_data(tmp_path):
    check_regions(epath.Path(tmp_path), REGIONS)
    assert not list(tmp_path.iterdir())
