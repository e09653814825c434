"""The peer of the input benchmark makes the clips that it should."""

from dataclasses import replace

import numpy as np

from benchmarks.released_input import released_clip
from musclemap_jax.data.raw.video import encode_video
from tests.no_augmentation import NO_AUGMENTATION


def _grey_video(path, num_frames):
    """Frame t is grey 2 t, its left half black."""
    frames = np.repeat(2 * np.arange(num_frames, dtype=np.uint8), 32 * 48 * 3).reshape(num_frames, 32, 48, 3)
    frames[:, :, :24] = 0
    encode_video(path, frames, 30, crf=5)


def test_frames_of_one_window_in_order_cropped_and_scaled(tmp_path):
    _grey_video(tmp_path / "clip.mp4", 40)
    starts = set()
    for seed in range(6):
        clip = released_clip(tmp_path / "clip.mp4", 4, 3, 16, NO_AUGMENTATION, np.random.default_rng(seed))
        assert clip.shape == (4, 16, 16, 3)
        assert clip.dtype == np.float32
        frames = np.rint(clip[:, 8, 15].mean(axis=-1) * 255 / 2)
        start = int(frames[0])
        # Of a window of 12 frames, 4 from its first to its last.
        np.testing.assert_allclose(frames, start + np.array([0, 3, 7, 11]), atol=1)
        starts.add(start)
        assert 0 <= start <= 28
    assert len(starts) > 2


def test_flip_mirrors_the_clip(tmp_path):
    _grey_video(tmp_path / "clip.mp4", 40)
    arguments = (tmp_path / "clip.mp4", 4, 3, 16)
    plain, flipped = (
        released_clip(*arguments, replace(NO_AUGMENTATION, flip_probability=probability), np.random.default_rng(1))
        for probability in (0.0, 1.0)
    )
    np.testing.assert_array_equal(flipped, plain[:, :, ::-1])
