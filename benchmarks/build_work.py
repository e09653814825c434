"""Work of the processes of `benchmarks.build` for one clip."""

from __future__ import annotations

import av
import simplejpeg

from musclemap_jax.data.images import JPEG_QUALITY, encode_jpeg
from musclemap_jax.data.modalities.modality import ClipError, ClipSettings
from musclemap_jax.data.raw.video import read_video
from tfds_musclemap.build.clip_reader import read_clip


def peer_clip(path: str) -> int:
    """Decodes a video and encodes its frames; returns the total number of bytes."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(
            len(simplejpeg.encode_jpeg(frame.to_ndarray(format="rgb24", threads=1), JPEG_QUALITY, "RGB", "420"))
            for frame in container.decode(stream)
        )


def our_frames(path: str) -> int:
    """Does the same with the builder's decoder and encoder."""
    return sum(len(encode_jpeg(frame)) for frame in read_video(path, pixel_format="yuvj420p").frames)


def our_clip(root: str, clip_id: str) -> int:
    """Does everything that a worker of the builder does for a clip; returns its number of frames."""
    clip = read_clip(root, clip_id, ClipSettings())
    if isinstance(clip, ClipError):
        raise ValueError(clip)
    return clip.num_frames
