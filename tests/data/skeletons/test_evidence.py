"""Skeletons that cannot belong to their video: each fault is named, and sound data raises none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from musclemap_jax.data.skeletons.alphapose import parse_detections, read_alphapose
from musclemap_jax.data.skeletons.evidence import (
    clip_fault,
    data_set_faults,
    evidence_of_detections,
    evidence_of_joints,
)
from tests.conftest import ROOT
from tfds_musclemap.source import ClipSource

CASES = Path(__file__).parent / "cases"
REAL = ROOT / "tests" / "data" / "real"
SIZE, NUM_FRAMES, FPS = (240, 320), 60, 30.0


def evidence(name="good", change=None, **changes):
    """Evidence of a case, whose entries `change` may alter."""
    entries = json.loads((CASES / f"{name}.json").read_text())
    entries = change(entries) if change else entries
    detections = parse_detections(entries, "coco17", name)
    return dataclasses.replace(evidence_of_detections(detections, "coco17", NUM_FRAMES, FPS, SIZE), **changes)


def faults(*clips):
    return [str(fault) for fault in data_set_faults(clips)]


def joints_changed(change):
    """Entries with their joints (V, 3) changed."""

    def changed(entries):
        keypoints = [np.reshape(entry["keypoints"], (-1, 3)) for entry in entries]
        return [
            entry | {"keypoints": change(joints).ravel().tolist()}
            for entry, joints in zip(entries, keypoints, strict=True)
        ]

    return changed


def test_sound_skeletons_have_no_fault():
    sound = evidence()
    assert (sound.first, sound.last, sound.num_seen, sound.num_entries) == (0, 59, 60, 60)
    assert (sound.low, sound.high, sound.outside) == (60, (209, 204), 0)
    assert clip_fault(sound) is None
    assert faults(sound) == faults(*[sound] * 7) == faults() == []
    assert clip_fault(evidence(change=lambda entries: [])) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "norm",
            "coordinates from 0.25 to 0.85, expected pixels of the video: normalised by the image's size? "
            "--image_size=1x1",
        ),
        (
            "onebased",
            "frames 1 to 60 of a video with the frames 0 to 59: numbered from 1? --first_frame=1",
        ),
        (
            "orig_res",
            "100 % of the joints lie outside of the frame (x up to 1254, y up to 1224 in 320x240 pixels): "
            "poses of a larger original? --image_size=WIDTHxHEIGHT",
        ),
    ],
)
def test_a_clip_that_cannot_belong_to_its_video(name, expected):
    assert str(clip_fault(evidence(name))) == expected


def test_all_detections_in_one_frame():
    named = evidence(change=lambda entries: [entry | {"image_id": "12_0.png"} for entry in entries])
    assert str(clip_fault(named)) == (
        "all 60 detections are in frame 0: the last number in an image's name has to be the frame's, as in 000012.jpg"
    )
    crowd = evidence(change=lambda entries: entries[:1] * 9, num_frames=1)
    assert clip_fault(crowd) is None


@pytest.mark.parametrize(
    "clips",
    [
        [evidence("halfrate")],
        [evidence("halfrate")] * 3 + [evidence()],
    ],
)
def test_half_the_frame_rate(clips):
    assert clip_fault(clips[0]) is None  # a person may leave
    (fault,) = faults(*clips)
    assert fault == (
        f"the skeletons end at 50 % of their videos (median of {len(clips)} clips): "
        "poses at another frame rate? --fps=15"
    )


def test_another_frame_rate_shows_in_many_clips_by_its_constancy():
    ended = evidence(last=49)  # 25 frames per second
    assert faults(*[ended] * 4) == []
    assert (
        "at 83 % of their videos (median of 5 clips): poses at another frame rate? --fps=25" in faults(*[ended] * 5)[0]
    )
    leaving = [evidence(last=last) for last in (35, 45, 49, 52, 59, 59)]
    assert faults(*leaving) == []
    assert "--fps=60" in faults(evidence(last=119))[0]


def test_frames_numbered_from_one():
    assert "no clip has frame 0, 2 of 2 begin at frame 1: numbered from 1? --first_frame=1" in faults(
        evidence("onebased"), evidence("onebased", last=40)
    )
    assert faults(evidence("onebased"), evidence()) == []
    assert faults(evidence(first=1)) == []  # nobody in the first frame, nothing after the end


def test_x_and_y_exchanged():
    turned = evidence(change=joints_changed(lambda joints: joints[:, [1, 0, 2]] * [1, 1.3, 1]))
    assert turned.outside > turned.outside_transposed == 0
    assert "x and y exchanged" in faults(dataclasses.replace(turned, outside=0.6))[0]


def test_standing_people_who_lie_on_their_side(smoke_data):
    source = ClipSource(next((smoke_data / "musclemap" / "synthetic_smoke").iterdir()), "train")
    exchanged = [
        evidence_of_joints(record["skeleton"][..., [1, 0, 2]], record["skeleton_layout"], record["fps"])
        for record in source
    ]
    (fault,) = faults(*exchanged)
    assert fault.endswith("x and y exchanged, or poses of the videos without their rotation")
    assert f"of {len(source)} clips people lie on their side" in fault


def test_poses_of_a_slightly_larger_original_are_named_over_the_data_set():
    slightly = evidence(change=joints_changed(lambda joints: joints * [1.6, 1.6, 1]))
    assert clip_fault(slightly) is None
    assert "poses of a larger original? --image_size=WIDTHxHEIGHT" in faults(slightly)[0]


def test_joints_that_are_guessed_outside_of_the_frame_are_no_evidence():
    def legs_outside(joints):
        joints[11:] = joints[11:] + [0, 300, 0]
        joints[11:, 2] = 0.2
        return joints

    assert evidence(change=joints_changed(legs_outside)).outside == 0


@pytest.mark.parametrize("view", ["pose2sim_cam01", "pose2sim_cam02"])
def test_real_people_raise_no_alarm(view):
    entries = json.loads((REAL / f"{view}.json").read_text())
    real = evidence_of_detections(parse_detections(entries, "coco17", view), "coco17", 100, 60.0, (1920, 1080))
    assert clip_fault(real) is None
    assert faults(real) == faults(*[real] * 6) == []


def test_rendered_people_raise_no_alarm(smoke_data):
    source = ClipSource(next((smoke_data / "musclemap" / "synthetic_smoke").iterdir()), "train")
    clips = [evidence_of_joints(one["skeleton"], one["skeleton_layout"], one["fps"], (112, 112)) for one in source]
    assert [clip_fault(clip) for clip in clips] == [None] * len(clips)
    assert faults(*clips) == []
    assert not all(clip.sideways for clip in clips)


def test_the_builder_names_the_fix(tmp_path):
    with pytest.raises(ValueError, match=r"^cases/norm.json: .*\? Import it again with --image_size=1x1 \(tfds_musc"):
        read_alphapose(CASES / "norm.json", "coco17", NUM_FRAMES, SIZE)
    with pytest.raises(ValueError, match="all x, then all y, then all scores: write the numbers joint by joint"):
        read_alphapose(CASES / "planar.json", "coco17", NUM_FRAMES, SIZE)
