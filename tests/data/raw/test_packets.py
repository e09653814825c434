"""What the packets tell: the frame rate, variable ones, the stream that is the video, and lost packets."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest

from musclemap_jax.data.raw import packets, video
from tests.data.raw.clips import FPS, copy_without, image, number_of, write_clip


def read(path, by_time=True):
    clip = video.open_video(path, by_time=by_time)
    return clip, [(frame.number, number_of(frame.image(256))) for frame in clip.frames]


def test_a_variable_rate_becomes_its_mean_by_time(tmp_path):
    """One second at 10 fps, then one at 30: 40 frames in 1.9 + 1/30 * ... seconds; the mean is 39 intervals."""
    times = [*np.arange(10) / 10, *(1 + np.arange(30) / 30)]
    path = write_clip(tmp_path / "clip.mkv", range(40), times_s=times)
    clip, shown = read(path)
    rounded = np.round(times, 3)
    assert clip.has_variable_rate
    assert clip.fps == pytest.approx(39 / rounded[-1])
    middles = (np.arange(40) + 0.5) / clip.fps
    assert [number for number, _ in shown] == [int(np.sum(rounded <= middle)) - 1 for middle in middles]
    assert all(number == seen for number, seen in shown)
    # The first second has half of the frames, each twice.
    assert [number for number, _ in shown[:20]] == [number for number in range(10) for _ in range(2)]

    clip, all_frames = read(path, by_time=False)
    assert all_frames == [(number, number) for number in range(40)]


def test_times_that_are_off_by_less_than_half_a_frame_are_no_variable_rate(tmp_path):
    times = np.arange(60) / FPS + np.random.default_rng(1).uniform(-0.4, 0.4, 60) / FPS + 0.1
    clip, shown = read(write_clip(tmp_path / "clip.mp4", times_s=times))
    assert not clip.has_variable_rate
    assert clip.fps == pytest.approx(FPS, rel=0.02)
    assert shown == [(number, number) for number in range(60)]


def test_a_long_gap_is_named(tmp_path):
    times = [*np.arange(20) / FPS, *(60 + np.arange(20) / FPS)]
    with pytest.raises(video.VideoError, match="no frame for 59 s after frame 19: cut it there or convert it"):
        read(write_clip(tmp_path / "clip.mkv", range(40), times_s=times))


@pytest.mark.parametrize("is_default", [False, True])
def test_a_thumbnail_is_not_the_video(tmp_path, is_default):
    clip, path = write_clip(tmp_path / "clip.mp4"), tmp_path / "cover.mkv"
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        cover = target.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt = 120, 160, "yuvj420p"
        cover.disposition = av.stream.Disposition.default if is_default else 0
        original = source.streams.video[0]
        stream = target.add_stream_from_template(original)
        stream.disposition = 0 if is_default else av.stream.Disposition.default
        target.mux(cover.encode(av.VideoFrame.from_ndarray(image(0, (120, 160)), format="rgb24")))
        target.mux(cover.encode())
        for packet in source.demux(original):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert len(read(path)[1]) == 60


def test_a_large_file_is_read_again(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4")
    monkeypatch.setattr(packets, "_MAX_KEPT_BYTES", 1000)
    assert read(path)[1] == [(number, number) for number in range(60)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"profile": "baseline"}, {"bf": "0", "x264_params": "ref=4"}])
def test_a_lost_picture_that_others_refer_to_is_named(tmp_path, suffix, options):
    sound = write_clip(tmp_path / f"sound.{suffix}", **options)
    assert len(read(sound)[1]) == 60
    for lost in (5, 14, 15, 16, 31, 58):
        damaged = copy_without(sound, tmp_path / f"lost.{suffix}", {lost})
        with pytest.raises(video.VideoError, match=rf"damaged: frames are lost before packet {lost}, to which"):
            read(damaged)


def test_a_video_that_begins_within_a_group_of_pictures_is_named(tmp_path):
    sound = write_clip(tmp_path / "sound.mkv", bf="0", sc_threshold="0")
    damaged = copy_without(sound, tmp_path / "lost.mkv", {0, 1})  # the noise makes the second one a picture of its own
    with pytest.raises(video.VideoError, match="damaged: frames are lost before packet 0, to which later ones refer"):
        read(damaged)


def test_pictures_that_no_other_refers_to_may_be_missing(tmp_path):
    """Every second one here: the encoder's temporal layers, or a recorder that drops them."""
    sound = write_clip(tmp_path / "sound.mp4", bf="1", x264_params="b-adapt=0:b-pyramid=none")
    with av.open(str(sound)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.size]
    droppable = [place for place, (last, time) in enumerate(itertools.pairwise(times), start=1) if time < last]
    assert len(droppable) > 20
    copy = copy_without(sound, tmp_path / "fewer.mp4", set(droppable))
    shown = [number for _, number in read(copy, by_time=False)[1]]
    assert len(shown) == 60 - len(droppable)
    assert all(later > earlier for earlier, later in itertools.pairwise(shown))
