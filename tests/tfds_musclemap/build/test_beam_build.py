"""Builds by Apache Beam: the same files as without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.errors import UserError
from tfds_musclemap.build import shards
from tfds_musclemap.build.build_log import read_rejected
from tfds_musclemap.prepare import main, prepare

OPTIONS = ("runner=DirectRunner", "direct_running_mode=in_memory")


@pytest.fixture
def beam():
    return pytest.importorskip("apache_beam")


def files_of(builder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(builder.data_path).iterdir()}


def test_the_error_without_beam_names_the_extra(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"install the extra beam, `pip install -e '\.\[beam\]'`"):
        prepare("rgb", tmp_path / "data", folder, beam_pipeline_options=OPTIONS)
    assert not (tmp_path / "data").exists()


@pytest.mark.tfds
@pytest.mark.filterwarnings("default")
def test_beam_gives_the_same_files(beam, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3000)  # several shards a split
    raw_dataset.video_path(folder, "train_1").write_bytes(b"")
    arguments = {"max_rejected_fraction": 0.2, "modalities": ("video", "flow", "skeleton")}
    plain = prepare("multimodal", tmp_path / "plain", folder, num_workers=1, **arguments)
    by_beam = prepare("multimodal", tmp_path / "beam", folder, beam_pipeline_options=OPTIONS, **arguments)
    assert plain.info.splits["val_known"].num_shards == 2
    assert by_beam.info.splits["val_known"].shard_lengths == plain.info.splits["val_known"].shard_lengths
    expected, found = files_of(plain), files_of(by_beam)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert [row[0] for row in read_rejected(Path(by_beam.data_path))] == ["train_1"]


@pytest.mark.tfds
@pytest.mark.filterwarnings("default")
def test_too_many_rejected_clips_leave_nothing(beam, folder, tmp_path, capsys):
    raw_dataset.video_path(folder, "train_1").write_bytes(b"")
    arguments = ["--config=rgb", f"--data_dir={tmp_path / 'data'}", f"--raw_dir={folder}"]
    assert main([*arguments, f"--beam_pipeline_options={','.join(OPTIONS)}"]) == 2
    assert "rejected 1 of 10 clips" in capsys.readouterr().err
    assert [path for path in (tmp_path / "data" / "musclemap" / "rgb").iterdir() if path.is_dir()] == []
