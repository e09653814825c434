"""npz files: arrays come back, and every kind of damage is a ValueError."""

import io

import numpy as np
import pytest

from musclemap_jax.storage.npz_files import read_npz


def content_of(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


CONTENT = content_of(scores=np.arange(1000.0), names=np.array(["a", "bc"]))
NPY = io.BytesIO()
np.save(NPY, np.zeros(3))


def test_arrays_come_back():
    arrays = read_npz(CONTENT)
    assert list(arrays) == ["scores", "names"]
    np.testing.assert_array_equal(arrays["scores"], np.arange(1000.0))
    assert arrays["names"].tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"PK\x03\x04",
        CONTENT[:-30],
        CONTENT[:100] + bytes(50) + CONTENT[150:],
        NPY.getvalue(),
        content_of(objects=np.array([None, "a"], object)),
    ],
)
def test_damage_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"."):
        read_npz(content)
