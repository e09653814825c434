"""The commands with a real model, a tiny one with random weights, and with a real video."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.predict.__main__ import main
from musclemap_jax.predict.corpus import main as predict_corpus
from musclemap_jax.predict.model import Model
from musclemap_jax.predict.model_folder import save_model
from musclemap_jax.predict.outputs import read_muscles
from tests.predict.conftest import REAL_FRAMES
from tests.predict.videos import write_video


@pytest.fixture(scope="module")
def run(tiny_stored_model, tmp_path_factory):
    """Folder of the model."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, tiny_stored_model)
    return folder


@pytest.fixture
def here(real_clip, monkeypatch):
    """The working folder, with `person.mp4` and its skeleton."""
    monkeypatch.chdir(real_clip.parent)
    return real_clip.parent


def predict(run, *arguments):
    return main([*map(str, arguments), f"--run={run}", "--quiet"])


def muscles(name):
    return read_muscles(f"muscles/{name}/muscles.json")


def test_files_hold_what_the_model_says(run, here, tiny_stored_model):
    assert predict(run, "person.mp4", "--overlap=0.5") == 0
    (found,) = muscles("person")
    expected = Model(tiny_stored_model).predict("person.mp4", overlap=0.5)
    assert found.modalities == expected.modalities == (("video", "skeleton"),)
    assert found.persons == ((1,),)
    # The weights are stored as float16.
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-3)
    with open("muscles/person/muscles.csv") as file:
        header, row = csv.reader(file)
    assert header[7:] == list(found.regions)
    np.testing.assert_allclose([float(cell) for cell in row[7:]], found.probabilities[0], atol=1e-6)


def test_the_page_and_the_drawn_video_show_the_skeleton(run, here):
    assert predict(run, "person.mp4", "--annotate") == 0
    assert "person.mp4" in Path("muscles/person/report.html").read_text()
    assert Path("muscles/person/annotated.mp4").stat().st_size > 10_000


def test_without_pose_the_video_branch_answers_alone(run, here):
    assert predict(run, "person.mp4", "--pose=none") == 0
    (found,) = muscles("person")
    assert found.modalities == (("video",),)
    assert found.persons == ((),)
    assert found.warnings


def test_a_person_is_chosen_or_each_answered_for(run, here, capsys):
    entries = json.loads(Path("person.json").read_text())
    moved = [entry | {"idx": 2} for entry in entries[20:60]]
    for entry in moved:
        entry["keypoints"] = [value + 300 * (place % 3 == 0) for place, value in enumerate(entry["keypoints"])]
    Path("person.json").write_text(json.dumps([entry | {"idx": 1} for entry in entries] + moved))
    assert predict(run, "person.mp4", "--person=all") == 0
    assert [(found.person, found.persons) for found in muscles("person")] == [(1, ((1, 2),)), (2, ((1, 2),))]
    assert predict(run, "person.mp4", "--person=2", "--overwrite") == 0
    assert [found.person for found in muscles("person")] == [2]
    assert predict(run, "person.mp4", "--person=3", "--overwrite") == 2
    assert "person: expected one of those seen in the video, [1, 2], got 3" in capsys.readouterr().err
    assert [found.person for found in muscles("person")] == [2]


def test_the_skeleton_of_a_longer_video_is_refused(run, here, capsys):
    write_video(here / "person.mp4", num_frames=30)
    assert predict(run, "person.mp4") == 2
    line = f"error: person.json: expected frames 0 to 29 of the video, got frame {REAL_FRAMES - 1}: "
    assert capsys.readouterr().err == line + "is it the file of another video?\n"
    assert not Path("muscles").exists()


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_a_video_of_few_frames_holds_no_movement(run, here, capsys, num_frames):
    write_video(here / "short.mp4", num_frames=num_frames)
    assert predict(run, "short.mp4", "--pose=none") == 2
    line = f"error: short.mp4: expected at least 4 frames of movement, got {num_frames}\n"
    assert capsys.readouterr().err == line
    assert not Path("muscles").exists()


def test_a_video_of_8k_is_a_video(run, here):
    write_video(here / "large.mp4", num_frames=4, size=(4320, 7680))
    assert predict(run, "large.mp4", "--pose=none") == 0
    assert np.isfinite(muscles("large")[0].probabilities).all()


def test_a_corpus_holds_what_the_command_says(run, here):
    assert predict(run, "person.mp4") == 0
    arguments = ["--input=.", "--out=corpus", f"--run={run}", "--num_processes=1"]
    assert predict_corpus(arguments) == 0
    assert Path("corpus/muscles.csv").read_text() == Path("muscles/person/muscles.csv").read_text()
