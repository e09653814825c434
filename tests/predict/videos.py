"""Small videos for tests."""

from __future__ import annotations

import av
import numpy as np

from musclemap_jax.data.raw.video import encode_video

FPS = 10.0


def write_video(path, num_frames=25, size=(32, 48), fps=FPS):
    """Writes a video of a brightening plane; returns its path."""
    frames = np.zeros((num_frames, *size, 3), np.uint8)
    frames += np.linspace(20, 220, num_frames).astype(np.uint8)[:, None, None, None]
    encode_video(path, frames, fps)
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
