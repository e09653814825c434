"""A picture that changes in mid-video is named, and the reader needs nothing but PyAV and numpy."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import pytest
from av.bitstream import BitStreamFilterContext

from musclemap_jax.data.raw import video
from tests.conftest import ROOT
from tests.data.raw.clips import image, write_clip


def write_sizes(path, *sizes):
    """Writes ten frames of each (height, width), as one stream."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mjpeg", rate=30)
        stream.height, stream.width, stream.pix_fmt = *sizes[0], "yuvj420p"
        for part, size in enumerate(sizes):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width, encoder.pix_fmt = *size, "yuvj420p"
            encoder.time_base = Fraction(1, 30)
            for number in range(10 * part, 10 * part + 10):
                frame = av.VideoFrame.from_ndarray(image(number, size), format="rgb24").reformat(format="yuvj420p")
                frame.pts, frame.time_base = number, Fraction(1, 30)
                for packet in encoder.encode(frame):
                    packet.stream, packet.time_base = stream, Fraction(1, 30)
                    target.mux(packet)
    return path


def test_a_screen_that_is_turned_in_mid_video_is_named(tmp_path):
    clip = video.read_video(write_sizes(tmp_path / "turned.mkv", (48, 64), (64, 48)))
    for _ in range(10):
        next(clip.frames)
    with pytest.raises(video.VideoError, match="frame 10 is turned or cut: 48x64 after 64x48 pixels: the screen was"):
        next(clip.frames)


def test_another_size_of_the_same_picture_is_scaled_to_the_first(tmp_path):
    clip = video.read_video(write_sizes(tmp_path / "sizes.mkv", (48, 64), (96, 128)))
    assert [frame.shape for frame in clip.frames] == [(48, 64, 3)] * 20


def test_a_display_matrix_that_changes_in_mid_video_is_named(tmp_path):
    """By a message inside the H.264 stream."""
    square = write_clip(tmp_path / "square.h264", range(20), size=(64, 64), g="10", bf="0")
    turned = tmp_path / "turned.h264"
    with av.open(str(square)) as source, av.open(str(turned), "w") as target:
        original = source.streams.video[0]
        stream = target.add_stream_from_template(original)
        turn = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=90", original)
        for number, packet in enumerate(source.demux(original)):
            if not packet.size:
                break
            packet.pts = packet.dts = number
            packet.time_base = Fraction(1, 30)
            for each in turn.filter(packet) if number >= 10 else [packet]:
                each.stream = stream
                target.mux(each)
    with pytest.raises(video.VideoError, match=r"frame 1\d is turned or cut: 64x64 after 64x64 pixels"):
        list(video.read_video(turned).frames)


def test_the_reader_needs_only_pyav_and_numpy():
    """Pose estimators' environments have nothing else."""
    code = (
        "import sys, musclemap_jax.data.raw.decoding as decoding\n"
        "allowed = {'av', 'numpy', 'musclemap_jax'} | set(sys.stdlib_module_names)\n"
        "print({name.partition('.')[0] for name in sys.modules} - allowed)"
    )
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name for name in eval(completed.stdout) if not name.startswith(("_", "cython"))} == set()
