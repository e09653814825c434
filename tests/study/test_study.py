"""Study files: those that ship are valid, and what is wrong with others is said in one line."""

from __future__ import annotations

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.study.runs import plan_runs
from musclemap_jax.study.study import Row, Study, load_study, study_file
from tests.conftest import ROOT

SHIPPED = sorted((ROOT / "configs" / "studies").glob("*.py"))
ROW = Row("hdgcn:smoke")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_row_of_a_shipped_study_resolves(path, tmp_path):
    study = load_study(str(path))
    runs = plan_runs(study, tmp_path, tmp_path / "results", {})
    assert study.name == path.stem
    assert study.summary == path.read_text().splitlines()[0].strip('"')
    assert len({run.folder for run in runs}) == len({run.result for run in runs}) == len(runs)
    assert len(runs) == len(study.rows) * len(study.seeds)
    assert f"--study={path.stem} " in path.read_text()


def test_the_ablation_has_at_most_eight_rows_that_differ():
    study = load_study("ablation")
    assert len(study.rows) <= 8
    specs = [run.spec for run in plan_runs(study, ROOT, ROOT, {})]
    assert len(set(map(str, specs))) == 3 * len(study.rows)
    assert {spec.data.builder for spec in specs} == {"synthetic"}


def test_the_modalities_are_alone_and_in_pairs():
    study = load_study("modalities")
    runs = [run for run in plan_runs(study, ROOT, ROOT, {}) if run.seed == 0]
    assert sorted(len(run.spec.model.branches) for run in runs) == [1] * 4 + [2] * 6
    assert len({frozenset(run.spec.model.branches) for run in runs}) == 10


def test_the_baselines_are_one_network_each_trained_alike():
    study = load_study("baselines")
    specs = [run.spec for run in plan_runs(study, ROOT, ROOT, {}) if run.seed == 0]
    networks = [[(name, spec.model.architecture(name)) for name in spec.model.branches] for spec in specs]
    assert len(set(map(str, networks))) == len(study.rows) == 15
    published = {"video", "rgb_diff", "swin", "c2d", "i3d", "slow", "slowfast", "skeleton", "stgcn", "ctrgcn"}
    assert {name for spec in specs for name in spec.model.branches} == published
    assert len({spec.optimizer for spec in specs}) == len({spec.train for spec in specs}) == 1


def test_a_study_is_found_by_its_name_or_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert study_file("smoke") == study_file("smoke.py") == ROOT / "configs" / "studies" / "smoke.py"
    (tmp_path / "mine.py").write_text("")
    assert study_file("mine.py").resolve() == tmp_path / "mine.py"
    with pytest.raises(UserError, match=r"--study: expected a file, found none at absent.py: pass a path or one of ab"):
        study_file("absent.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "study.py: AttributeError: module 'study_study' has no attribute 'get_study'"),
        ("def get_study():\n    return 3\n", r"study.py: get_study\(\) must return a Study, got a int"),
        ("x = 1\ndef get_study(:\n", "study.py, line 2: SyntaxError"),
        ("def get_study():\n    return missing\n", "study.py, line 2: NameError: name 'missing' is not defined"),
        (
            "from musclemap_jax.study.study import Study\ndef get_study():\n    return Study(rows={})\n",
            "study.py: rows: expected at least one",
        ),
    ],
)
def test_an_invalid_file_is_named_with_the_line(text, message, tmp_path):
    (tmp_path / "study.py").write_text(text)
    with pytest.raises(UserError, match=message):
        load_study(str(tmp_path / "study.py"))


def test_a_folder_is_no_study(tmp_path):
    with pytest.raises(UserError, match="--study: expected a file"):
        load_study(str(tmp_path))
    (tmp_path / "study").write_text("")
    with pytest.raises(UserError, match="--study: expected a Python file, got"):
        load_study(str(tmp_path / "study"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": {"../up": ROW}}, r"rows: '../up' is no name of a folder: use letters, digits, '_', '-' and '.'"),
        ({"rows": {"": ROW}}, "rows: '' is no name of a folder"),
        ({"rows": {"a": ROW}, "seeds": ()}, r"seeds: expected different numbers, at least one, got \(\)"),
        ({"rows": {"a": ROW}, "seeds": [1, 1]}, r"seeds: expected different numbers, at least one, got \(1, 1\)"),
        ({"rows": {"a": ROW, "b": ROW}, "reference": "c"}, "reference: expected one of a, b, got 'c'"),
    ],
)
def test_an_invalid_study_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Study(**fields)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("seed", "override 'seed': the seeds of a study are its own: leave it out"),
        ("config.loss.kd_tau", "override 'config.loss.kd_tau': leave out 'config.'"),
    ],
)
def test_an_override_that_cannot_be_is_refused(key, message):
    with pytest.raises(UserError, match=message):
        Row("hdgcn:smoke", {key: 1})


def test_the_first_row_is_the_reference_by_default():
    assert Study(rows={"b": ROW, "a": ROW}).reference == "b"
