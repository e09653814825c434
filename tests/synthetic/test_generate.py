"""The raw data set as files: valid, reproducible, and never written over something else."""

import filecmp
import json
import subprocess
import sys

import numpy as np
import pytest

from musclemap_jax.data.raw import raw_dataset, video
from musclemap_jax.data.skeletons.alphapose import read_alphapose
from musclemap_jax.errors import UserError
from musclemap_jax.synthetic import __main__ as command
from musclemap_jax.synthetic.activities.table import ACTIVITIES
from musclemap_jax.synthetic.generate import SPEC_FILE, render, render_clip
from musclemap_jax.synthetic.skeleton_noise import Corruption, corrupt, sample_corruption
from musclemap_jax.synthetic.spec import SyntheticSpec
from musclemap_jax.taxonomy import SPLITS

SMALL = SyntheticSpec(
    clips_per_activity=dict.fromkeys(SPLITS, 1),
    size=48,
    num_frames=(6, 8),
    activities=("push-up", "pull-up", "thruster"),
)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "a"
    render(out, SMALL, num_workers=1)
    return out


def frames_of(root, clip_id):
    return np.stack(list(video.read_video(raw_dataset.video_path(root, clip_id)).frames))


def test_the_folder_is_a_valid_raw_data_set(rendered):
    clips = raw_dataset.read_annotations(rendered)
    assert len(clips) == 2 * 3 + 2
    assert {clip.split for clip in clips} == set(SPLITS)
    assert {clip.activity for clip in clips if clip.split in ("val_new", "test_new")} == {"thruster"}
    for clip in clips:
        frames = frames_of(rendered, clip.clip_id)
        assert 6 <= len(frames) <= 8
        assert frames.shape[1:] == (48, 48, 3)
        assert frames.std() > 1
        skeleton = read_alphapose(raw_dataset.skeleton_path(rendered, clip.clip_id), "coco17", len(frames))
        assert 1 <= skeleton.shape[1] <= 2
        present = skeleton[skeleton[..., 2] > 0]
        assert (np.abs(present[:, :2] - 24) < 48).all()


def test_two_processes_write_the_same_bytes_as_one(rendered, tmp_path):
    render(tmp_path / "b", SMALL, num_workers=2)
    clips = raw_dataset.read_annotations(rendered)
    assert filecmp.cmp(rendered / raw_dataset.ANNOTATIONS, tmp_path / "b" / raw_dataset.ANNOTATIONS, shallow=False)
    for clip in clips:
        a, b = (raw_dataset.skeleton_path(root, clip.clip_id) for root in (rendered, tmp_path / "b"))
        assert a.read_bytes() == b.read_bytes()
        np.testing.assert_array_equal(frames_of(rendered, clip.clip_id), frames_of(tmp_path / "b", clip.clip_id))


def test_a_clip_does_not_depend_on_the_other_clips():
    spec = SyntheticSpec(activities=("thruster",))
    alone = {clip.clip_id: (clip, frames) for clip, _, frames in spec.clips()}
    for clip, _, frames in SyntheticSpec().clips():
        if clip.activity == "thruster":
            assert alone[clip.clip_id] == (clip, frames)


def test_another_seed_gives_other_clips():
    first, second = (render_clip("push-up", seed, "clip", 3, 32, 15.0) for seed in (0, 1))
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[1][0, 0], second[1][0, 0])


def test_a_finished_folder_is_kept_and_another_is_refused(rendered, tmp_path):
    before = (rendered / raw_dataset.ANNOTATIONS).stat().st_mtime_ns
    render(rendered, SMALL, num_workers=1)
    assert (rendered / raw_dataset.ANNOTATIONS).stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another raw data set"):
        render(rendered, SyntheticSpec(seed=1), num_workers=1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        render(tmp_path, SMALL, overwrite=True)
    assert (tmp_path / "notes.txt").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"{tmp_path / 'file' / 'raw'}: cannot be written: Not a directory"):
        render(tmp_path / "file" / "raw", SMALL, num_workers=1)


def test_an_unfinished_folder_is_refused_unless_overwritten(tmp_path):
    spec = SyntheticSpec(
        clips_per_activity={**dict.fromkeys(SPLITS, 0), "train": 1}, size=32, num_frames=(2, 2), activities=("crunch",)
    )
    (tmp_path / raw_dataset.CLIPS).mkdir()
    with pytest.raises(UserError, match="--overwrite"):
        render(tmp_path, spec, num_workers=1)
    with pytest.raises(UserError, match=f"will not delete what was not rendered .{SPEC_FILE} is absent"):
        render(tmp_path, spec, num_workers=1, overwrite=True)
    (tmp_path / SPEC_FILE).write_text("{}")
    render(tmp_path, spec, num_workers=1, overwrite=True)
    assert json.loads((tmp_path / SPEC_FILE).read_text())["size"] == 32
    assert len(raw_dataset.read_annotations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 33}, "size"),
        ({"seed": -1}, "seed"),
        ({"fps": 0}, "fps"),
        ({"num_frames": (9, 3)}, "num_frames"),
        ({"clips_per_activity": 2}, "clips_per_activity"),
        ({"clips_per_activity": {"train": 1}}, "val_known"),
        ({"activities": ("flying",)}, "flying"),
        ({"activities": ()}, "activities"),
        ({"more_train_clips": -1}, "more_train_clips"),
    ],
)
def test_invalid_specs_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        SyntheticSpec(**fields)


