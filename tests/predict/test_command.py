"""The command `python -m musclemap_jax.predict`, with a model whose answers are made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.raw.video import read_video
from musclemap_jax.predict.__main__ import main
from musclemap_jax.predict.outputs import read_muscles
from tests.conftest import ROOT
from tests.predict.videos import write_audio, write_video

WITHOUT_JAX = """
import sys
from musclemap_jax.predict import {module}
assert not {{"jax", "flax", "tensorflow_datasets"}} & set(sys.modules)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, with_fake_model):
    """An empty working folder, and the model in place."""
    return tmp_path


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def skeleton(path, frames, num_joints=17):
    joints = [value for joint in range(num_joints) for value in (9.0 + joint, 5.0 + joint, 0.9)]
    entries = [{"image_id": f"{frame}.jpg", "keypoints": joints} for frame in frames]
    path.write_text(json.dumps(entries))


def error_of(capsys, *arguments):
    """The one line on stderr of a command that fails."""
    assert main(list(map(str, arguments))) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    return line.removeprefix("error: ")


def test_a_video_gives_a_table_and_a_folder_of_results(here, capsys):
    write_video(here / "squat.mp4")
    assert main(["squat.mp4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "squat.mp4: 2.5 s, 3 windows, by video"
    assert "* wrists" in [line[:8] for line in lines]
    assert lines[-3:] == ["Active: above 70 %.", "results: muscles/squat", ""]
    assert names("muscles") == ["squat"]
    assert names("muscles/squat") == ["muscles.csv", "muscles.json", "report.html"]
    (prediction,) = read_muscles("muscles/squat/muscles.json")
    assert prediction.times_s.tolist() == [[0, 1], [1, 2], [2, 2.5]]
    assert prediction.source == "squat.mp4"


def test_all_videos_of_a_folder_and_those_named(here, capsys):
    (here / "clips").mkdir()
    for name in ("clips/b.mp4", "clips/a.mp4", "clips/.c.mp4", "lunge.mp4"):
        write_video(here / name)
    (here / "clips" / "notes.txt").write_text("")
    assert main(["clips", "lunge.mp4", "--out=answers/new", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert names("answers/new") == ["a", "b", "lunge"]


def test_videos_of_one_name_do_not_share_a_folder(here):
    for folder in ("monday", "friday"):
        (here / folder).mkdir()
        write_video(here / folder / "squat.mp4")
    assert main(["monday", "friday"]) == 0
    found = names("muscles")
    assert len(found) == 2
    assert all(name.startswith("squat-") for name in found)
    sources = {read_muscles(f"muscles/{name}/muscles.json")[0].source for name in found}
    assert sources == {"monday/squat.mp4", "friday/squat.mp4"}


def test_the_video_with_the_answer_drawn_in_has_every_frame(here):
    write_video(here / "squat.mp4", num_frames=25, size=(240, 320))
    assert main(["squat.mp4", "--annotate", "--quiet"]) == 0
    assert names("muscles/squat") == ["annotated.mp4", "muscles.csv", "muscles.json", "report.html"]
    drawn, plain = (read_video(path) for path in ("muscles/squat/annotated.mp4", "squat.mp4"))
    differences = [
        np.abs(after.astype(int) - before).max() for after, before in zip(drawn.frames, plain.frames, strict=True)
    ]
    assert len(differences) == 25
    assert min(differences) > 50


def test_a_run_is_loaded_by_its_path(here):
    write_video(here / "squat.mp4")
    assert main(["squat.mp4", "--run=runs/demo"]) == 0
    assert read_muscles("muscles/squat/muscles.json")[0].warnings == ("run runs/demo",)


def test_a_skeleton_beside_the_video_is_used_unless_the_pose_is_not_wanted(here):
    write_video(here / "squat.mp4")
    skeleton(here / "squat.json", range(5))
    assert main(["squat.mp4", "--quiet"]) == 0
    (prediction,) = read_muscles("muscles/squat/muscles.json")
    assert prediction.modalities == (("video", "skeleton"), ("video",), ("video",))
    assert main(["squat.mp4", "--quiet", "--pose=none", "--out=without"]) == 0
    assert read_muscles("without/squat/muscles.json")[0].persons == ((), (), ())


def test_a_skeleton_of_another_name_and_layout_is_given(here, capsys):
    write_video(here / "squat.mp4")
    skeleton(here / "pose.json", range(5), num_joints=136)
    assert main(["squat.mp4", "--quiet", "--skeleton=pose.json", "--skeleton_layout=halpe136"]) == 0
    assert read_muscles("muscles/squat/muscles.json")[0].persons[0] == (1,)
    line = error_of(capsys, "squat.mp4", "--skeleton=pose.json", "--out=other")
    assert line.startswith("pose.json: not usable as pose results of the video: entry 0: layout coco17 has 17 joints")
    assert names(".") == ["muscles", "pose.json", "squat.mp4"]


def test_a_skeleton_is_of_one_video(here, capsys):
    for name in ("a.mp4", "b.mp4"):
        write_video(here / name)
    line = error_of(capsys, "a.mp4", "b.mp4", "--skeleton=pose.json")
    assert line == "--skeleton: is of one video, got 2: put the results beside the videos, as VIDEO.json"


def test_each_person_has_an_answer_of_their_own(here):
    write_video(here / "squat.mp4")
    entries = [
        {"image_id": f"{frame}.jpg", "idx": idx, "keypoints": [x, 9.0, 0.9] * 17}
        for frame in range(8)
        for idx, x in ((4, 9.0), (9, 39.0))
    ]
    (here / "squat.json").write_text(json.dumps(entries))
    assert main(["squat.mp4", "--quiet", "--person=all"]) == 0
    assert [prediction.person for prediction in read_muscles("muscles/squat/muscles.json")] == [1, 2]
    pages = ["report_person1.html", "report_person2.html"]
    assert names("muscles/squat") == ["muscles.csv", "muscles.json", *pages]
    assert main(["squat.mp4", "--quiet", "--person=2", "--overwrite"]) == 0
    assert names("muscles/squat") == ["muscles.csv", "muscles.json", "report.html"]
    assert [prediction.person for prediction in read_muscles("muscles/squat/muscles.json")] == [2]


def test_without_persons_there_is_no_answer_for_each(here, capsys):
    write_video(here / "squat.mp4")
    line = error_of(capsys, "squat.mp4", "--person=all")
    assert line == "squat.mp4: --person=all: nobody is seen: leave it out to rest on the video alone"
    assert names(".") == ["squat.mp4"]


def test_results_are_replaced_or_kept_only_where_that_is_asked_for(here, capsys):
    write_video(here / "squat.mp4")
    assert main(["squat.mp4", "--quiet", "--run=first"]) == 0
    line = error_of(capsys, "squat.mp4")
    expected = "muscles/squat: holds results of an earlier run: pass --overwrite to replace them, --skip_existing to "
    assert line == expected + "keep them, or another --out"
    write_video(here / "lunge.mp4")
    assert main(["squat.mp4", "lunge.mp4", "--quiet", "--run=second", "--skip_existing"]) == 0
    runs = {name: read_muscles(f"muscles/{name}/muscles.json")[0].warnings for name in names("muscles")}
    assert runs == {"lunge": ("run second",), "squat": ("run first",)}
    assert main(["squat.mp4", "--quiet", "--run=third", "--overwrite"]) == 0
    assert read_muscles("muscles/squat/muscles.json")[0].warnings == ("run third",)
    assert names("muscles") == ["lunge", "squat"]


def test_a_folder_of_something_else_is_never_replaced(here, capsys):
    write_video(here / "squat.mp4")
    (here / "squat").mkdir()
    (here / "squat" / "photo.jpg").write_bytes(b"")
    line = error_of(capsys, "squat.mp4", "--out=.", "--overwrite")
    assert line == "squat: exists and is not a folder of results: choose another --out"
    assert names("squat") == ["photo.jpg"]


def test_the_other_videos_are_answered_when_one_is_bad(here, capsys):
    write_video(here / "good.mp4")
    (here / "bad.mp4").write_bytes(b"no video at all")
    write_video(here / "a_tiny.mp4", size=(2, 2))
    assert main([".", "--quiet", "--pose=none"]) == 2
    tiny, bad = capsys.readouterr().err.splitlines()
    assert tiny == "error: a_tiny.mp4: expected frames of at least 16x16 pixels, got 2x2"
    assert bad.startswith("error: bad.mp4: cannot be decoded: Invalid data")
    assert names("muscles") == ["good"]


HOSTILE = ["-rf.mp4", "--run=x.mp4", "a\nb\x1b[2J.mp4", "http:x.mp4", "pipe:0.mp4", "%d.mp4", "a;b|c$(d).mp4"]


@pytest.mark.parametrize("name", [*HOSTILE, os.fsdecode(b"caf\xe9.mp4"), "x" * 200 + ".mp4"])
def test_hostile_names_are_names(here, capsys, name):
    write_video(here / "plain.mp4")
    os.rename("plain.mp4", here / name)
    assert main(["--", name]) == 0
    output = capsys.readouterr().out
    assert output.encode()  # valid text
    assert "\x1b" not in output
    (folder,) = names("muscles")
    assert folder.isprintable()
    assert not folder.startswith(("-", "."))
    assert names(".") == sorted(["muscles", name])
    assert len(read_muscles(f"muscles/{folder}/muscles.json")[0].times_s) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a video or a folder of videos: see --help"),
        (["none.mp4"], "none.mp4: no such file or folder"),
        (["empty"], "empty: expected videos (.mp4, .mov, .mkv and others), found none in the folder"),
        (["audio.mp4"], "audio.mp4: no video stream"),
        (["text.mp4"], "text.mp4: cannot be decoded: Invalid data found when processing input"),
        (["nothing.mp4"], "nothing.mp4: empty file"),
        (["squat.mp4", "--overlap=1"], "argument --overlap: expected a number from 0 to below 1, got '1': see --help"),
        (["squat.mp4", "--overlap=x"], "argument --overlap: expected a number from 0 to below 1, got 'x': see --help"),
        (["squat.mp4", "--person=0"], "argument --person: expected a number from 1 or all, got '0': see --help"),
        (["squat.mp4", "--person=3"], "person: expected one of those seen in the video, got 3"),
        (["squat.mp4", "--explain=chest,"], "argument --explain: expected names of muscle regions joined by commas, "
         "got 'chest,': see --help"),
        (["squat.mp4", "--explain=top,quadricep"], "--explain: expected a muscle region of the model, got 'quadricep': "
         "try quadriceps, triceps, biceps"),
        (["squat.mp4", "--out=gs://b/c"], "--out: expected a local folder, got gs://b/c: python -m "
         "musclemap_jax.predict.corpus writes there"),
        (["squat.mp4", "--pose=none", "--pose_model=x.task"], "--pose_model: goes with a pose estimator, got "
         "--pose=none: leave one of them out"),
        (["squat.mp4", "--overwrite", "--skip_existing"], "argument --skip_existing: not allowed with argument "
         "--overwrite: see --help"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(here, capsys, arguments, message):
    (here / "empty").mkdir()
    write_audio(here / "audio.mp4")
    write_video(here / "squat.mp4")
    (here / "text.mp4").write_text("no video")
    (here / "nothing.mp4").write_bytes(b"")
    before = names(".")
    assert error_of(capsys, *arguments) == message
    assert names(".") == before


@pytest.mark.parametrize("module", ["__main__", "corpus"])
def test_help_and_checks_of_the_input_are_quick(module):
    subprocess.run([sys.executable, "-c", WITHOUT_JAX.format(module=module)], check=True, cwd=ROOT)
