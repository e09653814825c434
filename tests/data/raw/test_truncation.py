"""Files that are not all there are refused in every container, and sound ones are read whole."""

from __future__ import annotations

import av
import numpy as np
import pytest

from musclemap_jax.data.raw import video
from tests.conftest import ROOT
from tests.data.raw.clips import number_of, write_clip

CLIPS = {
    "mp4": ("libx264", {}),
    "mov": ("libx264", {}),
    "mkv": ("libx264", {}),
    "webm": ("libvpx", {"auto_alt_ref": "1", "lag_in_frames": "16"}),  # with packets that show nothing
    "vp9.webm": ("libvpx-vp9", {}),
    "avi": ("mpeg4", {"bf": "2"}),
    "mjpeg.avi": ("mjpeg", {"pixel_format": "yuvj420p"}),
    "wmv": ("wmv2", {"b": "2M"}),
    "flv": ("libx264", {}),
    "ts": ("libx264", {}),
    "m2ts": ("libx264", {}),
    "mpg": ("mpeg2video", {"bf": "2", "b": "2M"}),
    "h264": ("libx264", {}),
    "open_gop.mp4": ("libx264", {"x264_params": "open-gop=1:keyint=10:bframes=3"}),
    "interlaced.mkv": ("libx264", {"x264_params": "interlaced=1:keyint=10"}),
    "hevc.mp4": ("libx265", {"x265_params": "log-level=none:pools=none:keyint=10:open-gop=1"}),
    "fragments.mp4": ("libx264", {"container": {"movflags": "frag_keyframe+empty_moov"}}),
    "raw.avi": ("rawvideo", {}),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Writes a clip of 60 frames in a container, once; returns its path."""
    folder, written = tmp_path_factory.mktemp("clips"), {}

    def write(name):
        if name not in written:
            codec, options = CLIPS[name]
            written[name] = write_clip(folder / f"clip.{name}", codec=codec, **options)
        return written[name]

    return write


def read(path):
    return [number_of(frame) for frame in video.read_video(path).frames]


@pytest.mark.parametrize("name", CLIPS)
def test_a_sound_file_is_read_whole(clip, name):
    assert read(clip(name)) == list(range(60))


@pytest.mark.parametrize("fraction", [0.6, 0.95])
@pytest.mark.parametrize("name", [name for name in CLIPS if name not in ("ts", "m2ts", "h264", "mpg")])
def test_a_file_that_is_cut_off_is_refused(clip, name, fraction, tmp_path):
    data = clip(name).read_bytes()
    cut = tmp_path / f"cut.{name}"
    cut.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(video.VideoError, match="truncated"):
        read(cut)


@pytest.mark.parametrize("name", ["ts", "m2ts"])
def test_a_transport_stream_is_refused_where_a_packet_is_cut(clip, name, tmp_path):
    data = clip(name).read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[:-100])
    with pytest.raises(video.VideoError, match=r"truncated: the last packet \(MPEG-TS\) has \d+ of 1[89]\d bytes"):
        read(tmp_path / "cut.ts")


@pytest.mark.parametrize("name", ["mkv", "webm", "avi", "ts", "flv", "mpg", "h264"])
def test_a_tail_of_zeros_is_refused(clip, name, tmp_path):
    data = clip(name).read_bytes()
    filled = len(data) // 4
    (tmp_path / f"zeros.{name}").write_bytes(data[:-filled] + bytes(filled))
    with pytest.raises(video.VideoError, match="truncated: the file ends in zeros"):
        read(tmp_path / f"zeros.{name}")


def test_zeros_before_the_index_of_an_mp4_file_are_named(tmp_path):
    data = bytearray(write_clip(tmp_path / "a.mp4", codec="mpeg4").read_bytes())
    end = data.index(b"moov") - 4
    data[end - 3000 : end] = bytes(3000)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(video.VideoError, match=r"damaged: packet \d+ is filled with zeros|cannot be decoded"):
        read(tmp_path / "a.mp4")


def test_an_ogg_file_without_its_last_page_is_refused():
    with pytest.raises(video.VideoError, match="truncated: the Ogg file has no last page"):
        read(ROOT / "tests" / "data" / "videos" / "truncated_theora.ogv")


def test_a_live_recording_is_as_long_as_it_states(clip, tmp_path):
    """Matroska whose number of bytes is unknown; its duration is known."""
    data = bytearray(clip("vp9.webm").read_bytes())
    size = data.index(b"\x18\x53\x80\x67") + 4
    data[size : size + 8] = b"\x01" + b"\xff" * 7
    (tmp_path / "live.webm").write_bytes(data)
    assert read(tmp_path / "live.webm") == list(range(60))
    (tmp_path / "live.webm").write_bytes(data[: len(data) // 2])
    with pytest.raises(video.VideoError, match=r"truncated: the file states (59|60) frames, (2|3)\d are there"):
        read(tmp_path / "live.webm")


def test_a_video_may_end_before_its_sound(tmp_path):
    path = tmp_path / "sound.mkv"
    clip = write_clip(tmp_path / "clip.mp4")
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        picture = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("aac", rate=16000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                target.mux(packet)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 5 * 16000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16000
        target.mux([*sound.encode(samples), *sound.encode()])
    assert read(path) == list(range(60))
