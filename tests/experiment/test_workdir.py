"""Tests of the workdir's files: what it is recognised by, what its data was like, and the run's decisions."""

import dataclasses
import json

import pytest
from etils import epath

from musclemap_jax.errors import UserError
from musclemap_jax.experiment.config import ExperimentSpec, resolve, to_config
from musclemap_jax.experiment.variants import VARIANTS
from musclemap_jax.experiment.workdir import (
    CONFIG,
    DECISIONS,
    check_regions,
    claim_workdir,
    evaluation_spec,
    read_decisions,
    trained_backbones,
    trained_clip_length_s,
    trained_regions,
    trained_spec,
    write_decisions,
)
from tests.eval.test_decisions import DECISIONS as MADE_UP
from tests.experiment.test_config import CONFIGS, load
from tests.object_store import BUCKET, Store

REGIONS = ("biceps", "calves", "chest")
LENGTH_S = 2.4


def claim(workdir, spec=None, regions=REGIONS, length_s=LENGTH_S, step=None, extend=False):
    """Claims a workdir for a run with 100 training clips."""
    spec = ExperimentSpec() if spec is None else spec
    return claim_workdir(epath.Path(workdir), spec, regions, length_s, num_clips=100, step=step, extend=extend)


@pytest.fixture
def workdir(tmp_path):
    """The claimed workdir of a run."""
    claim(tmp_path)
    return epath.Path(tmp_path)


def changed(section, **values):
    return dataclasses.replace(
        ExperimentSpec(), **{section: dataclasses.replace(getattr(ExperimentSpec(), section), **values)}
    )


def content(workdir):
    return json.loads((workdir / CONFIG).read_text())


def test_the_same_run_is_resumed_and_its_file_stays(workdir):
    before = (workdir / CONFIG).read_text()
    assert claim(workdir, regions=list(REGIONS), step=7) == []
    assert (workdir / CONFIG).read_text() == before


def test_changes_of_a_resumed_run_are_recorded_with_their_step(workdir):
    claim(workdir, changed("train", log_every=3), step=7)
    claim(workdir, changed("train", log_every=3), step=8)
    longer = dataclasses.replace(changed("eval", num_views=2), train=changed("train", num_epochs=60.0).train)
    claim(workdir, longer, step=9, extend=True)
    assert content(workdir)["train"]["num_epochs"] == 60.0
    assert content(workdir)["changes"] == [
        {"step": 7, "key": "train.log_every", "was": 10, "now": 3},
        {"step": 9, "key": "eval.num_views", "was": 5, "now": 2},
        {"step": 9, "key": "train.log_every", "was": 3, "now": 10},
        {"step": 9, "key": "train.num_epochs", "was": 50.0, "now": 60.0},
    ]
    assert trained_spec(workdir) == resolve(dataclasses.asdict(longer))


def test_a_run_that_has_learned_something_keeps_its_configuration_and_initial_weights(tmp_path):
    weights = ExperimentSpec().init_from | {"video": "runs/video"}
    claim(tmp_path, dataclasses.replace(ExperimentSpec(), init_from=weights))
    claim(tmp_path, changed("train", log_every=3), step=7)
    assert content(tmp_path)["init_from"]["video"] == "runs/video"
    with pytest.raises(UserError, match=r"another configuration \(optimizer.learning_rate was 0.0001, is 0.5\)"):
        claim(tmp_path, changed("optimizer", learning_rate=0.5), step=7)


def test_a_run_that_has_learned_nothing_is_configured_again(workdir):
    claim(workdir, changed("optimizer", learning_rate=0.5), regions=("arms", "legs"), length_s=1.0)
    assert content(workdir)["optimizer"]["learning_rate"] == 0.5
    assert (content(workdir)["regions"], content(workdir)["clip_length_s"]) == (["arms", "legs"], 1.0)
    assert content(workdir)["changes"] == []


def test_keys_that_an_older_run_does_not_know_count_as_their_defaults(workdir):
    older = content(workdir)
    del older["loss"]["kd_reduction"], older["train"]["max_skipped"], older["init_from"]["rgb_diff"], older["mesh"]
    (workdir / CONFIG).write_text(json.dumps(older))
    assert claim(workdir, step=7) == []
    with pytest.raises(UserError, match=r"loss.kd_reduction was sum, is released"):
        claim(workdir, changed("loss", kd_reduction="released"), step=7)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_file_of_a_run_is_a_configuration(path, variant, tmp_path):
    spec = resolve(load(path, variant))
    claim(tmp_path, spec)
    assert trained_spec(tmp_path) == spec
    assert resolve(to_config(trained_spec(tmp_path))) == spec


def test_an_evaluation_takes_the_model_from_the_run_and_the_rest_as_given(workdir):
    given = dataclasses.replace(
        changed("eval", num_views=2, num_crops=3, checkpoint="best"),
        data=changed("data", data_dir="/elsewhere").data,
        optimizer=changed("optimizer", learning_rate=0.5).optimizer,
        train=changed("train", num_steps=3).train,
    )
    spec = evaluation_spec(workdir, resolve(dataclasses.asdict(given)))
    assert (spec.eval, spec.data, spec.input.num_views) == (given.eval, given.data, 2)
    assert spec.input.views_per_clip == 6
    assert (spec.optimizer, spec.train) == (ExperimentSpec().optimizer, ExperimentSpec().train)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (changed("model", sites="final"), "model.sites was dense, is final"),
        (changed("input", num_poses=32), "input.num_poses was 64, is 32"),
        (changed("loss", kind="softmax_bce"), "loss.kind was sigmoid_bce, is softmax_bce"),
    ],
)
def test_an_evaluation_of_another_model_is_refused(workdir, given, named):
    with pytest.raises(UserError, match=rf"{workdir}: the run was trained with .* \({named}\): leave out --config, or"):
        evaluation_spec(workdir, given)


def test_an_evaluation_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent: no run here: train first, or name the workdir of a run"):
        evaluation_spec(tmp_path / "absent", ExperimentSpec())
    assert not list(tmp_path.iterdir())


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
        claim(workdir, regions=regions, step=7)
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
    claim(workdir, length_s=9.0, step=7)  # such as resumed with other clips left out
    assert trained_clip_length_s(workdir) == LENGTH_S


def test_the_run_of_an_older_version_gets_the_length_when_it_is_resumed(workdir):
    before = (workdir / CONFIG).read_text()
    config = json.loads(before)
    del config["clip_length_s"]
    (workdir / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json: written by an older version, which did not record the length"):
        trained_clip_length_s(workdir)
    claim(workdir, step=7)
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
