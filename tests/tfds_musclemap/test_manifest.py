"""What a raw data set says of itself, as the builder takes it."""

from __future__ import annotations

import pytest

from musclemap_jax.data.modalities.modality import ClipError, ClipSettings
from musclemap_jax.data.raw import raw_dataset
from musclemap_jax.data.raw.manifest import Manifest, write_manifest
from musclemap_jax.errors import UserError
from tfds_musclemap.build.clip_reader import ClipContent, read_clip
from tfds_musclemap.prepare import prepare

CLIP = "train_1"


@pytest.fixture
def linked(folder, tmp_path):
    """The raw data set with one clip moved to a folder next to it and linked."""
    outside = tmp_path / "videos"
    outside.mkdir()
    path = raw_dataset.video_path(folder, CLIP)
    path.rename(outside / "a.mp4")
    path.symlink_to(outside / "a.mp4")
    return folder


def test_a_link_outside_the_raw_data_set_is_refused_unless_its_folder_is_named(linked, tmp_path):
    content = read_clip(str(linked), CLIP, ClipSettings())
    assert isinstance(content, ClipError)
    assert str(content).startswith(f"clips/{CLIP}.mp4: a link to {tmp_path}/videos/a.mp4, outside the raw data set")
    write_manifest(linked, Manifest("mine", str(tmp_path / "videos")))
    assert isinstance(read_clip(str(linked), CLIP, ClipSettings()), ClipContent)


def test_a_link_inside_the_raw_data_set_is_followed(folder):
    path = raw_dataset.video_path(folder, CLIP)
    path.unlink()
    path.symlink_to("train_0.mp4")
    assert isinstance(read_clip(str(folder), CLIP, ClipSettings()), ClipContent)


@pytest.mark.parametrize("kind", ["skeleton", "flow"])
def test_dangling_links_are_refused_in_every_place(folder, kind):
    place = {"skeleton": f"skeletons/{CLIP}.json", "flow": f"flow/{CLIP}_x.mp4"}[kind]
    for name in (place, place.replace("_x", "_y")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("nowhere")
    settings = ClipSettings(modalities=("flow", "skeleton"), require_skeleton=False)
    content = read_clip(str(folder), CLIP, settings)
    assert isinstance(content, ClipError)
    assert str(content) == f"{place}: a dangling link"


def test_the_name_goes_into_the_prepared_data(linked, tmp_path):
    write_manifest(linked, Manifest("MuscleMap", str(tmp_path / "videos")))
    builder = prepare("rgb", tmp_path / "data", linked, num_workers=1)
    assert builder.info.metadata["release"] == "MuscleMap"


def test_skeletons_of_another_layout_than_the_builds_are_refused_before_the_build(folder, tmp_path):
    write_manifest(folder, Manifest(skeleton_layout="halpe26"))
    with pytest.raises(UserError, match=r"raw_dataset.json: .* build with skeleton_layout='halpe26'"):
        prepare("multimodal", tmp_path / "data", folder, num_workers=1)
    assert not (tmp_path / "data").exists()
    prepare("rgb", tmp_path / "data", folder, num_workers=1)
