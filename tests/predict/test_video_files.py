"""Which files of a folder are videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from musclemap_jax.errors import UserError
from musclemap_jax.predict.video_files import find_videos, videos_below

MP4_HEAD = b"\0\0\0\x18ftypisom\0\0\0\0"


@pytest.fixture
def folder(tmp_path):
    """A folder with videos and other files; contents do not matter where the name says what they are."""
    for name in ("b.mp4", "A.MOV", "c.webm", ".hidden.mp4", "notes.txt", "poster.jpg", "song.m4a", "squat.json"):
        (tmp_path / name).write_bytes(MP4_HEAD)
    (tmp_path / "without_extension").write_bytes(MP4_HEAD)
    (tmp_path / "matroska").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(12))
    (tmp_path / "wave").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    (tmp_path / "short").write_bytes(b"RI")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "folder.mp4" / "inner.mp4").write_bytes(b"")
    return tmp_path


def test_a_name_that_is_too_long_is_no_traceback():
    with pytest.raises(UserError, match=r"vvv.*mp4: File name too long"):
        find_videos([f"{'v' * 300}.mp4"])


def test_a_folder_gives_its_videos_by_name(folder):
    expected = ["A.MOV", "b.mp4", "c.webm", "matroska", "without_extension"]
    assert [path.name for path in find_videos([folder])] == expected


def test_subfolders_are_searched_for_a_corpus(folder):
    (folder / "muscles" / "b").mkdir(parents=True)
    for name in ("muscles.json", "annotated.mp4"):
        (folder / "muscles" / "b" / name).write_bytes(b"")
    (folder / "link").symlink_to(folder)
    expected = ["A.MOV", "b.mp4", "c.webm", "folder.mp4/inner.mp4", "matroska", "without_extension"]
    assert [path.relative_to(folder).as_posix() for path in videos_below(folder)] == expected


def test_named_files_are_taken_as_they_are_and_each_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = find_videos(["notes.txt", "b.mp4", folder, folder / "notes.txt"])
    assert found[:3] == [Path("notes.txt"), Path("b.mp4"), folder / "A.MOV"]
    assert len(found) == 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.mp4", "{}/none.mp4: no such file or folder"),
        ("lin\ne.mp4", r"{}/lin\ne.mp4: no such file or folder"),
        ("empty", "{}/empty: expected videos (.mp4, .mov, .mkv and others), found none in the folder"),
    ],
)
def test_nothing_to_predict_is_an_error(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden.mp4").write_bytes(MP4_HEAD)
    with pytest.raises(UserError) as error:
        find_videos([tmp_path / name])
    assert str(error.value) == message.format(tmp_path)
