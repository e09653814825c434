"""The command and the call that prepare the data: what they reuse, and the one line that they end with."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.errors import UserError
from tfds_musclemap.build.build_folder import build_lock
from tfds_musclemap.prepare import load_source, main, prepare


def test_prepared_data_is_reused_without_the_raw_data_set(prepared, capsys):
    _, builder = prepared
    folder = Path(builder.data_path)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = prepare("multimodal", folder.parent.parent.parent)
    assert again.info.splits.total_num_examples == 10
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert capsys.readouterr().out == ""


def test_a_process_that_waited_uses_what_the_other_one_built(prepared, tmp_path):
    root, builder = prepared
    folder = tmp_path / "musclemap" / "multimodal" / "4.0.0"
    command = [sys.executable, "-m", "tfds_musclemap.prepare", "--config=multimodal", f"--data_dir={tmp_path}"]
    with build_lock(folder):
        waiting = subprocess.Popen(
            [*command, f"--raw_dir={root}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert "waiting for another process" in waiting.stderr.readline()
        shutil.copytree(builder.data_path, folder)
        (folder / "marker").write_text("kept")
    output, error = waiting.communicate(timeout=30)
    assert (waiting.returncode, output, error) == (0, f"prepared data: {folder}\n", "")
    assert (folder / "marker").read_text() == "kept"


@pytest.mark.parametrize("name", ["dataset_info.json", "metadata.json"])
@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: b"\xff" + data, lambda data: b""])
def test_a_damaged_description_of_prepared_data_is_named_in_one_line(prepared, tmp_path, capsys, name, damage):
    folder = tmp_path / "musclemap" / "multimodal" / "4.0.0"
    shutil.copytree(prepared[1].data_path, folder)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    assert main(["--config=multimodal", f"--data_dir={tmp_path}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {folder}: dataset_info.json or metadata.json of the prepared data is damaged (")
    assert line.endswith("delete this folder, so that the data is prepared again")


@pytest.mark.parametrize("raw_dataset_folder", [None, "nowhere", "empty"])
def test_absent_data_names_tfds_build_the_licence_and_the_synthetic_variant(tmp_path, raw_dataset_folder):
    (tmp_path / "empty").mkdir()
    raw = tmp_path / raw_dataset_folder if raw_dataset_folder else None
    with pytest.raises(UserError) as error:
        prepare("multimodal", tmp_path / "data", raw)
    message = str(error.value)
    for words in ("tfds build", "licence", "user agreement", "configs/transm3e.py:synthetic", str(tmp_path / "data")):
        assert words in message
    assert "\n" not in message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("x,test,squat,3", "column split"),
        ("x,train,squat,20", "got 20"),
        ("train_0,train,squat,3", "'train_0', which is also at line 2"),
        ("x,train,new 0,3", "'new 0' in train here and in val_new"),
    ],
)
def test_a_fault_of_the_annotations_ends_the_command_with_status_2(folder, tmp_path, capsys, row, words):
    annotations = folder / raw_dataset.ANNOTATIONS
    annotations.write_text(annotations.read_text() + row + "\n")
    status = main(["--config=multimodal", f"--data_dir={tmp_path / 'data'}", f"--raw_dir={folder}"])
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith(f"error: {annotations}, line 12")
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_too_many_rejected_clips_end_the_command_with_status_2_and_no_traceback(folder, tmp_path):
    for number in range(2):
        raw_dataset.video_path(folder, f"train_{number}").write_bytes(b"")
    command = [sys.executable, "-m", "tfds_musclemap.prepare", "--config=multimodal", f"--data_dir={tmp_path / 'data'}"]
    result = subprocess.run([*command, f"--raw_dir={folder}"], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: rejected 1 of 10 clips")


def test_the_command_prepares_and_says_where(folder, tmp_path, capsys):
    arguments = ["--config=multimodal", f"--data_dir={tmp_path}", f"--raw_dir={folder}", "--num_workers=1"]
    assert main([*arguments, "--short_side=16", "--no-require_skeleton"]) == 0
    output = capsys.readouterr().out.strip().splitlines()
    assert "rejected 0 of 10" in output[0]
    folder_of_data = tmp_path / "musclemap" / "multimodal-require_skeleton-False-short_side-16" / "4.0.0"
    assert output[1] == f"prepared data: {folder_of_data}"
    assert load_source(folder_of_data, "train")[0]["skeleton"][..., 0].max() <= 24


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config": "rgbd"}, "expected one of multimodal, rgb, .*, synthetic_smoke, got 'rgbd'"),
        ({"config": "multimodal", "layout": "coco17"}, "got 'layout'"),
        ({"config": "multimodal", "skeleton_layout": "coco18"}, "coco18"),
        ({"config": "multimodal", "flow_method": "bar"}, "flow_method: expected one of dis, tvl1, got 'bar'"),
        (
            {"config": "multimodal", "modalities": ("video", "video")},
            "modalities: expected each once, got video, video",
        ),
        ({"config": "multimodal", "max_rejected_fraction": 5.0}, "max_rejected_fraction: expected 0 to 1, got 5.0"),
        ({"config": "multimodal", "num_workers": 0}, "num_workers"),
    ],
)
def test_the_error_of_an_unknown_or_invalid_setting_names_it(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        prepare(data_dir=tmp_path, **arguments)
