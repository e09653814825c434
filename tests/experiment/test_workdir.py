"""Tests of the workdir's files: what it is recognised by, what its data was like, and the run's decisions."""

import dataclasses
import json

import pytest
from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec
from musclemap_jax.experiment.workdir import (
    CONFIG,
    DECISIONS,
    check_regions,
    claim_workdir,
    read_decisions,
    trained_backbones,
    trained_clip_length_s,
    trained_regions,
    trained_spec,
    write_decisions,
)
from tests.eval.test_decisions import DECISIONS as MADE_UP
from tests.object_store import BUCKET, Store

REGIONS = ("biceps", "calves", "chest")
LENGTH_S = 2.4


@pytest.fixture
def workdir(tmp_path):
    """The claimed workdir of a run."""
    claim_workdir(epath.Path(tmp_path), ExperimentSpec(), REGIONS, LENGTH_S)
    return epath.Path(tmp_path)


def changed(section, **values):
    return dataclasses.replace(
        ExperimentSpec(), **{section: dataclasses.replace(getattr(ExperimentSpec(), section), **values)}
    )


def test_the_same_run_and_one_that_learns_the_same_are_resumed(workdir):
    before = (workdir / CONFIG).read_text()
    claim_workdir(workdir, ExperimentSpec(), list(REGIONS), LENGTH_S)
    claim_workdir(workdir, changed("train", log_every=3), REGIONS, LENGTH_S)
    claim_workdir(workdir, changed("eval", batch_size=1, recall=0.8), REGIONS, LENGTH_S)
    assert (workdir / CONFIG).read_text() == before


def test_another_configuration_is_refused_with_its_keys(workdir):
    with pytest.raises(UserError, match=r"another configuration \(optimizer.learning_rate was 0.0001, is 0.5\)"):
        claim_workdir(workdir, changed("optimizer", learning_rate=0.5), REGIONS, LENGTH_S)


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
        claim_workdir(workdir, ExperimentSpec(), regions, LENGTH_S)
    with pytest.raises(UserError, match=difference):
        check_regions(workdir, regions)


def test_a_workdir_of_an_older_version_is_refused_in_one_sentence(workdir):
    config = json.loads((workdir / CONFIG).read_text())
    del config["regions"]
    (workdir / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json: written by an older version, whose runs cannot be read: choose"):
        check_regions(workdir, REGIONS)


@pytest.mark.parametrize("content", [b"", b'{"seed": 0, "data": {"bui', bytes(300), b"[1]", b"\xff\xfe"])
def test_a_damaged_configuration_is_named_in_one_line_by_every_reader(workdir, content):
    (workdir / CONFIG).write_bytes(content)
    for read in (trained_spec, trained_regions, trained_backbones, trained_clip_length_s):
        with pytest.raises(UserError) as caught:
            read(workdir)
        assert str(caught.value).startswith(f"{workdir / CONFIG}: damaged: ")
        assert str(caught.value).endswith(": restore it from a copy, or choose another --workdir")
        assert "\n" not in str(caught.value)


def test_the_architectures_of_a_run(workdir):
    backbones = trained_backbones(workdir)
    assert backbones["hdgcn"]["layout"] == "coco19"
    (workdir / CONFIG).write_text('{"model": 3}')
    assert trained_backbones(workdir) == {}


def test_a_folder_without_a_run_fits_all_data(tmp_path):
    check_regions(epath.Path(tmp_path), REGIONS)
    assert not list(tmp_path.iterdir())


def test_the_length_of_the_training_clips_is_kept(workdir):
    assert trained_clip_length_s(workdir) == LENGTH_S
    claim_workdir(workdir, ExperimentSpec(), REGIONS, 9.0)  # such as resumed with other clips left out
    assert trained_clip_length_s(workdir) == LENGTH_S


def test_the_run_of_an_older_version_gets_the_length_when_it_is_resumed(workdir):
    before = (workdir / CONFIG).read_text()
    config = json.loads(before)
    del config["clip_length_s"]
    (workdir / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json: written by an older version, which did not record the length"):
        trained_clip_length_s(workdir)
    claim_workdir(workdir, ExperimentSpec(), REGIONS, LENGTH_S)
    assert (workdir / CONFIG).read_text() == before


def test_decisions_are_kept_and_replaced(workdir):
    assert read_decisions(workdir) is None
    for decisions in (MADE_UP, dataclasses.replace(MADE_UP, recall=0.8)):
        write_decisions(workdir, decisions)
        assert read_decisions(workdir) == decisions
    assert sorted(path.name for path in workdir.iterdir()) == [CONFIG, DECISIONS]


def test_decisions_are_kept_on_cloud_storage(monkeypatch, tmp_path):
    store = Store(tmp_path)
    monkeypatch.setattr("etils.epath.gpath._GPath._backend", property(lambda path: store))
    (tmp_path / "run").mkdir()
    write_decisions(f"{BUCKET}/run", MADE_UP)
    assert (tmp_path / "run" / DECISIONS).read_text() == MADE_UP.to_json()
    assert read_decisions(f"{BUCKET}/run") == MADE_UP


def test_damaged_decisions_are_refused_with_their_path(workdir):
    (workdir / DECISIONS).write_text(MADE_UP.to_json()[:100])
    with pytest.raises(UserError, match=rf"{workdir / DECISIONS}: .*: evaluate the run again, with --mode=eval"):
        read_decisions(workdir)
