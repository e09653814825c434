"""Frames kept for the page: spread evenly, bounded, and a small clip with the skeleton."""

import cv2
import numpy as np
import pytest

from musclemap_jax.data.images import decode_jpeg
from musclemap_jax.data.raw.video import read_video
from musclemap_jax.predict import recorder as module
from musclemap_jax.predict.recorder import Recorder
from tests.predict.handmade import FPS, NUM_FRAMES, blank_frames, real_frames


def record(frames):
    recorder = Recorder()
    for frame in frames:
        recorder(frame)
    return recorder


@pytest.fixture(scope="module")
def real():
    return record(real_frames())


def read_preview(preview, tmp_path):
    path = tmp_path / "preview.mp4"
    path.write_bytes(preview.mp4)
    video = read_video(path)
    return video.fps, np.stack(list(video.frames))


def test_thumbnails_lie_in_the_middle_of_equal_parts(real):
    thumbnails = real.thumbnails(10, NUM_FRAMES / FPS)
    middles = (np.arange(10) + 0.5) / 10 * NUM_FRAMES / FPS
    np.testing.assert_allclose([time_s for time_s, _ in thumbnails], middles, atol=2.5 / FPS)
    assert {decode_jpeg(jpeg).shape for _, jpeg in thumbnails} == {(355, 200, 3)}


def test_what_is_kept_does_not_grow_with_the_video():
    short, long = record(blank_frames(2_000)), record(blank_frames(20_000))
    for recorder in (short, long):
        assert 24 <= len(recorder._spread) <= 48
        assert len(recorder._part) == 30 * 15
    times = np.array([time_s for time_s, _ in long.thumbnails(12, 20_000 / 30)])
    assert np.abs(times - (np.arange(12) + 0.5) / 12 * 20_000 / 30).max() < 20_000 / 30 / 24


def test_the_image_is_asked_for_only_where_it_is_kept():
    class Lazy:
        persons, joint_names = {}, ()
        asked = 0

        def __init__(self, number):
            self.number, self.time_s = number, number / 30

        @property
        def image(self):
            Lazy.asked += 1
            return np.zeros((16, 16, 3), np.uint8)

    record(map(Lazy, range(50_000)))
    assert Lazy.asked < 1_500


def test_the_preview_is_the_real_clip_with_its_skeleton(real, tmp_path):
    preview = real.preview(FPS)
    assert (preview.start_s, preview.end_s) == (0, pytest.approx(NUM_FRAMES / FPS))
    fps, frames = read_preview(preview, tmp_path)
    assert fps == 15
    assert frames.shape == (25, 454, 256, 3)
    assert preview.size == (454, 256)
    originals = list(real_frames())[::4]
    for drawn, original in zip(frames, originals, strict=True):
        hip, knee = original.persons[1][[11, 13], :2]  # the left thigh, which is drawn light blue
        x, y = np.rint((hip + knee) / 2).astype(int)
        assert np.abs(drawn[y, x].astype(int) - (86, 180, 233)).max() < 70
        far = cv2.absdiff(drawn[:40], original.image[:40])
        assert far.mean() < 6


def test_other_persons_are_grey(real):
    (_, jpeg), *_ = real.thumbnails(1, NUM_FRAMES / FPS, person=2)
    image = decode_jpeg(jpeg)
    coloured = (image.max(axis=2).astype(int) - image.min(axis=2)) > 90
    (_, jpeg), *_ = real.thumbnails(1, NUM_FRAMES / FPS, person=1)
    image = decode_jpeg(jpeg)
    assert ((image.max(axis=2).astype(int) - image.min(axis=2)) > 90).sum() > coloured.sum() + 200


def test_the_preview_begins_with_the_first_person(tmp_path):
    preview = record(blank_frames(3_000, first_seen=1_500)).preview(30.0)
    assert preview.start_s == pytest.approx(50, abs=1.1)
    assert preview.end_s - preview.start_s == pytest.approx(30, abs=0.1)
    preview = record(blank_frames(300, first_seen=90)).preview(30.0)
    assert preview.start_s == pytest.approx(2, abs=0.1)  # a second before
    # The part from the start of the video ends at 30 s, so the second before is not there.
    preview = record(blank_frames(2_000, first_seen=918)).preview(30.0)
    assert preview.start_s == pytest.approx(30.6, abs=0.1)
    preview = record(blank_frames(2_000, first_seen=5_000)).preview(30.0)
    assert (preview.start_s, preview.end_s) == (0, pytest.approx(30, abs=0.1))


def test_the_preview_keeps_to_its_size(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    frames = list(blank_frames(120, fps=15, size=(64, 64)))
    for frame in frames:
        frame.image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    recorder = record(frames)
    best = recorder.preview(15.0)
    assert len(best.mp4) > 200_000
    for limit in (100_000, 3_000):  # a worse quality suffices, then the clip is shortened
        monkeypatch.setattr(module, "PREVIEW_BYTES", limit)
        preview = recorder.preview(15.0)
        assert len(preview.mp4) <= limit
        _, shown = read_preview(preview, tmp_path)
        assert preview.end_s == pytest.approx(len(shown) / 15)
    assert len(shown) < 120


def test_a_video_of_one_frame_is_recorded():
    recorder = record(blank_frames(1, size=(33, 47)))
    assert recorder.preview(30.0).size == (32, 46)
    assert len(recorder.thumbnails(12, 1 / 30)) == 1
    assert recorder.aspect == pytest.approx(47 / 33)


def test_nothing_seen_gives_nothing():
    assert Recorder().preview(30.0) is None
    assert Recorder().thumbnails(12, 0.0) == []
