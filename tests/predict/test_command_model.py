"""The commands with a real model, a tiny one with random weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.predict import model as model_module
from musclemap_jax.predict.__main__ import main
from musclemap_jax.predict.corpus import main as predict_corpus
from musclemap_jax.predict.model_folder import save_model
from musclemap_jax.predict.outputs import read_muscles
from musclemap_jax.runtime import compilation_cache
from tests.predict.videos import write_video

NUM_FRAMES = 30


@pytest.fixture(scope="module")
def model(tiny_stored_model, tmp_path_factory):
    """The model, stored and loaded."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, tiny_stored_model)
    return model_module.load(folder)


@pytest.fixture(autouse=True)
def here(model, tmp_path, monkeypatch):
    """A working folder with `person.mp4` and its skeleton; the model is loaded once for all tests."""
    monkeypatch.setattr(compilation_cache, "use_compilation_cache", lambda: None)  # it would stay on in later tests
    monkeypatch.setattr(model_module, "load", lambda run: model)
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "person.mp4", NUM_FRAMES, (120, 160))
    write_skeletons([(frame, 1, 40) for frame in range(NUM_FRAMES)])
    return tmp_path


def write_skeletons(places):
    """Writes `person.json` with a person (frame, idx, x) in each place."""
    entries = []
    for frame, idx, x in places:
        keypoints = [value for joint in range(17) for value in (x + joint % 4 * 5 + frame % 7, 10 + 5 * joint, 0.9)]
        entries.append({"image_id": f"{frame}.jpg", "idx": idx, "keypoints": keypoints})
    Path("person.json").write_text(json.dumps(entries))


def predict(*arguments):
    return main([*arguments, "--quiet"])


def muscles(name):
    return read_muscles(f"muscles/{name}/muscles.json")


def test_files_hold_what_the_model_says(model):
    assert predict("person.mp4", "--overlap=0.5") == 0
    (found,) = muscles("person")
    expected = model.predict("person.mp4", overlap=0.5)
    assert len(expected.times_s) == 3
    assert found.modalities == expected.modalities == (("video", "skeleton"),) * 3
    assert found.persons == ((1,),) * 3
    np.testing.assert_array_equal(found.times_s, expected.times_s)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.logits, expected.logits)
    header, *rows = csv.reader(Path("muscles/person/muscles.csv").read_text().splitlines())
    assert header[7:] == list(found.regions)
    cells = np.array([row[7:] for row in rows], float)
    np.testing.assert_allclose(cells, found.probabilities, atol=1e-6)
    assert "person.mp4" in Path("muscles/person/report.html").read_text()


def test_explanations_are_those_of_the_regions_asked_for(model):
    assert predict("person.mp4", "--explain=Calves,top", "--explain=biceps") == 0
    (found,) = muscles("person")
    expected = model.predict("person.mp4")
    order = np.argsort(-expected.mean_probabilities(), kind="stable")
    top = [expected.regions[k] for k in order[:3]]
    assert list(found.explanations) == list(dict.fromkeys(["calves", *top, "biceps"]))
    np.testing.assert_array_equal(found.explain("calves").heat["video"], expected.explain("calves").heat["video"])
    page = Path("muscles/person/report.html").read_text()
    assert page.count("Heat map of biceps, frame") == 4
    assert page.count("<h4>Joints</h4>") == len(found.explanations)


def test_without_pose_the_video_branch_answers_alone():
    assert predict("person.mp4", "--pose=none") == 0
    (found,) = muscles("person")
    assert found.modalities == (("video",),) * 2
    assert found.persons == ((), ())
    assert found.warnings


def test_a_person_is_chosen_or_each_answered_for(capsys):
    second = [(frame, 2, 100) for frame in range(20, NUM_FRAMES)]
    write_skeletons([*((frame, 1, 40) for frame in range(NUM_FRAMES)), *second])
    assert predict("person.mp4", "--person=all") == 0
    first, second = muscles("person")
    assert (first.person, second.person) == (1, 2)
    assert len(first.times_s) == 2
    assert len(second.times_s) == 1
    assert predict("person.mp4", "--person=2", "--overwrite") == 0
    assert [found.person for found in muscles("person")] == [2]
    assert predict("person.mp4", "--person=3", "--overwrite") == 2
    assert "person: expected one of those seen in the video, [1, 2], got 3" in capsys.readouterr().err
    assert [found.person for found in muscles("person")] == [2]


def test_the_skeletons_of_a_longer_video_are_refused(capsys):
    write_skeletons([(frame, 1, 40) for frame in range(NUM_FRAMES + 5)])
    assert predict("person.mp4") == 2
    line = f"error: person.json: expected frames 0 to {NUM_FRAMES - 1} of the video, got frame {NUM_FRAMES + 4}: "
    assert capsys.readouterr().err == line + "is it the file of another video, or of another frame rate?\n"
    assert not Path("muscles").exists()


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_a_video_of_few_frames_holds_no_movement(capsys, num_frames):
    write_video("short.mp4", num_frames)
    assert predict("short.mp4", "--pose=none") == 2
    line = f"error: short.mp4: expected at least 4 frames of movement, got {num_frames}\n"
    assert capsys.readouterr().err == line
    assert not Path("muscles").exists()


def test_a_video_of_8k_is_a_video():
    write_video("large.mp4", 4, (4320, 7680), preset="ultrafast")
    assert predict("large.mp4", "--pose=none") == 0
    assert np.isfinite(muscles("large")[0].probabilities).all()


def test_the_pose_estimator_is_named_where_it_is_missing(capsys):
    Path("person.json").unlink()
    assert predict("person.mp4", "--pose_model=none.task") == 2
    way_out = "or go without a skeleton: pose='none' (--pose=none)"
    assert capsys.readouterr().err == f"error: --pose_model=none.task: no such file; {way_out}\n"
    assert not Path("muscles").exists()


def test_a_corpus_holds_what_the_command_says():
    assert predict("person.mp4") == 0
    assert predict_corpus(["--input=.", "--out=corpus", "--num_processes=1"]) == 0
    assert Path("corpus/muscles.csv").read_text() == Path("muscles/person/muscles.csv").read_text()
