"""Videos: what is written is read back, scaled and turned as it should be, and a video that is cut off is refused."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from musclemap_jax.data.images import decode_jpeg, encode_jpeg
from musclemap_jax.data.raw import video
from musclemap_jax.data.raw.jpeg_planes import JpegPlanes, jpeg_planes

NUM_FRAMES, HEIGHT, WIDTH = 24, 48, 64
REAL = Path(__file__).parents[1] / "real" / "pose2sim_cam01.mp4"


@pytest.fixture(scope="module")
def frames():
    """(T, H, W, 3) uint8: smooth, moving, with a bright corner at the top left."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    images = []
    for time in range(NUM_FRAMES):
        phases = np.stack([columns / 9 + time / 4, rows / 7 - time / 5, (rows + columns) / 11], axis=-1)
        image = 110 + 90 * np.sin(phases)
        image[:16, :16] = 250
        images.append(image)
    return np.stack(images).astype(np.uint8)


@pytest.fixture(scope="module")
def web_mp4(frames, tmp_path_factory):
    """Bytes of an mp4 file whose index comes first, so that a cut file still opens."""
    path = tmp_path_factory.mktemp("video") / "web.mp4"
    video.encode_video(path, frames, 30, crf=10, faststart=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def camera_mp4(frames, tmp_path_factory):
    """Bytes of an mp4 file whose index comes last."""
    path = tmp_path_factory.mktemp("video") / "camera.mp4"
    video.encode_video(path, frames, 30, crf=10)
    return path.read_bytes()


def read_all(path, short_side=video.SHORT_SIDE_PX):
    clip = video.read_video(path, short_side)
    return clip, np.stack(list(clip.frames))


def written(tmp_path, data):
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    return path


def mean_difference(first, second):
    return np.abs(first.astype(np.int32) - second.astype(np.int32)).mean()


def test_frames_come_back_in_order_and_with_their_colours(frames, tmp_path):
    video.encode_video(tmp_path / "clip.mp4", frames, 29.97, crf=10)
    clip, decoded = read_all(tmp_path / "clip.mp4")
    assert clip.fps == pytest.approx(29.97, abs=1e-3)
    assert clip.size == clip.source_size == (HEIGHT, WIDTH)
    assert decoded.shape == frames.shape
    assert decoded.dtype == np.uint8
    nearest = [np.argmin([mean_difference(image, frame) for frame in frames]) for image in decoded]
    assert nearest == list(range(NUM_FRAMES))
    assert mean_difference(decoded, frames) < 3


def test_the_same_frames_give_the_same_file(frames, tmp_path):
    written_bytes = set()
    for _ in range(8):  # x264 by itself gave other bytes every third time
        video.encode_video(tmp_path / "clip.mp4", iter(frames), 24)
        written_bytes.add((tmp_path / "clip.mp4").read_bytes())
    assert len(written_bytes) == 1


def test_large_frames_are_averaged_down_and_small_ones_kept(frames, camera_mp4, tmp_path):
    path = written(tmp_path, camera_mp4)
    clip, decoded = read_all(path, short_side=24)
    assert clip.size == (24, 32)
    assert clip.source_size == (HEIGHT, WIDTH)
    averaged = frames.reshape(NUM_FRAMES, 24, 2, 32, 2, 3).mean(axis=(2, 4))
    assert mean_difference(decoded, averaged) < 4
    assert read_all(path, short_side=1000)[1].shape == frames.shape


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((1920, 1080), 256, (455, 256)),
        ((240, 320), 256, (240, 320)),
        ((256, 340), 256, (256, 340)),
        ((10, 3000), 5, (5, 1500)),
    ],
)
def test_scaled_size_keeps_the_aspect_and_never_enlarges(size, short_side, expected):
    assert video.scaled_size(size, short_side) == expected


def test_a_phone_video_is_turned_upright(frames, camera_mp4, tmp_path):
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    clockwise = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30)
    track = camera_mp4.index(identity, camera_mp4.index(b"tkhd"))
    turned = camera_mp4[:track] + clockwise + camera_mp4[track + len(identity) :]
    clip, decoded = read_all(written(tmp_path, turned), short_side=24)
    assert clip.source_size == (WIDTH, HEIGHT)
    assert clip.size == (32, 24)
    upright = np.rot90(frames, -1, axes=(1, 2)).reshape(NUM_FRAMES, 32, 2, 24, 2, 3).mean(axis=(2, 4))
    assert mean_difference(decoded, upright) < 4