def test_more_training_clips_leave_all_others_as_they_are():
    few, more = SyntheticSpec(), SyntheticSpec(more_train_clips=2)
    assert [row for row in more.clips() if row in few.clips()] == few.clips()
    added = [row for row in more.clips() if row not in few.clips()]
    assert {(clip.split, activity.known) for clip, activity, _ in added} == {("train", True)}
    assert len(added) == 2 * sum(activity.known for activity in ACTIVITIES)
    assert "more_train_clips" not in few.to_json()
    assert "more_train_clips" in more.to_json()


def test_one_number_of_clips_is_distributed_over_the_splits():
    counts = dict(SyntheticSpec(clips_per_activity=20).clips_per_activity)
    assert counts == {"train": 13, "val_known": 3, "test_known": 4, "val_new": 8, "test_new": 12}
    assert all(count >= 1 for _, count in SyntheticSpec(clips_per_activity=3).clips_per_activity)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out"),
        (["--out=x", "--size=abc"], "size"),
        (["--out=x", "--size=31"], "size"),
        (["--out=x", "--activities=flying"], "flying"),
        (["--out=x", "--num_workers=0"], "num_workers"),
        (["--out=x", "--unknown=1"], "unknown"),
    ],
)
def test_bad_arguments_end_with_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_the_command_writes_clips_and_a_contact_sheet(tmp_path):
    arguments = ["--clips_per_activity=3", "--size=32", "--activities=crunch", "--num_workers=1"]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "musclemap_jax.synthetic",
            f"--out={tmp_path / 'd'}",
            *arguments,
            f"--preview={tmp_path / 's.png'}",
        ],
        check=True,
    )
    assert len(raw_dataset.read_annotations(tmp_path / "d")) == 3
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"


def test_skeleton_corruption_has_the_stated_effects():
    rng = np.random.default_rng(0)
    joints = np.broadcast_to(rng.uniform(20, 100, (17, 2)), (400, 17, 2))
    visible = np.ones((400, 17), bool)
    visible[:, 9] = False
    none = Corruption(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9)
    clean = corrupt(joints, visible, none, np.random.default_rng(1))
    np.testing.assert_allclose(clean[..., :2], joints)
    assert clean[:, 9, 2].mean() < clean[:, 5, 2].mean() - 0.2  # hidden joints have low scores
    bad = corrupt(joints, visible, Corruption(0.01, 0.03, 0.05, 0.3, 0.03, 0.0, 0.9), np.random.default_rng(1))
    absent = bad[..., 2] == 0
    assert (bad[absent] == 0).all()
    lost = absent.all(axis=1)
    assert 0.02 < lost.mean() < 0.3
    assert 0.02 < absent[~lost][:, 5].mean() < 0.09
    assert 0.2 < absent[~lost][:, 9].mean() < 0.4
    present = ~absent[:, 5]
    assert 0.2 < np.std(bad[present, 5, 0] - joints[present, 5, 0]) < 2.0
    swapped = corrupt(joints, visible, Corruption(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.9), np.random.default_rng(1))
    np.testing.assert_allclose(swapped[:, 5, :2], joints[:, 6])


def test_corruption_varies_between_clips():
    samples = [sample_corruption(np.random.default_rng(seed)) for seed in range(60)]
    assert {f.lost_frames > 0 for f in samples} == {True, False}
    assert min(f.score for f in samples) < 0.65 < 0.75 < max(f.score for f in samples)


def test_some_clips_have_a_second_person():
    from musclemap_jax.synthetic.activities.table import select
    from musclemap_jax.synthetic.scene import sample_scene

    (activity,) = select(("push-up",))
    scenes = [sample_scene(activity, 0, f"clip_{i}", 2, 64, 15.0) for i in range(60)]
    with_bystander = [i for i, scene in enumerate(scenes) if scene.bystander is not None]
    assert 3 <= len(with_bystander) <= 20
    _, skeleton = render_clip("push-up", 0, f"clip_{with_bystander[0]}", 2, 64, 15.0)
    people = [render_clip("push-up", 0, f"clip_{i}", 2, 64, 15.0)[1].shape[1] for i in with_bystander[:4]]
    assert max(people) == 2
    assert skeleton.shape[2:] == (17, 3)
