"""Corpora by Apache Beam: the same results as without it, the model loaded once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from musclemap_jax.predict.corpus import main
from tests.predict import fake_model
from tests.predict.videos import write_video

IN_MEMORY = "--beam_pipeline_options=runner=DirectRunner,direct_running_mode=in_memory"


@pytest.fixture(autouse=True)
def here(tmp_path, with_fake_model):
    """A working folder with a corpus of four videos, one of them bad, and the model in place."""
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_video(tmp_path / "videos" / name, num_frames=12)
    (tmp_path / "videos" / "d.mp4").write_bytes(b"no video")
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_without_beam_the_error_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert main(["--input=videos", "--out=out", IN_MEMORY]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Beam needs the package apache-beam (")
    assert error.endswith("): install the extra beam, `pip install -e '.[beam]'`\n")


@pytest.mark.tfds
@pytest.mark.filterwarnings("default")
def test_beam_gives_the_same_results_and_loads_the_model_once(here, monkeypatch):
    pytest.importorskip("apache_beam")
    assert main(["--input=videos", "--out=plain", "--num_processes=1"]) == 1
    loaded = []
    monkeypatch.setattr(
        sys.modules["musclemap_jax.predict.model"], "load", lambda run: loaded.append(run) or fake_model.FakeModel(run)
    )
    assert main(["--input=videos", "--out=beam", IN_MEMORY]) == 1
    assert loaded == [None]
    expected = contents("plain")
    expected[Path("failed/beam.csv")] = expected.pop(Path("failed/00000-of-00001.csv"))
    assert contents("beam") == expected
    write_video("videos/d.mp4", num_frames=12)
    before = {path: path.stat().st_mtime_ns for path in Path("beam/results").iterdir()}
    assert main(["--input=videos", "--out=beam", IN_MEMORY]) == 0
    after = {path: path.stat().st_mtime_ns for path in Path("beam/results").iterdir()}
    assert len(after) == 4
    assert {path: after[path] for path in before} == before
    assert not list(Path("beam/failed").iterdir())
    loaded.clear()
    assert main(["--input=videos", "--out=beam", IN_MEMORY]) == 0
    assert loaded == []


@pytest.mark.tfds
@pytest.mark.filterwarnings("default")
def test_a_missing_pose_estimator_ends_the_pipeline(here, capsys):
    pytest.importorskip("apache_beam")
    (here / "no_pose").touch()
    assert main(["--input=videos", "--out=beam", IN_MEMORY]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: pose estimation: MediaPipe is not installed: run pip install")  # Beam adds the step
    assert not list((here / "beam" / "results").iterdir())