@pytest.mark.parametrize("fraction", [0.02, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["web_mp4", "camera_mp4"])
def test_a_file_that_is_cut_off_is_refused(kind, fraction, request, tmp_path):
    data = request.getfixturevalue(kind)
    with pytest.raises(video.VideoError, match="truncated"):
        read_all(written(tmp_path, data[: int(fraction * len(data))]))


def test_a_download_that_stopped_in_a_preallocated_file_is_refused(web_mp4, tmp_path):
    half = len(web_mp4) // 2
    with pytest.raises(video.VideoError):
        read_all(written(tmp_path, web_mp4[:half] + bytes(len(web_mp4) - half)))


def test_a_cut_by_edit_list_counts_what_is_shown(frames, tmp_path):
    with av.open(str(tmp_path / "long.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"g": "6", "bf": "0"})
        stream.width, stream.height = WIDTH, HEIGHT
        for frame in frames:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        target.mux(stream.encode())
    with av.open(str(tmp_path / "long.mp4")) as source, av.open(str(tmp_path / "cut.mp4"), "w") as target:
        original = source.streams.video[0]
        stream = target.add_stream_from_template(original)
        start = int(Fraction(9, 30) / original.time_base)  # frame 9; the key frame before it is frame 6
        for packet in source.demux(original):
            if packet.dts is not None and packet.pts >= Fraction(6, 30) / original.time_base:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, stream
                target.mux(packet)
    _, decoded = read_all(tmp_path / "cut.mp4")
    assert len(decoded) == pytest.approx(NUM_FRAMES - 9, abs=1)


def test_each_error_has_its_own_message(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("this is no video\n" * 20)
    os.mkfifo(tmp_path / "pipe.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as target:
        stream = target.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        target.mux(stream.encode(silence))
        target.mux(stream.encode())
    for name, words in {
        "absent.mp4": "No such file",
        "empty.mp4": "empty file",
        "text.mp4": "cannot be decoded",
        "sound.mp4": "no video stream",
        "pipe.mp4": "expected a regular file, got a pipe",
    }.items():
        with pytest.raises(video.VideoError, match=words):
            video.read_video(tmp_path / name)
    with pytest.raises(video.VideoError, match="expected a regular file, got a pipe"):
        video.count_frames(tmp_path / "pipe.mp4")


def test_a_video_without_frames_is_refused(frames, camera_mp4, tmp_path):
    # The sample count of every table in the index set to zero.
    data = bytearray(camera_mp4)
    for table, offset in ((b"stts", 8), (b"stsc", 8), (b"stsz", 12), (b"stco", 8), (b"ctts", 8), (b"stss", 8)):
        place = data.find(table)
        if place >= 0:
            data[place + offset : place + offset + 4] = bytes(4)
    with pytest.raises(video.VideoError, match=r"no frames|no video|frame rate"):
        read_all(written(tmp_path, bytes(data)))


@pytest.mark.parametrize("size", [(2, 2), (14, 64), (64, 14)])
def test_frames_that_are_too_small_are_refused(tmp_path, size):
    video.encode_video(tmp_path / "tiny.mp4", np.zeros((3, *size, 3), np.uint8), 30)
    with pytest.raises(video.VideoError, match=f"at least 16x16 pixels, got {size[1]}x{size[0]}$"):
        video.open_video(tmp_path / "tiny.mp4")
    video.encode_video(tmp_path / "small.mp4", np.zeros((3, 16, 16, 3), np.uint8), 30)
    assert video.open_video(tmp_path / "small.mp4").source_size == (16, 16)


def test_flipped_bits_never_pass_as_another_number_of_frames(web_mp4, tmp_path):
    rng = np.random.default_rng(7)
    for _ in range(40):
        data = bytearray(web_mp4)
        for place in rng.integers(len(data), size=6):
            data[place] ^= 1 << rng.integers(8)
        try:
            _, decoded = read_all(written(tmp_path, bytes(data)))
        except video.VideoError:
            continue
        assert len(decoded) >= 0.9 * NUM_FRAMES


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 48, 64, 3), np.uint8),
        np.zeros((2, 47, 64, 3), np.uint8),
        np.zeros((2, 48, 64, 3), np.float32),
        [np.zeros((48, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)],
    ],
)
def test_frames_that_cannot_be_encoded_are_refused(bad, tmp_path):
    with pytest.raises(ValueError, match="expected"):
        video.encode_video(tmp_path / "clip.mp4", bad, 24)


def test_frames_and_pixels_are_counted_without_decoding(camera_mp4, tmp_path):
    path = written(tmp_path, camera_mp4)
    assert video.count_frames(path) == NUM_FRAMES
    assert video.count_stored_pixels(path) == NUM_FRAMES * HEIGHT * WIDTH
    assert video.count_stored_pixels(path, short_side=24) == NUM_FRAMES * HEIGHT * WIDTH / 4


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile other.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ],
    ids=["concat", "playlist", "session"],
)
def test_a_file_that_refers_to_others_is_no_video(web_mp4, tmp_path, content):
    """FFmpeg would open what it names, whatever its own name."""
    (tmp_path / "other.mp4").write_bytes(web_mp4)
    (tmp_path / "clip.mp4").write_text(content)
    with pytest.raises(video.VideoError, match="cannot be decoded"):
        video.open_video(tmp_path / "clip.mp4")
    with pytest.raises(video.VideoError, match="cannot be decoded"):
        video.count_frames(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name", ["http:x.mp4", "pipe:0.mp4", "concat:a.mp4|b.mp4"])
def test_a_name_is_never_an_address(camera_mp4, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(camera_mp4)
    assert len(list(video.read_video(name).frames)) == NUM_FRAMES


def test_colours_of_a_video_of_its_own_size_are_kept():
    """Each 2x2 pixels' mean has the colour sample of the file again: JPEG's encoder takes just that mean."""
    first = next(video.read_video(REAL, short_side=1080).frames)
    with av.open(str(REAL)) as container:
        frame = next(container.decode(video=0))
        height, width = frame.height, frame.width
        planes = frame.to_ndarray(format="yuv420p")[height:].reshape(2, height // 2, width // 2)
    # BT.601, limited range.
    matrix = np.array([[-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])
    mean = first.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3), dtype=np.float64)
    assert np.abs(np.moveaxis(mean @ matrix.T + 128, -1, 0) - planes).mean() < 0.3  # a quarter is rounding


@pytest.mark.parametrize("short_side", [HEIGHT, 24, 23])
def test_planes_make_the_jpeg_that_the_pixels_would(frames, camera_mp4, short_side, tmp_path):
    path = written(tmp_path, camera_mp4)
    planes = list(video.read_video(path, short_side, pixel_format="yuvj420p").frames)
    assert {isinstance(each, JpegPlanes) for each in planes} == {short_side % 2 == 0}  # odd ones go by RGB
    size = video.scaled_size((HEIGHT, WIDTH), short_side)
    truth = [cv2.resize(each, size[::-1], interpolation=cv2.INTER_AREA) for each in frames]
    decoded = np.stack([decode_jpeg(encode_jpeg(each, 98)) for each in planes])
    assert decoded.shape == np.stack(truth).shape
    assert mean_difference(decoded, np.stack(truth)) < 4
    assert abs(decoded.astype(float).mean() - np.stack(truth).mean()) < 0.5  # no darker, as by way of FFmpeg's RGB


@pytest.mark.parametrize("range_name", ["MPEG", "JPEG"])
@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
def test_planes_are_of_one_matrix_and_full_range(frames, matrix, range_name):
    colour = {"dst_colorspace": Colorspace[matrix], "dst_color_range": ColorRange[range_name]}
    frame = av.VideoFrame.from_ndarray(frames[0], format="rgb24")
    frame = frame.reformat(format="yuv420p", src_color_range=ColorRange.JPEG, threads=1, **colour)
    planes = jpeg_planes(frame, (HEIGHT, WIDTH), video._SCALE)
    if matrix == "ITU709":  # JPEG knows no such matrix: the frame goes by RGB
        assert planes is None
        return
    expected = cv2.cvtColor(frames[0], cv2.COLOR_RGB2YCrCb)
    assert mean_difference(planes.y, expected[..., 0]) < 1
    for plane, channel in ((planes.u, 2), (planes.v, 1)):
        assert mean_difference(plane, cv2.resize(expected[..., channel], None, fx=0.5, fy=0.5)) < 4


def test_each_level_goes_to_the_nearest_one_of_the_full_range():
    levels = np.arange(256, dtype=np.uint8)
    brightness, colour = np.tile(levels, 4), levels
    pixels = np.concatenate([brightness, colour, colour]).reshape(24, 64)
    y, u, v = jpeg_planes(av.VideoFrame.from_ndarray(pixels, format="yuv420p"), (16, 64), video._SCALE)
    np.testing.assert_array_equal(y.ravel(), np.rint((brightness - 16.0) * 255 / 219).clip(0, 255))
    for plane in (u, v):
        np.testing.assert_array_equal(plane.ravel(), np.rint((colour - 128.0) * 255 / 224 + 128).clip(0, 255))
