"""What a distribution states to be, and where its links may lead."""

from __future__ import annotations

import json

import pytest

from musclemap_jax.data import distribution
from musclemap_jax.errors import UserError
from tfds_musclemap.clip_reader import ClipContent, ClipSettings, Rejected, read_clip
from tfds_musclemap.prepare import prepare
from tfds_musclemap.release import MUSCLEMAP, Release, read_release, write_release

CLIP = "train_1"


@pytest.fixture
def linked(folder, tmp_path):
    """The distribution with one clip moved to a folder beside it and linked."""
    outside = tmp_path / "videos"
    outside.mkdir()
    path = distribution.video_path(folder, CLIP)
    path.rename(outside / "a.mp4")
    path.symlink_to(outside / "a.mp4")
    return folder


def test_a_link_out_of_the_distribution_is_refused_unless_its_folder_is_named(linked, tmp_path):
    content = read_clip(str(linked), CLIP, ClipSettings())
    assert isinstance(content, Rejected)
    assert content.reason.startswith(f"clips/{CLIP}.mp4: a link out of the distribution, to {tmp_path}/videos/a.mp4")
    write_release(linked, Release("mine", (str(tmp_path / "videos"),)))
    assert isinstance(read_clip(str(linked), CLIP, ClipSettings()), ClipContent)


def test_a_link_inside_the_distribution_is_followed(folder):
    path = distribution.video_path(folder, CLIP)
    path.unlink()
    path.symlink_to("train_0.mp4")
    assert isinstance(read_clip(str(folder), CLIP, ClipSettings()), ClipContent)


def test_the_release_goes_into_the_prepared_data(linked, tmp_path):
    release = Release(MUSCLEMAP, (str(tmp_path / "videos"),))
    write_release(linked, release)
    assert read_release(linked) == release
    builder = prepare("rgb", tmp_path / "data", linked, num_workers=1)
    assert builder.info.metadata["release"] == "MuscleMap"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "expected a JSON object"),
        ("[]", "got \\[\\]"),
        ('{"name": 3}', "expected an object with name"),
        (json.dumps({"linked_folders": ["here"]}), "linked_folders: expected a list of absolute paths"),
    ],
)
def test_a_release_file_at_fault_is_named(folder, tmp_path, text, words):
    (folder / "release.json").write_text(text)
    with pytest.raises(UserError, match=f"release.json.*{words}"):
        prepare("rgb", tmp_path / "data", folder, num_workers=1)
    assert not (tmp_path / "data").exists()
