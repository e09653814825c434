"""Corpora: each video once, on any number of processes; interrupted runs continue; results are merged."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from etils.epath import gpath

from musclemap_jax.errors import UserError
from musclemap_jax.predict.corpus import main
from musclemap_jax.predict.corpus_files import CorpusVideo, Shard
from musclemap_jax.predict.corpus_prediction import check_pose
from musclemap_jax.predict.model import Model
from musclemap_jax.predict.outputs import read_muscles
from musclemap_jax.predict.request import Request
from tests.conftest import ROOT
from tests.object_store import BUCKET, Store
from tests.predict import fake_model
from tests.predict.videos import write_video

NAMES = ["a.mp4", "b/a.mp4", "b/c.mov", "b/d.mp4", "e.mp4"]

TIMEOUT_S = 120
COMMAND = """
import sys
from tests.predict import fake_model
from musclemap_jax.predict.corpus import main
fake_model.install()
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def here(tmp_path, with_fake_model):
    """A working folder with a corpus of five videos, one of them bad, and the model in place."""
    (tmp_path / "videos" / "b").mkdir(parents=True)
    for name in NAMES:
        write_video(tmp_path / "videos" / name, num_frames=12)
    (tmp_path / "videos" / "b" / "d.mp4").write_bytes(b"no video")
    return tmp_path


def run(*arguments):
    return corpus("--input=videos", "--out=out", *arguments)


def corpus(*arguments):
    """The command, alone: JAX runs in this process already and could not look for others."""
    return main([*arguments, "--num_processes=1"])


def rows(path):
    return list(csv.reader(Path(path).read_text().splitlines()))


def modified():
    return {path.name: path.stat().st_mtime_ns for path in Path("out/results").iterdir()}


def start(folder, *arguments, slow=False):
    if slow:
        (folder / "slow").touch()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], cwd=folder, env=environment, **pipes)


def wait_for(condition, process):
    give_up = time.monotonic() + TIMEOUT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_results_are_merged_and_failures_listed(capsys):
    assert run() == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "4 predicted, 0 done before, 1 failed",
        "5 videos, 1 without a result: out",
    ]
    merged = rows("out/muscles.csv")
    assert [row[0] for row in merged] == ["video", *(name for name in NAMES if name != "b/d.mp4" for _ in range(2))]
    assert [row[2:4] for row in merged[1:3]] == [["0.000", "1.000"], ["1.000", "1.200"]]
    reason = "cannot be decoded: Invalid data found when processing input"
    assert rows("out/failed.csv") == [["video", "reason"], ["b/d.mp4", reason]]
    assert len(modified()) == 4


def test_a_second_run_does_what_is_left_and_nothing_else(capsys):
    run()
    before = modified()
    write_video("videos/b/d.mp4", num_frames=12)
    capsys.readouterr()
    assert run() == 0
    assert capsys.readouterr().out.startswith("1 predicted, 4 done before, 0 failed\n")
    after = modified()
    assert len(after) == 5
    assert {name: after[name] for name in before} == before
    assert rows("out/failed.csv") == [["video", "reason"]]
    assert not list(Path("out/failed").iterdir())
    assert [row[0] for row in rows("out/muscles.csv")[1::2]] == NAMES
    shutil.rmtree("out/results")
    Path("out/results").mkdir()
    assert run() == 0
    assert [row[0] for row in rows("out/muscles.csv")[1::2]] == NAMES


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shards_share_the_videos(count, capsys):
    statuses = [run(f"--shard={index}/{count}") for index in range(count)]
    assert sorted(statuses)[-2:] == [0, 1][-len(statuses) :]
    outputs = [json.loads(path.read_text())["source"] for path in Path("out/results").iterdir()]
    assert sorted(outputs) == [name for name in NAMES if name != "b/d.mp4"]
    assert not Path("out/muscles.csv").exists()
    assert [row[0] for path in Path("out/failed").iterdir() for row in rows(path)[1:]] == ["b/d.mp4"]
    capsys.readouterr()
    assert run() == 1  # merges, and tries the failed one again
    assert capsys.readouterr().out.splitlines()[0] == "0 predicted, 4 done before, 1 failed"
    assert len(rows("out/muscles.csv")) == 9


