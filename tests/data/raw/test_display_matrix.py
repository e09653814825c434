"""Turned and mirrored videos come out as FFmpeg shows them."""

from __future__ import annotations

import av
import numpy as np
import pytest

from musclemap_jax.data.raw import video
from tests.data.raw.clips import HEIGHT, WIDTH, with_matrix, write_clip

MATRICES = {  # a, b, c, d, and FFmpeg's filters for it (`-autorotate`)
    "upright": ((1, 0, 0, 1), "null"),
    "turned left": ((0, -1, 1, 0), "transpose=cclock"),
    "turned right": ((0, 1, -1, 0), "transpose=clock"),
    "upside down": ((-1, 0, 0, -1), "hflip,vflip"),
    "mirrored": ((-1, 0, 0, 1), "hflip"),
    "mirrored upside down": ((1, 0, 0, -1), "vflip"),
    "mirrored and turned left": ((0, -1, -1, 0), "transpose=clock_flip"),
    "mirrored and turned right": ((0, 1, 1, 0), "transpose=cclock_flip"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "plain.mp4", range(3))


def filtered(path, filters):
    """The first frame by FFmpeg's filters."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)]
    for each in filters.split(","):
        name, _, arguments = each.partition("=")
        nodes.append(graph.add(name, arguments or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    return graph.pull().to_ndarray(format="gray")


@pytest.mark.parametrize("name", MATRICES)
def test_a_video_is_shown_as_by_ffmpeg(plain, name, tmp_path):
    matrix, filters = MATRICES[name]
    clip = video.read_video(with_matrix(plain, matrix, tmp_path / "turned.mp4"), pixel_format="gray")
    shown = next(clip.frames)
    assert clip.source_size == shown.shape == ((WIDTH, HEIGHT) if matrix[0] == 0 else (HEIGHT, WIDTH))
    expected = filtered(plain, filters)
    np.testing.assert_allclose(shown.astype(int), expected, atol=2)  # another rounding of the scaler


def test_the_planes_of_a_mirrored_video_are_mirrored(plain, tmp_path):
    mirrored = with_matrix(plain, (-1, 0, 0, 1), tmp_path / "mirrored.mp4")
    image = next(video.read_video(mirrored, pixel_format="yuvj420p").frames)
    np.testing.assert_array_equal(image, next(video.read_video(plain).frames)[:, ::-1])
