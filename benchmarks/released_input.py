"""From an mp4 file to a training clip as the released code does it: the peer of our input.

Source: the pyav decoder of PySlowFast, of which the released code is a fork, reimplemented without its dead branches:
it decodes every frame from the last key frame before the window to the window's end, converts the window's frames to
RGB and picks T of them; float32, 0 to 1; random resized crop (bilinear), flip. OpenCV and numpy replace torch.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from musclemap_jax.data.augmentation import AugmentationSpec, random_crop


def released_clip(
    path: Path, num_frames: int, stride: int, size: int, spec: AugmentationSpec, rng: np.random.Generator
) -> np.ndarray:
    """Makes a training clip.

    Args:
      path: An mp4 file with at least ``num_frames * stride`` frames.
      num_frames: T.
      stride: Distance in frames from one picked frame to the next.
      size: Height and width of the crop.
      spec: Ranges of crop and flip; colours are not changed.
      rng: Generator for the window, crop and flip.

    Returns:
      (T, size, size, 3) float32 in [0, 1].
    """
    frames = _window(path, num_frames * stride, rng)
    picked = np.linspace(0, len(frames) - 1, num_frames).astype(int)
    images = np.stack([frames[index] for index in picked]).astype(np.float32) / 255
    box = random_crop(*images.shape[1:3], spec, rng)
    top, left, height, width = (round(value) for value in box)
    clip = np.empty((num_frames, size, size, 3), np.float32)
    for image, place in zip(images, clip, strict=True):
        cv2.resize(image[top : top + height, left : left + width], (size, size), dst=place)
    return np.ascontiguousarray(clip[:, :, ::-1]) if rng.uniform() < spec.flip_probability else clip


def _window(path: Path, length: int, rng: np.random.Generator) -> list[np.ndarray]:
    """RGB frames of a random window, (H, W, 3) uint8 each."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate, tick = stream.average_rate, stream.time_base
        if not rate or not tick:
            raise ValueError(f"{path}: the video states no frame rate")
        ticks = int(1 / (rate * tick))
        start = int(rng.integers(0, stream.frames - length + 1)) * ticks
        container.seek(start, stream=stream)
        frames = []
        for frame in container.decode(stream):
            if (frame.pts or 0) >= start:
                frames.append(frame)
            if len(frames) == length:
                break
        return [frame.to_rgb().to_ndarray() for frame in frames]