def test_every_video_is_in_one_shard():
    videos = [CorpusVideo(str(number), str(number)) for number in range(23)]
    for count in (1, 2, 5, 23, 40):
        parts = [Shard(index, count).of(videos) for index in range(count)]
        assert sorted(itertools.chain(*parts), key=videos.index) == videos
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_list_names_the_videos_relative_to_itself(here, monkeypatch):
    (here / "lists").mkdir()
    lines = ["../videos/e.mp4", "", str(here / "videos" / "a.mp4"), "../videos/e.mp4", "../videos/gone.mp4"]
    (here / "lists" / "all.txt").write_bytes("\r\n".join(lines).encode())
    assert corpus("--input=lists/all.txt", "--out=out") == 1
    assert [row[0] for row in rows("out/muscles.csv")[1::2]] == ["../videos/e.mp4", str(here / "videos" / "a.mp4")]
    reason = "cannot be opened: No such file or directory"
    assert rows("out/failed.csv")[1:] == [["../videos/gone.mp4", reason]]


def test_a_missing_pose_estimator_is_reported_once_before_any_video(here, capsys):
    (here / "no_pose").touch()
    assert run() == 2
    output = capsys.readouterr()
    assert output.err == "error: pose estimation: MediaPipe is not installed: run pip install\n"
    assert output.out == ""
    assert not modified()
    assert not Path("out/failed.csv").exists()
    assert not list(Path("out/failed").iterdir())
    # Without a result, the folder takes other settings, such as those that the error proposes.
    assert corpus("--input=videos", "--out=out", "--pose=none") == 1  # the bad video
    assert run() == 2
    assert "out: holds results of pose 'none', got 'auto': choose another --out" in capsys.readouterr().err


def test_a_corpus_with_skeletons_or_without_poses_needs_no_estimator(here):
    (here / "no_pose").touch()
    assert corpus("--input=videos", "--out=alone", "--pose=none") == 1
    joints = [value for joint in range(17) for value in (9.0 + joint, 5.0 + joint, 0.9)]
    for name in NAMES:
        Path("videos", name).with_suffix(".json").write_text(json.dumps([{"image_id": 3, "keypoints": joints}]))
    assert run() == 1
    assert len(modified()) == 4


def test_the_real_model_says_what_is_missing(tiny_stored_model, here, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "empty"))
    model, videos = Model(tiny_stored_model), [CorpusVideo("e.mp4", "videos/e.mp4")]
    message = "the pose model .* not installed: run .* --install_pose; or go without a skeleton: pose='none'"
    with pytest.raises(UserError, match=message):
        check_pose(model, videos, Request())
    check_pose(model, videos, Request(pose="none"))
    check_pose(model, [], Request())


def test_what_a_killed_run_left_is_removed(here):
    run()
    for folder in ("out", "elsewhere"):
        path = Path(folder, f".muscles.csv.{'0' * 32}.unfinished")
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    run()
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "corpus.json",
        "failed",
        "failed.csv",
        "muscles.csv",
        "results",
    ]
    assert len(list(Path("elsewhere").iterdir())) == 1


