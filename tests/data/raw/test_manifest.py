"""The manifest of a raw data set, and which links out of its folder are followed."""

from __future__ import annotations

import os

import pytest

from musclemap_jax.data.raw.manifest import MANIFEST, LinkError, Manifest, check_file, read_manifest, write_manifest
from musclemap_jax.data.raw.raw_dataset import ANNOTATIONS, Clip, read_annotations, video_path, write_annotations
from musclemap_jax.errors import UserError


@pytest.fixture
def folders(tmp_path):
    """(raw data set, videos, elsewhere), a file `x.mp4` in each of the last two."""
    root, videos, elsewhere = tmp_path / "raw", tmp_path / "videos", tmp_path / "videos_of_others"
    for folder in (root / "clips", videos / "sub", elsewhere):
        folder.mkdir(parents=True)
    for folder in (videos, videos / "sub", elsewhere):
        (folder / "x.mp4").write_bytes(b"video")
    return root, videos, elsewhere


def link(root, target):
    path = video_path(root, "x")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    return path


def test_what_was_written_is_read(tmp_path):
    assert read_manifest(tmp_path) == Manifest()
    full = Manifest("Gym", str(tmp_path / "videos"), "halpe26", ("arms", "legs"), allow_background=True)
    for manifest in (Manifest(), Manifest("MuscleMap", str(tmp_path / "videos"), "halpe26"), full):
        write_manifest(tmp_path, manifest)
        assert read_manifest(tmp_path) == manifest


def test_files_and_links_within_the_folder_are_read(folders):
    root, _, _ = folders
    (root / "clips" / "a.mp4").write_bytes(b"video")
    check_file(root, root / "clips" / "a.mp4")
    check_file(root, link(root, root / "clips" / "a.mp4"))
    (root.parent / "alias").symlink_to(root)
    check_file(root.parent / "alias", root.parent / "alias" / "clips" / "a.mp4")


def test_a_link_out_of_the_folder_is_refused_unless_the_manifest_names_its_folder(folders):
    root, videos, elsewhere = folders
    path = link(root, videos / "sub" / "x.mp4")
    with pytest.raises(LinkError, match=r"outside the raw data set: .*video_root"):
        check_file(root, path)
    write_manifest(root, Manifest(video_root=str(videos)))
    check_file(root, path)
    with pytest.raises(LinkError, match="neither in the raw data set nor in"):
        check_file(root, link(root, elsewhere / "x.mp4"))
    with pytest.raises(LinkError, match="neither in the raw data set nor in"):
        check_file(root, link(root, videos / ".." / elsewhere.name / "x.mp4"))


def test_links_in_the_named_folder_to_another_one_are_refused(folders):
    root, videos, elsewhere = folders
    write_manifest(root, Manifest(video_root=str(videos)))
    (videos / "y.mp4").symlink_to(elsewhere / "x.mp4")
    with pytest.raises(LinkError, match="neither"):
        check_file(root, link(root, videos / "y.mp4"))


def test_anything_but_a_file_is_refused_without_being_opened(folders):
    root, videos, _ = folders
    os.mkfifo(videos / "pipe")
    write_manifest(root, Manifest(video_root=str(videos)))
    for target, words in ((videos / "pipe", "regular"), (videos, "regular"), (videos / "absent", "dangling link")):
        with pytest.raises(LinkError, match=words):
            check_file(root, link(root, target))
    with pytest.raises(LinkError, match="no such file"):
        check_file(root, root / "clips" / "absent.mp4")
    with pytest.raises(LinkError):
        check_file(root, link(root, root / "clips" / "x.mp4"))
    with pytest.raises(LinkError):
        check_file(root, root / "clips" / ("x" * 300))


def test_annotations_outside_are_refused_unless_the_manifest_names_their_folder(folders):
    root, videos, _ = folders
    write_annotations(videos, [Clip("a", "train", "squat", (1,))])
    path = root / ANNOTATIONS
    path.symlink_to(videos / ANNOTATIONS)
    with pytest.raises(UserError, match=r"/annotations\.csv: a link to .*, outside the raw data set: .*video_root"):
        read_annotations(root)
    write_manifest(root, Manifest(video_root=str(videos)))
    assert [clip.clip_id for clip in read_annotations(root)] == ["a"]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"/annotations\.csv: expected a regular file"):
        read_annotations(root)


def test_a_manifest_outside_is_refused(folders):
    root, videos, _ = folders
    write_manifest(videos, Manifest(video_root=str(videos)))
    (root / MANIFEST).symlink_to(videos / MANIFEST)
    with pytest.raises(UserError, match=r"/raw_dataset\.json: a link to .*, outside the raw data set: copy the file"):
        read_manifest(root)
    (videos / MANIFEST).rename(root / "mine.json")
    (root / MANIFEST).unlink()
    (root / MANIFEST).symlink_to("mine.json")
    assert read_manifest(root).video_root == str(videos)
    (root / "mine.json").unlink()
    with pytest.raises(UserError, match=r"/raw_dataset\.json: a dangling link"):
        read_manifest(root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[", "expected JSON"),
        (b'{"name": "a", "name": "b"}', "expected JSON: key 'name' stands twice"),
        (b"\xff\xfe", "expected JSON"),
        (b"[" * 60_000, "expected JSON"),
        (b" " * 70_000, "at most 65,536 bytes"),
        (b"[]", "expected an object"),
        (b'{"videos": "/data"}', "got 'videos'"),
        (b'{"video_root": 3}', "field video_root: expected text, got int"),
        (b'{"video_root": "videos"}', "absolute path"),
        (b'{"video_root": "/"}', "absolute path"),
        (
            b'{"skeleton_layout": "coco18"}',
            r"raw_dataset\.json, field skeleton_layout: expected one of coco17, .*'coco18'",
        ),
        (b'{"regions": "arms"}', "field regions: expected a list of 1 to 1,000 names of muscle regions, got str"),
        (b'{"regions": []}', "got 0"),
        (b'{"regions": ["arm"' + b', "arm"' * 1000 + b"]}", "got 1001"),
        (b'{"regions": ["arm", "leg", "arm"]}', "expected different names, got 'arm' twice"),
        (b'{"regions": ["arm", " "]}', "printable characters, got ' ' for region 1"),
        (b'{"regions": ["arm\\n"]}', "printable"),
        (b'{"regions": [3]}', "printable characters, got 3 for region 0"),
        (b'{"regions": ["' + b"a" * 101 + b'"]}', "1 to 100 printable characters"),
        (b'{"allow_background": "yes"}', "field allow_background: expected true or false, got str"),
    ],
)
def test_an_invalid_manifest_makes_the_raw_data_set_invalid(tmp_path, content, words):
    write_annotations(tmp_path, [Clip("a", "train", "squat", (1,))])
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read_annotations(tmp_path)
    assert "\n" not in str(error.value)


def test_nothing_is_written_that_would_be_refused(tmp_path):
    for manifest in (Manifest(video_root="videos"), Manifest(skeleton_layout="coco18"), Manifest(regions=("a", "a"))):
        with pytest.raises(UserError):
            write_manifest(tmp_path, manifest)
    assert not (tmp_path / MANIFEST).exists()
