"""Small videos for tests."""

from __future__ import annotations

import av
import numpy as np

from musclemap_jax.data.raw.video import encode_video

FPS = 10.0


def write_video(path, num_frames=25, size=(32, 48), fps=FPS, **options):
    """Writes a video of a brightening plane; returns its path."""
    frames = (np.full((*size, 3), value, np.uint8) for value in np.linspace(20, 220, num_frames))
    encode_video(path, frames, fps, **options)
    return path


def write_audio(path):
    """Writes a file with a second of sound and no picture; returns its path."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        samples = (np.sin(np.arange(16000) / 5) * 0.3).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    return path