def test_a_skeleton_beside_a_video_is_used(here):
    joints = [value for joint in range(17) for value in (9.0 + joint, 5.0 + joint, 0.9)]
    (here / "videos" / "a.json").write_text(json.dumps([{"image_id": 3, "keypoints": joints}]))
    run()
    assert rows("out/muscles.csv")[1][4:6] == ["video;skeleton", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input=none", "--out=new"], "none: expected a folder of videos or a list of them: [Errno 2] No such file "
         "or directory: 'none'"),
        (["--input=videos/a.mp4", "--out=new"], "videos/a.mp4: expected a text file with a path per line, got a "
         "binary file"),
        (["--input=empty", "--out=new"], "empty: expected videos, found none"),
        (["--input=videos", "--out=new", "--shard=2/2"], "argument --shard: expected I/N with I from 0 to N-1, such "
         "as 3/8, got '2/2': see --help"),
        (["--input=videos", "--out=out", "--overlap=0.5"], "out: holds results of overlap 0.0, got 0.5: choose "
         "another --out"),
        (["--input=videos", "--out=out", "--run=runs/demo"], "out: holds results of run '', got 'runs/demo': choose "
         "another --out"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(here, capsys, arguments, message):
    (here / "empty").mkdir()
    run()
    before = modified()
    capsys.readouterr()
    assert corpus(*arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert not (here / "new").exists()
    assert modified() == before


def test_an_error_that_is_no_answer_to_bad_input_is_recorded_too(capsys, monkeypatch):
    def predict(model, video, **options):
        raise RuntimeError(f"no luck with\n{Path(video).name}")

    monkeypatch.setattr(fake_model.FakeModel, "predict", predict)
    assert run() == 1
    assert "RuntimeError: no luck with" in capsys.readouterr().err
    assert rows("out/failed.csv")[1] == ["a.mp4", r"RuntimeError: no luck with\na.mp4"]
    assert Path("out/muscles.csv").read_text() == ""


def test_names_that_are_not_text_have_results(here):
    name = os.fsdecode(b"caf\xe9\n.mp4")
    os.rename("videos/a.mp4", here / "videos" / name)
    assert run() == 1
    assert [row[0] for row in rows("out/muscles.csv")[1::2]] == ["b/a.mp4", "b/c.mov", r"caf\xe9\n.mp4", "e.mp4"]
    assert run() == 1
    assert len(modified()) == 4


def test_videos_and_results_on_cloud_storage(here, monkeypatch):
    expected = run()
    merged, failed = Path("out/muscles.csv").read_text(), rows("out/failed.csv")
    store = Store(here / "bucket")
    monkeypatch.setattr(gpath._GPath, "_backend", property(lambda path: store))
    store.folder.mkdir()
    shutil.move("videos", store.folder / "videos")
    for _ in range(2):
        assert corpus(f"--input={BUCKET}/videos", f"--out={BUCKET}/out") == expected
    assert (store.folder / "out" / "muscles.csv").read_text() == merged
    assert rows(store.folder / "out" / "failed.csv") == failed
    assert not (here / "gs:").exists()


def test_results_of_other_regions_are_not_merged(capsys):
    run()
    path = sorted(Path("out/results").iterdir())[-1]
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"regions": [f"region {k}" for k in range(20)]}))
    before = Path("out/muscles.csv").read_text()
    capsys.readouterr()
    assert run() == 2
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == f"error: {path}: has other regions than the other results: delete it"
    )
    assert Path("out/muscles.csv").read_text() == before
    assert sorted(each.name for each in Path("out").iterdir()) == [
        "corpus.json", "failed", "failed.csv", "muscles.csv", "results"
    ]  # fmt: skip


def test_an_interrupted_run_is_resumed(here):
    for number in range(30):
        write_video(here / "videos" / f"n{number:02d}.mp4", num_frames=12)
    process = start(here, "--input=videos", "--out=out", "--num_processes=1", slow=True)
    wait_for(lambda: len(list((here / "out" / "results").glob("*.json"))) >= 3, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, errors
    (here / "slow").unlink()
    before = modified()
    assert 3 <= len(before) < 34
    assert all(name.endswith(".json") for name in before)
    for name in before:
        read_muscles(f"out/results/{name}")
    assert run() == 1
    assert len(modified()) == 34
    assert {name: modified()[name] for name in before} == before


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode != 0,
    reason="needs user namespaces, to mount a small disk",
)
def test_a_full_disk_ends_the_run_in_one_line(here):
    (here / "out").mkdir()
    mount = 'mount -t tmpfs -o size=12k none out && "$@"; status=$?; ls -A out/results >&2; exit $status'
    arguments = ["--input=videos", "--out=out", "--num_processes=1"]
    command = ["unshare", "-Urm", "sh", "-c", mount, "sh", sys.executable, "-c", COMMAND, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert process.returncode == 2
    lines = process.stderr.splitlines()
    refusal = "the results could not be written: No space left on device: free some space or choose another --out"
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert error.startswith("error: out/results/")
    assert error.endswith(refusal)
    left = lines[lines.index(error) + 1 :]
    assert 1 <= len(left) < 4
    assert all(name.endswith(".json") for name in left)


def test_the_processes_of_a_job_share_the_videos_and_the_first_one_merges(here):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    arguments = ["--input=videos", "--out=out", f"--coordinator={coordinator}", "--num_processes=2"]
    processes = [start(here, *arguments, f"--process_id={index}") for index in range(2)]
    results = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    assert [process.returncode for process in processes] == [1, 0], results
    assert results[0][0].startswith("shard 0 of 2: 3 predicted, 0 done before, 0 failed\n5 videos, 1 without a result")
    assert results[1][0] == "shard 1 of 2: 1 predicted, 0 done before, 1 failed\n"
    assert len(rows("out/muscles.csv")) == 9
